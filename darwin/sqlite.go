// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/lazy"
)

// What is here reads tables of an SQLite database file, no more: the table b-trees of ordinary
// (rowid) tables, without indexes, without SQL, without log files. The format is fixed and public
// (https://www.sqlite.org/fileformat2.html). The file is in memory and may be hostile: every offset
// is checked, every page is visited once, and rows and bytes have caps.

// Caps for one database.
const (
	maxDatabase  = 64 << 20
	maxRows      = 100_000
	maxColumns   = 64
	maxCellBytes = 1 << 20 // of one row
)

// A database is an open file.
type database struct {
	source   string
	data     []byte
	pageSize int
	usable   int // bytes of a page that hold content
	utf16    binary.ByteOrder
	tables   map[string]table
	budget   int // bytes of rows that may still be read: rows that overlap cannot make it endless
}

// A table is where a table's tree starts and what its columns are called.
type table struct {
	root    uint32
	columns []string
}

// A row is one row's values by column name.
type row map[string]any // nil, int64, float64, string, []byte

func (r row) text(column string) string {
	switch v := r[column].(type) {
	case string:
		return escape.UTF8(v)
	case []byte:
		return fmt.Sprintf("%x", v)
	case int64:
		return fmt.Sprint(v)
	}
	return ""
}

func (r row) count(column string) fact.Count {
	if v, ok := r[column].(int64); ok {
		return fact.CountOf(v)
	}
	return fact.Count{}
}

func (r row) tri(column string) fact.Tri {
	switch v := r[column].(type) {
	case int64:
		return fact.TriOf(v != 0)
	case string:
		return fact.TriOf(v == "1" || strings.EqualFold(v, "true"))
	}
	return ""
}

func (d *database) malformed(at int, format string, args ...any) error {
	return &fact.ParseError{Source: d.source, Field: "sqlite", Offset: int64(at), Reason: fmt.Sprintf(format, args...)}
}

// openDatabase reads the header and the schema.
func openDatabase(source string, data []byte) (*database, error) {
	d := &database{source: source, data: data, tables: map[string]table{}, budget: 2*len(data) + maxCellBytes}
	if len(data) < 100 || string(data[:16]) != "SQLite format 3\x00" {
		return nil, d.malformed(0, "not an SQLite 3 database")
	}
	d.pageSize = int(binary.BigEndian.Uint16(data[16:]))
	if d.pageSize == 1 {
		d.pageSize = 65536
	}
	d.usable = d.pageSize - int(data[20])
	if d.pageSize < 512 || d.pageSize&(d.pageSize-1) != 0 || d.usable < 480 {
		return nil, d.malformed(16, "page size %d, %d of it reserved", d.pageSize, data[20])
	}
	switch encoding := binary.BigEndian.Uint32(data[56:]); encoding {
	case 0, 1:
	case 2:
		d.utf16 = binary.LittleEndian
	case 3:
		d.utf16 = binary.BigEndian
	default:
		return nil, d.malformed(56, "text encoding %d", encoding)
	}
	return d, d.schema()
}

// createTable takes the column definitions out of a CREATE TABLE statement.
var createTable = lazy.Regexp{Pattern: `(?is)^\s*CREATE\s+TABLE\s+\S+\s*\((.*)\)\s*;?\s*$`}

// schema reads the table of tables, whose tree starts at page 1.
func (d *database) schema() error {
	columns := []string{"type", "name", "tbl_name", "rootpage", "sql"}
	return d.walk(table{1, columns}, func(r row) {
		if r["type"] != "table" {
			return
		}
		name, _ := r["name"].(string)
		sql, _ := r["sql"].(string)
		root, _ := r["rootpage"].(int64)
		m := createTable.FindStringSubmatch(sql)
		if m == nil || root < 2 || root > math.MaxUint32 || len(d.tables) >= 1000 {
			return
		}
		d.tables[name] = table{uint32(root), columnNames(m[1])}
	})
}

// columnNames are the names in the definitions of a table; what follows the columns are constraints.
func columnNames(definitions string) []string {
	var names []string
	depth, start := 0, 0
	add := func(definition string) {
		word, _, _ := strings.Cut(strings.TrimSpace(definition), " ")
		switch upper := strings.ToUpper(word); {
		case word == "", len(names) == maxColumns:
		case strings.HasPrefix(upper, "PRIMARY"), strings.HasPrefix(upper, "UNIQUE"), strings.HasPrefix(upper, "CHECK"),
			strings.HasPrefix(upper, "FOREIGN"), strings.HasPrefix(upper, "CONSTRAINT"):
		default:
			names = append(names, strings.Trim(word, "\"`[]'"))
		}
	}
	for i := range len(definitions) {
		switch definitions[i] {
		case '(':
			depth++
		case ')':
			depth--
		case ',':
			if depth == 0 {
				add(definitions[start:i])
				start = i + 1
			}
		}
	}
	add(definitions[start:])
	return names
}

// rows calls each with every row of a table.
func (d *database) rows(name string, each func(row)) error {
	t, ok := d.tables[name]
	if !ok {
		return d.malformed(0, "there is no table %s", name)
	}
	return d.walk(t, each)
}

// page returns the page with its number, and where its header starts.
func (d *database) page(number uint32) (p []byte, header int, err error) {
	end := uint64(number) * uint64(d.pageSize)
	if number == 0 || end > uint64(len(d.data)) {
		return nil, 0, d.malformed(0, "page %d of %d", number, len(d.data)/d.pageSize)
	}
	if number == 1 {
		header = 100
	}
	return d.data[end-uint64(d.pageSize) : end][:d.usable], header, nil
}

// walk visits a table's tree from left to right, without recursion. Each page is visited once.
func (d *database) walk(t table, each func(row)) error {
	visited := make(map[uint32]bool)
	stack := []uint32{t.root}
	rows := 0
	for len(stack) > 0 {
		number := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if visited[number] {
			return d.malformed(0, "page %d is in the tree twice", number)
		}
		visited[number] = true
		p, header, err := d.page(number)
		if err != nil {
			return err
		}
		cells := int(binary.BigEndian.Uint16(p[header+3:]))
		switch p[header] {
		case 0x05: // interior
			children, err := d.children(p, header, cells)
			if err != nil {
				return err
			}
			if stack = append(stack, children...); len(stack) > len(d.data)/d.pageSize {
				return d.malformed(0, "more pages in the tree than in the file")
			}
		case 0x0d: // leaf
			if rows += cells; rows > maxRows {
				return &fact.ParseError{Source: d.source, Field: "sqlite",
					Reason: fmt.Sprintf("more than %d rows", maxRows), Err: fact.ErrTooLarge}
			}
			if err := d.leaf(p, header, cells, t.columns, each); err != nil {
				return err
			}
		default:
			return d.malformed(0, "page %d of type 0x%02x in a table", number, p[header])
		}
	}
	return nil
}

// children are the pages below an interior page, the last first.
func (d *database) children(p []byte, header, cells int) ([]uint32, error) {
	if header+12+2*cells > len(p) {
		return nil, d.malformed(0, "%d cells in a page", cells)
	}
	all := []uint32{binary.BigEndian.Uint32(p[header+8:])}
	for i := cells - 1; i >= 0; i-- {
		at := int(binary.BigEndian.Uint16(p[header+12+2*i:]))
		if at+4 > len(p) {
			return nil, d.malformed(0, "cell at %d of a page", at)
		}
		all = append(all, binary.BigEndian.Uint32(p[at:]))
	}
	return all, nil
}

func (d *database) leaf(p []byte, header, cells int, columns []string, each func(row)) error {
	if header+8+2*cells > len(p) {
		return d.malformed(0, "%d cells in a page", cells)
	}
	for i := range cells {
		at := int(binary.BigEndian.Uint16(p[header+8+2*i:]))
		payload, err := d.payload(p, at)
		if err != nil {
			return err
		}
		r, err := d.record(payload, columns)
		if err != nil {
			return err
		}
		each(r)
	}
	return nil
}

// payload returns the bytes of the row in a cell, which may go on in overflow pages.
func (d *database) payload(p []byte, at int) ([]byte, error) {
	size, at, ok := varint(p, at)
	if !ok || size > maxCellBytes {
		return nil, d.malformed(at, "a row of %d bytes", size)
	}
	_, at, ok = varint(p, at) // the row's number
	if !ok {
		return nil, d.malformed(at, "a cell is cut")
	}
	want := int(size)
	if d.budget -= want; d.budget < 0 {
		return nil, d.malformed(at, "rows overlap")
	}
	local := want
	if most := d.usable - 35; want > most {
		least := (d.usable-12)*32/255 - 23
		if local = least + (want-least)%(d.usable-4); local > most {
			local = least
		}
	}
	if local > len(p)-at {
		return nil, d.malformed(at, "a row of %d bytes reaches beyond its page", local)
	}
	if local == want {
		return p[at : at+want], nil
	}
	if at+local+4 > len(p) {
		return nil, d.malformed(at, "a cell is cut")
	}
	return d.overflow(append([]byte(nil), p[at:at+local]...), binary.BigEndian.Uint32(p[at+local:]), want)
}

// overflow adds the rest of a row; want bounds how many pages are read.
func (d *database) overflow(b []byte, next uint32, want int) ([]byte, error) {
	for len(b) < want {
		p, _, err := d.page(next)
		if err != nil {
			return nil, err
		}
		next = binary.BigEndian.Uint32(p)
		b = append(b, p[4:min(len(p), 4+want-len(b))]...)
	}
	return b, nil
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

// record decodes a row: the types of its values, then the values.
func (d *database) record(b []byte, columns []string) (row, error) {
	size, at, ok := varint(b, 0)
	if !ok || size > uint64(len(b)) {
		return nil, d.malformed(0, "header of %d bytes in a row of %d", size, len(b))
	}
	end := int(size)
	body := end
	r := make(row, len(columns))
	for i := 0; at < end && i < len(columns); i++ {
		kind, next, ok := varint(b[:end], at)
		if !ok {
			return nil, d.malformed(at, "a row's header is cut")
		}
		at = next
		value, n, err := d.value(kind, b[body:])
		if err != nil {
			return nil, err
		}
		r[columns[i]] = value
		body += n
	}
	return r, nil
}

// value decodes one value and says how many bytes it has.
func (d *database) value(kind uint64, b []byte) (any, int, error) {
	var n int
	switch {
	case kind <= 4:
		n = int(kind)
	case kind == 5:
		n = 6
	case kind == 6, kind == 7:
		n = 8
	case kind >= 12:
		if kind > 2*maxCellBytes+13 {
			return nil, 0, d.malformed(0, "a value of type %d", kind)
		}
		n = int(kind-12) / 2
	}
	if n > len(b) {
		return nil, 0, d.malformed(0, "a value of %d bytes where %d are left", n, len(b))
	}
	b = b[:n]
	switch {
	case kind == 0:
		return nil, 0, nil
	case kind <= 6:
		return signed(b), n, nil
	case kind == 7:
		return math.Float64frombits(binary.BigEndian.Uint64(b)), n, nil
	case kind == 8, kind == 9:
		return int64(kind - 8), 0, nil
	case kind < 12:
		return nil, 0, d.malformed(0, "a value of type %d", kind)
	case kind%2 == 0:
		return append([]byte(nil), b...), n, nil
	case d.utf16 != nil:
		return string(fromUTF16(b, d.utf16 == binary.BigEndian)), n, nil
	}
	return string(b), n, nil
}

// signed reads a two's complement number.
func signed(b []byte) int64 {
	v := int64(int8(b[0]))
	for _, c := range b[1:] {
		v = v<<8 | int64(c)
	}
	return v
}
