// SPDX-License-Identifier: Apache-2.0

package lkm_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

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

// A baseline of another stream, from earlier in the same boot, is an old state: files that were given in another order.
// Of another boot nothing is known, and what a mirror began with may be newer than the lines that are read again.
func TestMirrorOfEarlierStreams(t *testing.T) {
	at := func(hour int) time.Time { return time.Date(2026, 1, 1, hour, 0, 0, 0, time.UTC) }
	baseline := func(stream, boot string, seq uint64, hour int) lkm.Event {
		s := &lkm.Snapshot{OS: lkm.Linux, BootID: boot, TakenAt: at(hour), Modules: []lkm.Module{}}
		return lkm.Event{Type: lkm.EventBaseline, Stream: stream, Seq: seq, At: at(hour), Snapshot: s,
			Digest: s.Digest()}
	}
	beat := func(e lkm.Event, hour int) lkm.Event {
		return lkm.Event{Type: lkm.EventHeartbeat, Stream: e.Stream, Seq: e.Seq + 1, At: at(hour), Digest: e.Digest}
	}
	a, b := baseline("a", "x", 1, 10), baseline("b", "x", 1, 5)
	for name, tt := range map[string]struct {
		events []lkm.Event
		gap    bool
	}{
		"in order":                       {[]lkm.Event{b, beat(b, 6), a}, false},
		"an earlier stream":              {[]lkm.Event{a, b}, true},
		"an earlier stream goes on":      {[]lkm.Event{a, b, beat(b, 6)}, true},
		"a refresh of an earlier stream": {[]lkm.Event{a, b, beat(b, 6), baseline("b", "x", 3, 7)}, true},
		"its refresh from later":         {[]lkm.Event{a, b, beat(b, 6), baseline("b", "x", 3, 11)}, false},
		"a heartbeat was later":          {[]lkm.Event{a, beat(a, 12), baseline("b", "x", 1, 11)}, true},
		"another boot":                   {[]lkm.Event{a, baseline("b", "y", 1, 5)}, false},
		"no boot is known":               {[]lkm.Event{baseline("a", "", 1, 10), baseline("b", "", 1, 5)}, false},
		"a clock that was set back":      {[]lkm.Event{a, baseline("a", "x", 2, 5)}, false},
	} {
		var m lkm.Mirror
		for _, e := range tt.events {
			if err := m.Apply(e); err != nil && !errors.Is(err, lkm.ErrGap) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if (m.Err() != nil) != tt.gap {
			t.Errorf("%s: %v", name, m.Err())
		}
	}
	for _, boot := range []string{"y", ""} { // lines in the wrong order, or a clock that was set back
		var m lkm.Mirror
		old := baseline("b", boot, 1, 5)
		if err := errors.Join(m.Apply(a), m.Apply(old)); !errors.Is(err, lkm.ErrGap) || m.Err() != nil ||
			m.Snapshot().Digest() != old.Digest {
			t.Errorf("an older baseline of boot %q: %v, %v", boot, err, m.Err())
		}
		if err := m.Apply(beat(old, 6)); err != nil {
			t.Errorf("what follows it: %v", err)
		}
	}
	m := lkm.MirrorOf(a.Snapshot)
	if err := m.Apply(b); err != nil {
		t.Errorf("lines that are read again: %v", err)
	}
}
