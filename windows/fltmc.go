// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/capture"
	"github.com/kernelext/kernelext/internal/lazy"
)

// SourceFltmc is the source of a capture of fltmc.
const SourceFltmc = "fltmc"

var (
	// fltFilter matches a row of fltmc filters: name, instances, altitude, frame.
	fltFilter = lazy.Regexp{Pattern: `^(\S.*?)\s{2,}(\d{1,6})\s+(\d{1,64}(?:\.\d{1,64})?)\s+(\d{1,6})$`}
	// fltLegacy matches the row of a filter that is not a minifilter.
	fltLegacy = lazy.Regexp{Pattern: `^(\S.*?)\s{2,}<(\S+)>$`}
	// fltInstance matches a row of fltmc instances: filter, volume, altitude, instance, frame, features, status;
	// volume and status may be blank.
	fltInstance = lazy.Regexp{Pattern: `^(\S.*?)\s{2,}(?:(\S.*?)\s{2,})?(\d{1,64}(?:\.\d{1,64})?)\s{2,}` +
		`(\S.*?)\s+(\d{1,6})\s+([0-9a-fA-F]{8})(?:\s+(\S.*))?$`}
)

// ReadFltmc reads what fltmc filters and fltmc instances print, in any language. The altitude is kept as text.
func ReadFltmc(text string, r *fact.Report) fact.Capture[Driver] {
	text = readConsole(text, SourceFltmc, r)
	b := newCapture(SourceFltmc, text)
	header := fltHeader(text)
	form := capture.Form{Tool: SourceFltmc, Source: SourceFltmc, Columns: []string{"Num", "Altitude", "Frame"}}
	b.Strays = capture.Scan(text, form, r, func(line string) error {
		trimmed := strings.TrimSpace(line)
		switch {
		case b.full(), trimmed == "...":
			return nil
		case fltRuler(trimmed):
			b.Sure = true
			return nil
		case len(line) <= capture.MaxLine && b.fltRow(line), capture.IsRuler(trimmed), b.rows == 0 && line == header:
			return nil
		}
		return capture.NoRow(line)
	})
	if b.rows > 0 {
		capture.Headed(r, SourceFltmc, b.Sure)
	}
	return b.done(r)
}

// fltHeader returns the line above the ruler, whose words are those of some language; empty if no such line exists.
func fltHeader(text string) string {
	last := ""
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, " \t\r\n")
		switch {
		case strings.TrimSpace(line) == "":
		case fltRuler(strings.TrimSpace(line)):
			return last
		default:
			last = line
		}
	}
	return ""
}

func fltRuler(line string) bool { return strings.Trim(line, "- ") == "" }

func (b *captureBuilder) fltRow(line string) bool {
	if m := fltInstance.FindStringSubmatch(line); m != nil {
		b.rows++
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
		b.rows++
		instances, _ := strconv.ParseInt(m[2], 10, 64)
		frame, _ := strconv.ParseInt(m[4], 10, 64)
		b.filterEntry(m[1]).Driver.Filter = &Filter{
			Name: m[1], Altitude: m[3], Instances: fact.CountOf(instances), Frame: fact.CountOf(frame)}
		return true
	}
	if m := fltLegacy.FindStringSubmatch(line); m != nil {
		b.rows++
		b.filterEntry(m[1]).Driver.Filter = &Filter{Name: m[1], Legacy: true}
		return true
	}
	return false
}

// filterEntry is the entry of a filter, which is loaded: the filter manager lists no other.
func (b *captureBuilder) filterEntry(name string) *entry {
	e := b.entry("service "+fold(name), name, "")
	if len(e.Driver.Services) == 0 {
		e.Driver.Services = []Service{{Name: name, Ephemeral: isEphemeral(name)}}
	}
	e.Loaded = true
	return e
}
