// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kernelext/kernelext/e2e/agent"
	"github.com/kernelext/kernelext/e2e/debian"
	"github.com/kernelext/kernelext/e2e/lab"
	"github.com/kernelext/kernelext/lkm"
)

// A watcher is lkm watch, running in a guest.
type watcher struct {
	t      *testing.T
	g      *lab.Guest
	next   func() []byte // everything that it has printed so far
	signal func(context.Context, syscall.Signal) error
	wait   func(context.Context) (agent.Result, error)
}

// events waits until the last event satisfies done, interrupts lkm, and returns all events.
func (w *watcher) events(done func(e []lkm.Event) bool) []lkm.Event {
	w.t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for !done(parseEvents(w.t, w.next())) {
		if time.Now().After(deadline) {
			w.t.Fatalf("the last event did not come; %d did", len(parseEvents(w.t, w.next())))
		}
	}
	if err := w.signal(w.t.Context(), syscall.SIGINT); err != nil {
		w.t.Fatal(err)
	}
	r, err := w.wait(w.t.Context())
	if err != nil || r.Code != 0 || len(r.Stderr) > 0 {
		w.t.Errorf("lkm watch ended with %d, %v: %s", r.Code, err, r.Stderr)
	}
	return parseEvents(w.t, r.Stdout)
}

// parseEvents decodes the whole lines.
func parseEvents(t *testing.T, out []byte) []lkm.Event {
	t.Helper()
	var events []lkm.Event
	for line := range bytes.Lines(out) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			break
		}
		var e lkm.Event
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		events = append(events, e)
	}
	return events
}

// An account is what a watch reported of a module.
type account struct {
	loads, unloads int
	lost           int   // losses
	dropped        int64 // events of the kernel that were lost
	present        bool  // in the end
}

// reported counts the loads and unloads of a module, and the losses.
func reported(t *testing.T, events []lkm.Event, name string) account {
	t.Helper()
	var a account
	for i, e := range events {
		if e.Seq != uint64(i+1) || (i == 0) != (e.Type == lkm.EventBaseline) {
			t.Errorf("event %d: %+v", i, e)
		}
		switch {
		case e.Type == lkm.EventLost:
			a.lost++
			n, ok := e.Dropped.Get()
			if !ok {
				t.Errorf("event %d does not say how many were lost", i)
			}
			a.dropped += n
		case e.ID != "linux_module:"+name:
		case e.Type == lkm.EventLoad:
			a.loads++
			if a.present {
				t.Errorf("event %d: loaded twice", i)
			}
			a.present = true
		case e.Type == lkm.EventUnload:
			a.unloads++
			if !a.present {
				t.Errorf("event %d: unloaded, but it was not there", i)
			}
			a.present = false
		}
	}
	return a
}

// last is satisfied when the last event is the load of a module.
func last(name string) func([]lkm.Event) bool {
	return func(e []lkm.Event) bool {
		return len(e) > 0 && e[len(e)-1].Type == lkm.EventLoad && e[len(e)-1].ID == "linux_module:"+name
	}
}

// TestWatch loads and unloads a module 200 times in front of lkm watch, an ordinary user's and
// root's, with a hundred other events a second between, and then with a buffer so small, and lkm
// stopped, that events must be lost.
func TestWatch(t *testing.T) {
	k := lab.Kernel(t, debian.Cloud61)
	i := lab.Image(t, k, "dummy", "loop")
	i.Add(cycler, 0o755, lab.Program(t, "e2e", "./cycle"))
	g := lab.Boot(t, k, i)
	const n = 200
	t.Run("every one", func(t *testing.T) {
		g := g.For(t)
		watchers := map[string]*watcher{"root": watching(t, g, 0), "user": watching(t, g, lab.User)}
		// Each cycle also makes half a dozen events of a network device.
		t.Logf("%s", g.Must(cycles(k, n, "-events", "100", "-pause", "20ms")))
		g.Root("modprobe", "loop")
		for who, w := range watchers {
			if a := reported(t, w.events(last("loop")), "dummy"); a != (account{loads: n, unloads: n}) {
				t.Errorf("%s: %+v, want all of %d", who, a, n)
			}
		}
		g.Root("rmmod", "loop")
	})
	t.Run("dropped", func(t *testing.T) {
		g := g.For(t)
		w := watching(t, g, 0, "--buffer", "1")
		if err := w.signal(t.Context(), syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		g.Must(cycles(k, n))
		g.Root("modprobe", "dummy")
		if err := w.signal(t.Context(), syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		g.Root("modprobe", "loop")
		a := reported(t, w.events(last("loop")), "dummy")
		t.Logf("%+v", a)
		if a.lost == 0 {
			t.Error("events were dropped and nothing says so")
		}
		if missing := int64(2*n + 1 - a.loads - a.unloads); missing <= 0 || a.dropped < missing {
			t.Errorf("%d loads and unloads are not reported, %d events are said to be lost", missing, a.dropped)
		}
		if !a.present {
			t.Error("the module that is loaded in the end is not reported")
		}
		g.Root("rmmod", "loop")
	})
	t.Run("by polling", func(t *testing.T) {
		g := g.For(t)
		w := watching(t, g, 0, "--poll", "--interval", "100ms")
		g.Root("rmmod", "dummy")
		time.Sleep(time.Second)
		g.Root("modprobe", "dummy")
		time.Sleep(time.Second)
		g.Root("modprobe", "loop")
		if a := reported(t, w.events(last("loop")), "loop"); a != (account{loads: 1, present: true}) {
			t.Errorf("%+v", a)
		}
	})
	if out := string(g.File("/proc/modules")); !strings.Contains(out, "loop ") {
		t.Errorf("the guest's list: %s", out)
	}
}

// TestIdleWatch counts the calls of lkm watch while nothing happens: one small read of the event
// counter each interval, and a look whether an event waits.
func TestIdleWatch(t *testing.T) {
	t.Parallel()
	lab.Tools(t, "strace")
	k := lab.Kernel(t, debian.Cloud61)
	i := lab.Image(t, k, "dummy")
	i.CopyProgram("/usr/bin/strace")
	g := lab.Boot(t, k, i)
	for _, mode := range [][]string{nil, {"--poll"}} {
		const log = "/tmp/idle"
		// With -D lkm itself is what is started here, and signaled.
		argv := append([]string{"strace", "-D", "-f", "-qq", "-o", log, "-e", "trace=%desc,%file,%network", lab.Lkm,
			"watch", "--interval", "200ms"}, mode...)
		w := watch(t, g, agent.Command{Argv: argv, Timeout: time.Hour})
		time.Sleep(5 * time.Second)
		if err := w.signal(t.Context(), syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		if r, err := w.wait(t.Context()); err != nil || r.Code != 0 {
			t.Fatalf("%v: %+v", err, r)
		}
		time.Sleep(time.Second) // strace ends after lkm
		_, idle, ok := strings.Cut(string(g.File(log)), "write(1,")
		if !ok {
			t.Fatalf("%q: the baseline was not written", mode)
		}
		idle, _, _ = strings.Cut(idle, "--- SIGINT")
		calls := make(map[string]int)
		for line := range strings.Lines(idle) {
			if found := call.FindStringSubmatch(line); found != nil {
				calls[found[1]]++
			}
		}
		t.Logf("%q: %v", mode, calls)
		reads := calls["pread64"]
		if reads < 3 {
			t.Errorf("%q: the counter was read %d times", mode, reads)
		}
		for name, n := range calls {
			switch name {
			// the counter; waiting; Go's runtime waking itself, which strace reports
			case "pread64", "epoll_pwait", "write", "read":
			case "recvfrom":
				if n > reads+2 || n < reads-2 { // one of each an interval
					t.Errorf("%q: %d looks for events, %d reads of the counter", mode, n, reads)
				}
			case "mmap": // Go's runtime, once in a while, for its own tables
				if n > 2 {
					t.Errorf("%q: %d calls of mmap while nothing happened", mode, n)
				}
			default:
				t.Errorf("%q: %d calls of %s while nothing happened", mode, n, name)
			}
		}
	}
}
