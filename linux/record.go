// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
)

// A Record is one module: what every system says, and Linux's own facts.
type Record = fact.Record[Module]

// slabs is memory that the modules of one list share.
type slabs struct {
	modules []Record
	details []Module
	ids     []byte
	needs   []string
}

// recordsOf converts a list. The modules are in the list's order.
func recordsOf(list *moduleList, memory *slabs) []Record {
	if memory == nil {
		memory = new(slabs)
	}
	n := len(list.Entries)
	modules := slices.Grow(memory.modules[:0], n)[:n]
	details := slices.Grow(memory.details[:0], n)[:n]
	ids := memory.ids[:0]
	for i := range list.Entries {
		ids = append(append(append(ids, fact.KindLinuxModule...), ':'), list.Entries[i].Name...)
	}
	all := string(ids)
	for i := range list.Entries {
		e := &list.Entries[i]
		length := len(fact.KindLinuxModule) + 1 + len(e.Name)
		details[i] = Module{State: e.State, Refcnt: e.Refs, Permanent: e.Permanent, Taints: splitTaints(e.Taints)}
		modules[i] = Record{
			ID: all[:length], Kind: fact.KindLinuxModule, Name: e.Name, State: stateOf(e.State),
			Size: fact.CountOf(e.Size), Refs: e.Refs, UsedBy: e.UsedBy, Own: &details[i],
		}
		all = all[length:]
		addTaintEvidence(&modules[i], e.Taints)
	}
	memory.modules, memory.details, memory.ids = modules, details, ids
	memory.needs = addRequires(list, modules, memory.needs)
	return modules
}

// stateOf is the common word for the kernel's.
func stateOf(word string) fact.State {
	switch word {
	case "Live":
		return fact.StateLoaded
	case "Loading":
		return fact.StateLoading
	case "Unloading":
		return fact.StateUnloading
	}
	return ""
}

// addTaintEvidence adds what a module's taint letters show of its origin and signature: O and P are
// never set on a module of the kernel's own tree, and E says that no valid signature was found when
// it was loaded.
func addTaintEvidence(m *Record, letters string) {
	for i := range len(letters) {
		switch letters[i] {
		case 'O', 'P':
			m.Origin.Class = fact.OriginThirdParty
			m.Origin.Evidence = append(m.Origin.Evidence,
				fact.Evidence{Fact: "taint", Value: letters[i : i+1], Source: SourceModules})
		case 'E':
			m.Signature.Evidence = fact.EvidenceTaintE
		}
	}
}

// addRequires turns the kernel's "used by" around. It is known only when the kernel says who uses
// what, which it says for all modules or for none. The list is sorted by name, or else of a
// capture, which is short.
func addRequires(list *moduleList, modules []Record, backing []string) []string {
	total := 0
	for i := range list.Entries {
		if list.Entries[i].UsedBy == nil {
			return backing
		}
		total += len(list.Entries[i].UsedBy)
	}
	position := positions(list)
	counts := make([]int32, len(modules))
	each := func(f func(user, used int)) {
		for i := range list.Entries {
			for _, user := range list.Entries[i].UsedBy {
				if u := position(user); u >= 0 {
					f(u, i)
				}
			}
		}
	}
	each(func(user, _ int) { counts[user]++ })
	backing = slices.Grow(backing[:0], total)
	free := backing[:total]
	for i := range modules {
		n := counts[i]
		modules[i].Requires, free = free[:0:n], free[n:]
	}
	each(func(user, used int) { modules[user].Requires = append(modules[user].Requires, modules[used].Name) })
	for i := range modules {
		slices.Sort(modules[i].Requires)
	}
	return backing
}

// positions returns a function that finds an entry by its name, or -1.
func positions(list *moduleList) func(name string) int {
	byName := func(e listEntry, name string) int { return strings.Compare(e.Name, name) }
	if slices.IsSortedFunc(list.Entries, func(a, b listEntry) int { return strings.Compare(a.Name, b.Name) }) {
		return func(name string) int {
			if i, ok := slices.BinarySearchFunc(list.Entries, name, byName); ok {
				return i
			}
			return -1
		}
	}
	index := make(map[string]int, len(list.Entries))
	for i := range list.Entries {
		index[list.Entries[i].Name] = i
	}
	return func(name string) int {
		if i, ok := index[name]; ok {
			return i
		}
		return -1
	}
}

func newRecord(name string, state fact.State) Record {
	return Record{ID: string(fact.KindLinuxModule) + ":" + name, Kind: fact.KindLinuxModule, Name: name, State: state}
}
