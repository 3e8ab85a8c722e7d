// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"errors"
	"testing"
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
