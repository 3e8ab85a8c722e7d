// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/kernelext/kernelext/fact"
)

// Limits on texts: the rows that are kept, the bytes of a line that can be a row of fixed columns,
// and the bytes of a value that goes on over several lines.
const (
	MaxRows  = 16_384 // a driver store has some thousand packages
	MaxLine  = 8 << 10
	MaxValue = 8 << 10
)

// A Table reads rows and records of a text, and counts the other lines.
type Table struct {
	Source    string
	Sure      bool  // something beside the rows says which tool printed the text
	Cut       bool  // the last row is cut
	TooMany   bool  // there are more rows, which are not read
	Strays    int   // lines that are not rows
	CutValues int   // values that the tool cut to fit its table
	First     error // about the first stray line; nil if they are reported already
}

// Stray counts a line that is not a row, unless it is known to be harmless: blank, a prompt, a ruler.
func (b *Table) Stray(n int, line string) {
	text := strings.TrimSpace(line)
	if text == "" || IsRuler(text) {
		return
	}
	if _, ok := Prompt(text); ok {
		return
	}
	b.Strays++
	if b.First == nil {
		b.First = &fact.ParseError{Source: b.Source, Line: n, Reason: NoRow(text).Error()}
	}
}

// IsRuler reports whether a line separates others.
func IsRuler(text string) bool { return strings.Trim(text, "-=+| ") == "" }

// NoRow returns the error of a line that is not a row.
func NoRow(line string) error {
	return fmt.Errorf("%q is not a row", Cut(strings.TrimSpace(line), 60))
}

// Cut returns at most n bytes of s, and an ellipsis for the rest.
func Cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

// CSVRows reads a text as rows of comma-separated values; a line that is not a row gives nil.
func (b *Table) CSVRows(text string) [][]string {
	var rows [][]string
	buffer := bufio.NewReader(nil) // csv.NewReader takes it as its own instead of making one a line
	for line := range strings.Lines(text) {
		if len(rows) >= MaxRows {
			b.TooMany = true
			break
		}
		line = strings.TrimRight(line, " \t\r\n")
		if line != "" && !strings.ContainsAny(line, ",\"") {
			rows = append(rows, []string{strings.TrimLeft(line, " \t")})
			continue
		}
		buffer.Reset(strings.NewReader(line))
		r := csv.NewReader(buffer)
		r.FieldsPerRecord, r.TrimLeadingSpace, r.LazyQuotes = -1, true, false
		row, err := r.Read()
		if err != nil && !errors.Is(err, io.EOF) {
			row = nil
		}
		rows = append(rows, row)
	}
	return rows
}

// Column returns a function that gives a row's value by the name of its column, whatever its case.
func Column(header, row []string) func(string) string {
	return func(name string) string {
		for i, h := range header {
			if strings.EqualFold(strings.TrimSpace(h), name) {
				return strings.TrimSpace(row[i])
			}
		}
		return ""
	}
}

// CutColumns cuts a line at columns; nil when a word crosses a column's beginning. Columns are
// counted in characters, or as wide as a console shows them, where those of East Asia take two.
func CutColumns(line string, starts []int, wide bool) []string {
	row := make([]string, len(starts))
	cell, begin, pos, blank := 0, 0, 0, true
	for i, r := range line {
		if cell+1 < len(starts) && pos >= starts[cell+1] {
			if !blank {
				return nil
			}
			row[cell] = strings.TrimSpace(line[begin:i])
			cell, begin = cell+1, i
		}
		blank = r == ' '
		pos++
		if wide && isWide(r) {
			pos++
		}
	}
	row[cell] = strings.TrimSpace(line[begin:])
	return row
}

// isWide reports whether a console shows the character two columns wide.
func isWide(r rune) bool {
	return r >= 0x1100 && (r <= 0x115f || r >= 0x2e80 && r <= 0xa4cf || r >= 0xac00 && r <= 0xd7a3 ||
		r >= 0xf900 && r <= 0xfaff || r >= 0xfe30 && r <= 0xfe6f || r >= 0xff00 && r <= 0xff60 || r >= 0xffe0 &&
		r <= 0xffe6 || r >= 0x20000 && r <= 0x3fffd)
}

// Report reports the lines that are not rows, the rows that were too many, a cut end, and values that the tool cut.
func (b *Table) Report(r *fact.Report) {
	if b.First != nil {
		Stray(r, b.Source, b.First, b.Strays)
	}
	if b.TooMany {
		r.Problem(b.Source, "", "modules", &fact.ParseError{Source: b.Source, Err: fact.ErrTooLarge,
			Reason: fmt.Sprintf("more than %d rows: the rest is not read", MaxRows)})
	}
	if b.Cut {
		r.Problem(b.Source, "", "modules", &fact.ParseError{Source: b.Source,
			Reason: "the text ends within a line: its last row may be cut, and more may be missing"})
	}
	if b.CutValues > 0 {
		r.Add(fact.Problem{Source: b.Source, Code: fact.CodeOther, Count: b.CutValues,
			Text: "values that the table cuts are unknown"})
	}
}
