// SPDX-License-Identifier: Apache-2.0

package netware

import (
	"errors"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/capture"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/lazy"
)

// SourceModules is the name of the source of the text that MODULES prints.
const SourceModules = "modules"

var (
	nameLine = lazy.Regexp{Pattern: `^([A-Za-z0-9_$~!#%&'()@^{}-]{1,8}\.[A-Za-z0-9_]{1,3})` +
		`(?:\s+\(Address Space\s*=\s*([^)]+)\))?\s*$`}
	versionLine = lazy.Regexp{Pattern: `(?i)^\s+Version\s+(\d{1,5}\.\d{1,5}[a-z]?)(?:[ ,]+(.*\d))?\s*$`}
	loadedLine  = lazy.Regexp{Pattern: `(?i)^\s+Loaded from \[([^\]]*)\](?:\s+on\s+(.*))?$`}
	spaceLine   = lazy.Regexp{Pattern: `(?i)^\s+\(?Address Space\s*=\s*([^)]+)\)?\s*$`}
	consoleLine = lazy.Regexp{Pattern: `(?i)^\S*[:>]\s*modules\b|^<Press .*>|^\S+:\s*$`}
)

// A module is what MODULES prints of one module.
type module struct {
	name string
	// description is the line after the name; version and date are as printed.
	description, version, date string
	// loadedFrom and addressSpace are printed by NetWare 5 and later; empty without.
	loadedFrom, addressSpace string
	// notes are the other lines: copyright and license.
	notes []string
}

// ReadModules reads the text that the console command MODULES prints: a module's name at the start of a line, and
// indented lines about it. A version line shows that it is NetWare's. A line of neither kind is reported.
func ReadModules(text string, r *fact.Report) fact.Capture[fact.Other] {
	var c fact.Capture[fact.Other]
	var modules []module
	detail := false
	c.Stray = capture.Scan(text, capture.Form{Tool: SourceModules, Source: SourceModules}, r, func(line string) error {
		switch {
		case consoleLine.MatchString(line):
		case nameLine.MatchString(line) && !strings.HasSuffix(strings.ToLower(line),
			".inf"): // devcon lists such on Windows
			m := nameLine.FindStringSubmatch(line)
			space := escape.UTF8(strings.TrimSpace(m[2]))
			modules = append(modules, module{name: escape.UTF8(m[1]), addressSpace: space})
		case (line[0] == ' ' || line[0] == '\t') && len(modules) > 0:
			detail = true
			modules[len(modules)-1].line(line)
		default:
			return errors.New("neither a module's name nor indented")
		}
		return nil
	})
	if !detail || c.Stray > len(modules) {
		return fact.Capture[fact.Other]{Stray: c.Stray} // names alone prove nothing
	}
	for i := range modules {
		c.Sure = c.Sure || modules[i].version != ""
		c.Records = append(c.Records, modules[i].record())
	}
	c.Rows = len(modules)
	r.Done(SourceModules, fact.CountOf(int64(c.Rows)))
	return c
}

// line reads an indented line about the module.
func (m *module) line(line string) {
	if found := versionLine.FindStringSubmatch(line); found != nil && m.version == "" {
		m.version, m.date = found[1], escape.UTF8(found[2])
		return
	}
	if found := loadedLine.FindStringSubmatch(line); found != nil {
		m.loadedFrom = escape.UTF8(found[1])
		return
	}
	if found := spaceLine.FindStringSubmatch(line); found != nil {
		m.addressSpace = escape.UTF8(strings.TrimSpace(found[1]))
		return
	}
	text := escape.UTF8(strings.TrimSpace(line))
	if m.description == "" && m.version == "" {
		m.description = text
		return
	}
	m.notes = append(m.notes, text)
}

// record returns the module as a record.
func (m *module) record() Record {
	r := record(m.name, fact.StateLoaded)
	r.Version, r.Description = m.version, m.description
	r.Own.Add("date", m.date)
	r.Own.Add("loadedFrom", m.loadedFrom)
	r.Own.Add("addressSpace", m.addressSpace)
	for _, note := range m.notes {
		r.Own.Add("note", note)
	}
	return r
}
