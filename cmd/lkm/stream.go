// SPDX-License-Identifier: Apache-2.0

package main

import (
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/lkm"
)

// A stream prints the rows of a long list while it is read. The first rows decide how wide the columns are.
type stream struct {
	a      *app
	f      *filter
	cols   []column // nil: nothing is printed before the end
	rows   *table   // the first rows, then only the heads
	widths []int    // known when the first rows are printed
}

// Of a stream.
const (
	firstRows = 200 // rows that decide how wide the columns are
	flushRows = 50  // rows that are written at once
)

// newStream returns the stream of a list. Only the table of what is installed is long enough to be one; a list of
// drivers to compare with needs all of it first.
func (a *app) newStream(os lkm.OS, scope lkm.Scope, f *filter) *stream {
	s := &stream{a: a, f: f}
	if a.flags.format == "table" && scope == lkm.ScopeInstalled && len(a.flags.fields) == 0 && f.blockList == "" {
		s.cols = columns(os, scope)
		s.rows, _ = moduleTable(nil, s.cols, nil, unknown)
	}
	return s
}

// add prints a module, or keeps it with the first rows.
func (s *stream) add(m *lkm.Module) {
	s.a.progress.count(m)
	if s.cols == nil || s.f.match(m) != lkm.Yes {
		return
	}
	row := make([]string, len(s.cols))
	for i, c := range s.cols {
		row[i] = escape.Text(c.cell(m))
	}
	s.rows.rows = append(s.rows.rows, row)
	if n := len(s.rows.rows); n == firstRows && s.widths == nil || n >= flushRows && s.widths != nil {
		s.print()
	}
}

// print prints the rows that are kept.
func (s *stream) print() {
	if s.widths == nil {
		s.widths = s.rows.layout(s.a.out.width)
		s.a.printHead(s.rows, s.widths)
	}
	for _, row := range s.rows.rows {
		s.a.printRow(s.rows, row, s.widths)
	}
	s.rows.rows = s.rows.rows[:0]
	s.a.stdout.Flush() // an error comes again with the next write
}

// end prints what is left, and reports whether the stream was one.
func (s *stream) end() bool {
	if s.cols == nil {
		return false
	}
	if len(s.rows.rows) > 0 {
		s.print()
	}
	return true
}
