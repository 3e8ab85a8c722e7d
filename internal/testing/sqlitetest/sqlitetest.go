// SPDX-License-Identifier: Apache-2.0

// Package sqlitetest builds SQLite databases for tests. It is a writer of its own, so that a reader is tested on any
// system, without SQLite.
package sqlitetest

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
)

// A Table is one table of a database.
type Table struct {
	// Name and SQL are its name and its CREATE TABLE statement.
	Name, SQL string
	// Rows are its rows: nil, int, int64, string or []byte. Their numbers count from 1.
	Rows [][]any
	// Index is the place, from 1, of a column of texts that has an index; Indexed is its name. 0 means no index.
	Index   int
	Indexed string
}

type builder struct {
	size  int
	pages [][]byte
}

// Build returns a database of the tables with pages of that size.
func Build(pageSize int, tables ...Table) []byte {
	b := &builder{size: pageSize, pages: [][]byte{nil}}
	schema := [][]any{}
	for _, t := range tables {
		schema = append(schema, []any{"table", t.Name, t.Name, b.tree(t.Rows), t.SQL})
		if t.Index > 0 {
			name := t.Name + "_" + t.Indexed + "_idx"
			schema = append(schema, []any{"index", name, t.Name, b.index(t.Rows, t.Index-1),
				"CREATE INDEX '" + name + "' ON '" + t.Name + "'(" + t.Indexed + " ASC)"})
		}
	}
	p, n := b.leaf(100, 1, schema)
	if n != len(schema) {
		panic("the schema does not fit on a page")
	}
	copy(p, "SQLite format 3\x00")
	binary.BigEndian.PutUint16(p[16:], uint16(pageSize&0xffff|pageSize>>16))
	p[18], p[19] = 1, 1
	p[21], p[22], p[23] = 64, 32, 32
	binary.BigEndian.PutUint32(p[24:], 1)
	binary.BigEndian.PutUint32(p[28:], uint32(len(b.pages)))
	binary.BigEndian.PutUint32(p[44:], 4)
	binary.BigEndian.PutUint32(p[56:], 1)
	binary.BigEndian.PutUint32(p[92:], 1)
	b.pages[0] = p
	return bytes.Join(b.pages, nil)
}

func (b *builder) add(p []byte) int {
	b.pages = append(b.pages, p)
	return len(b.pages)
}

// A child is a page of a tree with the highest row number below it.
type child struct {
	page int
	last int
}

// tree writes the pages of a table and returns its root.
func (b *builder) tree(rows [][]any) int {
	var level []child
	for first := 1; level == nil || len(rows) > 0; {
		p, n := b.leaf(0, first, rows)
		if n == 0 && len(rows) > 0 {
			panic("a row does not fit on a page")
		}
		first, rows = first+n, rows[n:]
		level = append(level, child{b.add(p), first - 1})
	}
	for len(level) > 1 {
		var up []child
		for len(level) > 0 {
			n := min(len(level), (b.size-20)/16)
			up = append(up, child{b.add(b.interior(level[:n])), level[n-1].last})
			level = level[n:]
		}
		level = up
	}
	return level[0].page
}

func (b *builder) interior(level []child) []byte {
	p := make([]byte, b.size)
	p[0] = 0x05
	last := len(level) - 1
	binary.BigEndian.PutUint16(p[3:], uint16(last))
	binary.BigEndian.PutUint32(p[8:], uint32(level[last].page))
	end := b.size
	for i, c := range level[:last] {
		cell := varint(binary.BigEndian.AppendUint32(nil, uint32(c.page)), uint64(c.last))
		end -= len(cell)
		copy(p[end:], cell)
		binary.BigEndian.PutUint16(p[12+2*i:], uint16(end))
	}
	binary.BigEndian.PutUint16(p[5:], uint16(end))
	return p
}

// index writes the pages of an index of a column of texts and returns its root.
func (b *builder) index(rows [][]any, column int) int {
	order := make([]int, len(rows))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int {
		return strings.Compare(rows[i][column].(string), rows[j][column].(string))
	})
	entries := make([][]byte, len(rows)) // without a page below
	for i, at := range order {
		entries[i] = b.entry(record([]any{rows[at][column], at + 1}))
	}
	var below []int // the pages of the level below, one more than entries
	for {
		var up [][]byte
		var pages []int
		for rest := entries; ; {
			n := b.fits(rest, below != nil)
			pages = append(pages, b.add(b.indexPage(rest[:n], below)))
			if below != nil {
				below = below[n+1:]
			}
			if n == len(rest) {
				break
			}
			up, rest = append(up, rest[n]), rest[n+1:]
		}
		if len(pages) == 1 {
			return pages[0]
		}
		entries, below = up, pages
	}
}

// fits returns how many entries fit on a page, such that what is left has one that goes up and one after it.
func (b *builder) fits(entries [][]byte, interior bool) int {
	room, n := b.size-12, 0
	for n < len(entries) && room >= len(entries[n])+6 {
		room -= len(entries[n]) + 2
		if interior {
			room -= 4
		}
		n++
	}
	if n == len(entries)-1 {
		n--
	}
	return n
}

func (b *builder) indexPage(entries [][]byte, below []int) []byte {
	p := make([]byte, b.size)
	header := 8
	p[0] = 0x0a
	if below != nil {
		p[0], header = 0x02, 12
		binary.BigEndian.PutUint32(p[8:], uint32(below[len(entries)]))
	}
	binary.BigEndian.PutUint16(p[3:], uint16(len(entries)))
	end := b.size
	for i, e := range entries {
		if below != nil {
			e = append(binary.BigEndian.AppendUint32(nil, uint32(below[i])), e...)
		}
		end -= len(e)
		copy(p[end:], e)
		binary.BigEndian.PutUint16(p[header+2*i:], uint16(end))
	}
	binary.BigEndian.PutUint16(p[5:], uint16(end&0xffff))
	return p
}

// entry returns an entry of an index as a cell, without the number of a page below.
func (b *builder) entry(record []byte) []byte {
	return append(varint(nil, uint64(len(record))), b.spill(record, (b.size-12)*64/255-23)...)
}

// leaf writes as many rows as fit on a page whose header is at that offset. It returns how many.
func (b *builder) leaf(header, first int, rows [][]any) (p []byte, n int) {
	p = make([]byte, b.size)
	p[header] = 0x0d
	end := b.size
	for n < len(rows) {
		cell := b.cell(first+n, rows[n], end-(header+8+2*(n+1)))
		if cell == nil {
			break
		}
		end -= len(cell)
		copy(p[end:], cell)
		binary.BigEndian.PutUint16(p[header+8+2*n:], uint16(end))
		n++
	}
	binary.BigEndian.PutUint16(p[header+3:], uint16(n))
	binary.BigEndian.PutUint16(p[header+5:], uint16(end&0xffff))
	return p, n
}

// cell returns a row as a cell of at most room bytes, nil if it has more. What is too long goes on in pages of its own.
func (b *builder) cell(id int, values []any, room int) []byte {
	record := record(values)
	cell := varint(varint(nil, uint64(len(record))), uint64(id))
	if most := b.size - 35; len(cell)+min(len(record), most)+4 > room {
		return nil
	}
	return append(cell, b.spill(record, b.size-35)...)
}

// spill returns what of a record is in its cell. The rest of one of more than most bytes goes on in pages of its own.
func (b *builder) spill(record []byte, most int) []byte {
	local := len(record)
	if local > most {
		least := (b.size-12)*32/255 - 23
		if local = least + (len(record)-least)%(b.size-4); local > most {
			local = least
		}
	}
	cell := bytes.Clone(record[:local])
	if rest := record[local:]; len(rest) > 0 {
		cell = binary.BigEndian.AppendUint32(cell, uint32(len(b.pages)+1))
		for len(rest) > 0 {
			n := min(len(rest), b.size-4)
			p := make([]byte, b.size)
			copy(p[4:], rest[:n])
			if rest = rest[n:]; len(rest) > 0 {
				binary.BigEndian.PutUint32(p, uint32(len(b.pages)+2))
			}
			b.add(p)
		}
	}
	return cell
}

func record(values []any) []byte {
	var types, body []byte
	for _, v := range values {
		switch v := v.(type) {
		case nil:
			types = varint(types, 0)
		case int:
			types, body = varint(types, 6), binary.BigEndian.AppendUint64(body, uint64(int64(v)))
		case int64:
			types, body = varint(types, 6), binary.BigEndian.AppendUint64(body, uint64(v))
		case string:
			types, body = varint(types, uint64(13+2*len(v))), append(body, v...)
		case []byte:
			types, body = varint(types, uint64(12+2*len(v))), append(body, v...)
		}
	}
	n := len(types) + 1
	if n > 127 {
		n++
	}
	return append(append(varint(nil, uint64(n)), types...), body...)
}

func varint(b []byte, v uint64) []byte {
	groups := []byte{byte(v & 0x7f)}
	for v >>= 7; v > 0; v >>= 7 {
		groups = append(groups, byte(v&0x7f)|0x80)
	}
	for i := len(groups) - 1; i >= 0; i-- {
		b = append(b, groups[i])
	}
	return b
}

// WAL returns a write-ahead log that turns the database before into the one after, in one transaction of the pages
// that differ.
func WAL(before, after []byte, pageSize int) []byte {
	order := binary.BigEndian
	log := order.AppendUint32(nil, 0x377f0683)
	log = order.AppendUint32(log, 3007000)
	log = order.AppendUint32(log, uint32(pageSize))
	log = append(log, 0, 0, 0, 1, 's', 'a', 'l', 't', 'S', 'A', 'L', 'T')
	var s sum
	s.add(log)
	log = s.put(log)
	pages := len(after) / pageSize
	for i := range pages {
		page := after[i*pageSize : (i+1)*pageSize]
		if (i+1)*pageSize <= len(before) && bytes.Equal(page, before[i*pageSize:(i+1)*pageSize]) && i+1 < pages {
			continue
		}
		size := 0
		if i+1 == pages {
			size = pages
		}
		head := order.AppendUint32(order.AppendUint32(nil, uint32(i+1)), uint32(size))
		s.add(head)
		s.add(page)
		log = append(append(log, head...), "saltSALT"...)
		log = append(s.put(log), page...)
	}
	return log
}

type sum struct{ a, b uint32 }

func (s *sum) add(b []byte) {
	for ; len(b) >= 8; b = b[8:] {
		s.a += binary.BigEndian.Uint32(b) + s.b
		s.b += binary.BigEndian.Uint32(b[4:]) + s.a
	}
}

func (s *sum) put(b []byte) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, s.a), s.b)
}
