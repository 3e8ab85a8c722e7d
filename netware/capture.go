// SPDX-License-Identifier: Apache-2.0

package netware

import (
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/lazy"
	"github.com/kernelext/kernelext/internal/limit"
)

// A Capture is what the text of the console command MODULES says.
type Capture struct {
	// Rows are the modules, in order.
	Rows []Row
	// Bad are the lines that make no sense, at most 100; BadCount is how many there were.
	Bad      []*fact.ParseError
	BadCount int
}

// A Row is one module.
type Row struct {
	// Name is the module's file name, such as "CLIB.NLM".
	Name string
	// Description is the line behind it; Version and Date are as printed.
	Description, Version, Date string
	// LoadedFrom and AddressSpace are printed by NetWare 5 and later; empty without.
	LoadedFrom, AddressSpace string
	// Notes are the other lines: copyright and licence.
	Notes []string
	// Line is where it stands.
	Line int
}

const maxCapture = 16 << 20

var (
	nameLine    = lazy.Regexp{Pattern: `^([A-Za-z0-9_$~!#%&'()@^{}-]{1,8}\.[A-Za-z0-9_]{1,3})(?:\s+\(Address Space\s*=\s*([^)]+)\))?\s*$`}
	versionLine = lazy.Regexp{Pattern: `(?i)^\s+Version\s+(\d{1,5}\.\d{1,5}[a-z]?)(?:[ ,]+(.*\d))?\s*$`}
	loadedLine  = lazy.Regexp{Pattern: `(?i)^\s+Loaded from \[([^\]]*)\](?:\s+on\s+(.*))?$`}
	spaceLine   = lazy.Regexp{Pattern: `(?i)^\s+\(?Address Space\s*=\s*([^)]+)\)?\s*$`}
	consoleLine = lazy.Regexp{Pattern: `(?i)^\S*[:>]\s*modules\b|^<Press .*>|^\S+:\s*$`}
)

// ParseCapture reads the output of MODULES: a module's name at the start of a line, and indented
// lines about it. The error is fact.ErrTooLarge, or a *fact.ParseError when no module is named.
func ParseCapture(text string) (*Capture, error) {
	if len(text) > maxCapture {
		return nil, limit.TooLarge("modules", maxCapture)
	}
	c := &Capture{}
	n, detail := 0, false
	for line := range strings.SplitSeq(text, "\n") {
		n++
		line = strings.TrimRight(line, " \t\r")
		switch {
		case line == "" || consoleLine.MatchString(line):
		case nameLine.MatchString(line):
			m := nameLine.FindStringSubmatch(line)
			c.Rows = append(c.Rows, Row{Name: escape.UTF8(m[1]), AddressSpace: escape.UTF8(strings.TrimSpace(m[2])), Line: n})
		case (line[0] == ' ' || line[0] == '\t') && len(c.Rows) > 0:
			detail = true
			c.Rows[len(c.Rows)-1].line(line)
		default:
			c.BadCount++
			if len(c.Bad) < limit.Problems {
				c.Bad = append(c.Bad, &fact.ParseError{Source: "modules", Line: n, Reason: "neither a module's name nor indented"})
			}
		}
	}
	if len(c.Rows) == 0 || !detail || c.BadCount > len(c.Rows) {
		return nil, &fact.ParseError{Source: "modules", Reason: "not the output of NetWare's MODULES"}
	}
	return c, nil
}

func (r *Row) line(line string) {
	if m := versionLine.FindStringSubmatch(line); m != nil && r.Version == "" {
		r.Version, r.Date = m[1], escape.UTF8(m[2])
		return
	}
	if m := loadedLine.FindStringSubmatch(line); m != nil {
		r.LoadedFrom = escape.UTF8(m[1])
		return
	}
	if m := spaceLine.FindStringSubmatch(line); m != nil {
		r.AddressSpace = escape.UTF8(strings.TrimSpace(m[1]))
		return
	}
	text := escape.UTF8(strings.TrimSpace(line))
	if r.Description == "" && r.Version == "" {
		r.Description = text
		return
	}
	r.Notes = append(r.Notes, text)
}

// LooksLikeCapture reports whether text is the output of MODULES: it names at least one .NLM and
// has a version line.
func LooksLikeCapture(text string) bool {
	c, err := ParseCapture(text)
	if err != nil {
		return false
	}
	for _, r := range c.Rows {
		if r.Version != "" {
			return true
		}
	}
	return false
}
