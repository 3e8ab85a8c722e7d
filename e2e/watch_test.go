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

// told counts the loads and unloads of a module, and the losses.
func told(t *testing.T, events []lkm.Event, name string) (loads, unloads, lost int, present bool) {
	t.Helper()
	for i, e := range events {
		if e.Seq != uint64(i+1) || (i == 0) != (e.Type == lkm.EventBaseline) {
			t.Errorf("event %d: %+v", i, e)
		}
		switch {
		case e.Type == lkm.EventLost:
			lost++
		case e.ID != "linux_module:"+name:
		case e.Type == lkm.EventLoad:
			loads++
			if present {
				t.Errorf("event %d: loaded twice", i)
			}
			present = true
		case e.Type == lkm.EventUnload:
			unloads++
			if !present {
				t.Errorf("event %d: unloaded, but it was not there", i)
			}
			present = false
		}
	}
	return loads, unloads, lost, present
}

// TestWatch loads and unloads a module 200 times in front of lkm watch, as an ordinary user's and as root's, with other events
// between, and then with a buffer so small, and lkm stopped, that events must be lost.
func TestWatch(t *testing.T) {
	k := lab.Kernel(t, debian.Cloud61)
	i := lab.Image(t, k, "dummy", "loop")
	for _, tool := range []string{"/bin/sh", "/bin/cat"} {
		i.CopyProgram(tool)
	}
	g := lab.Boot(t, k, i)
	const cycles = 200
	last := func(name string) func([]lkm.Event) bool {
		return func(e []lkm.Event) bool {
			return len(e) > 0 && e[len(e)-1].Type == lkm.EventLoad && e[len(e)-1].ID == "linux_module:"+name
		}
	}
	t.Run("every one", func(t *testing.T) {
		g := g.For(t)
		w := watching(t, g)
		// Each cycle also makes half a dozen events of a network device, and of whatever else asks for one here.
		g.Must(agent.Command{Argv: []string{"sh", "-c", cycle(k, cycles, "echo change > /sys/class/mem/null/uevent;")}, Timeout: time.Hour})
		g.Root("modprobe", "loop")
		loads, unloads, lost, present := told(t, w.events(last("loop")), "dummy")
		if loads != cycles || unloads != cycles || lost != 0 || present {
			t.Errorf("%d loads and %d unloads of %d, %d lost", loads, unloads, cycles, lost)
		}
		g.Root("rmmod", "loop")
	})
	t.Run("dropped", func(t *testing.T) {
		g := g.For(t)
		w := watching(t, g, "--buffer", "1")
		if err := w.signal(t.Context(), syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		g.Must(agent.Command{Argv: []string{"sh", "-c", cycle(k, cycles, "")}, Timeout: time.Hour})
		g.Root("modprobe", "dummy")
		if err := w.signal(t.Context(), syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		g.Root("modprobe", "loop")
		events := w.events(last("loop"))
		loads, unloads, lost, present := told(t, events, "dummy")
		t.Logf("%d loads, %d unloads, %d lost", loads, unloads, lost)
		if lost == 0 {
			t.Error("events were dropped and nothing says so")
		}
		if !present {
			t.Error("the module that is loaded in the end is not told of")
		}
		g.Root("rmmod", "loop")
	})
	t.Run("by polling", func(t *testing.T) {
		g := g.For(t)
		w := watching(t, g, "--poll", "--interval", "100ms")
		g.Root("rmmod", "dummy")
		time.Sleep(time.Second)
		g.Root("modprobe", "dummy")
		time.Sleep(time.Second)
		g.Root("modprobe", "loop")
		loads, _, _, present := told(t, w.events(last("loop")), "loop")
		if loads != 1 || !present {
			t.Errorf("%d loads", loads)
		}
	})
	if out := string(g.File("/proc/modules")); !strings.Contains(out, "loop ") {
		t.Errorf("the guest's list: %s", out)
	}
}
