// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/kernelext/kernelext/fact"
)

// The kinds of pages in the tree of a table.
const (
	interiorPage = 0x05
	leafPage     = 0x0d
)

// A scan is one pass over the tree of a table.
type scan struct {
	db      *DB
	visited []uint64 // a bit for each page
	stack   []uint32
	room    int64 // bytes of rows that may still be read: rows that overlap cannot make it endless
	row     []Value
	wanted  []int  // index in a record of each value of row; -1 for none
	rowid   int    // index of the record's value that is the row's number; -1 for none
	keyed   bool   // the tree is that of an index
	prefix  string // of the keys of an index that are wanted
	each    func(row []Value) bool
	stopped bool
	over    error // what is more than may be read
	lost    int   // how many cells and pages could not be read
	first   error
}

func (d *DB) newScan(t *table, columns []string, each func(row []Value) bool) *scan {
	s := d.newRow(t, columns)
	s.stack, s.room, s.each = []uint32{t.root}, 2*int64(d.pages)*int64(d.pageSize)+1<<20, each
	s.visited, s.keyed = make([]uint64, d.pages/64+1), t.keyed
	return s
}

// newRow returns what decodes single rows.
func (d *DB) newRow(t *table, columns []string) *scan {
	s := &scan{db: d, room: d.room, row: make([]Value, len(columns)), rowid: t.rowid}
	for _, c := range columns {
		s.wanted = append(s.wanted, t.index(c))
	}
	return s
}

// lose notes what could not be read, which costs itself.
func (s *scan) lose(err error) {
	if errors.Is(err, fact.ErrBudget) || s.db.item.Work(0) != nil { // nothing more will be read
		s.over = cmp.Or(s.over, err)
		s.stopped = true
	}
	if s.lost++; s.first == nil {
		s.first = err
	}
}

// run visits the tree from left to right, without recursion.
func (s *scan) run() error {
	for len(s.stack) > 0 && !s.stopped {
		number := s.stack[len(s.stack)-1]
		s.stack = s.stack[:len(s.stack)-1]
		if err := s.visit(number); err != nil {
			s.lose(err)
		}
	}
	switch {
	case s.over != nil:
		return s.over
	case s.lost > 1:
		return fmt.Errorf("%w (and %d more)", s.first, s.lost-1)
	case s.lost == 1:
		return s.first
	}
	return nil
}

// visit reads one page of the tree.
func (s *scan) visit(number uint32) error {
	d := s.db
	if number > d.pages {
		return d.malformed(0, "page %d of %d", number, d.pages)
	}
	if s.visited[number/64]&(1<<(number%64)) != 0 {
		return d.malformed(number, "page %d is in the tree twice", number)
	}
	s.visited[number/64] |= 1 << (number % 64)
	if err := d.read(number, d.page); err != nil {
		return err
	}
	p, header := d.page[:d.usable], 0
	if number == 1 {
		header = headerSize
	}
	cells := int(binary.BigEndian.Uint16(p[header+3:]))
	switch kind := p[header]; {
	case kind == interiorPage && !s.keyed:
		return s.interior(number, p, header, cells)
	case kind == leafPage && !s.keyed:
		return s.leaf(number, p, header, cells)
	case (kind == indexInterior || kind == indexLeaf) && s.keyed && number > 1:
		return s.index(number, p, cells)
	}
	return d.malformed(number, "page %d of kind 0x%02x in a tree", number, p[header])
}

// interior puts the pages below on the stack, the last first.
func (s *scan) interior(number uint32, p []byte, header, cells int) error {
	d := s.db
	if header+12+2*cells > len(p) {
		return d.malformed(number, "%d cells in a page", cells)
	}
	if len(s.stack)+cells > int(d.pages) {
		return d.malformed(number, "more pages in the tree than in the file")
	}
	s.stack = append(s.stack, binary.BigEndian.Uint32(p[header+8:]))
	for i := cells - 1; i >= 0; i-- {
		at := int(binary.BigEndian.Uint16(p[header+12+2*i:]))
		if at+4 > len(p) {
			s.lose(d.malformed(number, "cell at %d of a page", at))
			continue
		}
		s.stack = append(s.stack, binary.BigEndian.Uint32(p[at:]))
	}
	return nil
}

// leaf gives the rows of a page to the caller.
func (s *scan) leaf(number uint32, p []byte, header, cells int) error {
	if header+8+2*cells > len(p) {
		return s.db.malformed(number, "%d cells in a page", cells)
	}
	for i := 0; i < cells && !s.stopped; i++ {
		at := int(binary.BigEndian.Uint16(p[header+8+2*i:]))
		id, payload, err := s.payload(number, p, at)
		if err == nil {
			err = s.record(number, id, payload)
		}
		if err != nil {
			s.lose(err)
			continue
		}
		s.stopped = !s.each(s.row)
	}
	return nil
}

// payload returns the number of the row in a cell, and its bytes, which may go on in overflow pages.
func (s *scan) payload(number uint32, p []byte, at int) (id int64, b []byte, err error) {
	d := s.db
	size, at, ok := varint(p, at)
	if !ok {
		return 0, nil, d.malformed(number, "a cell is cut")
	}
	if size > maxRow {
		return 0, nil, fmt.Errorf("%s: %w: a row of %d bytes", d.name, fact.ErrTooLarge, size)
	}
	key, at, ok := varint(p, at)
	if !ok {
		return 0, nil, d.malformed(number, "a cell is cut")
	}
	b, err = d.gather(number, p, at, int(size), d.usable-35, &s.room)
	return int64(key), b, err
}

// gather returns the want bytes of a cell that begin at that place of a page. Of more than most bytes, the rest is in
// overflow pages. room is what may still be read.
func (d *DB) gather(number uint32, p []byte, at, want, most int, room *int64) ([]byte, error) {
	if *room -= int64(want) + 1; *room < 0 {
		return nil, d.malformed(number, "rows overlap")
	}
	err := d.item.Work(int64(want) + 1)
	if err == nil {
		err = d.item.Hold(int64(max(want-cap(d.scratch), 0)))
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.name, err)
	}
	local := want
	if want > most {
		least := (d.usable-12)*32/255 - 23
		if local = least + (want-least)%(d.usable-4); local > most {
			local = least
		}
	}
	switch {
	case local > len(p)-at:
		return nil, d.malformed(number, "a row of %d bytes reaches beyond its page", local)
	case local == want:
		return p[at : at+want], nil
	case at+local+4 > len(p):
		return nil, d.malformed(number, "a cell is cut")
	}
	d.scratch = append(d.scratch[:0], p[at:at+local]...)
	err = d.overflow(binary.BigEndian.Uint32(p[at+local:]), want)
	return d.scratch, err
}

// overflow adds the rest of a row to scratch. Each page adds bytes, so want bounds how many are read.
func (d *DB) overflow(next uint32, want int) error {
	for len(d.scratch) < want {
		if err := d.read(next, d.more); err != nil {
			return err
		}
		next = binary.BigEndian.Uint32(d.more)
		d.scratch = append(d.scratch, d.more[4:min(d.usable, 4+want-len(d.scratch))]...)
	}
	return nil
}

// varint reads a number of 1 to 9 bytes.
func varint(b []byte, at int) (v uint64, next int, ok bool) {
	for i := range 9 {
		if at < 0 || at >= len(b) {
			return 0, at, false
		}
		c := b[at]
		at++
		if i == 8 {
			return v<<8 | uint64(c), at, true
		}
		v = v<<7 | uint64(c&0x7f)
		if c < 0x80 {
			return v, at, true
		}
	}
	return 0, at, false
}
