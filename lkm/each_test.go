// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"bytes"
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

// TestOnce changes a file in a way that its state does not show: a System that is asked once reads it anew.
func TestOnce(t *testing.T) {
	const file = "lib/modules/6.1.0-56-amd64/kernel/nvme.ko"
	for once, want := range map[bool]string{false: "CCCC", true: "DDDD"} {
		m := withFiles()
		s, err := OpenMachine(Linux, m, Options{Detail: DetailFiles, Once: once})
		if err != nil {
			t.Fatal(err)
		}
		var got string
		for range 2 {
			snap, err := s.SnapshotOf(context.Background(), ScopeInstalled)
			if err != nil {
				t.Fatal(err)
			}
			got = snap.Module("linux_module:nvme").Linux.Srcversion
			m.MapFS[file].Data = bytes.ReplaceAll(m.MapFS[file].Data, []byte("CCCC"), []byte("DDDD"))
		}
		if got != want {
			t.Errorf("once %v: %s, want %s", once, got, want)
		}
	}
}
