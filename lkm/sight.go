// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/kernelext/kernelext/fact"
)

// A sight is what a watch can see of the machine, beside what it saw when it could see more.
type sight struct {
	header  Snapshot          // of the last look, without modules
	sources []Source          // of the last look that saw everything that was seen before
	hidden  map[string]member // modules of which less is seen now, as they were last seen
	code    Code              // why a source that was read before is not read whole now; empty if none
	text    string            // the same as a text
	deaf    bool              // that source is the kernel's events alone: all of the state is seen
}

// A view is what one whole look found, compared with the state.
type view struct {
	snap     *Snapshot
	now      []member          // its modules, sorted by id, without those on their way in or out
	target   map[string]member // other forms in which the same modules are seen; none if not seen
	gone     []string          // ids of the modules that were unloaded
	changed  []member          // the modules with other facts
	loaded   []member          // the new modules
	hidden   map[string]member // what sight.hidden becomes
	degraded bool              // a source that was read before is not read whole
	deaf     bool              // it is the kernel's events alone
}

// look takes a Snapshot and emits what differs from the state.
func (w *watch) look(ctx context.Context) error {
	snap, err := w.s.Snapshot(ctx)
	if err != nil {
		return w.refuse(ctx, err)
	}
	src := Source{Name: sourceEvents, Outcome: OutcomeOK}
	if err := w.ears.err; err != nil {
		src.Outcome, src.Code = fact.OutcomeOf(err), fact.CodeOf(err)
	}
	snap.Sources = append(snap.Sources, src)
	snap.Modules = slices.DeleteFunc(snap.Modules, func(m Module) bool { return !settled(&m) })
	w.looked = time.Now()
	if w.state == nil {
		return w.first(snap)
	}
	if old := w.state.header.BootID; old != snap.BootID && old != "" && snap.BootID != "" {
		return w.restart(snap)
	}
	if err := w.compare(w.view(snap)); err != nil || !w.stale() {
		return err
	}
	return w.refresh(snap)
}

// stale reports whether it is time for a new baseline, and everything can be read for it.
func (w *watch) stale() bool {
	return w.o.Refresh > 0 && time.Since(w.based) >= w.o.Refresh && w.state != nil && w.refused == "" &&
		(w.sight.code == "" || w.sight.deaf) && len(w.sight.hidden) == 0
}

// refresh emits a baseline in which nothing is new. That events are not heard stays so, and is not over with it.
func (w *watch) refresh(snap *Snapshot) error {
	was := w.sight
	err := w.baseline(snap)
	if was.code != "" {
		was.header = w.sight.header
		w.sight = was
	}
	return err
}

// first emits the baseline of a watch.
func (w *watch) first(snap *Snapshot) error {
	if w.refused != "" {
		w.regain()
		if err := w.emit(Event{Type: EventRecovered, At: snap.TakenAt}); err != nil {
			return err
		}
	}
	return w.baseline(snap)
}

// restart emits that the machine was started again, and a new baseline.
func (w *watch) restart(snap *Snapshot) error {
	if w.refused != "" || w.sight.code != "" {
		w.regain()
		if err := w.emit(Event{Type: EventRecovered, At: snap.TakenAt}); err != nil {
			return err
		}
	}
	if err := w.emit(Event{Type: EventEpoch, At: snap.TakenAt}); err != nil {
		return err
	}
	return w.baseline(snap)
}

// regain notes that the list can be read again.
func (w *watch) regain() { w.refused, w.text, w.pause = "", "", 0 }

// baseline emits the whole state, or the difference from what the far side has.
func (w *watch) baseline(snap *Snapshot) error {
	w.state, w.thin = newState(snap), make(map[string]bool)
	w.sight = sight{header: w.state.header, sources: snap.Sources}
	e := Event{Type: EventBaseline, At: snap.TakenAt}
	if since := w.o.Since; since != nil && since.OS == snap.OS && sameHost(since.Host, snap.Host) {
		e.Since, e.Delta = since.Digest(), Diff(since, snap)
		e.Delta.dropBefore()
	} else {
		e.Snapshot = snap
	}
	w.o.Since, w.based = nil, time.Now()
	return w.emit(e)
}

// sameHost reports whether two names may be of one host: they are equal, or one is not known.
func sameHost(a, b string) bool { return a == "" || b == "" || a == b }

// dropBefore leaves out what a receiver of the Delta has already.
func (d *Delta) dropBefore() {
	for _, changes := range [][]Change{d.Changed, d.Unobserved} {
		for i := range changes {
			changes[i].Before = nil
		}
	}
}

// view compares a Snapshot with the state.
func (w *watch) view(snap *Snapshot) *view {
	found := stateAfter(w.state, snap)
	v := &view{snap: snap, now: found.modules, target: make(map[string]member), hidden: make(map[string]member)}
	seen := &Snapshot{OS: snap.OS, Sources: w.sight.sources}
	sourceLost := slices.ContainsFunc(seen.Sources, func(s Source) bool {
		return s.Name != sourceEvents && lost(seen, snap, s.Name)
	})
	for _, s := range snap.Sources {
		if s.Incomplete() && lost(seen, snap, s.Name) {
			v.deaf = s.Name == sourceEvents && !v.degraded
			v.degraded = true
		}
	}
	for _, known := range w.known() {
		i, ok := found.find(known.module.ID)
		switch {
		case ok:
			v.match(known, found.modules[i], sourceLost, w.thin[known.module.ID])
		case listLost(seen, snap, known.module.State):
			v.hidden[known.module.ID] = known
			v.target[known.module.ID] = member{}
			v.degraded, v.deaf = true, false
		default:
			v.gone = append(v.gone, known.module.ID)
			v.target[known.module.ID] = known
		}
	}
	for _, m := range found.modules {
		if !w.knows(m.module.ID) {
			v.loaded = append(v.loaded, m)
		}
	}
	return v
}

// known returns the modules that are loaded as far as is known, each as it was seen best, sorted by id.
func (w *watch) known() []member {
	all := make([]member, 0, len(w.state.modules)+len(w.sight.hidden))
	for _, m := range w.state.modules {
		if w.sight.hidden[m.module.ID].module == nil {
			all = append(all, m)
		}
	}
	for _, m := range w.sight.hidden {
		all = append(all, m)
	}
	slices.SortFunc(all, compareIDs)
	return all
}

// match compares a module as it is known with what is seen of it now.
func (v *view) match(known, now member, sourceLost, thin bool) {
	id := known.module.ID
	v.target[id] = now
	if known.sum == now.sum || thin {
		return
	}
	worse := len(now.module.Problems) > len(known.module.Problems)
	if _, onlyLost := differences(known.module, now.module); onlyLost && (sourceLost || worse) {
		if v.degraded || worse { // else the source is known to be absent now
			v.hidden[id] = known
		}
		return
	}
	v.target[id] = known
	v.changed = append(v.changed, now)
}

// compare emits what a look found: first what is seen otherwise, though nothing is known to have changed, and then the
// unloads, loads and changes.
func (w *watch) compare(v *view) error {
	if err := w.see(v); err != nil {
		return err
	}
	at := v.snap.TakenAt
	for _, id := range v.gone {
		if err := w.unload(id, at); err != nil {
			return err
		}
	}
	for _, m := range v.loaded {
		w.state.put(m)
		if err := w.emit(Event{Type: EventLoad, ID: m.module.ID, After: m.module, At: at}); err != nil {
			return err
		}
	}
	for _, m := range v.changed {
		before := w.state.get(m.module.ID)
		w.state.put(m)
		e := Event{Type: EventChange, ID: m.module.ID, Before: before, After: m.module, At: at}
		if err := w.emit(e); err != nil {
			return err
		}
	}
	return nil
}

// unload takes a module out of the state.
func (w *watch) unload(id string, at time.Time) error {
	before := w.state.get(id)
	w.state.drop(id)
	delete(w.thin, id)
	if before == nil { // it was not seen when it went
		before = w.sight.hidden[id].module
		delete(w.sight.hidden, id)
		return w.reveal(before, at)
	}
	delete(w.sight.hidden, id)
	return w.emit(Event{Type: EventUnload, ID: id, Before: before, At: at})
}

// reveal emits a module that is not in the state, as it was last seen, and its unload.
func (w *watch) reveal(m *Module, at time.Time) error {
	w.state.set(m)
	e := Event{Type: EventChange, At: at, Delta: w.delta()}
	e.Delta.Added = append(e.Delta.Added, *m)
	if err := w.emit(e); err != nil {
		return err
	}
	w.state.drop(m.ID)
	return w.emit(Event{Type: EventUnload, ID: m.ID, Before: m, At: at})
}

// delta returns a Delta that changes no module.
func (w *watch) delta() *Delta {
	header := w.state.header
	header.Modules = []Module{}
	return &Delta{Schema: Schema, Header: &header, Added: []Module{}, Removed: []Module{},
		Changed: []Change{}, Unobserved: []Change{}}
}

// see emits how the same modules are seen otherwise than before, if they are: degraded, recovered, or a change of the
// machine's facts.
func (w *watch) see(v *view) error {
	e := Event{Type: EventChange, At: v.snap.TakenAt}
	before := w.state.sum
	w.state.setHeader(v.snap)
	d := w.delta()
	w.setTargets(v, d)
	was := w.refused != "" || w.sight.code != ""
	code, text := v.reason(w.sight.sources)
	switch {
	case code != "" && code != w.sight.code:
		e.Type, e.Code, e.Error = EventDegraded, code, text
	case code == "" && was:
		e.Type = EventRecovered
	case w.refused != "":
		e.Type, e.Code, e.Error = EventDegraded, code, text
	}
	w.regain()
	if code == "" {
		w.sight.sources = v.snap.Sources
	}
	w.sight.header, w.sight.hidden, w.sight.deaf = w.state.header, v.hidden, v.deaf
	w.sight.code, w.sight.text = code, text
	if e.Type == EventChange && before == w.state.sum && len(d.Added)+len(d.Changed)+len(d.Unobserved) == 0 {
		return nil
	}
	if e.Type == EventDegraded { // it may be for a module that went meanwhile: look again soon
		w.looked = w.looked.Add(w.o.Interval - w.o.MaxAge)
	}
	e.Delta = d
	return w.emit(e)
}

// setTargets brings the modules of the state to the form in which they are seen, and notes it in d.
func (w *watch) setTargets(v *view, d *Delta) {
	for _, known := range w.known() {
		id := known.module.ID
		target := v.target[id]
		i, ok := w.state.find(id)
		switch {
		case target.module == nil && ok:
			w.state.drop(id)
			d.Unobserved = append(d.Unobserved, Change{ID: id})
		case target.module == nil:
		case !ok:
			w.state.put(target)
			d.Added = append(d.Added, *target.module)
		case w.state.modules[i].sum != target.sum:
			w.state.put(target)
			c := Change{ID: id, After: target.module}
			if v.hidden[id].module != nil {
				d.Unobserved = append(d.Unobserved, c)
			} else {
				d.Changed = append(d.Changed, c)
			}
		default:
			w.state.put(target) // its volatile facts
		}
		delete(w.thin, id)
	}
}

// reason returns why the machine is not seen as well as before; empty if it is.
func (v *view) reason(sources []Source) (Code, string) {
	if !v.degraded {
		return "", ""
	}
	seen := &Snapshot{OS: v.snap.OS, Sources: sources}
	for _, src := range v.snap.Sources {
		if !src.Incomplete() || !lost(seen, v.snap, src.Name) {
			continue
		}
		for _, p := range v.snap.Problems {
			if p.Source == src.Name && p.Code != "" {
				return p.Code, p.Error()
			}
		}
		if src.Code == "" {
			src.Code = CodeOther
		}
		return src.Code, "source " + src.Name + " is " + string(src.Outcome)
	}
	return CodeOther, errNotSeen.Error()
}

var errNotSeen = errors.New("the list of modules was not read whole")
