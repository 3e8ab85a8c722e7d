// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/lazy"
	"github.com/kernelext/kernelext/internal/limit"
)

// A Capture is what the text that kldstat(8) prints says, of any generation and with any of its
// options -v, -h, -d, -i, -n and -m.
type Capture struct {
	// Rows are the files, in order.
	Rows []CaptureRow
	// Modules are the rows of kldstat -m, which names modules without their files.
	Modules []Module
	// Human is set when the sizes are rounded (kldstat -h).
	Human bool
	// Bad are the lines that make no sense, at most 100; BadCount is how many there were.
	Bad      []*fact.ParseError
	BadCount int
}

// A CaptureRow is one file of a kldstat listing.
type CaptureRow struct {
	ID, Refs int64
	Address  fact.Address
	// Size is the size in bytes; unknown when it was rounded, and then SizeText is what was printed.
	Size     fact.Count
	SizeText string
	Name     string
	// Pathname is the path in parentheses of kldstat -v; empty without.
	Pathname string
	// Modules are the modules listed below the file (kldstat -v); nil when there is no such list.
	Modules []Module
	// Elided is set when the list of modules has gaps ("..."), or a module vanished under kldstat.
	Elided bool
	// Line is where the row stands.
	Line int
}

const maxCapture = 16 << 20

// captureData matches what kldstat -d adds to a module's row.
const captureData = `(?:\s+\((-?\d{1,10}), (\d{1,10}), 0x([0-9a-f]{1,16})\))?`

var (
	captureRow    = lazy.Regexp{Pattern: `^\s*(\d{1,10})\s+(\d{1,10})\s+0x([0-9a-f]{1,16})\s+([0-9A-Za-z.]{1,17})\s+(\S.*)$`}
	captureModule = lazy.Regexp{Pattern: `^\s+(\d{1,10})\s+(\S+)` + captureData + `$`}
	captureDashM  = lazy.Regexp{Pattern: `^\s*(\d{1,10})\s+(\d{1,10})\s+(\S+)` + captureData + `$`}
	rounded       = lazy.Regexp{Pattern: `^[0-9]+(\.[0-9])?[KMGTPE]$`}
)

// ParseCapture reads the output of kldstat. Prompts, blank lines, elisions ("...") and squeezed
// blanks do no harm; a line that makes no sense costs that line. The error is fact.ErrTooLarge, or
// a *fact.ParseError when no line is kldstat's.
func ParseCapture(text string) (*Capture, error) {
	if len(text) > maxCapture {
		return nil, limit.TooLarge("kldstat", maxCapture)
	}
	p := &captureParser{}
	p.c.Human = strings.Contains(text, "Address             Size Name") || strings.Contains(text, "Address     Size Name")
	n := 0
	for line := range strings.SplitSeq(text, "\n") {
		n++
		p.line(n, strings.TrimRight(line, " \t\r"))
	}
	if !p.known && len(p.c.Rows) == 0 && len(p.c.Modules) == 0 {
		return nil, &fact.ParseError{Source: "kldstat", Reason: "neither a header nor a row of kldstat"}
	}
	for i := range p.c.Rows {
		p.c.Rows[i].size(p.c.Human)
	}
	return &p.c, nil
}

type captureParser struct {
	c       Capture
	known   bool // a header was seen
	dashM   bool // the rows are modules
	modules bool // the lines are modules of the last row
}

func (p *captureParser) line(n int, line string) {
	words := strings.Fields(line)
	if p.mark(words, line) {
		return
	}
	if m := captureRow.FindStringSubmatch(line); m != nil {
		p.modules, p.dashM = false, false
		p.row(n, m)
		return
	}
	if p.modules && p.module(line) {
		return
	}
	if m := captureDashM.FindStringSubmatch(line); m != nil && p.dashM {
		p.c.Modules = append(p.c.Modules, moduleOf(m[1], m[2], m[3], m[4:]))
		return
	}
	if prompt(line) {
		return
	}
	p.c.BadCount++
	if len(p.c.Bad) < limit.Problems {
		p.c.Bad = append(p.c.Bad, &fact.ParseError{Source: "kldstat", Line: n, Reason: fmt.Sprintf("%.80q is no row of kldstat", line)})
	}
}

// mark handles the lines that carry no row, and reports whether line was one.
func (p *captureParser) mark(words []string, line string) bool {
	switch {
	case len(words) == 0:
		return true
	case strings.Trim(line, " \t.…") == "":
		p.elide()
		return true
	case strings.Contains(line, "can't stat module") || strings.Contains(line, "can't stat file"):
		p.elide()
		return true
	case len(words) >= 4 && words[0] == "Id" && words[1] == "Refs" && words[2] == "Address":
		p.known, p.dashM, p.modules = true, false, false
		return true
	case len(words) >= 3 && words[0] == "Id" && words[1] == "Refs" && words[2] == "Name":
		p.known, p.dashM, p.modules = true, true, false
		return true
	case len(words) == 2 && words[0] == "Contains" && strings.TrimSuffix(words[1], ":") == "modules" && len(p.c.Rows) > 0:
		p.modules = true
		r := &p.c.Rows[len(p.c.Rows)-1]
		if r.Modules == nil {
			r.Modules = []Module{}
		}
		return true
	case len(words) >= 2 && words[0] == "Id" && words[1] == "Name" && p.modules:
		return true
	}
	return false
}

func (p *captureParser) elide() {
	if len(p.c.Rows) > 0 {
		p.c.Rows[len(p.c.Rows)-1].Elided = true
	}
}

func (p *captureParser) row(n int, m []string) {
	r := CaptureRow{SizeText: m[4], Line: n}
	r.ID, _ = strconv.ParseInt(m[1], 10, 64)
	r.Refs, _ = strconv.ParseInt(m[2], 10, 64)
	addr, _ := strconv.ParseUint(m[3], 16, 64)
	r.Address = fact.Address(addr)
	name := m[5]
	if i := strings.Index(name, " ("); i >= 0 && strings.HasSuffix(name, ")") {
		r.Pathname = escape.UTF8(name[i+2 : len(name)-1])
		name = name[:i]
	}
	r.Name = escape.UTF8(strings.TrimRight(name, " "))
	if rounded.MatchString(r.SizeText) {
		p.c.Human = true
	}
	p.c.Rows = append(p.c.Rows, r)
}

// size decides what the size column means, once it is known whether sizes are rounded.
func (r *CaptureRow) size(human bool) {
	base := 16
	if human {
		base = 10
	}
	if n, err := strconv.ParseInt(r.SizeText, base, 64); err == nil {
		r.Size, r.SizeText = fact.CountOf(n), ""
	}
}

func (p *captureParser) module(line string) bool {
	m := captureModule.FindStringSubmatch(line)
	if m == nil {
		return false
	}
	r := &p.c.Rows[len(p.c.Rows)-1]
	r.Modules = append(r.Modules, moduleOf(m[1], "", m[2], m[3:]))
	return true
}

func moduleOf(id, refs, name string, data []string) Module {
	m := Module{Name: escape.UTF8(name)}
	if n, err := strconv.ParseInt(id, 10, 64); err == nil {
		m.ID = fact.CountOf(n)
	}
	if n, err := strconv.ParseInt(refs, 10, 64); err == nil {
		m.Refs = fact.CountOf(n)
	}
	if data[0] != "" {
		i, _ := strconv.ParseInt(data[0], 10, 32)
		u, _ := strconv.ParseUint(data[1], 10, 32)
		ul, _ := strconv.ParseUint(data[2], 16, 64)
		m.Data = &ModuleData{Int: int32(i), Uint: uint32(u), Ulong: ul}
	}
	return m
}

// prompt reports whether the line is a shell's prompt, with or without a command behind it.
func prompt(line string) bool {
	if strings.HasSuffix(line, "#") || strings.HasSuffix(line, "$") || strings.HasSuffix(line, "%") || strings.HasSuffix(line, ">") {
		return true
	}
	i := strings.Index(line, "kldstat")
	return i > 0 && strings.ContainsAny(line[:i], "#$%>") || i == 0
}

// LooksLikeCapture reports whether text is the output of kldstat: it has a header or a row of it.
func LooksLikeCapture(text string) bool {
	for line := range strings.SplitSeq(text, "\n") {
		w := strings.Fields(line)
		if len(w) >= 3 && w[0] == "Id" && w[1] == "Refs" && (w[2] == "Address" || w[2] == "Name") {
			return true
		}
		if m := captureRow.FindStringSubmatch(strings.TrimRight(line, " \t\r")); m != nil {
			return true
		}
	}
	return false
}
