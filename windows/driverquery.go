// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
)

// SourceDriverQuery is the source of a capture of driverquery.
const SourceDriverQuery = "driverquery"

// Columns of driverquery's forms. Their headers are localised, so that position counts.
const (
	dqBrief = 4 // module, display name, type, link date
	// module, display name, description, type, start, state, status, stop, pause, paged, code, bss, date, path, init
	dqVerbose = 15
)

// dqColumns are the names of the verbose columns that have no field of their own.
var dqColumns = [dqVerbose]string{6: "status", 7: "acceptStop", 8: "acceptPause", 9: "pagedPoolBytes", 10: "codeBytes",
	11: "bssBytes", 12: "linkDate", 14: "initBytes"}

// ReadDriverQuery reads what driverquery prints, with and without /v, /nh and /si, as table, list
// or CSV, in any language. Of a table without its ruler the columns are found by what all rows have
// in common.
func ReadDriverQuery(text string, r *fact.Report) fact.Capture[Driver] {
	return driverQueryRows(readConsole(text, SourceDriverQuery, r)).done(r)
}

func driverQueryRows(text string) *captureBuilder {
	if c := driverQueryCSV(text); c != nil {
		return c
	}
	table := driverQueryTable(text)
	if table.rows == 0 && !table.sure {
		if c := driverQueryList(text); c != nil {
			return c
		}
	}
	return table
}

// driverQueryList reads /fo list: a block of "key: value" lines for each row, whose keys are
// localised. It returns nil when the text has no such block.
func driverQueryList(text string) *captureBuilder {
	b := newCapture(SourceDriverQuery, text)
	for _, r := range b.records(text, ":") {
		row := make([]string, 0, dqVerbose)
		for _, p := range r.pairs {
			row = append(row, p.value)
		}
		// Properties of WMI are never localised: a block of them is another tool's.
		if b.full() || r.has("Name") || r.has("State") || !b.dqRow(row) {
			b.stray(r.line, r.pairs[0].key)
		}
	}
	if b.rows == 0 {
		return nil
	}
	return b
}

// driverQueryCSV returns nil when the text is no CSV of driverquery.
func driverQueryCSV(text string) *captureBuilder {
	b := newCapture(SourceDriverQuery, text)
	n := 0
	for i, row := range b.csvRows(text) {
		switch {
		case row == nil || len(row) == 1:
			if row != nil && row[0] != "" || row == nil {
				b.stray(i+1, strings.Join(row, ","))
			}
		case i == n && dqHeader(row):
			b.sure = true
		case !b.dqRow(row):
			b.stray(i+1, strings.Join(row, ","))
		}
		if b.rows == 0 && !b.sure {
			n = i + 1
		}
	}
	if b.rows == 0 {
		return nil
	}
	return b
}

// dqHeader recognizes the header of a CSV, in any language, by what it cannot be: a row. No cell is empty, or has the
// shape that its column has.
func dqHeader(row []string) bool {
	if slices.Contains(row, "") || slices.ContainsFunc(row, isTruth) {
		return false
	}
	return len(row) == dqVerbose || len(row) == dqBrief && !dateShape(row[3]) && !strings.HasSuffix(fold(row[1]), ".inf")
}

func isTruth(s string) bool {
	switch strings.ToUpper(strings.TrimSpace(s)) {
	case "TRUE", "FALSE":
		return true
	}
	return false
}

func dqIsVerbose(row []string) bool {
	return len(row) == dqVerbose && serviceName(row[0]) && hasDigitsOrEmpty(row[9]) && hasDigitsOrEmpty(row[10])
}

func dqIsSigned(row []string) bool {
	return len(row) == dqBrief && isTruth(row[2]) && (row[1] == "" || strings.HasSuffix(fold(row[1]), ".inf"))
}

func dqIsBrief(row []string) bool {
	return len(row) == dqBrief && serviceName(row[0]) && row[2] != "" && dateShape(row[3])
}

// dqShape reports whether the values have the form of a row.
func dqShape(row []string) bool { return dqIsVerbose(row) || dqIsSigned(row) || dqIsBrief(row) }

// dqRow adds a row; false when the values have not the form of one.
func (b *captureBuilder) dqRow(row []string) bool {
	for i := range row {
		row[i] = strings.TrimSpace(row[i])
	}
	switch {
	case dqIsVerbose(row):
		b.dqVerbose(row)
	case dqIsSigned(row):
		b.dqSigned(row)
	case dqIsBrief(row):
		_, s := b.driver(row[0], "")
		s.DisplayName = row[1]
		s.setType(row[2])
		b.last().column("linkDate", row[3])
		if s.Type == "" {
			b.last().column("driverType", row[2])
		}
	default:
		return false
	}
	return true
}

func (b *captureBuilder) last() *Driver { return b.entries[len(b.entries)-1].Driver }

func (b *captureBuilder) dqVerbose(row []string) {
	e, s := b.driver(row[0], row[13])
	s.DisplayName = row[1]
	s.setType(row[3])
	s.setStart(row[4])
	e.setState(s, row[5])
	if row[2] != "" && row[2] != row[1] {
		e.Driver.column("description", row[2])
	}
	if s.Type == "" {
		e.Driver.column("driverType", row[3])
	}
	for i := 6; i < dqVerbose; i++ {
		if name := dqColumns[i]; name != "" {
			e.Driver.column(name, row[i])
		}
	}
}

// dqSigned reads a row of /si: one device.
func (b *captureBuilder) dqSigned(row []string) {
	b.rows++
	key := "device " + fold(row[0]) + "|" + fold(row[1])
	e := b.entry(key, row[0], "")
	d := Device{Description: row[0], INF: row[1], Manufacturer: row[3], Signed: "no"}
	if strings.EqualFold(row[2], "TRUE") {
		d.Signed = "yes"
	}
	e.Driver.Devices = append(e.Driver.Devices, d)
}

// serviceName reports whether s can be a service's name as tools print it.
func serviceName(s string) bool {
	return s != "" && len(s) <= 256 && !strings.ContainsAny(s, "\\/\t\"<>|")
}

func hasDigitsOrEmpty(s string) bool {
	return strings.Trim(s, "0123456789,. '\u2019\u00a0\u202f") == ""
}

// dateShape reports whether s is empty or looks like a date of any language: it begins with a
// digit and has three groups of digits.
func dateShape(s string) bool {
	if s == "" {
		return true
	}
	if s[0] < '0' || s[0] > '9' {
		return false
	}
	groups := strings.FieldsFunc(s, func(r rune) bool { return r < '0' || r > '9' })
	return len(groups) >= 3
}

// driverQueryTable reads the fixed-width forms.
func driverQueryTable(text string) *captureBuilder {
	b := newCapture(SourceDriverQuery, text)
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, strings.TrimRight(line, "\r\n"))
	}
	starts, first := rulerColumns(lines)
	if starts == nil {
		if starts = commonColumns(lines); len(starts) == 0 {
			return b
		}
	} else {
		b.sure = true
	}
	for i, line := range lines {
		if i < first || b.full() {
			continue
		}
		if strings.TrimSpace(line) == "" {
			continue
		}
		if len(line) > maxCaptureLine {
			b.stray(i+1, line)
			continue
		}
		row := cutColumns(line, starts, true)
		if row == nil || !dqShape(row) {
			row = cutColumns(line, starts, false)
		}
		if len(starts) == dqVerbose && i == len(lines)-1 && b.cut && row != nil && row[14] == "" {
			b.stray(i+1, line)
			continue
		}
		if row == nil || !b.dqRow(row) {
			b.stray(i+1, line)
		}
	}
	return b
}

// rulerColumns finds the line of "=" below the header; each group begins a column.
func rulerColumns(lines []string) (starts []int, next int) {
	for i, line := range lines {
		text := strings.TrimRight(line, " ")
		if !strings.HasPrefix(text, "====") || strings.Trim(text, "= ") != "" {
			continue
		}
		for pos := range text {
			if text[pos] == '=' && (pos == 0 || text[pos-1] == ' ') {
				starts = append(starts, pos)
			}
		}
		if len(starts) == dqBrief || len(starts) == dqVerbose {
			return starts, i + 1
		}
		starts = nil
	}
	return nil, 0
}

// commonColumns finds where all lines begin a word after a blank: the columns of a brief table
// without its header. Anything but four or three columns is none.
func commonColumns(lines []string) []int {
	var rows [][]rune
	for _, l := range lines {
		if strings.TrimSpace(l) != "" {
			rows = append(rows, []rune(l))
		}
	}
	if len(rows) < 3 {
		return nil
	}
	starts := []int{0}
	for pos := 1; pos < 200; pos++ {
		if common(rows, pos) {
			starts = append(starts, pos)
		}
	}
	if len(starts) != dqBrief {
		return nil
	}
	return starts
}

func common(rows [][]rune, pos int) bool {
	for _, r := range rows {
		if pos >= len(r) || r[pos] == ' ' || r[pos-1] != ' ' {
			return false
		}
	}
	return true
}

// cutColumns cuts a line at columns; nil when a word crosses a column's beginning. Columns are
// counted in characters, or as wide as a console shows them, where those of East Asia take two.
func cutColumns(line string, starts []int, wide bool) []string {
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
