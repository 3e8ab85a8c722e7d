// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// An Object is one row of a text whose columns have names that are never localized.
type Object struct {
	// Line is where it begins, counted from 1.
	Line int
	// Get returns the value of a column; empty if the column is missing.
	Get func(name string) string
	// Text is the row's beginning, for a Problem.
	Text string

	list func(name string) []string // the values of a list in JSON; nil for another form
}

// Values returns the values of a column that may hold a list.
func (o Object) Values(name string) []string {
	if o.list != nil {
		if list := o.list(name); list != nil {
			return list
		}
	}
	return []string{o.Get(name)}
}

// An ObjectForm says which names the header of a form has.
type ObjectForm struct {
	// Header reports whether the columns are those of the form.
	Header func(columns []string) bool
	// Separators are between a name and its value in the list form.
	Separators string
}

// Objects reads the rows of a text of any form that PowerShell, osquery and their like print: JSON values one after the
// other, CSV, tables below a ruler of dashes, tables of vertical lines, and lists.
func (b *Table) Objects(text string, f ObjectForm) []Object {
	trimmed := strings.TrimLeft(text, " \t\r\n")
	if strings.HasPrefix(trimmed, "[") || strings.HasPrefix(trimmed, "{") {
		return b.jsonObjects(text)
	}
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if len(line) > MaxLine {
			continue
		}
		switch {
		case strings.Contains(line, "|") && f.Header(PipeCells(line)):
			return b.pipeObjects(lines, i)
		case strings.Contains(line, ",") && f.Header(CSVHeader(line)):
			return b.CSVObjects(text, i)
		case i > 0 && psRuler(line) && f.Header(CutColumns(lines[i-1], dashColumns(line), false)):
			return b.psObjects(lines, i-1, f)
		}
	}
	var list []Object
	for _, r := range b.Records(text, f.Separators) {
		list = append(list, Object{Line: r.Line, Get: r.Get, Text: r.Pairs[0].Key})
	}
	return list
}

// maxBadLines is after how many broken lines the rest of JSON lines is not read: each begins a decoder.
const maxBadLines = 16

// jsonObjects reads objects, and lists of them, one value after the other to the text's end. A text that is cut keeps
// what comes before.
func (b *Table) jsonObjects(text string) []Object {
	b.Cut = false
	var list []Object
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	inList, line, at := false, 1, int64(0)
	for !b.TooMany {
		b.TooMany = len(list) > MaxRows
		line += strings.Count(text[at:d.InputOffset()], "\n")
		at = d.InputOffset()
		if inList && !d.More() {
			inList = false
			if _, err := d.Token(); err != nil {
				b.Cut = true
				break
			}
			continue
		}
		if !inList && beginsList(strings.TrimLeft(text[at:], " \t\r\n")) {
			if _, err := d.Token(); err == nil {
				inList = true
				continue
			}
		}
		var m map[string]any
		err := d.Decode(&m)
		if errors.Is(err, io.EOF) {
			b.Cut = inList
			break
		}
		if err != nil {
			if b.Cut = errors.Is(err, io.ErrUnexpectedEOF); b.Cut {
				break
			}
			b.Stray(line, "JSON: "+err.Error())
			next := nextObject(text, int(at))
			if inList || next < 0 || b.Strays > maxBadLines {
				break
			}
			line += strings.Count(text[:next], "\n") - strings.Count(text[:at], "\n")
			text, at = text[next:], 0
			d = json.NewDecoder(strings.NewReader(text))
			d.UseNumber()
			continue
		}
		list = appendRows(list, line, m)
	}
	return list
}

// beginsList reports whether JSON begins with a list; "[ERROR] it failed" does not.
func beginsList(s string) bool {
	first, _, _ := strings.Cut(s, "\n")
	return strings.HasPrefix(first, "[") && beginsValue(strings.TrimSpace(first))
}

// nextObject returns where, after a broken line, the next line begins with an object of JSON lines; -1 if no line does.
func nextObject(text string, at int) int {
	at += len(text[at:]) - len(strings.TrimLeft(text[at:], " \t\r\n"))
	i := strings.Index(text[at:], "\n{")
	if i < 0 {
		return -1
	}
	return at + i + 1
}

// appendRows adds an object, or those in the one list that it has: {"kernel.modules": [{…}, {…}]}.
func appendRows(list []Object, line int, m map[string]any) []Object {
	const other = "an object of another kind"
	for _, v := range m {
		rows, _ := v.([]any)
		if len(m) != 1 || len(rows) == 0 {
			break
		}
		for _, row := range rows {
			if one, ok := row.(map[string]any); ok && len(list) <= MaxRows {
				list = append(list, Object{Line: line, Get: jsonProperty(one), Text: other, list: jsonList(one)})
			}
		}
		if len(list) > 0 {
			return list
		}
	}
	return append(list, Object{Line: line, Get: jsonProperty(m), Text: other, list: jsonList(m)})
}

// jsonProperty returns an object's properties by name; an exact match of the name comes first, then one that differs in
// case.
func jsonProperty(m map[string]any) func(string) string {
	return func(name string) string {
		v, ok := m[name]
		if !ok {
			for _, k := range slices.Sorted(maps.Keys(m)) {
				if strings.EqualFold(k, name) {
					v = m[k]
					break
				}
			}
		}
		switch v := v.(type) {
		case nil:
			return ""
		case string:
			return strings.TrimSpace(v)
		case []any:
			if len(v) == 0 {
				return ""
			}
			return strings.TrimSpace(fmt.Sprint(v[0]))
		case map[string]any: // PowerShell 7 writes a date as an object with value and DateTime
			if s, ok := v["value"].(string); ok {
				return s
			}
			return ""
		default:
			return fmt.Sprint(v)
		}
	}
}

// jsonList returns an object's lists of texts by name; nil for any other value.
func jsonList(m map[string]any) func(string) []string {
	return func(name string) []string {
		list, ok := m[name].([]any)
		if !ok {
			return nil
		}
		values := make([]string, 0, len(list))
		for _, v := range list {
			values = append(values, fmt.Sprint(v))
		}
		return values
	}
}

// CSVHeader splits a line that may be the header of a CSV: no name in it has a comma.
func CSVHeader(line string) []string {
	cells := strings.Split(strings.TrimSpace(line), ",")
	for i := range cells {
		cells[i] = strings.Trim(strings.TrimSpace(cells[i]), `"`)
	}
	return cells
}

// CSVObjects reads the rows below the header in line at.
func (b *Table) CSVObjects(text string, at int) []Object {
	b.Sure = true
	var list []Object
	var header []string
	for i, row := range b.CSVRows(text) {
		switch line := strings.Join(row, ","); {
		case i == at:
			header = row
		case row != nil && line == "", strings.HasPrefix(line, "#TYPE"):
		case len(row) != len(header):
			b.Stray(i+1, line)
		case slices.Equal(row, header): // of a second text after the first
		default:
			list = append(list, Object{Line: i + 1, Get: Column(header, row), Text: line})
		}
	}
	return list
}

// PipeCells splits a row of a table of vertical lines.
func PipeCells(line string) []string {
	line = strings.TrimSpace(line)
	if strings.HasPrefix(line, "|") && strings.HasSuffix(line, "|") && len(line) > 1 {
		line = line[1 : len(line)-1]
	}
	cells := strings.Split(line, "|")
	for i := range cells {
		cells[i] = strings.TrimSpace(cells[i])
	}
	return cells
}

// pipeObjects reads the rows below the header in line at.
func (b *Table) pipeObjects(lines []string, at int) []Object {
	b.Sure = true
	var list []Object
	header := PipeCells(lines[at])
	for i, line := range lines {
		switch row := PipeCells(line); {
		case i == at, strings.Trim(line, "-+=|: \t\r") == "":
		case i < at, len(row) != len(header), len(list) >= MaxRows:
			b.Stray(i+1, line)
		default:
			list = append(list, Object{Line: i + 1, Get: b.whole(Column(header, row)), Text: line})
		}
	}
	return list
}

// psRuler reports whether a line is the ruler below the header of a table of PowerShell: two or more groups of dashes.
func psRuler(line string) bool {
	line = strings.TrimRight(line, " \t\r")
	return strings.Trim(line, "- ") == "" && strings.Contains(strings.TrimSpace(line), " ")
}

// dashColumns returns where the groups of dashes begin.
func dashColumns(ruler string) []int {
	var starts []int
	for i := range ruler {
		if ruler[i] == '-' && (i == 0 || ruler[i-1] == ' ') {
			starts = append(starts, i)
		}
	}
	return starts
}

// psObjects reads the rows of a table of PowerShell whose header is line at, and of the tables after it.
func (b *Table) psObjects(lines []string, at int, f ObjectForm) []Object {
	b.Sure = true
	var list []Object
	var header []string
	var starts []int
	for i, line := range lines {
		line = strings.TrimRight(line, " \t\r")
		if i+1 < len(lines) && psRuler(lines[i+1]) {
			columns := dashColumns(lines[i+1])
			if names := CutColumns(line, columns, false); f.Header(names) {
				header, starts = names, columns
				continue
			}
		}
		if line == "" || psRuler(line) {
			continue
		}
		var row []string
		if i > at && len(line) <= MaxLine && len(list) < MaxRows {
			if row = CutColumns(line, starts, true); row == nil {
				row = CutColumns(line, starts, false)
			}
		}
		if row == nil {
			b.Stray(i+1, line)
			continue
		}
		list = append(list, Object{Line: i + 1, Get: b.whole(Column(header, row)), Text: line})
	}
	return list
}

// whole returns the values of a row but for those that the tool cut to the width of its table, which are counted: what
// a value begins with is not the value.
func (b *Table) whole(get func(string) string) func(string) string {
	return func(name string) string {
		v := get(name)
		if strings.HasSuffix(v, "...") || strings.HasSuffix(v, "…") {
			b.CutValues++
			return ""
		}
		return v
	}
}
