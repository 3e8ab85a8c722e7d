// SPDX-License-Identifier: Apache-2.0

package lkmtest_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/kernelext/kernelext/internal/testing/fakelinux"
	"github.com/kernelext/kernelext/lkm"
)

// many returns the System of a tape with n modules.
func many(t testing.TB, n int) *lkm.System {
	t.Helper()
	tp := record(t, madeUp{"", "many modules", lkm.Linux, onLinux(fakelinux.Many(n))}, false)
	sys, err := lkm.OpenMachine(lkm.Linux, tp, lkm.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sys.Close() })
	return sys
}

// A poller of a recorded machine costs no more than that of a running one.
func TestPollOfTapeAllocations(t *testing.T) {
	const modules, most = 250, 260
	sys, ctx := many(t, modules), context.Background()
	var l lkm.List
	n := testing.AllocsPerRun(20, func() {
		if err := sys.Poll(ctx, &l); err != nil {
			t.Fatal(err)
		}
	})
	if len(l.Modules) != modules || len(l.Problems) > 0 {
		t.Errorf("%d modules, problems %v", len(l.Modules), l.Problems)
	}
	if n > most {
		t.Errorf("%v allocations, more than %d", n, most)
	}
}

func BenchmarkTape(b *testing.B) {
	for _, n := range []int{50, 250, 1000} {
		sys, ctx := many(b, n), context.Background()
		b.Run(fmt.Sprintf("Poll/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			var l lkm.List
			for b.Loop() {
				if err := sys.Poll(ctx, &l); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("Snapshot/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := sys.Snapshot(ctx); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
