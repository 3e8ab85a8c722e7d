// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"bytes"
	"encoding/json"
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
	// Added are the modules that came, sorted by ID. If the older list was not read whole, one of them may have been
	// there before.
	Added []Module `json:"added"`
	// Removed are those that went.
	Removed []Module `json:"removed"`
	// Changed are those with other facts.
	Changed []Change `json:"changed"`
	// Unobserved are those of which the newer Snapshot saw less, or nothing, because a source of the older one was
	// lost. No change is known.
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
	fields, onlyLost := differences(old, new)
	if len(fields) == 0 {
		return
	}
	c := Change{ID: old.ID, Fields: fields, Before: old, After: new}
	if onlyLost && (sourceLost || len(new.Problems) > len(old.Problems)) {
		d.Unobserved = append(d.Unobserved, c)
		return
	}
	d.Changed = append(d.Changed, c)
}

// differences returns the names of the top-level fields in which two records of one module differ, sorted, and whether
// the newer one only has less than the older one.
func differences(old, new *Module) (fields []string, onlyLost bool) {
	was, is := fieldsOf(old), fieldsOf(new)
	onlyLost = true
	for name := range union(was, is) {
		if bytes.Equal(was[name], is[name]) {
			continue
		}
		fields = append(fields, name)
		if name != "problems" && !shrunk(was[name], is[name]) { // problems grow to say what was lost
			onlyLost = false
		}
	}
	slices.Sort(fields)
	return fields, onlyLost
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

// listLost reports whether the newer snapshot cannot say that a module of that state is gone: the sources that list
// such modules were lost, or were not read whole. What is on disk is found in all of its sources, what is in the kernel
// in any of them.
func listLost(old, new *Snapshot, state State) bool {
	sources := listsOf(old.OS).of(state)
	if state == StateInstalled {
		return slices.ContainsFunc(sources, func(name string) bool {
			src, _ := new.Source(name)
			return lost(old, new, name) || src.Incomplete()
		})
	}
	has := func(s *Snapshot, fits func(Source) bool) bool {
		return slices.ContainsFunc(sources, func(name string) bool {
			src, _ := s.Source(name)
			return fits(src)
		})
	}
	whole := func(src Source) bool { return src.Outcome == OutcomeOK }
	return !has(new, whole) && (has(old, whole) || has(new, Source.Incomplete))
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
// modules that did not change are the older ones. An error that matches ErrMalformed means that old is not the Snapshot
// that the Delta was made from.
func (d *Delta) Apply(old *Snapshot) (*Snapshot, error) {
	modules := byID(old)
	if err := d.check(func(id string) bool { return modules[id] != nil }); err != nil {
		return nil, err
	}
	for i := range d.Removed {
		delete(modules, d.Removed[i].ID)
	}
	for _, changes := range [][]Change{d.Changed, d.Unobserved} {
		for _, c := range changes {
			delete(modules, c.ID)
			if c.After != nil {
				modules[c.ID] = c.After
			}
		}
	}
	for i := range d.Added {
		modules[d.Added[i].ID] = &d.Added[i]
	}
	s := *d.Header
	s.Modules = make([]Module, 0, len(modules))
	for _, m := range modules {
		s.Modules = append(s.Modules, *m)
	}
	sortModules(s.Modules)
	return &s, nil
}

// check returns why the Delta was not made from a state that has the modules for which known is true.
func (d *Delta) check(known func(id string) bool) error {
	if d.Header == nil {
		return fmt.Errorf("lkm: apply delta: no header: %w", ErrMalformed)
	}
	seen := make(map[string]bool, len(d.Removed)+len(d.Changed)+len(d.Unobserved)+len(d.Added))
	fits := func(id string, old bool) error {
		switch {
		case seen[id]:
			return fmt.Errorf("lkm: apply delta: %q comes twice: %w", id, ErrMalformed)
		case old && !known(id):
			return fmt.Errorf("lkm: apply delta: %q is not in the older snapshot: %w", id, ErrMalformed)
		case !old && known(id):
			return fmt.Errorf("lkm: apply delta: %q is already in the older snapshot: %w", id, ErrMalformed)
		}
		seen[id] = true
		return nil
	}
	for i := range d.Removed {
		if err := fits(d.Removed[i].ID, true); err != nil {
			return err
		}
	}
	for _, changes := range [][]Change{d.Changed, d.Unobserved} {
		for _, c := range changes {
			if c.After != nil && c.After.ID != c.ID {
				return fmt.Errorf("lkm: apply delta: %q becomes %q: %w", c.ID, c.After.ID, ErrMalformed)
			}
			if err := fits(c.ID, true); err != nil {
				return err
			}
		}
	}
	for i := range d.Added {
		if err := fits(d.Added[i].ID, false); err != nil {
			return err
		}
	}
	return nil
}
