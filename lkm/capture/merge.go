// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"reflect"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/lkm"
)

// merge adds to a snapshot what another capture of the same machine says: modules that it has not, and values that it
// left open. What they disagree about stays as it is, and a version or a path of which there are two is a Problem.
func merge(to, from *lkm.Snapshot) {
	index := make(map[string]int, len(to.Modules))
	for i := range to.Modules {
		index[to.Modules[i].ID] = i
	}
	for i := range from.Modules {
		m := &from.Modules[i]
		if at, ok := index[m.ID]; ok {
			mergeModule(&to.Modules[at], m)
			continue
		}
		index[m.ID] = len(to.Modules)
		to.Modules = append(to.Modules, *m)
	}
	slices.SortStableFunc(to.Modules, func(a, b lkm.Module) int { return strings.Compare(a.ID, b.ID) })
	for _, s := range from.Sources {
		addSource(to, s)
	}
	to.Problems = append(to.Problems, from.Problems...)
	if to.Release == "" {
		to.Release = from.Release
	}
	if to.Policy == nil {
		to.Policy = from.Policy
	}
	if to.Kernel.IsZero() {
		to.Kernel = from.Kernel
	}
}

// addSource adds a source; of two with one name, the worse outcome counts, and both counts.
func addSource(to *lkm.Snapshot, s lkm.Source) {
	for i := range to.Sources {
		old := &to.Sources[i]
		if old.Name != s.Name {
			continue
		}
		if old.Outcome == lkm.OutcomeOK {
			old.Outcome, old.Code = s.Outcome, s.Code
		}
		a, ok := old.Count.Get()
		b, ok2 := s.Count.Get()
		old.Count = fact.Count{}
		if ok && ok2 {
			old.Count = fact.CountOf(a + b)
		}
		return
	}
	to.Sources = append(to.Sources, s)
}

func mergeModule(to, from *lkm.Module) {
	problem := func(field, a, b string) {
		if a != "" && b != "" && a != b {
			to.Problems = append(to.Problems, fact.Problem{Source: SourceArchive, Subject: to.Name, Field: field,
				Code: fact.CodeOther, Text: "the captures disagree: " + a + ", " + b})
		}
	}
	problem("version", to.Version, from.Version)
	problem("path", to.Path, from.Path)
	loaded := to.State != "" && to.State != lkm.StateInstalled
	if !loaded && from.State != "" {
		to.State = from.State
	}
	problems := append(to.Problems, from.Problems...)
	size := to.Size
	fillZero(reflect.ValueOf(to).Elem(), reflect.ValueOf(from).Elem(), 2)
	if loaded != (from.State != "" && from.State != lkm.StateInstalled) {
		to.Size = size // memory and file are two things
	}
	to.Problems = problems
}

// fillZero copies the fields of a struct that are zero, and those of structs that it points to, so deep.
func fillZero(to, from reflect.Value, depth int) {
	for i := range to.NumField() {
		a, b := to.Field(i), from.Field(i)
		if !a.CanSet() {
			continue
		}
		switch {
		case a.IsZero():
			a.Set(b)
		case a.Kind() == reflect.Pointer && !b.IsNil() && depth > 1 && a.Elem().Kind() == reflect.Struct:
			fillZero(a.Elem(), b.Elem(), depth-1)
		}
	}
}
