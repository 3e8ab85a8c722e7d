// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
)

// Hints opens the kernel's events about modules. What they say is kept for Discrepancies until they are closed.
func (k *Kernel) Hints(buffer int) (fact.Hints, error) {
	l, ok := k.machine.(fact.Listener)
	if !ok {
		return nil, fmt.Errorf("listen for kernel events: not a running machine: %w", errors.ErrUnsupported)
	}
	source, err := l.Events(buffer)
	if err != nil {
		return nil, err
	}
	hints := &ueventHints{EventSource: source, kernel: k, history: new(moduleHistory)}
	hints.history.begin(k)
	k.history.Store(hints.history)
	return hints, nil
}

// ueventHints turns the kernel's events into hints, and keeps what they say for Discrepancies.
type ueventHints struct {
	fact.EventSource
	kernel  *Kernel
	history *moduleHistory
}

func (u *ueventHints) Close() error {
	u.kernel.history.CompareAndSwap(u.history, nil)
	return u.EventSource.Close()
}

func (u *ueventHints) Next(deadline time.Time) (fact.Hint, error) {
	b, err := u.Receive(deadline)
	switch {
	case errors.Is(err, fact.ErrHintsLost):
		u.history.begin(u.kernel)
		return fact.Hint{}, fact.ErrHintsLost
	case err != nil:
		return fact.Hint{}, err
	}
	e, err := parseUevent(b)
	if err != nil {
		u.history.begin(u.kernel)
		return fact.Hint{}, fact.ErrHintsLost
	}
	h := fact.Hint{Seq: e.Seq}
	if name := e.Module(); name != "" && (e.Action == "add" || e.Action == "remove") {
		h.ID, h.Name, h.Came = string(fact.KindLinuxModule)+":"+name, name, e.Action == "add"
	}
	u.history.event(h.Seq, h.Name, h.Came)
	return h, nil
}

// A moduleHistory is what the kernel's events say is loaded: what was at the start, and what came and
// did not go since. A module that leaves the kernel's list without an unload stays in it.
type moduleHistory struct {
	mu     sync.Mutex
	loaded map[string]bool
	since  uint64      // the counter's value before the list that it started with
	upTo   uint64      // and with the last event
	err    error       // why it knows nothing
	lost   fact.Report // what of the list that it started with could not be read
}

// maxHistory caps the names of a history.
const maxHistory = 1 << 16

// begin starts with the kernel's list: at first, and when events were lost.
func (h *moduleHistory) begin(k *Kernel) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.loaded = make(map[string]bool)
	seq, err := readSeq(k.machine)
	var list moduleList
	h.lost = fact.Report{}
	if err == nil {
		err = newListReader(k.machine).Read(&list, &h.lost)
	}
	h.err, h.since, h.upTo = err, seq, seq
	for i := range list.Entries {
		if e := &list.Entries[i]; e.State == "Live" { // one that is loading may fail, and no event reports that
			h.loaded[e.Name] = true
		}
	}
}

// event notes one event of the kernel; name is empty for one that is about no module that came or went.
func (h *moduleHistory) event(seq uint64, name string, came bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.upTo = max(h.upTo, seq)
	switch {
	case name == "" || seq <= h.since:
	case !came:
		delete(h.loaded, name)
	case len(h.loaded) < maxHistory:
		h.loaded[name] = true
	}
}

// known returns what is loaded by the events up to one. What of the list before them could not be read is a problem of
// viewHistory. The error is why nothing is known.
func (h *moduleHistory) known(r *fact.Report) (map[string]bool, uint64, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil {
		return nil, 0, fmt.Errorf("the watch of this System could not start: %w", h.err)
	}
	for _, p := range h.lost.Problems {
		r.Problem(viewHistory, "", "", p)
	}
	loaded := make(map[string]bool, len(h.loaded))
	for name := range h.loaded {
		loaded[name] = true
	}
	return loaded, h.upTo, nil
}

// heardModules is what the running watch heard, for [Kernel.Discrepancies].
func (k *Kernel) heardModules(r *fact.Report) (map[string]bool, uint64, error) {
	h := k.history.Load()
	if h == nil {
		return nil, 0, fmt.Errorf("no watch of this System hears the kernel's events: %w", errors.ErrUnsupported)
	}
	return h.known(r)
}

// SourceUevents are the kernel's own events, heard on a netlink socket.
const SourceUevents = "uevents"

// A uevent is one event of the kernel's device model.
type uevent struct {
	// Action is the kernel's word: add, remove, change, …
	Action string
	// Path is the object's path below /sys, such as "/module/nvme".
	Path string
	// Subsystem is the object's subsystem, "module" for a module.
	Subsystem string
	// Seq is the event's number, as in /sys/kernel/uevent_seqnum; 0 when it has none.
	Seq uint64
}

// maxUevent is the largest event that is read; the kernel's own buffer has 2 KiB.
const maxUevent = 64 << 10

// parseUevent reads the kernel's form of an event: "ACTION@PATH", then "KEY=VALUE" each, divided by
// zero bytes.
func parseUevent(b []byte) (uevent, error) {
	head, rest, _ := strings.Cut(string(b), "\x00")
	action, path, ok := strings.Cut(head, "@")
	if !ok || action == "" || !strings.HasPrefix(path, "/") || len(b) > maxUevent {
		return uevent{}, &fact.ParseError{Source: SourceUevents, Reason: "is not a kernel event: ACTION@PATH"}
	}
	e := uevent{Action: action, Path: path}
	for word := range strings.SplitSeq(rest, "\x00") {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "SUBSYSTEM":
			e.Subsystem = value
		case "SEQNUM":
			n, err := strconv.ParseUint(value, 10, 64)
			if err != nil {
				return uevent{},
					&fact.ParseError{Source: SourceUevents, Field: "SEQNUM", Reason: "is " + strconv.Quote(value)}
			}
			e.Seq = n
		}
	}
	return e, nil
}

// Module returns the name of the module that the event is about; "" for any other object.
func (e uevent) Module() string {
	name, ok := strings.CutPrefix(e.Path, "/module/")
	if !ok || e.Subsystem != "module" || strings.Contains(name, "/") {
		return ""
	}
	return escape.UTF8(name)
}
