// SPDX-License-Identifier: Apache-2.0

package order_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/internal/order"
)

// Any list is sorted as slices.SortStableFunc does it, whatever is in the memory.
func TestBy(t *testing.T) {
	type item struct {
		name string
		n    int
	}
	random := rand.New(rand.NewPCG(1, 2))
	var memory []order.Place
	for range 2000 {
		list := make([]item, random.IntN(20))
		for i := range list {
			list[i] = item{strings.Repeat("a", random.IntN(3)) + string(rune('a'+random.IntN(6))), i}
		}
		want := slices.Clone(list)
		slices.SortStableFunc(want, func(a, b item) int { return strings.Compare(a.name, b.name) })
		before := slices.Clone(list)
		if memory = order.By(list, memory, func(i *item) string { return i.name }); !slices.Equal(list, want) {
			t.Fatalf("%v was sorted to %v", before, list)
		}
	}
}
