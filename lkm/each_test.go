// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"slices"
	"testing"
)

// TestSnapshotEach: each is shown a module once, of all lists, and the Snapshot has those that it keeps.
func TestSnapshotEach(t *testing.T) {
	for _, scope := range []Scope{ScopeLoaded, ScopeBuiltin, ScopeInstalled, ScopeAll} {
		for _, once := range []bool{false, true} {
			s, err := OpenMachine(Linux, withFiles(), Options{Detail: DetailFiles, Workers: 2, Once: once})
			if err != nil {
				t.Fatal(err)
			}
			whole, err := s.SnapshotOf(context.Background(), scope)
			if err != nil || len(whole.Modules) == 0 {
				t.Fatal(scope, err)
			}
			var shown, kept, want []string
			some, err := s.SnapshotEach(context.Background(), scope, func(m *Module) bool {
				shown = append(shown, m.ID)
				return len(m.Name)%2 == 0
			})
			if err != nil {
				t.Fatal(scope, err)
			}
			for i := range some.Modules {
				kept = append(kept, some.Modules[i].ID)
			}
			var all []string
			for i := range whole.Modules {
				all = append(all, whole.Modules[i].ID)
				if len(whole.Modules[i].Name)%2 == 0 {
					want = append(want, whole.Modules[i].ID)
				}
			}
			slices.Sort(shown)
			if !slices.Equal(shown, all) || !slices.Equal(kept, want) {
				t.Errorf("%s: shown %v of %v, kept %v, want %v", scope, shown, all, kept, want)
			}
		}
	}
}
