// SPDX-License-Identifier: Apache-2.0

package lkm_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/kernelext/kernelext/lkm"
)

// In whatever order lines come, and however often, the mirror is the state after the newest line that came, or has a
// gap.
func TestMirrorInAnyOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	whole := someEvents()
	for range 20_000 {
		var m lkm.Mirror
		newest, order := uint64(0), ""
		for range 1 + r.IntN(10) {
			e := whole[r.IntN(len(whole))]
			if r.IntN(2) == 0 && newest < uint64(len(whole)) {
				e = whole[newest] // the next one
			}
			order += fmt.Sprint(e.Seq, " ")
			err := m.Apply(e)
			if err != nil && !errors.Is(err, lkm.ErrGap) {
				t.Fatalf("%s: %v", order, err)
			}
			newest = max(newest, e.Seq)
			if m.Err() == nil && m.Snapshot().Digest() != whole[newest-1].Digest {
				t.Fatalf("%s: the state before event %d, and no gap", order, newest)
			}
		}
	}
}

// An agent that was started again begins a new stream. Lines that come again, of either stream, are never taken for
// the machine's state; those that are lost are a gap.
func TestMirrorOfTwoStreams(t *testing.T) {
	first, second := someEvents(), someEvents()
	for i := range second {
		second[i].Stream = "again"
	}
	lines := append(first[:5:5], second...)
	r := rand.New(rand.NewPCG(3, 4))
	whole := 0
	for range 20_000 {
		var m lkm.Mirror
		order, newest := "", -1
		var came []int
		for range 1 + r.IntN(20) {
			n := newest + 1
			if len(came) > 0 && r.IntN(4) == 0 {
				n = came[r.IntN(len(came))]
			} else if r.IntN(10) == 0 {
				n++ // a line is lost
			}
			if n >= len(lines) {
				break
			}
			came, newest = append(came, n), max(newest, n)
			order += fmt.Sprint(n, " ")
			if err := m.Apply(lines[n]); err != nil && !errors.Is(err, lkm.ErrGap) {
				t.Fatalf("%s: %v", order, err)
			}
			if m.Err() != nil {
				continue
			}
			whole++
			if m.Snapshot().Digest() != lines[newest].Digest {
				t.Fatalf("%s: the state before line %d, and no gap", order, newest)
			}
		}
	}
	if whole < 10_000 {
		t.Errorf("only %d states without a gap", whole)
	}
}
