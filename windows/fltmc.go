// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/lazy"
)

// SourceFltmc is the source of a capture of fltmc.
const SourceFltmc = "fltmc"

var (
	// fltFilter matches a row of fltmc filters: name, instances, altitude, frame.
	fltFilter = lazy.Regexp{Pattern: `^(\S.*?)\s{2,}(\d{1,6})\s+(\d{1,64}(?:\.\d{1,64})?)\s+(\d{1,6})$`}
	// fltLegacy matches the row of a filter that is no minifilter.
	fltLegacy = lazy.Regexp{Pattern: `^(\S.*?)\s{2,}<(\S+)>$`}
	// fltInstance matches a row of fltmc instances: filter, volume, altitude, instance, frame,
	// features, status; volume and status may be blank.
	fltInstance = lazy.Regexp{Pattern: `^(\S.*?)\s{2,}(?:(\S.*?)\s{2,})?(\d{1,64}(?:\.\d{1,64})?)\s{2,}(\S.*?)\s+(\d{1,6})\s+([0-9a-fA-F]{8})(?:\s+(\S.*))?$`}
)

// ParseFltmc reads what fltmc filters and fltmc instances print, in any language. The altitude is
// kept as text.
func ParseFltmc(text string) *Capture {
	b := newCapture(SourceFltmc, text)
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimRight(line, " \t\r\n")
		trimmed := strings.TrimSpace(line)
		switch {
		case trimmed == "" || b.full():
		case strings.Trim(trimmed, "- ") == "":
			b.c.Sure = true
			if b.c.Stray > 0 && b.c.Rows == 0 { // the line above was the header
				b.c.Stray--
				b.c.Bad = b.c.Bad[:len(b.c.Bad)-1]
			}
		case len(line) <= maxCaptureLine && b.fltRow(line):
		case trimmed == "...":
		default:
			b.stray(n, line)
		}
	}
	if b.c.Rows == 0 {
		b.c.Sure = false
	}
	return b.done()
}

func (b *captureBuilder) fltRow(line string) bool {
	if m := fltInstance.FindStringSubmatch(line); m != nil {
		b.c.Rows++
		e := b.filterEntry(m[1])
		in := FilterInstance{Name: m[4], Altitude: m[3]}
		s := &e.Driver.Services[0]
		s.Instances = append(s.Instances, in)
		e.Driver.column("volume", m[2])
		e.Driver.column("supportedFeatures", m[6])
		e.Driver.column("volumeStatus", m[7])
		return true
	}
	if m := fltFilter.FindStringSubmatch(line); m != nil {
		b.c.Rows++
		instances, _ := strconv.ParseInt(m[2], 10, 64)
		frame, _ := strconv.ParseInt(m[4], 10, 64)
		b.filterEntry(m[1]).Driver.Filter = &Filter{Name: m[1], Altitude: m[3], Instances: fact.CountOf(instances), Frame: fact.CountOf(frame)}
		return true
	}
	if m := fltLegacy.FindStringSubmatch(line); m != nil {
		b.c.Rows++
		b.filterEntry(m[1]).Driver.Filter = &Filter{Name: m[1], Legacy: true}
		return true
	}
	return false
}

// filterEntry is the entry of a filter, which is loaded: the filter manager lists no other.
func (b *captureBuilder) filterEntry(name string) *Entry {
	e := b.entry("service "+fold(name), name, "")
	if len(e.Driver.Services) == 0 {
		e.Driver.Services = []Service{{Name: name, Ephemeral: IsEphemeral(name)}}
	}
	e.Loaded = true
	return e
}
