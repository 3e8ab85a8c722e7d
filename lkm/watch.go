// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"strings"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
)

// WatchOptions say how a watch looks at the machine. The zero value is right for most.
type WatchOptions struct {
	// Interval is how often the machine is asked whether something changed, by the cheap read of [System.Changed], or
	// by the list where a system has no such read; 0 means a second.
	Interval time.Duration
	// MaxAge is how old the last whole look may become, because a counter that does not move proves
	// nothing; 0 means five minutes.
	MaxAge time.Duration
	// Heartbeat is after how much silence an event says that the watch goes on; 0 means never.
	Heartbeat time.Duration
	// Refresh is how often a baseline with everything is sent again, so that a far side that missed an event has the
	// state again; 0 means never. While the list, or a source of it, cannot be read any more, it waits; the kernel's
	// own events are no such source.
	Refresh time.Duration
	// Since is what the far side has already. The baseline is then the difference from it, if it is of the same system,
	// and of no other Options.Host.
	Since *Snapshot
	// Stream is the id of the stream; empty means random text. No two watches may have the same one.
	Stream string
	// PollOnly ignores the kernel's own events: a module that comes and goes between two looks
	// is then not seen.
	PollOnly bool
	// Buffer is how many bytes of events the kernel keeps for the watch, where it gives events; 0 means a
	// MiB. Too small a buffer loses events, which a lost event reports, never a wrong list.
	Buffer int
}

// Watch yields what changes, until ctx ends: it is the loop of an agent. The first event is a baseline. Loads, unloads
// and changes follow in the kernel's order. Where the kernel gives events (Linux, without privilege) there is an event
// for every load and unload, also of a module that is gone before it can be looked at: its After then has only its
// name. Elsewhere, and with PollOnly, the list is compared whenever Changed says so. The source "uevents" of the
// baseline reports which of the two it is. Modules on their way in or out are not part of the state.
//
// Refusals do not end it. When the list, or a source of it, cannot be read any more, a degraded event has the reason; a
// module that is not seen is not unloaded. After a recovered event the differences follow. A list that is refused is
// asked for again with growing pauses, at most a minute (one that needs a privilege: see [System.Refresh]).
// When the kernel dropped events, a lost event counts them, and the differences that a whole look finds follow. If its
// events cannot be read any more, the source "uevents" is degraded, and the list is compared until they can be opened
// again, which is tried with growing pauses, at most a minute (an hour where they are refused). After a restart of the
// machine there is an epoch event and a new baseline. A rootkit can hide itself from all of this: see
// [System.Discrepancies].
//
// Each event has the digest of the state after it, so that a [Mirror] of the events is that state, or has a gap.
// It is one goroutine, and costs one small read each interval while nothing happens.
//
// One error ends the sequence: errors.ErrUnsupported if the system has no such list (an image, a system without
// modules), fs.ErrClosed if the System was closed. Nothing goes on when the caller's loop ends.
func (s *System) Watch(ctx context.Context, o WatchOptions) iter.Seq2[Event, error] {
	if o.Interval <= 0 {
		o.Interval = time.Second
	}
	if o.MaxAge <= 0 {
		o.MaxAge = 5 * time.Minute
	}
	return func(yield func(Event, error) bool) {
		w := &watch{s: s, o: o, yield: yield, stream: o.Stream}
		if w.stream == "" {
			w.stream = rand.Text()[:16]
		}
		if err := s.usable("watch", true); err != nil {
			yield(Event{}, err)
			return
		}
		err := w.run(ctx)
		if err != nil && err != errStopped && ctx.Err() == nil {
			yield(Event{}, fmt.Errorf("lkm: watch: %w", err))
		}
	}
}

// errStopped says that the caller wants no more events.
var errStopped = errors.New("stopped")

// sourceEvents is the source of a watch's baseline that reports whether the kernel's events are read.
const sourceEvents = "uevents"

// A watch is one run of Watch.
type watch struct {
	s      *System
	o      WatchOptions
	yield  func(Event, error) bool
	stream string
	seq    uint64
	sent   time.Time // when the last event was sent, by this machine's clock

	ears    ears // hear the kernel's events; else the list is compared
	counter Token
	hinted  uint64 // the counter's value with the last hint; before the first, that of the baseline
	since   uint64 // the counter's value before the look that made up for lost hints: older hints count no more
	list    List

	state *state          // what the events add up to; nil before the baseline
	thin  map[string]bool // modules that only a hint named: a whole look knows more of them
	sight sight

	looked  time.Time     // when the last whole look was, by this machine's clock
	based   time.Time     // when the last baseline was, by this machine's clock
	refused Code          // why the list cannot be read; empty if it can
	text    string        // the same as a text
	pause   time.Duration // how long to wait before a list that was refused is asked for again
	retry   time.Time     // when
}

func (w *watch) emit(e Event) error {
	w.seq++
	e.Stream, e.Seq, e.Host, e.Digest = w.stream, w.seq, w.s.options.Host, w.state.digest()
	w.sent = time.Now()
	if !w.yield(e, nil) {
		return errStopped
	}
	return nil
}

func (w *watch) run(ctx context.Context) error {
	defer w.listen(ctx)()
	// The counter is read before the first look: what moves it from here on is new.
	w.hinted = w.count(ctx)
	if err := w.look(ctx); err != nil {
		return err
	}
	for ctx.Err() == nil {
		if err := w.step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// step waits for the next thing to happen, at most one interval, and handles it.
func (w *watch) step(ctx context.Context) error {
	if w.s.closed.Load() {
		return w.s.usable("watch", true)
	}
	deadline := time.Now().Add(w.o.Interval)
	if w.o.Heartbeat > 0 {
		beat := w.sent.Add(w.o.Heartbeat)
		if !time.Now().Before(beat) {
			return w.beat(ctx)
		}
		if beat.Before(deadline) {
			deadline = beat
		}
	}
	if !w.ears.hear() {
		return w.deaf(ctx, deadline)
	}
	h, err := w.ears.hints.Next(deadline)
	switch {
	case err == nil:
		return w.deal(ctx, h)
	case errors.Is(err, fact.ErrHintsLost):
		return w.lose(ctx)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return w.check(ctx)
	}
	// The events cannot be read any more: go on without them, from a whole look.
	w.ears.broke(err)
	return w.makeUp(ctx)
}

// deaf waits until the deadline and then compares the list, if something happened. It first tries to hear again, if it
// is time. What nobody heard is made up for by a whole look.
func (w *watch) deaf(ctx context.Context, deadline time.Time) error {
	if err := wait(ctx, deadline); err != nil {
		return nil // ctx ended
	}
	if w.ears.due() {
		if w.ears.try(); w.ears.hear() {
			return w.makeUp(ctx)
		}
	}
	return w.check(ctx)
}

func wait(ctx context.Context, deadline time.Time) error {
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// beat says that the watch goes on, and whether it is degraded.
func (w *watch) beat(ctx context.Context) error {
	e := Event{Type: EventHeartbeat, Counts: countsOf(w.state), Code: w.refused, Error: w.text, At: w.clock(ctx)}
	if e.Code == "" {
		e.Code, e.Error = w.sight.code, w.sight.text
	}
	return w.emit(e)
}

// drainWait is how long a hint that the kernel holds may take to come.
const drainWait = 10 * time.Millisecond

// lose handles the hints from before the loss, which the kernel still holds, and then makes up for
// those that it dropped.
func (w *watch) lose(ctx context.Context) error {
	until := w.count(ctx)
	for {
		h, err := w.ears.hints.Next(time.Now().Add(drainWait))
		if err != nil || h.Seq > until {
			// Whatever it is, it is new: what it did is in the look that follows, and an error that lasts comes again.
			return w.makeUp(ctx)
		}
		if err := w.deal(ctx, h); err != nil {
			return err
		}
	}
}

// makeUp reports that events were not heard, if there were any, and what a whole look finds.
func (w *watch) makeUp(ctx context.Context) error {
	w.since = w.count(ctx)
	lost := Event{Type: EventLost, At: w.clock(ctx)}
	missed := true // as far as is known
	if w.since >= w.hinted && w.since > 0 {
		missed = w.since > w.hinted
		lost.Dropped = CountOf(int64(w.since - w.hinted))
	}
	w.hinted = max(w.hinted, w.since)
	if missed && w.state != nil { // before the baseline nothing can be missed
		if err := w.emit(lost); err != nil {
			return err
		}
	}
	return w.look(ctx)
}

// count is the kernel's counter now; 0 without a counter.
func (w *watch) count(ctx context.Context) uint64 {
	if _, err := w.s.Changed(ctx, &w.counter); err != nil {
		return 0
	}
	return w.counter.value
}

// deal handles a hint. One that agrees with the state is old: a look was faster.
func (w *watch) deal(ctx context.Context, h fact.Hint) error {
	w.hinted = max(w.hinted, h.Seq)
	if w.state == nil {
		return w.checkAge(ctx)
	}
	if h.ID == "" || h.Seq > 0 && h.Seq <= w.since || h.Came == w.knows(h.ID) {
		return w.checkAge(ctx)
	}
	if !h.Came {
		return w.unload(h.ID, w.clock(ctx))
	}
	m := w.find(ctx, h)
	w.state.set(m)
	w.thin[h.ID] = true
	return w.emit(Event{Type: EventLoad, ID: h.ID, After: m, At: w.clock(ctx)})
}

// knows reports whether a module is loaded as far as is known, seen or not.
func (w *watch) knows(id string) bool {
	return w.state.get(id) != nil || w.sight.hidden[id].module != nil
}

// find returns what the kernel says now of the module that was just loaded.
func (w *watch) find(ctx context.Context, h fact.Hint) *Module {
	r := w.s.report()
	m, err := w.s.backend.find(ctx, h.Name, r)
	w.s.log("watch", r)
	if err == nil {
		return m
	}
	kind, _, _ := strings.Cut(h.ID, ":")
	m = &Module{ID: h.ID, Kind: Kind(kind), Name: h.Name}
	m.Problems = []Problem{fact.ProblemOf(sourceEvents, escape.UTF8(h.Name), "", err)}
	return m
}

// check asks whether something happened that no hint named: it costs one small read when nothing
// did, and the list where the counter cannot be read.
func (w *watch) check(ctx context.Context) error {
	if w.pause > 0 && time.Now().Before(w.retry) {
		return nil
	}
	moved, err := w.s.Changed(ctx, &w.counter)
	if w.pause > 0 || err != nil || moved && (!w.ears.hear() || w.counter.value != w.hinted) {
		if err := w.poll(ctx); err != nil {
			return err
		}
	}
	return w.checkAge(ctx)
}

func (w *watch) checkAge(ctx context.Context) error {
	waits := w.pause > 0 && time.Now().Before(w.retry)
	if waits || w.pause == 0 && time.Since(w.looked) < w.o.MaxAge && !w.stale() {
		return nil
	}
	return w.look(ctx)
}

// poll compares the kernel's list with the state.
func (w *watch) poll(ctx context.Context) error {
	if err := w.s.Poll(ctx, &w.list); err != nil || w.state == nil || w.refused != "" || w.differs(w.list.Modules) {
		return w.look(ctx)
	}
	return nil
}

// differs reports whether the list is not that of the state. A module on its way in or out makes
// no difference yet.
func (w *watch) differs(modules []Module) bool {
	found := 0
	for i := range modules {
		m := &modules[i]
		known := w.state.get(m.ID) != nil
		if known {
			found++
		} else if settled(m) {
			return true
		}
	}
	return found != len(w.state.modules)
}

// settled reports whether a module is neither coming nor going.
func settled(m *Module) bool { return m.State != StateLoading && m.State != StateUnloading }

// clock is the machine's time; zero if it is not known.
func (w *watch) clock(ctx context.Context) time.Time {
	return w.s.backend.time(ctx)
}

// longestPause is the longest pause before a list that was refused is asked for again.
const longestPause = time.Minute

// refuse handles a list that cannot be read. It returns the errors that end the watch.
func (w *watch) refuse(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return nil
	case errors.Is(err, fs.ErrClosed) && w.s.closed.Load():
		return err
	case w.seq == 0 && errors.Is(err, errors.ErrUnsupported):
		return err
	}
	w.pause = min(max(2*w.pause, w.o.Interval), max(longestPause, w.o.Interval))
	w.retry = time.Now().Add(w.pause)
	code := fact.CodeOf(err)
	if code == w.refused {
		return nil
	}
	w.refused, w.text = code, err.Error()
	e := Event{Type: EventDegraded, Code: code, Error: w.text, At: w.clock(ctx)}
	if w.state != nil {
		header := w.sight.header
		header.Problems = append(clone(header.Problems), Problem{
			Source: "watch", Field: "modules", Code: code, Text: w.text})
		w.state.setHeader(&header)
		e.Delta = w.delta()
	}
	return w.emit(e)
}
