// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
)

// The kinds of pages in the tree of an index.
const (
	indexInterior = 0x02
	indexLeaf     = 0x0a
	maxDepth      = 32 // pages from the root to a row: each holds at least two others
)

// parseIndex returns the column of an index of one column in ascending bytes; ok is false for any other index.
func parseIndex(sql string) (column string, ok bool) {
	if len(sql) > maxSQL {
		return "", false
	}
	words := tokens(sql)
	if len(words) > 2 && strings.EqualFold(words[1], "UNIQUE") {
		words = slices.Delete(words, 1, 2)
	}
	// CREATE INDEX name ON table ( column [ASC] )
	if len(words) == 9 && strings.EqualFold(words[7], "ASC") {
		words = slices.Delete(words, 7, 8)
	}
	if len(words) != 8 || !strings.EqualFold(words[1], "INDEX") || words[5] != "(" || words[7] != ")" {
		return "", false
	}
	return unquote(words[6]), true
}

// Prefix calls each with the number of every row of a table whose text in the column begins with the prefix, in no
// order, until each returns false. It reads the index of that column alone. The error matches errors.ErrUnsupported if
// there is no such index, or no index of plain bytes; after any other error rows may be missing. each must not use the
// DB.
func (d *DB) Prefix(table, column, prefix string, each func(row int64) bool) error {
	root, ok := d.indexes[strings.ToLower(table+"."+column)]
	if !ok || d.order != nil {
		return fmt.Errorf("%s: no index of %s.%s: %w", d.name, table, column, errors.ErrUnsupported)
	}
	s := d.newScan(newIndex(root), []string{"key", "row"}, func(row []Value) bool {
		n, ok := row[1].Int()
		return !ok || each(n)
	})
	s.prefix = prefix
	return s.run()
}

// newIndex is the tree of an index of one column: a key, and the number of the row that has it.
func newIndex(root uint32) *table {
	return &table{root: root, columns: []string{"key", "row"}, rowid: -1, keyed: true}
}

// side says where the key of an entry is: -1 before what begins with the prefix, 1 after it, 0 if it does. A number
// comes before any text, and a blob after it.
func (s *scan) side() int {
	key := s.row[0]
	switch key.kind {
	case kindText:
	case kindBlob:
		return 1
	default:
		return -1
	}
	if n := len(s.prefix); len(key.bytes) >= n && string(key.bytes[:n]) == s.prefix {
		return 0
	}
	return strings.Compare(string(key.bytes), s.prefix)
}

// index visits one page of an index: it gives the entries that begin with the prefix, and puts the pages below on the
// stack that may hold such.
func (s *scan) index(number uint32, p []byte, cells int) error {
	header := 8
	if p[0] == indexInterior {
		header = 12
	}
	if header+2*cells > len(p) {
		return s.db.malformed(number, "%d cells in a page", cells)
	}
	if p[0] == indexInterior && len(s.stack)+cells > int(s.db.pages) {
		return s.db.malformed(number, "more pages in the tree than in the file")
	}
	before := -1 // the side of the entry before
	for i := 0; i < cells && !s.stopped && before < 1; i++ {
		at := int(binary.BigEndian.Uint16(p[header+2*i:]))
		child := uint32(0)
		if p[0] == indexInterior {
			if at+4 > len(p) {
				return s.db.malformed(number, "cell at %d of a page", at)
			}
			child, at = binary.BigEndian.Uint32(p[at:]), at+4
		}
		if err := s.entry(number, p, at); err != nil {
			return err // which pages below are wanted is not known
		}
		before = s.side()
		if child != 0 && before >= 0 {
			s.stack = append(s.stack, child)
		}
		if before == 0 {
			s.stopped = !s.each(s.row)
		}
	}
	if p[0] == indexInterior && before < 1 {
		s.stack = append(s.stack, binary.BigEndian.Uint32(p[8:]))
	}
	return nil
}

// entry decodes one entry of an index into the row of the scan.
func (s *scan) entry(number uint32, p []byte, at int) error {
	size, at, ok := varint(p, at)
	if !ok {
		return s.db.malformed(number, "a cell is cut")
	}
	if size > maxRow {
		return fmt.Errorf("%s: %w: a key of %d bytes", s.db.name, fact.ErrTooLarge, size)
	}
	b, err := s.db.gather(number, p, at, int(size), (s.db.usable-12)*64/255-23, &s.room)
	if err != nil {
		return err
	}
	return s.record(number, 0, b)
}

// Row calls each with the values of the columns in the row of that number. found is false if the table has no such
// row. The row and its values are valid until each returns, which must not use the DB.
func (d *DB) Row(name string, columns []string, number int64, each func(row []Value)) (found bool, err error) {
	t, err := d.table(name)
	if err != nil {
		return false, err
	}
	page := t.root
	for range maxDepth {
		if d.room -= int64(d.pageSize); d.room < 0 {
			return false, d.malformed(page, "more is to be read than the file has")
		}
		if err := d.read(page, d.page); err != nil {
			return false, err
		}
		p := d.page[:d.usable]
		cells := int(binary.BigEndian.Uint16(p[3:]))
		switch {
		case p[0] == leafPage && 8+2*cells <= len(p):
			return d.rowOf(t, page, cells, columns, number, each)
		case p[0] != interiorPage || 12+2*cells > len(p):
			return false, d.malformed(page, "page %d of kind 0x%02x with %d cells in a table", page, p[0], cells)
		}
		if page, err = d.below(page, p, cells, number); err != nil {
			return false, err
		}
	}
	return false, d.malformed(page, "a tree of more than %d levels", maxDepth)
}

// below returns the page below an interior page of a table that holds the row of that number.
func (d *DB) below(page uint32, p []byte, cells int, number int64) (uint32, error) {
	for i := range cells {
		at := int(binary.BigEndian.Uint16(p[12+2*i:]))
		last, _, ok := varint(p, at+4)
		if !ok {
			return 0, d.malformed(page, "cell at %d of a page", at)
		}
		if number <= int64(last) {
			return binary.BigEndian.Uint32(p[at:]), nil
		}
	}
	return binary.BigEndian.Uint32(p[8:]), nil
}

// rowOf finds the row in a leaf page.
func (d *DB) rowOf(t *table, page uint32, cells int, columns []string, number int64, each func(row []Value),
) (bool, error) {
	p := d.page[:d.usable]
	for i := range cells {
		at := int(binary.BigEndian.Uint16(p[8+2*i:]))
		_, next, _ := varint(p, at)
		if id, _, ok := varint(p, next); !ok || int64(id) != number {
			if !ok {
				return false, d.malformed(page, "a cell is cut")
			}
			continue
		}
		s := d.newRow(t, columns)
		_, b, err := s.payload(page, p, at)
		d.room = s.room
		if err == nil {
			err = s.record(page, number, b)
		}
		if err == nil {
			each(s.row)
		}
		return err == nil, err
	}
	return false, nil
}
