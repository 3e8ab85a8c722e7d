// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/capture"
)

// SourcePnPUtil is the source of a capture of pnputil.
const SourcePnPUtil = "pnputil"

// ReadPnPUtil reads what pnputil /enum-drivers and the older pnputil -e print. Labels are localized, so values are
// recognized by their place and form: a package begins with its published name, oemNN.inf. The XML form (/format xml)
// is not localized. Text before the first one, or after a cut, costs only itself.
func ReadPnPUtil(text string, r *fact.Report) fact.Capture[Driver] {
	return pnputilRows(readConsole(text, SourcePnPUtil, r)).done(r)
}

func pnputilRows(text string) *captureBuilder {
	if strings.HasPrefix(strings.TrimSpace(text), "<") {
		return pnputilXML(text)
	}
	b := newCapture(SourcePnPUtil, text)
	for i, line := range strings.Split(text, "\n") {
		if strings.Contains(line, ",") && pnputilHeader(capture.CSVHeader(line)) {
			return b.pnputilCSV(text, i)
		}
	}
	p := pnpText{b: b}
	for line := range strings.Lines(text) {
		p.line(strings.TrimSpace(line))
	}
	if p.least > 0 && len(p.values) < p.least {
		b.Cut = true // the last package has fewer values than any other
	}
	p.flush()
	return b
}

// pnputilHeader recognizes the header of /format csv, whose columns are the names of the XML form.
func pnputilHeader(columns []string) bool {
	return slices.Contains(columns, "DriverName") && slices.Contains(columns, "OriginalName")
}

// pnputilCSV reads /enum-drivers /format csv.
func (b *captureBuilder) pnputilCSV(text string, header int) *captureBuilder {
	for _, o := range b.CSVObjects(text, header) {
		p := pnpElement{kind: "Driver", id: o.Get("DriverName"), get: o.Get}
		if !isOEMInf(p.id) || !b.pnpElement(&p) {
			b.Stray(o.Line, o.Text)
		}
	}
	b.Sure = b.rows > 0
	return b
}

// A pnpText is the text of pnputil while it is read.
type pnpText struct {
	b       *captureBuilder
	n       int
	values  []string // of the open package; nil if none is open
	from    int      // the line of the first
	key     bool     // the last line was a label without a value
	foreign bool     // the block began with a pair that begins no package
	lead    string   // the label of the first pair before any package
	least   int      // the fewest values that a package has
}

func (p *pnpText) flush() {
	if p.values != nil && !p.b.full() && !p.b.pnpPackage(p.values) {
		p.b.Stray(p.from, p.values[0])
	}
	p.values = nil
}

func (p *pnpText) line(line string) {
	p.n++
	if line == "" || capture.PathPrompt(line) {
		p.key, p.foreign = false, false
		return
	}
	label, value, ok := capture.CutAny(line, ":：")
	value = strings.TrimSpace(value)
	if !ok && p.key { // an older layout has the value on the next line
		value, ok = line, true
	}
	p.key = ok && value == ""
	switch {
	case p.key:
	case ok && isOEMInf(value) && value == baseName(value) && len(p.values) != 1 && !p.foreign:
		if n := len(p.values); n > 0 && (p.least == 0 || n < p.least) {
			p.least = n
		}
		p.flush()
		p.values, p.from = []string{value}, p.n
	case p.values != nil && ok:
		if p.values = append(p.values, value); p.lead != "" && strings.TrimSpace(label) == p.lead {
			p.b.Stray(1, p.lead) // a value of a package whose beginning is cut off
			p.lead = ""
		}
	case ok && p.b.rows == 0: // the end of a package whose beginning is cut off, or another list
		if p.foreign = true; p.lead == "" {
			p.lead = strings.TrimSpace(label)
		}
	case !ok && p.values == nil && p.b.rows == 0: // the tool's title, and any text before its words
	default:
		p.b.Stray(p.n, line)
	}
}

// pnpPackage adds a package by its values in their order; false if they are those of another list: pnputil prints date
// and version in one value, no path, and no truth.
func (b *captureBuilder) pnpPackage(values []string) bool {
	p := Package{Name: values[0], INF: values[0]}
	rest := values[1:]
	if len(rest) > 0 && strings.HasSuffix(fold(rest[0]), ".inf") {
		p.OriginalINF, rest = rest[0], rest[1:]
	}
	var texts, unplaced []string
	for i, v := range rest {
		date, version, ok := pnpVersion(v)
		switch {
		case ok:
			p.Date, p.Version = usDate(date), version
			if i+1 < len(rest) {
				p.Signer = rest[i+1]
			}
			if len(texts) == 2 { // with fewer, one is missing, and which is unknown
				p.Provider, p.Class = texts[0], texts[1]
			}
			if strings.Contains(p.OriginalINF, `\`) {
				return false
			}
			b.addPackage(p)
			b.Sure = true
			return true
		case len(v) == 38 && v[0] == '{' && hasGUID(v):
			if p.ClassGUID == "" {
				p.ClassGUID = fold(v[1:37])
			}
		case isTruth(v), strings.Contains(v, `\`), versionShape(v), len(texts) < 2 && dateShape(v):
			return false
		case len(texts) < 2:
			texts = append(texts, v)
		default:
			unplaced = append(unplaced, v)
		}
	}
	if strings.Contains(p.OriginalINF, `\`) {
		return false
	}
	if len(texts) == 2 {
		p.Provider, p.Class = texts[0], texts[1]
	}
	e := b.addPackage(p)
	for _, v := range unplaced { // without a version to count from, what they are is unknown
		e.Driver.column("unplaced", v)
	}
	b.Sure = true
	return true
}

// versionShape reports whether a value is a version alone: four numbers.
func versionShape(s string) bool {
	parts := strings.Split(s, ".")
	for _, part := range parts {
		if !digits(part, 5) {
			return false
		}
	}
	return len(parts) == 4
}

// pnpVersion splits a date and a version: "09/19/2022 4.410.137.0".
func pnpVersion(s string) (date, version string, ok bool) {
	words := strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune(" \t\f", r) })
	if len(words) != 2 {
		return "", "", false
	}
	day := strings.Split(words[0], "/")
	ok = len(day) == 3 && digits(day[0], 2) && digits(day[1], 2) && digits(day[2], 4) && len(day[2]) == 4
	for part := range strings.SplitSeq(words[1], ".") {
		ok = ok && digits(part, len(part))
	}
	return words[0], words[1], ok
}

// digits reports whether s is one to most digits.
func digits(s string, most int) bool {
	return s != "" && len(s) <= most && strings.Trim(s, "0123456789") == ""
}

func (b *captureBuilder) addPackage(p Package) *entry {
	b.rows++
	e := b.entry(fold(p.INF), p.INF, "")
	e.Driver.Packages = append(e.Driver.Packages, p)
	return e
}
