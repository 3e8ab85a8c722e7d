// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"slices"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/capture"
)

// Sources of lists that other tools made of /proc/modules.
const (
	SourceJC      = "jc"             // jc's lsmod and proc-modules
	SourceOsquery = "kernel_modules" // osquery's table
	SourceMQL     = "mql"            // cnquery's and cnspec's kernel.modules
	// SourceVelociraptor is the artifact Linux.Proc.Modules.
	SourceVelociraptor = "velociraptor_modules"
)

// A rowForm says which columns a tool has for what a line of /proc/modules says; empty for none.
type rowForm struct {
	source, name, size, refs, users, state, address, loaded string
	// others are further columns, of which a row has at least one.
	others []string
	// not is a column that only another form has.
	not string
}

// ReadJC reads the JSON that jc makes of lsmod, and of /proc/modules.
func ReadJC(text string, r *fact.Report) fact.Capture[Module] {
	return readRows(text, rowForm{source: SourceJC, name: "module", size: "size", refs: "used", users: "by|used_by",
		state: "status", address: "location", others: []string{"used"}}, r)
}

// ReadOsquery reads osquery's table kernel_modules as lines, JSON, CSV or a box.
func ReadOsquery(text string, r *fact.Report) fact.Capture[Module] {
	return readRows(text, rowForm{source: SourceOsquery, name: "name", size: "size", users: "used_by", state: "status",
		address: "address", others: []string{"used_by", "status"}, not: "UseCount"}, r)
}

// ReadVelociraptor reads the rows of Velociraptor's artifact Linux.Proc.Modules, as JSON lines, JSON or CSV.
func ReadVelociraptor(text string, r *fact.Report) fact.Capture[Module] {
	return readRows(text, rowForm{source: SourceVelociraptor, name: "Name", size: "Size", refs: "UseCount",
		users: "UsedBy", state: "Status", address: "Address", others: []string{"UseCount"}}, r)
}

// ReadMQL reads the JSON of kernel.modules, whose loaded modules alone are modules that are loaded.
func ReadMQL(text string, r *fact.Report) fact.Capture[Module] {
	return readRows(text, rowForm{source: SourceMQL, name: "name", size: "size", loaded: "loaded",
		others: []string{"loaded"}}, r)
}

func readRows(text string, f rowForm, r *fact.Report) fact.Capture[Module] {
	t := capture.Table{Source: f.source}
	all := append([]string{f.name, f.size}, f.others...)
	header := func(columns []string) bool {
		return !slices.ContainsFunc(all, func(name string) bool { return !slices.Contains(columns, name) })
	}
	var entries []listEntry
	var installed []bool
	for _, o := range t.Objects(text, capture.ObjectForm{Header: header, Separators: "="}) {
		e, ok := f.entry(o)
		if !ok {
			t.Stray(o.Line, o.Text)
			continue
		}
		t.Sure = true
		entries = append(entries, e)
		installed = append(installed, f.loaded != "" && strings.EqualFold(o.Get(f.loaded), "false"))
	}
	t.Report(r)
	l := listText{entries: entries}
	if user := l.missing(); user != "" {
		r.Add(missingUser(f.source, user))
	}
	r.Done(f.source, fact.CountOf(int64(len(entries))))
	c := fact.Capture[Module]{Records: recordsOf(&moduleList{Entries: entries}, nil), Rows: len(entries),
		Stray: t.Strays, Sure: t.Sure}
	for i := range c.Records {
		m := &c.Records[i]
		m.Own.Taints, m.Address = nil, entries[i].Address
		switch {
		case installed[i]:
			m.State = fact.StateInstalled
		case m.State == "" && (f.loaded != "" || !m.Refs.IsZero()):
			m.State = fact.StateLoaded
		}
		if f.users == "" {
			m.UsedBy, m.Requires = nil, nil
		}
	}
	return c
}

// entry returns what a row says; false if it has not the columns of the form, or a value of another shape.
func (f *rowForm) entry(o capture.Object) (listEntry, bool) {
	get := o.Get
	e := listEntry{Name: get(f.name), State: get(f.state)}
	size, err := strconv.ParseInt(get(f.size), 10, 64)
	if !moduleName(e.Name) || err != nil || size < 0 || f.not != "" && get(f.not) != "" {
		return e, false
	}
	if !slices.ContainsFunc(f.others, func(name string) bool { return get(name) != "" }) {
		return e, false
	}
	e.Size = size
	if refs := get(f.refs); refs != "" {
		n, err := strconv.ParseInt(refs, 10, 64)
		if err != nil {
			return e, false
		}
		if n >= -1 { // kmod prints the error number of a count that it could not read
			e.Refs = fact.CountOf(n)
		}
	}
	if address := get(f.address); address != "" {
		n, err := strconv.ParseUint(strings.TrimPrefix(address, "0x"), 16, 64)
		if err != nil {
			return e, false
		}
		e.Address = fact.Address(n)
	}
	if stateOf(e.State) == "" && e.State != "" {
		return e, false
	}
	return e, f.usersOf(&e, o)
}

// usersOf takes the users: a list of JSON, or names with commas between them; "-" means no user.
func (f *rowForm) usersOf(e *listEntry, o capture.Object) bool {
	e.UsedBy = []string{}
	for column := range strings.SplitSeq(f.users, "|") {
		all := strings.Join(o.Values(column), ",")
		for name := range strings.FieldsFuncSeq(all, func(r rune) bool { return r == ',' || r == ' ' }) {
			switch {
			case name == "-":
			case name == "[permanent]":
				e.Permanent = true
			case !moduleName(name):
				return false
			default:
				e.UsedBy = append(e.UsedBy, name)
			}
		}
	}
	return true
}

// missingUser is the Problem of a text that names a user of a module, and has no row of that user.
func missingUser(source, user string) fact.Problem {
	return fact.Problem{Source: source, Field: "modules", Code: fact.CodeOther,
		Text: strconv.Quote(user) + " uses a module and has no row: the text shows some modules only"}
}
