// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// TestWatchRefresh: a far side that missed an event has the state again with the next baseline, which comes after what
// changed, and not while a part of the list cannot be read.
func TestWatchRefresh(t *testing.T) {
	m := madeLinux()
	lists(1, "a")(m)
	s, err := OpenMachine(Linux, m, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var far Mirror
	baselines, gaps := 0, 0
	o := WatchOptions{Interval: time.Millisecond, MaxAge: time.Hour, PollOnly: true, Refresh: 20 * time.Millisecond}
	for e, err := range s.Watch(ctx, o) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Type == EventBaseline {
			baselines++
			lists(baselines+1, "a", "b", "c")(m)
		}
		if e.Type == EventLoad && gaps == 0 && e.ID == "linux_module:b" {
			continue // the line is dropped on its way
		}
		if err := far.Apply(e); err != nil {
			if gaps++; !errors.Is(err, ErrGap) {
				t.Fatal(err)
			}
		}
		if baselines == 3 {
			break
		}
	}
	got := far.Snapshot()
	if gaps == 0 || far.Err() != nil || got == nil || len(got.Modules) != 3 || baselines != 3 {
		t.Errorf("%d gaps, %d baselines, %v: %+v", gaps, baselines, far.Err(), got)
	}
	if ctx.Err() != nil {
		t.Fatal("no third baseline")
	}
}

// TestWatchRefreshesWhileDeaf: baselines go on while the kernel's events cannot be heard, which costs nothing of the
// state. The watch stays degraded over them, as its heartbeats say, and recovers once.
func TestWatchRefreshesWhileDeaf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &breaking{made: madeLinux(), start: time.Now(), rows: []opening{{steps: []step{{err: errBroken}}},
			{refused: fs.ErrPermission}, {refused: fs.ErrPermission}, {}}}
		lists(1, "a")(m.made)
		s, err := OpenMachine(Linux, m, Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		var far Mirror
		var words []string
		deafBaselines := 0
		o := WatchOptions{MaxAge: 24 * time.Hour, Refresh: 20 * time.Second, Heartbeat: 15 * time.Second}
		for e, err := range s.Watch(ctx, o) {
			if err != nil {
				t.Fatal(err)
			}
			if err := far.Apply(e); err != nil {
				t.Fatal(err)
			}
			degraded := slices.Contains(words, "degraded") && !slices.Contains(words, "recovered")
			switch {
			case e.Type == EventHeartbeat && (e.Code != "") != degraded:
				t.Errorf("a heartbeat with code %q after %q", e.Code, words)
			case e.Type == EventBaseline && degraded:
				deafBaselines++
			case e.Type != EventHeartbeat && e.Type != EventBaseline:
				words = append(words, string(e.Type))
			}
		}
		want := []string{"degraded", "degraded", "recovered"} // first it broke, and then it is refused
		if !slices.Equal(words, want) || deafBaselines < 5 {
			t.Errorf("%q, %d baselines while nothing was heard, opened at %v", words, deafBaselines, m.at)
		}
		if src, ok := far.Snapshot().Source(sourceEvents); !ok || src.Outcome != OutcomeOK {
			t.Errorf("at the end: %+v", src)
		}
	})
}

// TestWatchRefreshWaits: no baseline comes while a source of the list itself cannot be read.
func TestWatchRefreshWaits(t *testing.T) {
	v := func(names ...string) *view {
		w := &watch{s: new(System), state: newState(&Snapshot{OS: Linux})}
		snap := &Snapshot{OS: Linux}
		for _, name := range []string{"a", sourceEvents, "b"} {
			w.sight.sources = append(w.sight.sources, Source{Name: name, Outcome: OutcomeOK})
			src := Source{Name: name, Outcome: OutcomeOK}
			if slices.Contains(names, name) {
				src.Outcome, src.Code = OutcomeDenied, CodePermission
			}
			snap.Sources = append(snap.Sources, src)
		}
		return w.view(snap)
	}
	for _, tt := range []struct {
		lost           []string
		degraded, deaf bool
	}{
		{nil, false, false}, {[]string{sourceEvents}, true, true}, {[]string{"a"}, true, false},
		{[]string{"a", sourceEvents}, true, false}, {[]string{sourceEvents, "b"}, true, false},
	} {
		if got := v(tt.lost...); got.degraded != tt.degraded || got.deaf != tt.deaf {
			t.Errorf("%q: degraded %v, deaf %v", tt.lost, got.degraded, got.deaf)
		}
	}
}
