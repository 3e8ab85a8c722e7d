// SPDX-License-Identifier: Apache-2.0

package solaris

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/lazy"
	"github.com/kernelext/kernelext/internal/limit"
)

// A Capture is what the text that modinfo(8) prints says.
type Capture struct {
	// Rows are the lines, in order; one module may have several.
	Rows []CaptureRow
	// Bad are the lines that make no sense, at most 100; BadCount is how many there were.
	Bad      []*fact.ParseError
	BadCount int
}

// A CaptureRow is one line of modinfo.
type CaptureRow struct {
	// ID is the module's id.
	ID int64
	// Address is where it starts; 0 when it is hidden ("--") or the form has none.
	Address fact.Address
	// Size, Info, Rev and LoadCount are unknown when the form has no such column, or "-".
	Size, Info, Rev, LoadCount fact.Count
	// Name is the module's name.
	Name string
	// Description is the text in parentheses; Cut is set when its closing parenthesis is missing.
	Description string
	Cut         bool
	// State are the words of its state, in lower case; nil when the form has none.
	State []string
	// Path is the module's file; empty when the form has none.
	Path string
	// Line is where it stands.
	Line int
}

const maxCapture = 16 << 20

var (
	classicRow = lazy.Regexp{Pattern: `^\s*(\d{1,10})\s+([0-9a-f]{1,16}|--?)\s+([0-9a-f]{1,16}|--?)\s+(-?\d{1,10}|--?)\s+(\d{1,10}|--?)\s+(\S.*)$`}
	countRow   = lazy.Regexp{Pattern: `^\s*(\d{1,10})\s+(\d{1,10})\s+(\S+)\s+([A-Z]+(?:/[A-Z]+)*)\s*$`}
)

// ParseCapture reads the output of modinfo: the fixed columns of illumos and Solaris, those of -c,
// and the parsable form of Solaris 11.4 (-p with a header line, separated by ":"). A row whose
// description was cut by modinfo is kept. The error is fact.ErrTooLarge, or a *fact.ParseError when
// no line is modinfo's.
func ParseCapture(text string) (*Capture, error) {
	if len(text) > maxCapture {
		return nil, limit.TooLarge("modinfo", maxCapture)
	}
	c := &Capture{}
	form := formNone
	var columns []string
	n := 0
	for line := range strings.SplitSeq(text, "\n") {
		n++
		line = strings.TrimRight(line, " \t\r")
		if line == "" {
			continue
		}
		if f, cols := headerOf(line); f != formNone {
			form, columns = f, cols
			continue
		}
		if form == formNone && prompt(line) {
			continue
		}
		r, err := c.row(form, columns, line)
		if err != nil {
			c.BadCount++
			if len(c.Bad) < limit.Problems {
				c.Bad = append(c.Bad, &fact.ParseError{Source: "modinfo", Line: n, Reason: err.Error()})
			}
			continue
		}
		r.Line = n
		c.Rows = append(c.Rows, r)
	}
	if form == formNone && len(c.Rows) == 0 {
		return nil, &fact.ParseError{Source: "modinfo", Reason: "neither a header nor a row of Solaris modinfo"}
	}
	return c, nil
}

type form int

const (
	formNone form = iota
	formClassic
	formCount
	formNamed // columns by name, separated by blanks; the last takes the rest of the line
	formColon // columns by name, separated by ":"
)

// headerOf recognises a header line.
func headerOf(line string) (form, []string) {
	w := strings.Fields(line)
	switch {
	case len(w) >= 5 && w[0] == "Id" && w[1] == "Loadaddr" && w[2] == "Size":
		return formClassic, nil
	case len(w) >= 3 && w[0] == "Id" && w[1] == "Loadcnt":
		return formCount, nil
	case len(w) >= 3 && w[0] == "ID" && known(w):
		return formNamed, w
	case len(w) == 1 && strings.Contains(line, ":"):
		if cols := strings.Split(line, ":"); len(cols) >= 3 && known(cols) {
			return formColon, cols
		}
	}
	return formNone, nil
}

// known reports whether every word names a column of Solaris 11.4.
func known(columns []string) bool {
	for _, c := range columns {
		switch c {
		case "ID", "LOADADDR", "SIZE", "INFO", "REV", "NAMEDESC", "NAME", "DESC", "PATH", "LOADCNT", "STATE":
		default:
			return false
		}
	}
	return true
}

func prompt(line string) bool {
	i := strings.Index(line, "modinfo")
	return i >= 0 && (i == 0 || strings.ContainsAny(line[:i], "#$%>"))
}

func (c *Capture) row(f form, columns []string, line string) (CaptureRow, error) {
	switch f {
	case formNamed:
		return named(columns, splitBlanks(line, len(columns)))
	case formColon:
		return named(columns, strings.SplitN(line, ":", len(columns)))
	case formCount:
		if m := countRow.FindStringSubmatch(line); m != nil {
			r := CaptureRow{ID: number(m[1]), LoadCount: count(m[2]), Name: escape.UTF8(m[3])}
			r.State = states(m[4])
			return r, nil
		}
	default:
		if m := classicRow.FindStringSubmatch(line); m != nil {
			r := CaptureRow{ID: number(m[1]), Address: address(m[2]), Size: hexCount(m[3]), Info: count(m[4]), Rev: count(m[5])}
			r.nameAndDescription(m[6])
			return r, nil
		}
	}
	return CaptureRow{}, fmt.Errorf("%.80q is no row of modinfo", line)
}

// splitBlanks splits a line at runs of blanks into at most n words; the last keeps its blanks.
func splitBlanks(line string, n int) []string {
	var out []string
	rest := strings.TrimLeft(line, " \t")
	for len(out) < n-1 && rest != "" {
		i := strings.IndexAny(rest, " \t")
		if i < 0 {
			break
		}
		out = append(out, rest[:i])
		rest = strings.TrimLeft(rest[i:], " \t")
	}
	if rest != "" {
		out = append(out, rest)
	}
	return out
}

func named(columns, words []string) (CaptureRow, error) {
	var r CaptureRow
	if len(words) != len(columns) {
		return r, fmt.Errorf("%d columns, not %d", len(words), len(columns))
	}
	id := false
	for i, w := range words {
		switch columns[i] {
		case "ID":
			n, err := strconv.ParseInt(w, 10, 32)
			if err != nil {
				return r, fmt.Errorf("id %.40q", w)
			}
			r.ID, id = n, true
		case "LOADADDR":
			r.Address = address(w)
		case "SIZE":
			r.Size = hexCount(w)
		case "INFO":
			r.Info = count(w)
		case "REV":
			r.Rev = count(w)
		case "LOADCNT":
			r.LoadCount = count(w)
		case "NAMEDESC":
			r.nameAndDescription(w)
		case "NAME":
			r.Name = escape.UTF8(w)
		case "DESC":
			r.Description = escape.UTF8(strings.TrimSuffix(strings.TrimPrefix(w, "("), ")"))
		case "PATH":
			r.Path = escape.UTF8(w)
		case "STATE":
			r.State = states(w)
		}
	}
	if !id || r.Name == "" {
		return r, fmt.Errorf("no id or no name in %d columns", len(columns))
	}
	return r, nil
}

// nameAndDescription splits "specfs (filesystem for specfs)"; the end may be missing.
func (r *CaptureRow) nameAndDescription(s string) {
	name, rest, ok := strings.Cut(s, " (")
	r.Name = escape.UTF8(strings.TrimSpace(name))
	if !ok {
		return
	}
	d, whole := strings.CutSuffix(rest, ")")
	r.Description, r.Cut = escape.UTF8(d), !whole || unbalanced(d)
}

// unbalanced reports whether a parenthesis that the description opens is still open: then the one
// taken for the description's own end was the text's.
func unbalanced(d string) bool { return strings.Count(d, "(") > strings.Count(d, ")") }

func number(s string) int64 { n, _ := strconv.ParseInt(s, 10, 64); return n }

func count(s string) fact.Count {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return fact.Count{}
	}
	return fact.CountOf(n)
}

func hexCount(s string) fact.Count {
	n, err := strconv.ParseInt(strings.TrimPrefix(s, "0x"), 16, 64)
	if err != nil {
		return fact.Count{}
	}
	return fact.CountOf(n)
}

func address(s string) fact.Address {
	n, err := strconv.ParseUint(strings.TrimPrefix(s, "0x"), 16, 64)
	if err != nil {
		return 0
	}
	return fact.Address(n)
}

// states turns LOADED/UNINSTALLED into the words of Module.State.
func states(s string) []string {
	out := []string{}
	for w := range strings.FieldsFuncSeq(strings.ToLower(s), func(r rune) bool { return r == '/' || r == ',' }) {
		if w == "loaded" || w == "installed" {
			out = append(out, w)
		}
	}
	return out
}

// LooksLikeCapture reports whether text is the output of Solaris' modinfo: it has one of its
// headers. Linux' modinfo is another program.
func LooksLikeCapture(text string) bool {
	for line := range strings.SplitSeq(text, "\n") {
		if f, _ := headerOf(strings.TrimRight(line, " \t\r")); f != formNone {
			return true
		}
	}
	return false
}
