// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
)

// WatchOptions say how a watch looks. The zero value is right for most.
type WatchOptions struct {
	// Interval is how often the cheap counter of Changed is read; 0 means a second.
	Interval time.Duration
	// MaxAge is how old the last full look may become, because a counter that stands still proves
	// nothing; 0 means five minutes.
	MaxAge time.Duration
	// PollOnly leaves the kernel's own events alone: a module that comes and goes between two looks
	// is then not seen.
	PollOnly bool
	// Buffer is how many bytes of events the kernel keeps for us, where it gives events; 0 means a
	// MiB. Too small a buffer costs events, which is told, never a wrong list.
	Buffer int
}

// Watch tells what comes and goes. The first event is a baseline with a Snapshot; then come loads,
// unloads and changes, in the order in which the kernel tells of them, as long as the caller goes
// on. Where the kernel gives events (Linux, without privilege) every load and unload is told, also
// of a module that is gone again before anyone could look: its After holds only its name then.
// Elsewhere, and with PollOnly, the list is compared when Changed says so. The source "uevents" of
// the baseline tells which it is.
//
// When the kernel dropped events there is an event "lost" that counts them, and then what a new look
// found. After a
// restart of the machine there is an event "epoch", and a new baseline. A rootkit can keep itself
// out of all of this: see Discrepancies.
//
// The sequence ends when ctx does, or with one error, last, when the list cannot be read any more.
// It may be used once at a time; nothing of it runs on when the loop ends.
func (s *System) Watch(ctx context.Context, o WatchOptions) iter.Seq2[Event, error] {
	if o.Interval <= 0 {
		o.Interval = time.Second
	}
	if o.MaxAge <= 0 {
		o.MaxAge = 5 * time.Minute
	}
	return func(yield func(Event, error) bool) {
		w := &watch{s: s, o: o, yield: yield}
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

// errStopped says that the caller wants no more.
var errStopped = errors.New("stopped")

// A watch is one run of Watch.
type watch struct {
	s     *System
	o     WatchOptions
	yield func(Event, error) bool

	hints   fact.Hints // nil: poll
	noHints error      // why
	seq     uint64
	heard   uint64 // the counter's value with the last hint; before the first, that of the baseline
	since   uint64 // the counter's value before the look that made up for lost hints: older hints are old news
	counter Token
	base    *Snapshot          // the last full look
	present map[string]*Module // what is loaded, as told to the caller
	thin    map[string]bool    // those of present that a hint told of: a full look knows more
	list    List
	looked  time.Time // when base was taken, by this machine's clock
}

func (w *watch) emit(e Event) error {
	w.seq++
	e.Seq, e.Host = w.seq, w.s.options.Host
	if !w.yield(e, nil) {
		return errStopped
	}
	return nil
}

func (w *watch) run(ctx context.Context) error {
	if w.o.PollOnly {
		w.noHints = fmt.Errorf("kernel events were not wanted: %w", errors.ErrUnsupported)
	} else {
		w.hints, w.noHints = w.s.backend.hints(w.o.Buffer)
	}
	if hints := w.hints; hints != nil {
		woken := make(chan struct{})
		stop := context.AfterFunc(ctx, func() { hints.Wake(); close(woken) })
		defer func() {
			if !stop() {
				<-woken // it has begun: let it end
			}
			hints.Close()
		}()
	}
	// The counter is read before the first look: what moves it from here on is news.
	w.heard = w.count(ctx)
	if err := w.baseline(ctx); err != nil {
		return err
	}
	for ctx.Err() == nil {
		if err := w.step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// baseline takes a whole look and tells it.
func (w *watch) baseline(ctx context.Context) error {
	snap, err := w.snapshot(ctx)
	if err != nil {
		return err
	}
	w.present, w.thin = make(map[string]*Module), make(map[string]bool)
	for i := range snap.Modules {
		if m := &snap.Modules[i]; m.State == StateLoaded || m.State == "" {
			w.present[m.ID] = m
		}
	}
	return w.emit(Event{Type: EventBaseline, Snapshot: snap, At: snap.TakenAt})
}

func (w *watch) snapshot(ctx context.Context) (*Snapshot, error) {
	snap, err := w.s.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	src := Source{Name: sourceEvents, Outcome: OutcomeOK}
	if w.hints == nil {
		src.Outcome, src.Code = fact.OutcomeOf(w.noHints), fact.CodeOf(w.noHints)
	}
	snap.Sources = append(snap.Sources, src)
	w.base, w.looked = snap, time.Now()
	return snap, nil
}

// sourceEvents is the source of a watch's baseline that tells whether the kernel's events are heard.
const sourceEvents = "uevents"

// step waits for the next thing to happen, at most one interval, and deals with it.
func (w *watch) step(ctx context.Context) error {
	deadline := time.Now().Add(w.o.Interval)
	if w.hints == nil {
		if err := wait(ctx, deadline); err != nil {
			return nil // ctx ended
		}
		return w.check(ctx)
	}
	h, err := w.hints.Next(deadline)
	switch {
	case err == nil:
		return w.deal(ctx, h)
	case errors.Is(err, fact.ErrHintsLost):
		return w.lose(ctx)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return w.check(ctx)
	}
	// The source is broken: go on without it, from a whole look.
	w.hints, w.noHints = nil, err
	return w.makeUp(ctx)
}

// drainWait is how long a hint that waits in the kernel may take to come.
const drainWait = 10 * time.Millisecond

// lose tells the hints from before the loss, which the kernel still holds, and then makes up for
// those that it dropped.
func (w *watch) lose(ctx context.Context) error {
	until := w.count(ctx)
	for {
		h, err := w.hints.Next(time.Now().Add(drainWait))
		if err != nil || h.Seq > until {
			// Whatever it is, it is new: what comes of it is in the look that follows, and a source
			// that is broken says so again.
			return w.makeUp(ctx)
		}
		if err := w.deal(ctx, h); err != nil {
			return err
		}
	}
}

// makeUp tells that hints were lost, and what a whole look finds.
func (w *watch) makeUp(ctx context.Context) error {
	w.since = w.count(ctx)
	lost := Event{Type: EventLost, At: w.clock(ctx)}
	if w.since >= w.heard && w.since > 0 {
		lost.Dropped = CountOf(int64(w.since - w.heard))
	}
	w.heard = max(w.heard, w.since)
	if err := w.emit(lost); err != nil {
		return err
	}
	return w.fullLook(ctx)
}

// count is the kernel's counter now; 0 where there is none.
func (w *watch) count(ctx context.Context) uint64 {
	if _, err := w.s.Changed(ctx, &w.counter); err != nil {
		return 0
	}
	return w.counter.value
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

// deal handles a hint. One that agrees with what was told already is old news: a look was faster.
func (w *watch) deal(ctx context.Context, h fact.Hint) error {
	w.heard = max(w.heard, h.Seq)
	if h.ID == "" || h.Seq > 0 && h.Seq <= w.since || h.Came == (w.present[h.ID] != nil) {
		return w.checkAge(ctx)
	}
	if !h.Came {
		return w.gone(ctx, h.ID)
	}
	m := w.find(ctx, h)
	w.present[h.ID], w.thin[h.ID] = m, true
	return w.emit(Event{Type: EventLoad, ID: h.ID, After: m, At: w.clock(ctx)})
}

// find returns what the kernel says now of the module that just came.
func (w *watch) find(ctx context.Context, h fact.Hint) *Module {
	r := w.s.report()
	m, err := w.s.backend.find(ctx, h.Name, r)
	w.s.told("watch", r)
	if err == nil {
		return m
	}
	kind, _, _ := strings.Cut(h.ID, ":")
	m = &Module{ID: h.ID, Kind: Kind(kind), Name: h.Name}
	m.Problems = []Problem{fact.ProblemOf(sourceEvents, escape.UTF8(h.Name), "", err)}
	return m
}

func (w *watch) gone(ctx context.Context, id string) error {
	before := w.present[id]
	delete(w.present, id)
	delete(w.thin, id)
	return w.emit(Event{Type: EventUnload, ID: id, Before: before, At: w.clock(ctx)})
}

// check looks whether something happened that no hint told: it costs one small read when nothing
// did, and the list where the counter cannot be read.
func (w *watch) check(ctx context.Context) error {
	moved, err := w.s.Changed(ctx, &w.counter)
	if err != nil || moved && (w.hints == nil || w.counter.value != w.heard) {
		if err := w.look(ctx); err != nil {
			return err
		}
	}
	return w.checkAge(ctx)
}

func (w *watch) checkAge(ctx context.Context) error {
	if time.Since(w.looked) < w.o.MaxAge {
		return nil
	}
	return w.fullLook(ctx)
}

// look compares the kernel's list with what was told.
func (w *watch) look(ctx context.Context) error {
	err := w.s.Poll(ctx, &w.list)
	if errors.Is(err, errors.ErrUnsupported) {
		return w.fullLook(ctx)
	}
	if err != nil {
		return err
	}
	if !w.differs(w.list.Modules) {
		return nil
	}
	return w.fullLook(ctx)
}

// differs reports whether the list is other than what was told. A module on its way in or out is
// no difference yet.
func (w *watch) differs(modules []Module) bool {
	found := 0
	for i := range modules {
		m := &modules[i]
		told := w.present[m.ID] != nil
		if told {
			found++
		} else if settled(m) {
			return true
		}
	}
	return found != len(w.present)
}

// settled is a module that is neither coming nor going.
func settled(m *Module) bool { return m.State != StateLoading && m.State != StateUnloading }

// fullLook takes a Snapshot and tells what is other than was told.
func (w *watch) fullLook(ctx context.Context) error {
	old := w.base
	snap, err := w.snapshot(ctx)
	if err != nil {
		return err
	}
	if old.BootID != snap.BootID && old.BootID != "" && snap.BootID != "" {
		if err := w.emit(Event{Type: EventEpoch, At: snap.TakenAt}); err != nil {
			return err
		}
		return w.baseline(ctx)
	}
	now := byID(snap)
	for _, id := range slices.Sorted(maps.Keys(w.present)) {
		if now[id] != nil {
			continue
		}
		before := w.present[id]
		delete(w.present, id)
		delete(w.thin, id)
		if err := w.emit(Event{Type: EventUnload, ID: id, Before: before, At: snap.TakenAt}); err != nil {
			return err
		}
	}
	for i := range snap.Modules {
		if err := w.compare(&snap.Modules[i], snap.TakenAt); err != nil {
			return err
		}
	}
	return nil
}

// compare tells a module that came, or whose facts are others.
func (w *watch) compare(m *Module, at time.Time) error {
	before := w.present[m.ID]
	if !settled(m) {
		return nil
	}
	w.present[m.ID] = m
	if before == nil {
		return w.emit(Event{Type: EventLoad, ID: m.ID, After: m, At: at})
	}
	if thin := w.thin[m.ID]; thin || !changedFacts(before, m) {
		delete(w.thin, m.ID)
		return nil
	}
	return w.emit(Event{Type: EventChange, ID: m.ID, Before: before, After: m, At: at})
}

// changedFacts reports whether a module is another than before, and was not only seen worse.
func changedFacts(before, after *Module) bool {
	d := Delta{}
	d.compare(before, after, false)
	return len(d.Changed) > 0
}

// clock is the machine's time, or zero when it does not tell.
func (w *watch) clock(ctx context.Context) time.Time {
	return w.s.backend.time(ctx)
}
