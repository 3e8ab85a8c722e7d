// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/capture"
)

// SourceDriverQuery is the source of a capture of driverquery.
const SourceDriverQuery = "driverquery"

// Columns of driverquery's forms. Their headers are localized, so that position counts.
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
	b := driverQueryRows(readConsole(text, SourceDriverQuery, r))
	if b.rows > 0 {
		capture.Headed(r, SourceDriverQuery, !b.headless)
	}
	return b.done(r)
}

func driverQueryRows(text string) *captureBuilder {
	if c := driverQueryCSV(text); c != nil {
		return c
	}
	table := driverQueryTable(text)
	if table.rows == 0 && !table.Sure {
		if c := driverQueryList(text); c != nil {
			return c
		}
	}
	return table
}

// driverQueryList reads /fo list: a block of "key: value" lines for each row, whose keys are
// localized. It returns nil when the text has no such block.
func driverQueryList(text string) *captureBuilder {
	b := newCapture(SourceDriverQuery, text)
	for _, r := range b.Records(text, ":") {
		row := make([]string, 0, dqVerbose)
		for _, p := range r.Pairs {
			row = append(row, p.Value)
		}
		// Properties of WMI are never localized: a block of them is another tool's.
		if b.full() || r.Has("Name") || r.Has("State") || !b.dqRow(row) {
			b.Stray(r.Line, r.Pairs[0].Key)
		}
	}
	if b.rows == 0 {
		return nil
	}
	return b
}

// driverQueryCSV returns nil when the text is not a CSV of driverquery.
func driverQueryCSV(text string) *captureBuilder {
	b := newCapture(SourceDriverQuery, text)
	n := 0
	for i, row := range b.CSVRows(text) {
		switch {
		case row == nil || len(row) == 1:
			if row != nil && row[0] != "" || row == nil {
				b.Stray(i+1, strings.Join(row, ","))
			}
		case i == n && dqHeader(row):
			b.Sure = true
		case !b.dqRow(row):
			b.Stray(i+1, strings.Join(row, ","))
		}
		if b.rows == 0 && !b.Sure {
			n = i + 1
		}
	}
	if b.rows == 0 {
		return nil
	}
	b.headless = !b.Sure
	return b
}

// dqHeader recognizes the header of a CSV, in any language, by what it cannot be: a row. No cell is empty, or has the
// shape that its column has.
func dqHeader(row []string) bool {
	if slices.Contains(row, "") || slices.ContainsFunc(row, isTruth) {
		return false
	}
	return len(row) == dqVerbose || len(row) == dqBrief && !dateShape(row[3]) && !strings.HasSuffix(fold(row[1]),
		".inf")
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
	case dqIsBrief(row) && meaningOf(driverTypeWords[:], row[2]) == "" &&
		meaningOf(driverTypeWords[:], row[1]) != "": // the columns are in another order
		return false
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
		b.headless = true
	} else {
		b.Sure = true
	}
	cut := false // the last row is
	for i, line := range lines {
		if i < first || b.full() {
			continue
		}
		if strings.TrimSpace(line) == "" {
			continue
		}
		if len(line) > capture.MaxLine {
			b.Stray(i+1, line)
			continue
		}
		row := capture.CutColumns(line, starts, true)
		if row == nil || !dqShape(row) {
			row = capture.CutColumns(line, starts, false)
		}
		if len(starts) == dqBrief && (row == nil || !dqShape(row)) {
			if spaced := spacedRow(line); spaced != nil {
				row = spaced
			}
		}
		if len(starts) == dqVerbose && i == len(lines)-1 && b.Cut && row != nil && row[14] == "" {
			b.Stray(i+1, line)
			continue
		}
		if len(starts) == dqVerbose && row != nil {
			cut = cutNumber(strings.TrimSpace(row[14]))
		}
		if row == nil || !b.dqRow(row) {
			b.Stray(i+1, line)
		}
	}
	b.Cut = b.Cut || cut
	b.cutDates()
	return b
}

// cutDates takes away the dates that have fewer groups of digits than others of the text: their end was cut.
func (b *captureBuilder) cutDates() {
	most := 0
	groups := func(c Column) int {
		if c.Name != "linkDate" {
			return 0
		}
		return len(strings.FieldsFunc(c.Value, func(r rune) bool { return r < '0' || r > '9' }))
	}
	for _, e := range b.entries {
		for _, c := range e.Driver.Columns {
			most = max(most, groups(c))
		}
	}
	for _, e := range b.entries {
		e.Driver.Columns = slices.DeleteFunc(e.Driver.Columns, func(c Column) bool {
			n := groups(c)
			if n > 0 && n < most {
				b.CutValues++
			}
			return n > 0 && n < most
		})
	}
}

// spacedRow splits a row whose columns somebody realigned at two or more blanks; nil for any but the brief form.
func spacedRow(line string) []string {
	var row []string
	for cell := range strings.SplitSeq(strings.ReplaceAll(line, "\t", "  "), "  ") {
		if cell = strings.TrimSpace(cell); cell != "" {
			row = append(row, cell)
		}
	}
	if !dqIsBrief(row) || row[3] == "" {
		return nil
	}
	return row
}

// cutNumber reports whether a number ends within a group of its digits: the last group has three in every language.
func cutNumber(s string) bool {
	i := strings.LastIndexAny(s, ",.'’ \u00a0\u202f")
	return i > 0 && len(strings.TrimFunc(s[i:], func(r rune) bool { return r < '0' || r > '9' })) < 3
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
// without its header. Any number but four or three is not recognized.
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
