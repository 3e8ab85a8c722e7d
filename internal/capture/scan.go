// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
)

// A Form is what Scan knows of the text that a tool prints.
type Form struct {
	// Tool is the tool's name, which the text may begin with as somebody typed it.
	Tool string
	// Source is the name of the source that lines without sense are reported of.
	Source string
	// Whole is set if row takes every line unchanged: blank lines, prompts and commands, too.
	Whole bool
	// Columns are words of the tool's header in their order; empty for a tool without. Rows below a header with them
	// in another order are refused: their values would be in the fields of others.
	Columns []string
	// Typed is given the command after each prompt; nil if it does not matter.
	Typed func(command string)
}

// Scan gives each line of a text that is not blank to row, which returns an error for a line that is not a row. A
// refused line that is a prompt, or the command as somebody typed it, does no harm (unless the form is Whole); a row is
// never taken for one, whatever names it holds. Scan returns how many other lines were refused, and reports them as one
// Problem that names the first.
func Scan(text string, form Form, r *fact.Report, row func(line string) error) (stray int) {
	return ScanNumbered(text, form, r, func(_ int, line string) error { return row(line) })
}

// rowSize is the memory that one row takes as a record and as a Module, in bytes, beside its text.
const rowSize = 1024

// ScanNumbered is Scan for rows that need the number of their line, counted from 1.
func ScanNumbered(text string, form Form, r *fact.Report, row func(n int, line string) error) (stray int) {
	n := 0
	item := r.Budget.Item(int64(len(text)))
	defer item.Done()
	full := item.Work(int64(len(text)))
	var first error
	moved := false // the columns are in another order
	for line := range strings.SplitSeq(text, "\n") {
		n++
		if !form.Whole {
			if strings.TrimSpace(line) == "" {
				continue
			}
			line = strings.TrimRight(line, " \t\r")
		}
		if full != nil {
			r.Problem(form.Source, "", "", &fact.ParseError{Source: form.Tool, Line: n, Reason: full.Error(),
				Err: full})
			break
		}
		moved = form.moved(line, moved)
		var err error
		if moved {
			err = errors.New("the columns are in an order that is not the tool's")
		} else {
			err = row(n, line)
		}
		if err == nil {
			full = item.Keep(int64(rowSize + len(line)))
			continue
		}
		if !form.Whole && form.typed(line) {
			continue
		}
		if stray++; first == nil {
			first = &fact.ParseError{Source: form.Tool, Line: n, Reason: err.Error()}
		}
	}
	Stray(r, form.Source, first, stray)
	return stray
}

// moved reports whether the columns are in another order after a line; before, whether they were.
func (f Form) moved(line string, before bool) bool {
	if len(f.Columns) == 0 {
		return false
	}
	words := strings.Fields(line)
	places := make([]int, 0, len(f.Columns))
	for _, column := range f.Columns {
		i := slices.Index(words, column)
		if i < 0 {
			return before
		}
		places = append(places, i)
	}
	return !slices.IsSorted(places)
}

// Stray reports the lines of a text that are not rows as one Problem that names the first.
func Stray(r *fact.Report, source string, first error, count int) {
	if count == 0 {
		return
	}
	p := fact.ProblemOf(source, "", "", first)
	if count > 1 {
		p.Text = fmt.Sprintf("%d lines are not rows; the first: %s", count, p.Text)
		p.Count = count
	}
	r.Add(p)
}

// typed reports whether the line is a prompt, or the command as somebody typed it.
func (f Form) typed(line string) bool {
	if f.Tool != "" && strings.HasPrefix(strings.TrimLeft(line, " \t`*#"), f.Tool) {
		return true
	}
	if strings.HasPrefix(strings.TrimSpace(line), "[sudo] password for ") {
		return true
	}
	command, ok := Prompt(strings.TrimSpace(line)) // whoever quotes a listing may indent it
	if ok && f.Typed != nil {
		f.Typed(command)
	}
	return ok
}
