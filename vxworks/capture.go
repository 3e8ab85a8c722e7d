// SPDX-License-Identifier: Apache-2.0

package vxworks

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/capture"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/lazy"
)

// SourceModuleShow is the name of the source of moduleShow's text.
const SourceModuleShow = "moduleshow"

// A Record is one module: what every system says, and in Own the rest of its row. Several modules may share a name.
// Size is what moduleShow of one module calls the total, in bytes.
type Record = fact.Record[fact.Other]

var (
	columnNames = []string{"MODULE NAME", "MODULE ID", "GROUP #", "TEXT START", "DATA START", "BSS START"}
	sizeLine    = lazy.Regexp{Pattern: `(?i)^\s*(?:size of (text|data|bss)\s+segment|(total) size)\s*:\s*` +
		`(0x[0-9a-f]+|\d+)`}
	hexWord = lazy.Regexp{Pattern: `^(?:0x)?[0-9a-fA-F]{1,16}$`}
)

// A row is one module of moduleShow.
type row struct {
	name string
	// id is the module's id, which is an address; group is its group number.
	id    string
	group fact.Count
	// text, data and bss are where its segments start; 0 if missing or unknown.
	text, data, bss fact.Address
	// The sizes are in bytes; only moduleShow of one module has them.
	textSize, dataSize, bssSize, total fact.Count
}

// ReadModuleShow reads the text that moduleShow prints, the modules in the order in which the shell gave them. Text
// before the header is not moduleShow's. A later line that is not a row is reported.
func ReadModuleShow(text string, r *fact.Report) fact.Capture[fact.Other] {
	var c fact.Capture[fact.Other]
	var rows []row
	var columns []string
	c.Stray = capture.Scan(text, capture.Form{Tool: "moduleShow", Source: SourceModuleShow}, r,
		func(line string) error {
			if cols := header(line); cols != nil {
				columns, c.Sure = cols, true
				return nil
			}
			if columns == nil || addSize(rows, line) {
				return nil
			}
			row, err := parseRow(columns, line)
			switch {
			case err == nil:
				rows = append(rows, row)
			case noise(line):
				return nil
			}
			return err
		})
	c.Rows, c.Records = len(rows), make([]Record, len(rows))
	for i := range rows {
		c.Records[i] = rows[i].record()
	}
	r.Done(SourceModuleShow, fact.CountOf(int64(c.Rows)))
	return c
}

// record returns the row as a record.
func (r *row) record() Record {
	m := Record{
		ID: string(fact.KindVxWorksModule) + ":" + r.name, Kind: fact.KindVxWorksModule, Name: r.name,
		State: fact.StateLoaded, Size: r.total, Address: r.text, Own: &fact.Other{System: fact.VxWorks},
	}
	m.Own.Add("moduleId", r.id)
	m.Own.AddCount("group", r.group)
	m.Own.AddAddress("dataStart", r.data)
	m.Own.AddAddress("bssStart", r.bss)
	m.Own.AddCount("textSize", r.textSize)
	m.Own.AddCount("dataSize", r.dataSize)
	m.Own.AddCount("bssSize", r.bssSize)
	return m
}

// header returns the columns in the order in which the line has them; nil if it is not a header.
func header(line string) []string {
	upper := strings.Join(strings.Fields(strings.ToUpper(line)), " ")
	var found []string
	for _, name := range columnNames {
		if strings.Contains(upper, name) {
			found = append(found, name)
		}
	}
	slices.SortFunc(found, func(a, b string) int { return strings.Index(upper, a) - strings.Index(upper, b) })
	if len(found) < 3 || found[0] != columnNames[0] {
		return nil
	}
	return found
}

// noise reports whether the line is one of the shell's own: a rule, its prompt or the value of what was called.
func noise(line string) bool {
	t := strings.TrimSpace(line)
	return strings.Trim(t, "- =") == "" || strings.HasPrefix(t, "->") || strings.HasPrefix(t, "value =")
}

// parseRow reads a line whose last words are the columns after the name; the name takes the rest.
func parseRow(columns []string, line string) (row, error) {
	words := strings.Fields(line)
	n := len(columns) - 1
	if len(words) < n+1 {
		return row{}, fmt.Errorf("%d columns, not %d: %.80q", len(words), n+1, line)
	}
	r := row{name: escape.UTF8(strings.Join(words[:len(words)-n], " "))}
	for i, w := range words[len(words)-n:] {
		if err := r.column(columns[i+1], w); err != nil {
			return row{}, err
		}
	}
	return r, nil
}

func (r *row) column(name, word string) error {
	if name == "GROUP #" {
		g, err := strconv.ParseInt(word, 10, 64)
		if err != nil {
			return fmt.Errorf("group %.40q is not a number", word)
		}
		r.group = fact.CountOf(g)
		return nil
	}
	if !hexWord.MatchString(word) {
		return fmt.Errorf("%s %.40q is not an address", strings.ToLower(name), word)
	}
	n, _ := strconv.ParseUint(strings.TrimPrefix(word, "0x"), 16, 64)
	switch name {
	case "MODULE ID":
		r.id = word
	case "TEXT START":
		r.text = fact.Address(n)
	case "DATA START":
		r.data = fact.Address(n)
	case "BSS START":
		r.bss = fact.Address(n)
	}
	return nil
}

// addSize reads a line of moduleShow "NAME" about the last of the rows, and reports whether it is one.
func addSize(rows []row, line string) bool {
	m := sizeLine.FindStringSubmatch(line)
	if m == nil {
		return false
	}
	n, err := strconv.ParseInt(m[3], 0, 64)
	if err != nil || len(rows) == 0 {
		return true
	}
	r := &rows[len(rows)-1]
	switch strings.ToLower(m[1] + m[2]) {
	case "text":
		r.textSize = fact.CountOf(n)
	case "data":
		r.dataSize = fact.CountOf(n)
	case "bss":
		r.bssSize = fact.CountOf(n)
	case "total":
		r.total = fact.CountOf(n)
	}
	return true
}
