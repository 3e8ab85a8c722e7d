// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// A Delta is what changed from one Snapshot to a later one of the same machine. Volatile facts do
// not make a change: reference counts, users, addresses and parameter values.
type Delta struct {
	// Schema is the number of the form, as in Snapshot.
	Schema int `json:"schema"`
	// Header is the newer Snapshot without its modules.
	Header *Snapshot `json:"header"`
	// Added are the modules that came, sorted by ID.
	Added []Module `json:"added"`
	// Removed are those that went.
	Removed []Module `json:"removed"`
	// Changed are those with other facts.
	Changed []Change `json:"changed"`
	// Unobserved are those of which the newer Snapshot saw less, or nothing, because a source that
	// the older one had was lost. Nothing is known to have changed.
	Unobserved []Change `json:"unobserved"`
}

// A Change is one module in two Snapshots.
type Change struct {
	// ID is the module's id.
	ID string `json:"id"`
	// Fields are the JSON names of the top-level fields that differ, sorted; empty in Unobserved
	// when the module was not seen at all.
	Fields []string `json:"fields,omitzero"`
	// Before is the module as it was.
	Before *Module `json:"before,omitzero"`
	// After is the module as it is; nil when it was not seen.
	After *Module `json:"after,omitzero"`
}

// IsEmpty reports whether nothing was added, removed, changed or lost from sight.
func (d *Delta) IsEmpty() bool {
	return len(d.Added)+len(d.Removed)+len(d.Changed)+len(d.Unobserved) == 0
}

// Diff returns what changed from old to new.
func Diff(old, new *Snapshot) *Delta {
	header := *new
	header.Modules = []Module{}
	d := &Delta{Schema: Schema, Header: &header, Added: []Module{}, Removed: []Module{}, Changed: []Change{},
		Unobserved: []Change{}}
	after := byID(new)
	sourceLost := slices.ContainsFunc(old.Sources, func(s Source) bool { return lost(old, new, s.Name) })
	for i := range old.Modules {
		m := &old.Modules[i]
		now, ok := after[m.ID]
		switch {
		case ok:
			d.compare(m, now, sourceLost)
		case listLost(old, new, m.State):
			d.Unobserved = append(d.Unobserved, Change{ID: m.ID, Before: m})
		default:
			d.Removed = append(d.Removed, *m)
		}
	}
	before := byID(old)
	for i := range new.Modules {
		if m := &new.Modules[i]; before[m.ID] == nil {
			d.Added = append(d.Added, *m)
		}
	}
	return d
}

// compare adds the change of one module, if there is one. Where a source was lost, a field that
// only became empty is unobserved.
func (d *Delta) compare(old, new *Module, sourceLost bool) {
	was, is := fieldsOf(old), fieldsOf(new)
	var fields []string
	onlyLost := true
	for name := range union(was, is) {
		if bytes.Equal(was[name], is[name]) {
			continue
		}
		fields = append(fields, name)
		if name != "problems" && !shrunk(was[name], is[name]) { // problems grow to say what was lost
			onlyLost = false
		}
	}
	if len(fields) == 0 {
		return
	}
	slices.Sort(fields)
	c := Change{ID: old.ID, Fields: fields, Before: old, After: new}
	if onlyLost && (sourceLost || len(new.Problems) > len(old.Problems)) {
		d.Unobserved = append(d.Unobserved, c)
		return
	}
	d.Changed = append(d.Changed, c)
}

// shrunk reports whether a field only says less than it did: it is absent, or it is an object of
// which some fields are absent and all others are as they were.
func shrunk(was, is json.RawMessage) bool {
	if len(is) == 0 || bytes.Equal(was, is) {
		return true
	}
	var before, after map[string]json.RawMessage
	if json.Unmarshal(was, &before) != nil || json.Unmarshal(is, &after) != nil {
		return false
	}
	for name := range after {
		if _, ok := before[name]; !ok || !shrunk(before[name], after[name]) {
			return false
		}
	}
	return true
}

// lost reports whether old read the source whole and new did not.
func lost(old, new *Snapshot, source string) bool {
	was, _ := old.Source(source)
	is, ok := new.Source(source)
	return was.Outcome == OutcomeOK && (!ok || is.Outcome != OutcomeOK)
}

// listLost reports whether the newer snapshot could not tell that a module of that state is there:
// what says so in the older one was lost. What is on disk is found in all of its sources, what is
// in the kernel in any of them.
func listLost(old, new *Snapshot, state State) bool {
	sources := listsOf(old.OS).of(state)
	if state == StateInstalled {
		return slices.ContainsFunc(sources, func(name string) bool { return lost(old, new, name) })
	}
	whole := func(s *Snapshot) bool {
		return slices.ContainsFunc(sources, func(name string) bool {
			src, _ := s.Source(name)
			return src.Outcome == OutcomeOK
		})
	}
	return whole(old) && !whole(new)
}

func byID(s *Snapshot) map[string]*Module {
	modules := make(map[string]*Module, len(s.Modules))
	for i := range s.Modules {
		modules[s.Modules[i].ID] = &s.Modules[i]
	}
	return modules
}

// fieldsOf returns the module's fields as JSON by their names, without what is volatile.
func fieldsOf(m *Module) map[string]json.RawMessage {
	c := m.Clone()
	c.dropVolatile()
	b, err := json.Marshal(&c)
	if err != nil {
		return nil // no field of a Module can fail to be written
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(b, &fields) != nil {
		return nil
	}
	return fields
}

// dropVolatile empties the fields that change all the time. The module must be a Clone.
func (m *Module) dropVolatile() {
	m.Refs, m.UsedBy, m.Address = Count{}, nil, 0
	if m.Linux != nil {
		stable := m.Linux.Stable()
		m.Linux = &stable
	}
}

func union[V any](a, b map[string]V) map[string]struct{} {
	keys := make(map[string]struct{}, len(a)+len(b))
	for k := range a {
		keys[k] = struct{}{}
	}
	for k := range b {
		keys[k] = struct{}{}
	}
	return keys
}

// Apply returns the newer Snapshot of the Delta, given the older one. Only volatile facts of
// modules that did not change are the older ones. An error that is ErrMalformed means that old is
// not the Snapshot that the Delta was made from.
func (d *Delta) Apply(old *Snapshot) (*Snapshot, error) {
	if d.Header == nil {
		return nil, fmt.Errorf("lkm: apply delta: no header: %w", ErrMalformed)
	}
	modules := byID(old)
	take := func(id string) error {
		if modules[id] == nil {
			return fmt.Errorf("lkm: apply delta: %q is not in the older snapshot: %w", id, ErrMalformed)
		}
		delete(modules, id)
		return nil
	}
	var errs []error
	for i := range d.Removed {
		errs = append(errs, take(d.Removed[i].ID))
	}
	for _, changes := range [][]Change{d.Changed, d.Unobserved} {
		for _, c := range changes {
			errs = append(errs, take(c.ID))
			if c.After != nil {
				modules[c.ID] = c.After
			}
		}
	}
	for i := range d.Added {
		m := &d.Added[i]
		if modules[m.ID] != nil {
			errs = append(errs, fmt.Errorf("lkm: apply delta: %q is already in the older snapshot: %w", m.ID,
				ErrMalformed))
		}
		modules[m.ID] = m
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	s := *d.Header
	s.Modules = make([]Module, 0, len(modules))
	for _, m := range modules {
		s.Modules = append(s.Modules, *m)
	}
	sortModules(s.Modules)
	return &s, nil
}
