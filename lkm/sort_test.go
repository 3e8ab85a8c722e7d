// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestSortModules(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 60 {
		modules := make([]Module, n)
		for i := range modules {
			modules[i] = Module{ID: fmt.Sprint(r.IntN(n/2 + 1)), Size: CountOf(int64(i))}
		}
		want := slices.Clone(modules)
		slices.SortStableFunc(want, func(a, b Module) int { return cmp.Compare(a.ID, b.ID) })
		sortModules(modules)
		for i := range modules {
			if modules[i].ID != want[i].ID || modules[i].Size != want[i].Size {
				t.Fatalf("%d modules: place %d has %s, want %s", n, i, modules[i].ID, want[i].ID)
			}
		}
	}
}
