// SPDX-License-Identifier: Apache-2.0

// Package vxworks reads what the shell of VxWorks says of downloadable kernel modules: the text of
// moduleShow, of the target's shell and of the host's. There is no live look: the kernel has no
// user processes on most systems, and no Go program runs there.
//
// # Limits
//
// Everything here is experimental: it follows documentation, and no recording of a real session was
// at hand. Columns are found by the words of the header, so that other releases' orders do no harm.
package vxworks

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/lazy"
	"github.com/kernelext/kernelext/internal/limit"
)

// A Row is one module of moduleShow.
type Row struct {
	// Name is the module's name; several modules may share one.
	Name string
	// ID is the module's id, which is an address; Group is its group number.
	ID    string
	Group fact.Count
	// Text, Data and BSS are where its segments start; 0 is none or unknown.
	Text, Data, BSS fact.Address
	// TextSize, DataSize, BSSSize and Total are in bytes; only moduleShow of one module tells them.
	TextSize, DataSize, BSSSize, Total fact.Count
	// Line is where it stands.
	Line int
}

// A Capture is what a text says.
type Capture struct {
	// Rows are the modules, in order, newest first or last as the shell gave them.
	Rows []Row
	// Bad are the lines that make no sense, at most 100; BadCount is how many there were.
	Bad      []*fact.ParseError
	BadCount int
}

const maxCapture = 16 << 20

var (
	columnNames = []string{"MODULE NAME", "MODULE ID", "GROUP #", "TEXT START", "DATA START", "BSS START"}
	sizeLine    = lazy.Regexp{Pattern: `(?i)^\s*(?:size of (text|data|bss)\s+segment|(total) size)\s*:\s*(0x[0-9a-f]+|\d+)`}
)

// ParseCapture reads the output of moduleShow. Prompts ("-> "), rules and "value = 0" lines do no
// harm. The error is fact.ErrTooLarge, or a *fact.ParseError when there is no header of moduleShow.
func ParseCapture(text string) (*Capture, error) {
	if len(text) > maxCapture {
		return nil, limit.TooLarge("moduleShow", maxCapture)
	}
	c := &Capture{}
	var columns []string
	n := 0
	for line := range strings.SplitSeq(text, "\n") {
		n++
		line = strings.TrimRight(line, " \t\r")
		if noise(line) {
			continue
		}
		if cols := header(line); cols != nil {
			columns = cols
			continue
		}
		if columns == nil || c.size(line) {
			continue // what stands before the header is not moduleShow's
		}
		r, err := row(columns, line)
		if err != nil {
			c.BadCount++
			if len(c.Bad) < limit.Problems {
				c.Bad = append(c.Bad, &fact.ParseError{Source: "moduleShow", Line: n, Reason: err.Error()})
			}
			continue
		}
		r.Line = n
		c.Rows = append(c.Rows, r)
	}
	if columns == nil {
		return nil, &fact.ParseError{Source: "moduleShow", Reason: "no header of moduleShow"}
	}
	return c, nil
}

// LooksLikeCapture reports whether text is the output of moduleShow: it has its header.
func LooksLikeCapture(text string) bool {
	for line := range strings.SplitSeq(text, "\n") {
		if header(line) != nil {
			return true
		}
	}
	return false
}

// header returns the columns in the order in which the line has them; nil when it is no header.
func header(line string) []string {
	type column struct {
		name string
		at   int
	}
	var found []column
	upper := strings.Join(strings.Fields(strings.ToUpper(line)), " ")
	for _, name := range columnNames {
		if i := strings.Index(upper, name); i >= 0 {
			at := len(found)
			for at > 0 && found[at-1].at > i {
				at--
			}
			found = append(found[:at], append([]column{{name, i}}, found[at:]...)...)
		}
	}
	if len(found) < 3 || found[0].name != columnNames[0] {
		return nil
	}
	out := make([]string, len(found))
	for i, f := range found {
		out[i] = f.name
	}
	return out
}

func noise(line string) bool {
	t := strings.TrimSpace(line)
	return strings.Trim(t, "- =") == "" || strings.HasPrefix(t, "->") || strings.HasPrefix(t, "value =") || strings.HasPrefix(t, "[vxWorks")
}

// row reads a line whose last words are the columns behind the name; the name takes the rest.
func row(columns []string, line string) (Row, error) {
	words := strings.Fields(line)
	n := len(columns) - 1
	if len(words) < n+1 {
		return Row{}, fmt.Errorf("%d columns, not %d: %.80q", len(words), n+1, line)
	}
	r := Row{Name: escape.UTF8(strings.Join(words[:len(words)-n], " "))}
	for i, w := range words[len(words)-n:] {
		if err := r.column(columns[i+1], w); err != nil {
			return Row{}, err
		}
	}
	return r, nil
}

// isHexWord reports whether the word has 1 to 16 hexadecimal digits, with or without 0x.
func isHexWord(word string) bool {
	digits := strings.TrimPrefix(word, "0x")
	return 1 <= len(digits) && len(digits) <= 16 && strings.Trim(digits, "0123456789abcdefABCDEF") == ""
}

func (r *Row) column(name, word string) error {
	if name == "GROUP #" {
		g, err := strconv.ParseInt(word, 10, 64)
		if err != nil {
			return fmt.Errorf("group %.40q is no number", word)
		}
		r.Group = fact.CountOf(g)
		return nil
	}
	if !isHexWord(word) {
		return fmt.Errorf("%s %.40q is no address", strings.ToLower(name), word)
	}
	n, _ := strconv.ParseUint(strings.TrimPrefix(word, "0x"), 16, 64)
	switch name {
	case "MODULE ID":
		r.ID = word
	case "TEXT START":
		r.Text = fact.Address(n)
	case "DATA START":
		r.Data = fact.Address(n)
	case "BSS START":
		r.BSS = fact.Address(n)
	}
	return nil
}

// size reads a line of moduleShow "NAME" about the module before it.
func (c *Capture) size(line string) bool {
	m := sizeLine.FindStringSubmatch(line)
	if m == nil {
		return false
	}
	n, err := strconv.ParseInt(m[3], 0, 64)
	if err != nil || len(c.Rows) == 0 {
		return true
	}
	r := &c.Rows[len(c.Rows)-1]
	switch strings.ToLower(m[1] + m[2]) {
	case "text":
		r.TextSize = fact.CountOf(n)
	case "data":
		r.DataSize = fact.CountOf(n)
	case "bss":
		r.BSSSize = fact.CountOf(n)
	case "total":
		r.Total = fact.CountOf(n)
	}
	return true
}
