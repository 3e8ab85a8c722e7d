// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/linux"
)

// eventful is a made machine whose kernel gives events by a script.
type eventful struct {
	*made
	script []step // what each Receive gives
	woken  bool
	closed bool
}

// A step changes the machine, then gives an event, or an error.
type step struct {
	change func(m *made)
	event  string
	err    error
}

func (e *eventful) Events(int) (fact.EventSource, error) { return e, nil }

func (e *eventful) Receive(time.Time) ([]byte, error) {
	if len(e.script) == 0 || e.woken {
		return nil, os.ErrDeadlineExceeded
	}
	s := e.script[0]
	e.script = e.script[1:]
	if s.change != nil {
		s.change(e.made)
	}
	if s.err != nil {
		return nil, s.err
	}
	return []byte(s.event), nil
}

func (e *eventful) Wake()        { e.woken = true }
func (e *eventful) Close() error { e.closed = true; return nil }

func moduleEvent(action, name string, seq int) string {
	return fmt.Sprintf("%s@/module/%s\x00ACTION=%s\x00DEVPATH=/module/%s\x00SUBSYSTEM=module\x00SEQNUM=%d\x00",
		action, name, action, name, seq)
}

// lists changes the machine's list to the named modules, all live, and moves the counter.
func lists(seq int, names ...string) func(*made) {
	return func(m *made) {
		var b strings.Builder
		for _, name := range names {
			state := "Live"
			if bare, ok := strings.CutPrefix(name, "-"); ok {
				name, state = bare, "Unloading"
			}
			fmt.Fprintf(&b, "%s 16384 0 - %s 0x0\n", name, state)
			m.set(linux.SysModuleDir+"/"+name+"/coresize", "16384\n")
			m.set(linux.SysModuleDir+"/"+name+"/initstate", "live\n")
			m.set(linux.SysModuleDir+"/"+name+"/initsize", "0\n")
			m.set(linux.SysModuleDir+"/"+name+"/taint", "\n")
		}
		m.set(linux.ModulesFile, b.String())
		m.set("sys/kernel/uevent_seqnum", fmt.Sprintln(seq))
	}
}

// watched runs a watch until the script is over, and returns the events as "type name" words.
func watched(t *testing.T, m Machine, o WatchOptions, done func() bool) []string {
	t.Helper()
	s, err := OpenMachine(Linux, m, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var got []string
	seq := uint64(0)
	for e, err := range s.Watch(ctx, o) {
		if err != nil {
			got = append(got, "error "+string(codeOf(err)))
			break
		}
		if seq++; e.Seq != seq {
			t.Errorf("event %d has number %d", seq, e.Seq)
		}
		word := string(e.Type)
		if e.ID != "" {
			word += " " + strings.TrimPrefix(e.ID, "linux_module:")
		}
		switch {
		case (e.Type == EventBaseline) != (e.Snapshot != nil),
			(e.Type == EventLoad || e.Type == EventChange) != (e.After != nil),
			(e.Type == EventUnload || e.Type == EventChange) != (e.Before != nil):
			t.Errorf("event %+v", e)
		}
		got = append(got, word)
		if done() {
			break
		}
	}
	if ctx.Err() != nil {
		t.Fatalf("no end: %q", got)
	}
	return got
}

func codeOf(err error) Code { return fact.CodeOf(err) }

func quiet(seq int) string {
	return fmt.Sprintf("change@/devices/x\x00SUBSYSTEM=block\x00SEQNUM=%d\x00", seq)
}

func TestWatchTellsEveryEvent(t *testing.T) {
	for _, tt := range []struct {
		name   string
		script []step
		want   string
	}{
		{"load and unload", []step{
			{event: moduleEvent("add", "a", 1235), change: lists(1235, "nvme_core", "a")},
			{event: moduleEvent("remove", "a", 1236), change: lists(1236, "nvme_core")},
		}, "load a, unload a"},
		{"gone before anyone looked", []step{
			{event: moduleEvent("add", "a", 1235), change: lists(1236, "nvme_core")},
			{event: moduleEvent("remove", "a", 1236)},
		}, "load a, unload a"},
		{"old news", []step{
			{event: moduleEvent("add", "nvme_core", 1000)},
			{event: moduleEvent("remove", "b", 1001)},
		}, ""},
		{"the list was faster", []step{
			{change: lists(1235, "nvme_core", "a"), err: os.ErrDeadlineExceeded},
			{event: moduleEvent("add", "a", 1235)},
			{change: lists(1236, "nvme_core"), err: os.ErrDeadlineExceeded},
			{event: moduleEvent("remove", "a", 1236)},
		}, "load a, unload a"},
		{"reloaded behind the list's back", []step{
			{change: lists(1237, "nvme_core", "a"), err: os.ErrDeadlineExceeded},
			{event: moduleEvent("add", "a", 1235)},
			{event: moduleEvent("remove", "a", 1236)},
			{event: moduleEvent("add", "a", 1237)},
		}, "load a, unload a, load a"},
		{"on its way out", []step{
			{event: moduleEvent("add", "a", 1235), change: lists(1235, "nvme_core", "a")},
			{event: moduleEvent("remove", "a", 1236), change: lists(1236, "nvme_core", "-a")},
			{change: lists(1237, "nvme_core", "-a"), err: os.ErrDeadlineExceeded},
			{change: lists(1238, "nvme_core"), err: os.ErrDeadlineExceeded},
		}, "load a, unload a"},
		{"dropped", []step{
			{change: lists(1240, "nvme_core", "a", "b"), err: fact.ErrHintsLost},
			{event: moduleEvent("add", "b", 1240)},
			{event: moduleEvent("remove", "a", 1241), change: lists(1241, "nvme_core", "b")},
		}, "load b, lost"},
		{"nonsense counts as lost", []step{
			{event: "nonsense", change: lists(1240, "nvme_core", "a")},
		}, "lost, load a"},
		{"the socket breaks", []step{
			{change: lists(1240, "nvme_core", "a"), err: errors.New("broken")},
		}, "lost, degraded, load a"},
		{"others' events", []step{{event: quiet(1235)}, {event: quiet(1236)}}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := &eventful{made: madeLinux(),
				script: append([]step{{change: func(*made) {}, event: quiet(1234)}}, tt.script...)}
			lists(1234, "nvme_core")(m.made)
			want := []string{"baseline"}
			if tt.want != "" {
				want = append(want, strings.Split(tt.want, ", ")...)
			}
			n := 0
			// The script ends with an event of its own, so that everything before it is reported.
			m.script = append(m.script, step{event: moduleEvent("add", "last", 9999), change: func(m *made) {
				list := string(m.MapFS[linux.ModulesFile].Data)
				lists(9999, "last")(m)
				m.set(linux.ModulesFile, list+"last 1 0 - Live 0x0\n")
			}})
			if tt.name == "the socket breaks" {
				m.script = m.script[:len(m.script)-1]
			} else {
				want = append(want, "load last")
			}
			got := watched(t, m, WatchOptions{Interval: time.Millisecond}, func() bool { n++; return n == len(want) })
			if !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
			if !m.closed {
				t.Error("the event source is left open")
			}
		})
	}
}

func TestWatchByPolling(t *testing.T) {
	m := madeLinux()
	lists(1, "a", "b")(m)
	n := 0
	changes := []func(*made){lists(2, "a", "b", "c"), lists(3, "b", "c"),
		func(m *made) { m.set("sys/module/b/version", "2\n") }}
	got := watched(t, m, WatchOptions{Interval: time.Millisecond, MaxAge: 20 * time.Millisecond, PollOnly: true},
		func() bool {
			if n < len(changes) {
				changes[n](m)
			}
			n++
			return n > len(changes)
		})
	if want := []string{"baseline", "load c", "unload a", "change b"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// deaf is a machine that refuses its kernel's events.
type deaf struct {
	*made
	err error
}

func (d deaf) Events(int) (fact.EventSource, error) { return nil, d.err }

// TestWatchPollsWhereEventsAreRefused is what a container without netlink gets.
func TestWatchPollsWhereEventsAreRefused(t *testing.T) {
	for err, want := range map[error]Outcome{fs.ErrPermission: OutcomeDenied,
		errors.ErrUnsupported: OutcomeUnsupported} {
		m := madeLinux()
		lists(1, "a")(m)
		s, _ := OpenMachine(Linux, deaf{m, fmt.Errorf("socket: %w", err)}, Options{})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		var got []string
		for e, err := range s.Watch(ctx, WatchOptions{Interval: time.Millisecond}) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(e.Type)+e.ID)
			if e.Type != EventBaseline {
				break
			}
			if src, ok := e.Snapshot.Source("uevents"); !ok || src.Outcome != want {
				t.Errorf("%v: %+v", err, src)
			}
			lists(2, "a", "b")(m)
		}
		cancel()
		if want := []string{"baseline", "loadlinux_module:b"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestWatchTellsARestart(t *testing.T) {
	m := madeLinux()
	n := 0
	got := watched(t, m, WatchOptions{Interval: time.Millisecond, MaxAge: time.Millisecond, PollOnly: true},
		func() bool {
			if n++; n == 1 {
				m.set("proc/sys/kernel/random/boot_id", "another\n")
			}
			return n == 3
		})
	if want := []string{"baseline", "epoch", "baseline"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A refused list does not end the watch, and a list that is readable again is distinguished from one without its
// modules.
func TestWatchSurvivesRefusals(t *testing.T) {
	m := madeLinux()
	lists(1, "a", "b")(m)
	refuse := func(err error) func(*made) {
		return func(m *made) { m.fails[linux.ModulesFile] = err }
	}
	changes := []func(*made){
		refuse(syscall.EIO), func(m *made) { delete(m.fails, linux.ModulesFile); lists(2, "b", "c")(m) },
		func(*made) {}, func(*made) {},
		func(m *made) { m.fails["sys/module/"], m.fails["sys/module"] = syscall.EIO, syscall.EIO },
		func(m *made) { clear(m.fails) },
		func(m *made) { m.set(linux.ModulesFile, "b 16384 0 - Li") }, // cut off
		lists(3, "b"),
	}
	n := 0
	got := watched(t, m, WatchOptions{Interval: time.Millisecond, MaxAge: time.Millisecond, PollOnly: true},
		func() bool {
			if n < len(changes) {
				changes[n](m)
			}
			n++
			return n == 10
		})
	if want := []string{"baseline", "degraded", "recovered", "unload a", "load c", "degraded", "recovered", "degraded",
		"recovered", "unload c"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// What can never be answered is one error.
func TestWatchEndsWithOneError(t *testing.T) {
	image, _ := OpenImage(madeLinux(), Options{OS: Linux})
	closed, _ := OpenMachine(Linux, madeLinux(), Options{})
	closed.Close()
	none, err := OpenMachine(AIX, madeLinux(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	for s, want := range map[*System]error{image: errors.ErrUnsupported, closed: fs.ErrClosed,
		none: errors.ErrUnsupported} {
		n := 0
		for e, err := range s.Watch(t.Context(), WatchOptions{Interval: time.Millisecond}) {
			if n++; !errors.Is(err, want) {
				t.Errorf("%s: %+v, %v", s.OS(), e, err)
				break
			}
		}
		if n != 1 {
			t.Errorf("%s: %d events", s.OS(), n)
		}
	}
}

// A System that is closed while it is watched ends the watch.
func TestWatchEndsWithItsSystem(t *testing.T) {
	s, _ := OpenMachine(Linux, madeLinux(), Options{})
	var last error
	for e, err := range s.Watch(t.Context(), WatchOptions{Interval: time.Millisecond}) {
		if last = err; e.Type == EventBaseline {
			s.Close()
		}
	}
	if !errors.Is(last, fs.ErrClosed) {
		t.Errorf("ended with %v", last)
	}
}

func TestWatchStopsWithItsContext(t *testing.T) {
	before := runtime.NumGoroutine()
	for _, m := range []Machine{madeLinux(), &eventful{made: madeLinux()}} {
		s, err := OpenMachine(Linux, m, Options{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		events := 0
		for e, err := range s.Watch(ctx, WatchOptions{Interval: time.Millisecond}) {
			if err != nil || e.Type != EventBaseline {
				t.Errorf("%+v, %v", e, err)
			}
			events++
			cancel()
		}
		if events != 1 {
			t.Errorf("%d events", events)
		}
		s.Close()
	}
	for range 100 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), before)
}

func TestIdleWatchOpensNothing(t *testing.T) {
	polled, heard := madeLinux(), &eventful{made: madeLinux()}
	for made, m := range map[*made]Machine{polled: polled, heard.made: heard} {
		s, err := OpenMachine(Linux, m, Options{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		before := 0
		for range s.Watch(ctx, WatchOptions{Interval: time.Millisecond}) {
			before = made.asked()
		}
		cancel()
		// The event counter is held open; a machine that cannot read at an offset is asked for it again.
		if n := made.asked() - before - made.count("sys/kernel/uevent_seqnum"); n > 0 {
			t.Errorf("an idle watch opens %d files", n)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestWatchWithoutCounter polls a machine whose event counter may not be read: the list itself is
// looked at each interval.
func TestWatchWithoutCounter(t *testing.T) {
	m := madeLinux()
	lists(1, "a")(m)
	m.fails["sys/kernel/uevent_seqnum"] = fs.ErrPermission
	n := 0
	got := watched(t, m, WatchOptions{Interval: time.Millisecond, PollOnly: true}, func() bool {
		if n++; n == 1 {
			lists(2, "a", "b")(m)
		}
		return n == 2
	})
	if want := []string{"baseline", "load b"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestWatchCountsWhatWasLost drops events, reports first those that the kernel still holds, and ignores old ones after
// the look that replaced the lost ones.
func TestWatchCountsWhatWasLost(t *testing.T) {
	m := &eventful{made: madeLinux(), script: []step{
		{event: moduleEvent("add", "a", 1235), change: lists(1235, "nvme_core", "a")},
		{err: fact.ErrHintsLost, change: lists(1250, "nvme_core", "c")},
		{event: moduleEvent("add", "b", 1236)}, // held from before the loss
		{err: os.ErrDeadlineExceeded},
		{event: moduleEvent("add", "ghost", 1249)}, // covered by the look
		{event: moduleEvent("add", "last", 1251), change: lists(1251, "nvme_core", "c", "last")},
	}}
	lists(1234, "nvme_core")(m.made)
	s, err := OpenMachine(Linux, m, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var got []string
	for e, err := range s.Watch(ctx, WatchOptions{Interval: time.Millisecond}) {
		if err != nil {
			t.Fatal(err)
		}
		word := string(e.Type) + " " + strings.TrimPrefix(e.ID, "linux_module:")
		if n, ok := e.Dropped.Get(); ok {
			word += fmt.Sprint(n)
		}
		if got = append(got, word); word == "load last" {
			break
		}
	}
	if want := []string{"baseline ", "load a", "load b", "lost 14", "unload a", "unload b", "load c",
		"load last"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestWatchBesideOtherEvents hears ten thousand events that are about no module: they cost no look.
func TestWatchBesideOtherEvents(t *testing.T) {
	m := &eventful{made: madeLinux()}
	lists(1234, "nvme_core")(m.made)
	for seq := range 10000 {
		m.script = append(m.script, step{event: quiet(1235 + seq)})
	}
	m.script = append(m.script,
		step{event: moduleEvent("add", "last", 11235), change: lists(11235, "nvme_core", "last")})
	reads := 0
	got := watched(t, m, WatchOptions{Interval: time.Hour}, func() bool {
		if reads == 0 {
			reads = m.count(linux.ModulesFile)
			return false
		}
		return true
	})
	if want := []string{"baseline", "load last"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if n := m.count(linux.ModulesFile) - reads; n != 1 {
		t.Errorf("the list was read %d times for one load", n)
	}
}

// The caller's name of the machine is in snapshots and events, and nothing else sets it.
func TestHost(t *testing.T) {
	for _, host := range []string{"", "web-1"} {
		s, err := OpenMachine(Linux, madeLinux(), Options{Host: host})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		ctx, cancel := context.WithCancel(t.Context())
		for e, err := range s.Watch(ctx, WatchOptions{Interval: time.Millisecond, PollOnly: true}) {
			if err != nil || e.Host != host || e.Snapshot.Host != host {
				t.Errorf("%q: %+v, %v", host, e, err)
			}
			cancel()
		}
		cancel()
	}
}
