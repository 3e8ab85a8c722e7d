// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"strings"

	"github.com/kernelext/kernelext/fact"
)

// SourcePnPUtil is the source of a capture of pnputil.
const SourcePnPUtil = "pnputil"

// ReadPnPUtil reads what pnputil /enum-drivers and the older pnputil -e print. Labels are
// localised, so values are told by their place and form: a package begins with its published name,
// oemNN.inf. What stands before the first one, or after a cut, costs only itself.
func ReadPnPUtil(text string, r *fact.Report) fact.Capture[Driver] {
	return pnputilRows(consoleText(text)).done(r)
}

func pnputilRows(text string) *captureBuilder {
	b := newCapture(SourcePnPUtil, text)
	var cur []string
	n, key := 0, false
	flush := func() {
		if cur != nil && !b.full() {
			b.pnpPackage(cur)
		}
		cur = nil
	}
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		if line == "" {
			key = false
			continue
		}
		_, value, ok := cutAny(line, ":：")
		value = strings.TrimSpace(value)
		if !ok && key { // an older layout has the value on the next line
			value, ok = line, true
		}
		key = ok && value == ""
		switch {
		case key:
		case ok && isOEMInf(value) && len(cur) != 1:
			flush()
			cur = []string{value}
			b.sure = true
		case cur != nil && ok:
			cur = append(cur, value)
		case ok && b.rows == 0: // the end of a package whose beginning is cut off
		case !ok && cur == nil && b.rows == 0: // the tool's title, and whatever stands before its words
		default:
			b.stray(n, line)
		}
	}
	flush()
	return b
}

// pnpPackage reads the values of one package in their order.
func (b *captureBuilder) pnpPackage(values []string) {
	p := Package{Name: values[0], INF: values[0]}
	rest := values[1:]
	if len(rest) > 0 && strings.HasSuffix(fold(rest[0]), ".inf") {
		p.OriginalINF, rest = rest[0], rest[1:]
	}
	texts := []*string{&p.Provider, &p.Class}
	for i, v := range rest {
		date, version, ok := pnpVersion(v)
		switch {
		case ok:
			p.Date, p.Version = usDate(date), version
			if i+1 < len(rest) {
				p.Signer = rest[i+1]
			}
			b.addPackage(p)
			return
		case len(v) == 38 && v[0] == '{' && hasGUID(v):
			if p.ClassGUID == "" {
				p.ClassGUID = fold(v[1:37])
			}
		case len(texts) > 0:
			*texts[0], texts = v, texts[1:]
		}
	}
	b.addPackage(p)
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

func (b *captureBuilder) addPackage(p Package) {
	b.rows++
	e := b.entry(fold(p.INF), p.INF, "")
	e.Driver.Packages = append(e.Driver.Packages, p)
}
