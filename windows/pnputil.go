// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"strings"

	"github.com/kernelext/kernelext/internal/lazy"
)

// SourcePnPUtil is the source of a capture of pnputil.
const SourcePnPUtil = "pnputil"

// pnpVersion matches a date and a version: "09/19/2022 4.410.137.0".
var pnpVersion = lazy.Regexp{Pattern: `^(\d{1,2}/\d{1,2}/\d{4})\s+(\d+(?:\.\d+)*)$`}

// ParsePnPUtil reads what pnputil /enum-drivers and the older pnputil -e print. Labels are
// localised, so values are told by their place and form: a package begins with its published name,
// oemNN.inf. What stands before the first one, or after a cut, costs only itself.
func ParsePnPUtil(text string) *Capture {
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
		case ok && IsOEMInf(value) && len(cur) != 1:
			flush()
			cur = []string{value}
			b.c.Sure = true
		case cur != nil && ok:
			cur = append(cur, value)
		case ok && b.c.Rows == 0: // the end of a package whose beginning is cut off
		case !ok && cur == nil && b.c.Rows == 0: // the tool's title, and whatever stands before its words
		default:
			b.stray(n, line)
		}
	}
	flush()
	return b.done()
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
		m := pnpVersion.FindStringSubmatch(v)
		switch {
		case m != nil:
			p.Date, p.Version = usDate(m[1]), m[2]
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

func (b *captureBuilder) addPackage(p Package) {
	b.c.Rows++
	e := b.entry(fold(p.INF), p.INF, "")
	e.Driver.Packages = append(e.Driver.Packages, p)
}
