// SPDX-License-Identifier: Apache-2.0

package solaris

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/capture"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/lazy"
)

// A row is one line of modinfo.
type row struct {
	id      int64
	address fact.Address // 0 if it is hidden ("--") or the form has none
	// These are unknown if the form has no such column, or "-".
	size, info, rev, loadCount fact.Count
	name, description          string
	cut                        bool     // the description's closing parenthesis is missing
	state                      []string // nil if the form has none
	path                       string   // empty if the form has none
}

var (
	classicRow = lazy.Regexp{Pattern: `^\s*(\d{1,10})\s+([0-9a-f]{1,16}|--?)\s+([0-9a-f]{1,16}|--?)\s+` +
		`(-?\d{1,10}|--?)\s+(\d{1,10}|--?)\s+(\S.*)$`}
	countRow = lazy.Regexp{Pattern: `^\s*(\d{1,10})\s+(\d{1,10})\s+(\S+)\s+([A-Z]+(?:/[A-Z]+)*)\s*$`}
)

// ReadModinfo reads the text that modinfo(8) prints: the fixed columns of illumos and Solaris, those of -c, and the
// parsable form of Solaris 11.4 (-p with a header line, separated by ":"). The lines of one module become one record.
// A row whose description was cut by modinfo is kept. A line that is not a row is reported.
func ReadModinfo(text string, r *fact.Report) fact.Capture[Module] {
	var c fact.Capture[Module]
	var rows []row
	var columns []string
	form := formNone
	scanned := capture.Form{Tool: "modinfo", Source: SourceModinfo,
		Columns: []string{"Id", "Loadaddr", "Size", "Info", "Rev", "Module"}}
	c.Stray = capture.Scan(text, scanned, r, func(line string) error {
		if f, cols := headerOf(line); f != formNone {
			form, columns, c.Sure = f, cols, true
			return nil
		}
		row, err := parseRow(form, columns, line)
		if err == nil {
			rows = append(rows, row)
		}
		return err
	})
	c.Rows, c.Records = len(rows), joined(rows)
	if c.Rows > 0 {
		capture.Headed(r, SourceModinfo, c.Sure)
		root := slices.ContainsFunc(c.Records, func(m Record) bool { return m.Name == "specfs" })
		capture.Anchored(r, SourceModinfo, root && len(c.Records) > 1, "specfs") // modinfo -i ID
	}
	r.Done(SourceModinfo, fact.CountOf(int64(len(c.Records))))
	return c
}

// joined returns the rows as records, those of one module as one: they have its id and its name.
func joined(rows []row) []Record {
	out := make([]Record, 0, len(rows))
	type key struct {
		id   int64
		name string
	}
	seen := map[key]int{}
	for _, row := range rows {
		link := Linkage{Description: row.description, Info: row.info, Cut: row.cut}
		if i, ok := seen[key{row.id, row.name}]; ok {
			out[i].Own.Linkages = append(out[i].Own.Linkages, link)
			continue
		}
		seen[key{row.id, row.name}] = len(out)
		own := &Module{ID: fact.CountOf(row.id), State: row.state, Rev: row.rev, LoadCount: row.loadCount}
		if row.description != "" {
			own.Linkages = []Linkage{link}
		}
		out = append(out, Record{
			ID: string(fact.KindSolarisModule) + ":" + row.name, Kind: fact.KindSolarisModule, Name: row.name,
			State: row.loaded(), Description: row.description, Path: row.path, Size: row.size, Address: row.address,
			Own: own,
		})
	}
	return out
}

// loaded returns the state of the row's module. Where the form says it (modctl(2)'s mod_loaded), a module that is not
// in memory is known to the kernel only; every other form lists what is loaded.
func (r *row) loaded() fact.State {
	if r.state != nil && !slices.Contains(r.state, "loaded") {
		return fact.StateInstalled
	}
	return fact.StateLoaded
}

type form int

const (
	formNone form = iota
	formClassic
	formCount
	formNamed // columns by name, separated by blanks; the last takes the rest of the line
	formColon // columns by name, separated by ":"
)

// headerOf recognizes a header line.
func headerOf(line string) (form, []string) {
	w := strings.Fields(line)
	switch {
	case len(w) >= 5 && w[0] == "Id" && w[1] == "Loadaddr" && w[2] == "Size":
		return formClassic, nil
	case len(w) >= 3 && w[0] == "Id" && w[1] == "Loadcnt":
		return formCount, nil
	case len(w) >= 3 && w[0] == "ID" && columnsOfSolaris(w):
		return formNamed, w
	case len(w) == 1 && strings.Contains(line, ":"):
		if cols := strings.Split(line, ":"); len(cols) >= 3 && columnsOfSolaris(cols) {
			return formColon, cols
		}
	}
	return formNone, nil
}

// columnsOfSolaris reports whether every word names a column of Solaris 11.4.
func columnsOfSolaris(columns []string) bool {
	for _, c := range columns {
		switch c {
		case "ID", "LOADADDR", "SIZE", "INFO", "REV", "NAMEDESC", "NAME", "DESC", "PATH", "LOADCNT", "STATE":
		default:
			return false
		}
	}
	return true
}

func parseRow(f form, columns []string, line string) (row, error) {
	switch f {
	case formNamed:
		return namedRow(columns, splitBlanks(line, len(columns)))
	case formColon:
		return namedRow(columns, strings.SplitN(line, ":", len(columns)))
	case formCount:
		if m := countRow.FindStringSubmatch(line); m != nil {
			return row{id: number(m[1]), loadCount: count(m[2]), name: escape.UTF8(m[3]), state: states(m[4])}, nil
		}
	default:
		if m := classicRow.FindStringSubmatch(line); m != nil && !goesOn(m[6]) {
			r := row{id: number(m[1]), address: address(m[2]), size: hexCount(m[3]), info: count(m[4]),
				rev: count(m[5])}
			if r.nameAndDescription(m[6]); !strings.ContainsAny(r.name, " \t") {
				return r, nil // a module is named as its file, without blanks
			}
		}
	}
	return row{}, fmt.Errorf("%.80q is not a row of modinfo", line)
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

func namedRow(columns, words []string) (row, error) {
	var r row
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
			r.id, id = n, true
		case "LOADADDR":
			r.address = address(w)
		case "SIZE":
			r.size = hexCount(w)
		case "INFO":
			r.info = count(w)
		case "REV":
			r.rev = count(w)
		case "LOADCNT":
			r.loadCount = count(w)
		case "NAMEDESC":
			r.nameAndDescription(w)
		case "NAME":
			r.name = escape.UTF8(w)
		case "DESC":
			r.description = escape.UTF8(strings.TrimSuffix(strings.TrimPrefix(w, "("), ")"))
		case "PATH":
			r.path = escape.UTF8(w)
		case "STATE":
			r.state = states(w)
		}
	}
	if !id || r.name == "" {
		return r, fmt.Errorf("no id or no name in %d columns", len(columns))
	}
	return r, nil
}

// nameAndDescription splits "specfs (filesystem for specfs)"; the end may be missing.
func (r *row) nameAndDescription(s string) {
	name, rest, ok := strings.Cut(s, " (")
	r.name = escape.UTF8(strings.TrimSpace(name))
	if !ok {
		return
	}
	d, whole := strings.CutSuffix(rest, ")")
	r.description, r.cut = escape.UTF8(d), !whole || unbalanced(d)
}

// goesOn reports whether anything follows a module's description: kextstat prints such rows.
func goesOn(s string) bool {
	i := strings.Index(s, " (")
	if i < 0 {
		return false
	}
	depth := 0
	for at, c := range strings.TrimRight(s[i+1:], " \t") {
		switch c {
		case '(':
			depth++
		case ')':
			depth--
		}
		if depth == 0 {
			return strings.TrimSpace(s[i+1+at+1:]) != ""
		}
	}
	return false
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
