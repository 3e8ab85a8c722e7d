// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"slices"
	"sort"

	"github.com/kernelext/kernelext/fact"
)

// A Record is one module: what every system says, and Linux's own facts.
type Record = fact.Record[Module]

// slabs is memory that the modules of one list share.
type slabs struct {
	modules []Record
	details []Module
	ids     []byte
	all     string // the ids of the last list, as one text
	needs   []string
	holders []string
	users   []int32
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
	holders := slices.Grow(memory.holders[:0], len(list.holders)) // the list's own stay as they are
	for i := range list.Entries {
		ids = append(append(append(ids, fact.KindLinuxModule...), ':'), list.Entries[i].Name...)
	}
	if string(ids) != memory.all {
		memory.all = string(ids)
	}
	all := memory.all
	for i := range list.Entries {
		e := &list.Entries[i]
		length := len(fact.KindLinuxModule) + 1 + len(e.Name)
		details[i] = Module{State: e.State, Refcnt: e.Refs, Permanent: e.Permanent, Taints: splitTaints(e.Taints)}
		start := len(holders)
		holders = append(holders, e.UsedBy...)
		modules[i] = Record{
			ID: all[:length], Kind: fact.KindLinuxModule, Name: e.Name, State: stateOf(e.State),
			Size: fact.CountOf(e.Size), Refs: e.Refs, Own: &details[i],
		}
		if e.UsedBy != nil {
			modules[i].UsedBy = notNilIf(true, holders[start:len(holders):len(holders)])
		}
		all = all[length:]
		addTaintEvidence(&modules[i], e.Taints)
	}
	memory.modules, memory.details, memory.ids, memory.holders = modules, details, ids, holders
	memory.addRequires(list, modules)
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
func (s *slabs) addRequires(list *moduleList, modules []Record) {
	total := 0
	for i := range list.Entries {
		if list.Entries[i].UsedBy == nil {
			return
		}
		total += len(list.Entries[i].UsedBy)
	}
	position := positions(list)
	counts := make([]int32, len(modules))
	users := s.users[:0] // of each "used by", the place of its module; -1 if it is not on the list
	for i := range list.Entries {
		for _, name := range list.Entries[i].UsedBy {
			user := position(name)
			if users = append(users, int32(user)); user >= 0 {
				counts[user]++
			}
		}
	}
	s.users, s.needs = users, slices.Grow(s.needs[:0], total)
	free := notNilIf(true, s.needs[:total])
	for i := range modules {
		n := counts[i]
		modules[i].Requires, free = free[:0:n], free[n:]
	}
	for i := range list.Entries {
		of := len(list.Entries[i].UsedBy)
		for _, user := range users[:of] {
			if user >= 0 {
				modules[user].Requires = append(modules[user].Requires, modules[i].Name)
			}
		}
		users = users[of:]
	}
	for i := range modules {
		slices.Sort(modules[i].Requires)
	}
}

// positions returns a function that finds an entry by its name, or -1.
func positions(list *moduleList) func(name string) int {
	all, sorted := list.Entries, true
	for i := 1; i < len(all); i++ {
		sorted = sorted && all[i-1].Name <= all[i].Name
	}
	if sorted {
		return func(name string) int {
			i := sort.Search(len(all), func(i int) bool { return all[i].Name >= name })
			if i == len(all) || all[i].Name != name {
				return -1
			}
			return i
		}
	}
	index := make(map[string]int, len(all))
	for i := range all {
		index[all[i].Name] = i
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
