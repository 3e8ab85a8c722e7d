// SPDX-License-Identifier: Apache-2.0

package lkm_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/lkm/lkmtest"
)

// A tinker changes a machine at random.
type tinker struct {
	*lkm.Edit
	r       *rand.Rand
	refuse  error
	left    map[string]bool   // ids that the list leaves out
	version map[string]string // by id
	added   []lkm.Module
	boots   int
}

func newTinker(sys *lkm.System, r *rand.Rand) *tinker {
	t := &tinker{Edit: new(lkm.Edit), r: r, left: make(map[string]bool), version: make(map[string]string)}
	t.Modules = t.list
	lkm.EditBackend(sys, t.Edit)
	return t
}

func (t *tinker) list(modules []lkm.Module) ([]lkm.Module, error) {
	if t.refuse != nil {
		return nil, t.refuse
	}
	modules = append(slices.Clone(modules), t.added...)
	modules = slices.DeleteFunc(modules, func(m lkm.Module) bool { return t.left[m.ID] })
	for i := range modules {
		m := &modules[i]
		switch v := t.version[m.ID]; v {
		case "":
		case "less": // a fact that could not be read
			*m = m.Clone()
			m.Path, m.ContentID, m.Version = "", "", ""
			m.Problems = append(m.Problems, lkm.Problem{Source: "x", Field: "version", Code: lkm.CodePermission})
		case "loading":
			m.State = lkm.StateLoading
		default:
			m.Version = v
		}
	}
	return modules, nil
}

// edit makes one random change.
func (t *tinker) edit(ids []string) {
	id := ""
	if len(ids) > 0 {
		id = ids[t.r.IntN(len(ids))]
	}
	t.Cut = t.Cut && t.r.IntN(3) > 0
	if t.r.IntN(2) == 0 {
		t.refuse = nil
	}
	switch t.r.IntN(12) {
	case 0, 1, 2:
		t.left[id] = !t.left[id]
	case 3, 4:
		t.version[id] = fmt.Sprint(t.r.IntN(5))
	case 5:
		t.version[id] = []string{"less", "loading", ""}[t.r.IntN(3)]
	case 6:
		t.refuse = []error{fs.ErrPermission, errors.New("broken"), nil}[t.r.IntN(3)]
	case 7:
		t.Cut, t.left[id] = true, true
	case 8:
		t.boots++
		t.BootID = fmt.Sprint("boot-", t.boots)
	case 9, 10:
		name := fmt.Sprintf("fresh_%d", t.r.IntN(20))
		t.added = slices.DeleteFunc(t.added, func(m lkm.Module) bool { return m.Name == name })
		t.added = append(t.added, lkm.Module{ID: "linux_module:" + name, Kind: "linux_module", Name: name,
			State: lkm.StateLoaded, Requires: []string{}})
	case 11:
		t.refuse, t.Cut = nil, false
	}
}

// sent is the event after its trip to the far side.
func sent(t testing.TB, e lkm.Event) lkm.Event {
	t.Helper()
	b, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	var far lkm.Event
	if err := json.Unmarshal(b, &far); err != nil {
		t.Fatal(err)
	}
	return far
}

// The events of a watch add up to the machine's state, whatever happens to it: on every system, a heartbeat after each
// change finds the mirror equal to a Snapshot. KERNELEXT_FULL makes more changes.
func TestMirrorEqualsSnapshot(t *testing.T) {
	edits, seeds := 20, []uint64{1}
	if os.Getenv("KERNELEXT_FULL") != "" {
		edits, seeds = 200, []uint64{1, 2, 3}
	}
	for _, name := range lkmtest.Names() {
		for _, seed := range seeds {
			t.Run(fmt.Sprint(name, " ", seed), func(t *testing.T) {
				tape, err := lkmtest.Open(name)
				if err != nil {
					t.Fatal(err)
				}
				synctest.Test(t, func(t *testing.T) { mirrored(t, tape.Header().OS, tape, seed, edits) })
			})
		}
	}
}

func mirrored(t *testing.T, os lkm.OS, m lkm.Machine, seed uint64, most int) {
	sys, err := lkm.OpenMachine(os, m, lkm.Options{Detail: lkm.DetailFiles})
	if err != nil {
		t.Fatal(err)
	}
	defer sys.Close()
	machine := newTinker(sys, rand.New(rand.NewPCG(seed, 7)))
	var mirror lkm.Mirror
	var ids []string
	edits, compared := 0, 0
	o := lkm.WatchOptions{Interval: time.Minute, MaxAge: time.Minute, Heartbeat: 3 * time.Minute}
	for e, err := range sys.Watch(t.Context(), o) {
		if errors.Is(err, errors.ErrUnsupported) || e.Type == lkm.EventDegraded && e.Seq == 1 {
			return // this recording has no list
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := mirror.Apply(sent(t, e)); err != nil || mirror.Err() != nil {
			t.Fatalf("after %d edits: %v", edits, err)
		}
		if got := mirror.Snapshot().Digest(); got != e.Digest {
			t.Fatalf("after %d edits: %s event %d: the digest is %s, not %s", edits, e.Type, e.Seq, got, e.Digest)
		}
		if e.Type == lkm.EventBaseline && ids == nil {
			for _, m := range e.Snapshot.Modules {
				ids = append(ids, m.ID)
			}
		}
		if e.Type != lkm.EventHeartbeat {
			continue
		}
		if (e.Code == "") == (machine.refuse != nil) && !machine.Cut {
			t.Errorf("after %d edits: a heartbeat has the code %q, the list %v", edits, e.Code, machine.refuse)
		}
		compared += same(t, sys, &mirror)
		if edits++; edits == most {
			break
		}
		machine.edit(ids)
	}
	if len(ids) > 0 && compared < most/3 {
		t.Errorf("%d of %d states could be compared", compared, edits)
	}
}

// same compares a mirror with a Snapshot, if there is one.
func same(t *testing.T, sys *lkm.System, mirror *lkm.Mirror) int {
	t.Helper()
	snap, err := sys.Snapshot(t.Context())
	if err != nil {
		return 0
	}
	snap.Modules = slices.DeleteFunc(snap.Modules, func(m lkm.Module) bool { return m.State == lkm.StateLoading })
	if diff := cmp.Diff(lkm.Steady(snap), lkm.Steady(mirror.Snapshot())); diff != "" {
		t.Fatalf("(-snapshot +mirror):\n%s", diff)
	}
	if snap.Digest() != mirror.Snapshot().Digest() {
		t.Error("equal states have two digests")
	}
	return 1
}

// The events of three hours: a baseline, two loads, a heartbeat and an unload.
func someEvents() []lkm.Event {
	m := func(name string) *lkm.Module {
		return &lkm.Module{ID: "linux_module:" + name, Kind: "linux_module", Name: name, State: lkm.StateLoaded}
	}
	s := &lkm.Snapshot{OS: lkm.Linux, Modules: []lkm.Module{}, Sources: []lkm.Source{}}
	var events []lkm.Event
	add := func(e lkm.Event) {
		e.Stream, e.Seq, e.Digest = "s", uint64(len(events)+1), s.Digest()
		events = append(events, e)
	}
	first := *s
	add(lkm.Event{Type: lkm.EventBaseline, Snapshot: &first})
	s.Modules = []lkm.Module{*m("a")}
	add(lkm.Event{Type: lkm.EventLoad, ID: m("a").ID, After: m("a")})
	s.Modules = []lkm.Module{*m("a"), *m("b")}
	add(lkm.Event{Type: lkm.EventLoad, ID: m("b").ID, After: m("b")})
	add(lkm.Event{Type: lkm.EventHeartbeat})
	s.Modules = []lkm.Module{*m("b")}
	add(lkm.Event{Type: lkm.EventUnload, ID: m("a").ID, Before: m("a")})
	add(lkm.Event{Type: lkm.EventBaseline, Snapshot: &lkm.Snapshot{OS: lkm.Linux, Modules: []lkm.Module{*m("b")},
		Sources: []lkm.Source{}}})
	return events
}

// Whatever happens to one line, the mirror equals the near side or says that there is a gap.
func TestMirrorMarksGaps(t *testing.T) {
	whole := someEvents()
	for name, tt := range map[string]struct {
		change func([]lkm.Event) []lkm.Event
		gaps   string // the numbers of the events that are refused
	}{
		"nothing":          {func(e []lkm.Event) []lkm.Event { return e }, ""},
		"no baseline":      {func(e []lkm.Event) []lkm.Event { return e[1:] }, "2 3 4 5 "},
		"a lost load":      {func(e []lkm.Event) []lkm.Event { return slices.Delete(e, 1, 2) }, "3 4 5 "},
		"a lost heartbeat": {func(e []lkm.Event) []lkm.Event { return slices.Delete(e, 3, 4) }, "5 "},
		"lost before a baseline": {func(e []lkm.Event) []lkm.Event { return slices.Delete(e, 4, 5) },
			"6 "},
		"twice":          {func(e []lkm.Event) []lkm.Event { return slices.Insert(e, 2, e[1]) }, "2 3 4 5 "},
		"another stream": {func(e []lkm.Event) []lkm.Event { e[2].Stream = "t"; return e }, "3 4 5 "},
		"another module": {func(e []lkm.Event) []lkm.Event { e[1].After.Version = "9"; return e }, "2 3 4 5 "},
		"no module":      {func(e []lkm.Event) []lkm.Event { e[1].After = nil; return e }, "2 3 4 5 "},
		"no digest known, lost": {func(e []lkm.Event) []lkm.Event {
			for i := range e {
				e[i].Digest = "v2:" + e[i].Digest
			}
			return slices.Delete(e, 1, 2)
		}, "3 4 5 "},
		"no digest known": {func(e []lkm.Event) []lkm.Event {
			for i := range e {
				e[i].Digest = "v2:" + e[i].Digest
			}
			return e
		}, ""},
	} {
		var m lkm.Mirror
		gaps := ""
		for _, e := range tt.change(someEvents()) {
			err := m.Apply(e)
			if err != nil {
				gaps += fmt.Sprint(e.Seq, " ")
				if !errors.Is(err, lkm.ErrGap) {
					t.Errorf("%s: %v", name, err)
				}
			}
			want := whole[e.Seq-1].Digest
			if m.Err() == nil && m.Snapshot().Digest() != want {
				t.Errorf("%s: event %d: another state, and no gap", name, e.Seq)
			}
		}
		if gaps != tt.gaps {
			t.Errorf("%s: gaps at %q, want %q", name, gaps, tt.gaps)
		}
		if m.Err() != nil {
			t.Errorf("%s: the baseline ends no gap: %v", name, m.Err())
		}
	}
}

// A gap that goes on for months has one error, which does not grow with each event.
func TestMirrorGapGoesOn(t *testing.T) {
	events := someEvents()
	var m lkm.Mirror
	if err := m.Apply(events[0]); err != nil {
		t.Fatal(err)
	}
	e := lkm.Event{Stream: "s", Seq: 3, Type: lkm.EventHeartbeat, Digest: events[0].Digest}
	first := m.Apply(e)
	if !errors.Is(first, lkm.ErrGap) {
		t.Fatalf("after a lost event: %v", first)
	}
	for range 100 {
		e.Seq++
		if err := m.Apply(e); err != first {
			t.Fatalf("event %d: %v", e.Seq, err)
		}
	}
}

// A baseline that is a difference needs the state that it is from.
func TestMirrorSince(t *testing.T) {
	sys := recorded("debian-6.12-cloud-root", lkm.Options{})
	defer sys.Close()
	snap, err := sys.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	old := *snap
	old.Modules = slices.Clone(snap.Modules[3:])
	old.Modules[0].Version = "older"
	other := old
	other.Modules = old.Modules[1:]
	baseline := func(o lkm.WatchOptions) lkm.Event {
		for e, err := range sys.Watch(t.Context(), o) {
			if err != nil {
				t.Fatal(err)
			}
			return sent(t, e)
		}
		panic("no event")
	}
	e := baseline(lkm.WatchOptions{Since: &old})
	if e.Snapshot != nil || len(e.Delta.Added) != 3 || len(e.Delta.Changed) != 1 {
		t.Errorf("%+v", e)
	}
	m := lkm.MirrorOf(&old)
	if m.Snapshot() != nil {
		t.Error("a state before the first event")
	}
	if err := m.Apply(e); err != nil || m.Snapshot().Digest() != snap.Digest() {
		t.Errorf("%v", err)
	}
	for _, m := range []*lkm.Mirror{lkm.MirrorOf(&other), new(lkm.Mirror)} {
		if err := m.Apply(e); !errors.Is(err, lkm.ErrGap) || !errors.Is(m.Err(), lkm.ErrGap) {
			t.Errorf("a difference from another state: %v", err)
		}
		if err := m.Apply(baseline(lkm.WatchOptions{})); err != nil || m.Snapshot().Digest() != snap.Digest() {
			t.Errorf("a whole baseline after it: %v", err)
		}
	}
	if e := baseline(lkm.WatchOptions{Since: &lkm.Snapshot{OS: lkm.Windows}}); e.Snapshot == nil {
		t.Error("a difference from another system")
	}
	named := recorded("debian-6.12-cloud-root", lkm.Options{Host: "web-1"})
	defer named.Close()
	for host, whole := range map[string]bool{"": false, "web-1": false, "web-2": true} {
		since := old
		since.Host = host
		for e, err := range named.Watch(t.Context(), lkm.WatchOptions{Since: &since}) {
			if err != nil || (e.Snapshot != nil) != whole {
				t.Errorf("the difference from a snapshot of %q: %v, whole: %v", host, err, e.Snapshot != nil)
			}
			break
		}
	}
}
