// SPDX-License-Identifier: Apache-2.0

package freebsd

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

// ReadKldstat reads the text that kldstat(8) of FreeBSD prints, of any generation and with any of its options -v, -h,
// -d, -i, -n and -m. A line that is invalid costs that line, which is reported.
func ReadKldstat(text string, r *fact.Report) fact.Capture[File] {
	return readKldstat(text, fact.KindFreeBSDKld, r)
}

// ReadKldstatDragonFly is ReadKldstat for DragonFly, whose kldstat(8) prints the same columns. Nothing in the text is
// sure to be DragonFly's.
func ReadKldstatDragonFly(text string, r *fact.Report) fact.Capture[File] {
	c := readKldstat(text, fact.KindDragonFlyKld, r)
	c.Sure = false
	return c
}

func readKldstat(text string, kind fact.Kind, r *fact.Report) fact.Capture[File] {
	p := newKldstat(text)
	form := capture.Form{Tool: "kldstat", Source: SourceKldstat, Columns: []string{"Id", "Refs", "Name"}}
	c := fact.Capture[File]{Stray: capture.ScanNumbered(text, form, r, p.line), Sure: p.header || len(p.rows) > 0}
	dir := ""
	for i := range p.rows {
		if p.rows[i].id == 1 {
			dir = dirOf(p.rows[i].path)
		}
	}
	for i := range p.rows {
		c.Records = append(c.Records, p.rows[i].record(kind, dir, p.human))
	}
	for _, m := range p.modules {
		c.Records = append(c.Records, Record{
			ID: string(kind) + ":" + m.Name, Kind: kind, Name: m.Name, State: fact.StateLoaded, Refs: m.Refs,
			Own: &File{Modules: []Module{m}},
		})
	}
	c.Rows = len(c.Records)
	whole := p.whole(dir != "" || slices.ContainsFunc(p.rows, func(row kldstatRow) bool { return row.id == 1 }))
	if whole != "" {
		r.Add(fact.Problem{Source: SourceKldstat, Field: "modules", Code: fact.CodeOther, Text: whole})
	}
	outcome := fact.OutcomeOK
	if c.Stray > 0 || whole != "" {
		outcome = fact.OutcomePartial
	}
	if len(p.modules) > 0 {
		err := errUnsupported("the text lists modules without the files that hold them")
		r.Problem(SourceKldstat, "", "freebsd.id", err)
	}
	r.Source(SourceKldstat, outcome, fact.CountOf(int64(c.Rows)), nil)
	return c
}

// whole returns why the text is not shown to be a whole list; empty if it is. The kernel is file 1 of every list.
func (p *kldstat) whole(kernel bool) string {
	switch {
	case p.dashM && len(p.modules) > 0 && len(p.rows) == 0: // kldstat -m lists modules, not files
		return ""
	case !p.header:
		return "the text has no header: nothing shows that it is the whole list"
	case !kernel:
		return "the text has no row of the kernel itself, which every list begins with: it shows some files only"
	}
	return ""
}

// A kldstatRow is one file of a listing.
type kldstatRow struct {
	id, refs int64
	address  fact.Address
	size     string // as it was printed
	name     string
	path     string   // in parentheses, of kldstat -v; empty without
	modules  []Module // listed below the file, of kldstat -v; nil if there is no such list
	elided   bool     // the list of modules has gaps ("..."), or a module vanished under kldstat
	line     int
}

// record returns the row as a record. human is set if the sizes are rounded (kldstat -h).
func (row *kldstatRow) record(kind fact.Kind, kernelDir string, human bool) Record {
	m := Record{
		ID: string(kind) + ":" + row.name, Kind: kind, Name: row.name, State: fact.StateLoaded,
		Refs: fact.CountOf(row.refs), Address: row.address, Origin: origin(row.path, kernelDir, SourceKldstat),
		Own: &File{ID: fact.CountOf(row.id), Pathname: row.path, Modules: row.modules},
	}
	if dirOf(row.path) != "" {
		m.Path = row.path
	}
	note := func(field string, err error) {
		p := fact.ProblemOf(SourceKldstat, row.name, field, err)
		p.Line = row.line
		m.AddProblem(p)
	}
	base := 16
	if human {
		base = 10
	}
	size, err := strconv.ParseInt(row.size, base, 64)
	switch {
	case err != nil:
		m.Own.SizeText = row.size
		note("size", errUnsupported("the text has it rounded, "+row.size))
	case size == 0 && row.address == 0:
		note("size", fmt.Errorf("size and address %w", fact.ErrRestricted))
	default:
		m.Size = fact.CountOf(size)
	}
	if row.elided {
		note("freebsd.modules", fmt.Errorf("the text leaves out some of its modules: %w", fact.ErrUnrecorded))
	}
	return m
}

// A kldstat takes the lines of a listing apart.
type kldstat struct {
	rows    []kldstatRow
	modules []Module // the rows of kldstat -m, which names modules without their files
	human   bool     // the sizes are rounded (kldstat -h)
	header  bool     // a header was seen
	dashM   bool     // the rows are modules
	inside  bool     // the lines are modules of the last row
}

// kldstatData matches what kldstat -d adds to a module's row.
const kldstatData = `(?:\s+\((-?\d{1,10}), (\d{1,10}), 0x([0-9a-f]{1,16})\))?$`

// The rows of a file, of a module inside it, and of a module of kldstat -m; a size of kldstat -h.
var (
	fileRow = lazy.Regexp{Pattern: `^\s*(\d{1,10})\s+(\d{1,10})\s+0x([0-9a-f]{1,16})\s+([0-9A-Za-z.]{1,17})\s+` +
		`(\S.*)$`}
	insideRow = lazy.Regexp{Pattern: `^\s+(\d{1,10})\s+(\S+)` + kldstatData}
	aloneRow  = lazy.Regexp{Pattern: `^\s*(\d{1,10})\s+(\d{1,10})\s+(\S+)` + kldstatData}
	rounded   = lazy.Regexp{Pattern: `^[0-9]+(\.[0-9])?[KMGTPE]$`}
)

func newKldstat(text string) *kldstat {
	return &kldstat{
		human: strings.Contains(text, "Address             Size Name") || strings.Contains(text,
			"Address     Size Name"),
	}
}

// line reads one line. Elisions ("...") and squeezed blanks do no harm.
func (p *kldstat) line(n int, line string) error {
	if p.mark(strings.Fields(line), line) {
		return nil
	}
	if m := fileRow.FindStringSubmatch(line); m != nil && !strings.HasPrefix(m[4], "0x") { // kextstat prints such sizes
		p.inside, p.dashM = false, false
		p.addFile(n, m)
		return nil
	}
	if m := insideRow.FindStringSubmatch(line); m != nil && p.inside {
		row := &p.rows[len(p.rows)-1]
		row.modules = append(row.modules, moduleOf(m[1], "", m[2], m[3:]))
		return nil
	}
	if m := insideRow.FindStringSubmatch(line); m != nil && strings.HasPrefix(line, "\t\t") { // kldstat -v | grep
		p.modules = append(p.modules, moduleOf(m[1], "", m[2], m[3:]))
		return nil
	}
	if m := aloneRow.FindStringSubmatch(line); m != nil && p.dashM {
		p.modules = append(p.modules, moduleOf(m[1], m[2], m[3], m[4:]))
		return nil
	}
	return fmt.Errorf("%.80q is not a row of kldstat", line)
}

// mark handles the lines that carry no row, and reports whether line was one.
func (p *kldstat) mark(words []string, line string) bool {
	switch {
	case strings.Trim(line, " \t.…") == "",
		strings.Contains(line, "can't stat module"), strings.Contains(line, "can't stat file"):
		if len(p.rows) > 0 {
			p.rows[len(p.rows)-1].elided = true
		}
	case len(words) >= 4 && words[0] == "Id" && words[1] == "Refs" && words[2] == "Address":
		p.header, p.dashM, p.inside = true, false, false
	case len(words) >= 3 && words[0] == "Id" && words[1] == "Refs" && words[2] == "Name":
		p.header, p.dashM, p.inside = true, true, false
	case len(words) == 2 && words[0] == "Contains" && strings.TrimSuffix(words[1], ":") == "modules" && len(p.rows) > 0:
		p.inside = true
		if row := &p.rows[len(p.rows)-1]; row.modules == nil {
			row.modules = []Module{}
		}
	case len(words) >= 2 && words[0] == "Id" && words[1] == "Name" && p.inside:
	default:
		return false
	}
	return true
}

func (p *kldstat) addFile(n int, m []string) {
	row := kldstatRow{size: m[4], line: n}
	row.id, _ = strconv.ParseInt(m[1], 10, 64) // at most 10 digits, as in what follows
	row.refs, _ = strconv.ParseInt(m[2], 10, 64)
	address, _ := strconv.ParseUint(m[3], 16, 64)
	row.address = fact.Address(address)
	name := m[5]
	if i := strings.Index(name, " ("); i >= 0 && strings.HasSuffix(name, ")") {
		row.path = escape.UTF8(name[i+2 : len(name)-1])
		name = name[:i]
	}
	row.name = escape.UTF8(strings.TrimRight(name, " "))
	p.human = p.human || rounded.MatchString(row.size)
	p.rows = append(p.rows, row)
}

// moduleOf returns a module of a listing. data are the three numbers of kldstat -d, empty without.
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
