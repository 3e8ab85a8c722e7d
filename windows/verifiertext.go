// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/lazy"
)

// SourceVerifier is the source of a capture of verifier /query.
const SourceVerifier = "verifier"

// verifierRow matches "Name: x.sys, loads: 1, unloads: 0".
var verifierRow = lazy.Regexp{Pattern: `^Name: (\S{1,255}), loads: (\d{1,9}), unloads: (\d{1,9})$`}

// ReadVerifier reads the drivers that verifier /query prints, which are those that Driver Verifier watches.
func ReadVerifier(text string, r *fact.Report) fact.Capture[Driver] {
	text = readConsole(text, SourceVerifier, r)
	b := newCapture(SourceVerifier, text)
	for line := range strings.Lines(text) {
		m := verifierRow.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil || b.full() {
			continue // a counter or a heading
		}
		b.rows++
		e := b.entry(fold(m[1]), m[1], "")
		loads, _ := strconv.Atoi(m[2])
		unloads, _ := strconv.Atoi(m[3])
		e.Loaded = loads > unloads
		e.Driver.column("loads", m[2])
		e.Driver.column("unloads", m[3])
	}
	if b.Sure = b.rows > 0; b.Sure {
		r.Add(fact.Problem{Source: SourceVerifier, Field: "modules", Code: fact.CodeOther,
			Text: "Driver Verifier watches some drivers only: the others are not in the text"})
	}
	return b.done(r)
}
