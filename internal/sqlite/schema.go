// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strings"
)

const (
	maxColumns = 256
	maxSQL     = 1 << 20
)

// A table is where the tree of a table starts, and what its columns are called.
type table struct {
	root    uint32
	columns []string // in the order of a record; "" for one that has no name here
	rowid   int      // index of the column that is the row's number; -1 if the table has no such column
	keyed   bool     // WITHOUT ROWID: its tree is of another form
}

// index returns where a record has the column, -1 if it has not. Names of columns have no case.
func (t *table) index(column string) int {
	return slices.IndexFunc(t.columns, func(c string) bool { return strings.EqualFold(c, column) })
}

// schema reads the table of tables, whose tree starts at page 1.
func (d *DB) schema() error {
	d.tables, d.indexes = map[string]*table{}, map[string]uint32{}
	root := &table{root: 1, columns: []string{"type", "name", "tbl_name", "rootpage", "sql"}, rowid: -1}
	s := d.newScan(root, []string{"type", "name", "tbl_name", "rootpage", "sql"}, func(row []Value) bool {
		page, _ := row[3].Int()
		if page < 2 || page > math.MaxUint32 || len(d.tables)+len(d.indexes) >= maxTables {
			return true
		}
		switch row[0].Text() {
		case "table":
			if t := parseTable(row[4].Text()); t != nil {
				t.root = uint32(page)
				d.tables[strings.ToLower(row[1].Text())] = t
			}
		case "index":
			if column, ok := parseIndex(row[4].Text()); ok {
				d.indexes[strings.ToLower(row[2].Text()+"."+column)] = uint32(page)
			}
		}
		return true
	})
	return s.run()
}

// Has reports whether there is a table of that name with all of the columns.
func (d *DB) Has(table string, columns ...string) bool {
	t, ok := d.tables[strings.ToLower(table)]
	return ok && !slices.ContainsFunc(columns, func(c string) bool { return t.index(c) < 0 })
}

// Scan calls each with every row of a table, in the order of its tree, until each returns false. A row has the values
// of the columns, in their order; one that the table lacks is NULL. The row and its values are valid until each
// returns, which must not use the DB. An invalid row or page is left out, and the error names it after each was called
// with the others. The error matches fs.ErrNotExist if the table does not exist, and fact.ErrGone if the files changed
// meanwhile.
func (d *DB) Scan(table string, columns []string, each func(row []Value) bool) error {
	t, err := d.table(table)
	if err != nil {
		return err
	}
	if err := d.newScan(t, columns, each).run(); err != nil {
		return err
	}
	return d.Steady()
}

// table returns a table whose rows have numbers.
func (d *DB) table(name string) (*table, error) {
	t, ok := d.tables[strings.ToLower(name)]
	switch {
	case !ok:
		return nil, fmt.Errorf("%s: table %s: %w", d.name, name, fs.ErrNotExist)
	case t.keyed:
		return nil, fmt.Errorf("%s: table %s without row numbers: %w", d.name, name, errors.ErrUnsupported)
	}
	return t, nil
}

// parseTable reads a CREATE TABLE statement; nil for any other statement.
func parseTable(sql string) *table {
	if len(sql) > maxSQL {
		return nil
	}
	words := tokens(sql)
	open := slices.Index(words, "(")
	if open < 2 || !strings.EqualFold(words[0], "CREATE") || !strings.EqualFold(words[1], "TABLE") {
		return nil // a virtual table, or one made of a query, whose statement is stored in this form anyway
	}
	t := &table{rowid: -1}
	types := []string{}
	depth, start := 0, open+1
	for i := open; i < len(words); i++ {
		switch words[i] {
		case "(":
			depth++
		case ")":
			depth--
		}
		if depth == 0 || depth == 1 && words[i] == "," {
			types = t.define(words[start:i], types)
			start = i + 1
		}
		if depth == 0 {
			break
		}
	}
	if start > len(words) || depth != 0 {
		return nil
	}
	t.keyed = slices.ContainsFunc(words[start:], func(w string) bool { return strings.EqualFold(w, "WITHOUT") })
	return t
}

// define adds one definition: a column, or a constraint of the table. types are those of the columns so far.
func (t *table) define(words, types []string) []string {
	if len(words) == 0 || len(t.columns) == maxColumns {
		return types
	}
	upper := make([]string, len(words))
	for i, w := range words {
		upper[i] = strings.ToUpper(w)
	}
	key := indexWords(upper, "PRIMARY", "KEY")
	switch upper[0] {
	case "PRIMARY", "UNIQUE", "CHECK", "FOREIGN", "CONSTRAINT":
		// PRIMARY KEY ( NAME ): of a column of type INTEGER, this is the row's number.
		if key >= 0 && len(words) > key+4 && words[key+2] == "(" && (words[key+4] == ")" ||
			upper[key+4] == "AUTOINCREMENT") {
			if i := t.index(unquote(words[key+3])); i >= 0 && types[i] == "INTEGER" {
				t.rowid = i
			}
		}
		return types
	}
	if slices.Contains(upper, "AS") && !slices.Contains(upper, "STORED") {
		return types // computed when it is read
	}
	kind := ""
	if len(upper) > 1 && (len(upper) == 2 || isConstraint(upper[2])) {
		kind = upper[1]
	}
	if kind == "INTEGER" && key == 2 && (len(upper) == 4 || upper[4] != "DESC") {
		t.rowid = len(t.columns)
	}
	t.columns = append(t.columns, unquote(words[0]))
	return append(types, kind)
}

// isConstraint reports whether the word ends the type of a column.
func isConstraint(word string) bool {
	return slices.Contains([]string{"CONSTRAINT", "PRIMARY", "NOT", "NULL", "UNIQUE", "CHECK", "DEFAULT", "COLLATE",
		"REFERENCES", "GENERATED", "AS"}, word)
}

// indexWords returns where two words follow each other, -1 if nowhere.
func indexWords(words []string, a, b string) int {
	for i := 0; i+1 < len(words); i++ {
		if words[i] == a && words[i+1] == b {
			return i
		}
	}
	return -1
}

// unquote returns a name without its quotes.
func unquote(word string) string {
	if len(word) >= 2 && strings.IndexByte("\"`['", word[0]) >= 0 {
		return word[1 : len(word)-1]
	}
	return word
}

// tokens splits a statement at blanks and punctuation. Quoted names and texts keep their quotes; comments are left out.
func tokens(sql string) []string {
	var out []string
	for i := 0; i < len(sql); {
		n := 1
		switch c := sql[i]; {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f':
			i++
			continue
		case strings.HasPrefix(sql[i:], "--"):
			i += until(sql[i:], "\n")
			continue
		case strings.HasPrefix(sql[i:], "/*"):
			i += until(sql[i:], "*/")
			continue
		case c == '[':
			n = until(sql[i:], "]")
		case c == '"' || c == '\'' || c == '`':
			n = 1 + until(sql[i+1:], string(c))
		case wordByte(c):
			for i+n < len(sql) && wordByte(sql[i+n]) {
				n++
			}
		}
		out = append(out, sql[i:i+n])
		i += n
	}
	return out
}

// until returns how many bytes s has up to the end of the mark, or in all.
func until(s, mark string) int {
	if i := strings.Index(s, mark); i >= 0 {
		return i + len(mark)
	}
	return len(s)
}

func wordByte(c byte) bool {
	return c == '_' || c == '$' || c >= 0x80 || c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
}
