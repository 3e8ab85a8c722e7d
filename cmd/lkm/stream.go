// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"time"

	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/lkm"
)

// A stream prints the rows of a long list while it is read. The first rows of a table decide how wide the columns are;
// lines of JSON are printed one by one, and leave the list, so that it takes no memory.
type stream struct {
	a      *app
	f      *filter
	lines  bool     // lines of JSON
	cols   []column // nil: no table is printed before the end
	rows   *table   // the first rows, then only the heads
	widths []int    // known when the first rows are printed
	text   bytes.Buffer
	shown  time.Time // when lines were last sent on
	err    error     // the first of lines
}

// Of a stream.
const (
	firstRows = 200 // rows that decide how wide the columns are
	flushRows = 50  // rows that are written at once

	flushEvery = 100 * time.Millisecond // how long lines wait for others, if others follow
)

// newStream returns the stream of a list. Only what is installed is long enough to be one; a list of drivers to compare
// with needs all of it first. Lines of JSON have ids, which are final at once on Linux alone; what a tape is too old
// for is known at the end.
func (a *app) newStream(os lkm.OS, scope lkm.Scope, f *filter) *stream {
	s := &stream{a: a, f: f}
	switch {
	case scope != lkm.ScopeInstalled || f.blockList != "":
	case a.flags.format == "jsonl":
		s.lines = os == lkm.Linux && a.flags.tape == ""
	case a.flags.format == "table" && len(a.flags.fields) == 0:
		s.cols = columns(os, scope)
		s.rows, _ = moduleTable(nil, s.cols, nil, unknown)
	}
	return s
}

// add prints a module, or keeps it with the first rows. It returns false if nothing more is wanted of the module.
func (s *stream) add(m *lkm.Module) bool {
	s.a.progress.count(m)
	switch {
	case s.lines:
		return s.addLine(m)
	case s.cols == nil || s.f.match(m) != lkm.Yes:
		return true
	}
	row := make([]string, len(s.cols))
	for i, c := range s.cols {
		row[i] = escape.Text(c.cell(m))
	}
	s.rows.rows = append(s.rows.rows, row)
	if n := len(s.rows.rows); n == firstRows && s.widths == nil || n >= flushRows && s.widths != nil {
		s.print()
	}
	return true
}

// addLine prints a module's line. What is not known of it, and whether a filter leaves it out, counts at the end: then
// it stays.
func (s *stream) addLine(m *lkm.Module) bool {
	matches := s.f.match(m)
	if matches == lkm.Yes && s.err == nil {
		s.text.Reset()
		if s.err = s.a.encodeLine(&s.text, m); s.err == nil {
			_, s.err = s.a.stdout.Write(s.text.Bytes())
		}
		if now := time.Now(); now.Sub(s.shown) >= flushEvery {
			s.a.stdout.Flush() // an error comes again with the next write
			s.shown = now
		}
	}
	return matches == "" || len(m.Problems) > 0
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
func (s *stream) end() (bool, error) {
	if s.cols != nil && len(s.rows.rows) > 0 {
		s.print()
	}
	return s.lines || s.cols != nil, s.err
}
