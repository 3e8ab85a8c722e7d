// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"context"
	"maps"
	"time"
)

// wantedSamples is how many steady looks must agree before a gap is strong, and maxLooks how many
// are taken to get them. busySamples looks that all agree make a gap weak on a machine whose event counter never stops.
const (
	wantedSamples = 3
	busySamples   = 6
	maxLooks      = 12
	betweenLooks  = 20 * time.Millisecond
)

// A confirmation is a first look, and what later looks made of its gaps.
type confirmation struct {
	last    *look
	looks   int
	pending map[gap]bool // not explained by a later look
	steady  map[gap]int  // in how many steady looks each was seen
	all     map[gap]int  // in how many looks
	ever    names        // what any list showed
}

// confirm looks until every gap of the first look was seen often enough, went away, or did neither
// in maxLooks.
func (r *viewReader) confirm(ctx context.Context) (*confirmation, error) {
	first, err := r.takeLook(ctx, nil, nil)
	if err != nil {
		return nil, err
	}
	c := &confirmation{pending: first.gaps(false), steady: make(map[gap]int), all: make(map[gap]int), ever: make(names)}
	c.add(first)
	for len(c.pending) > 0 && c.looks < maxLooks && !c.enough() {
		if err := pause(ctx, betweenLooks); err != nil {
			return nil, err
		}
		next, err := r.takeLook(ctx, c.last, c.pending)
		if err != nil {
			return nil, err
		}
		c.add(next)
	}
	return c, nil
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// add counts a look. A gap that a steady look does not show is explained by what happened meanwhile,
// as is a module that was listed in any look: one that hides itself is in none.
func (c *confirmation) add(l *look) {
	c.last = l
	c.looks++
	maps.Copy(c.ever, l.listed)
	now, claimed := l.gaps(true), l.gaps(false)
	for g := range c.pending {
		switch {
		case g.kind == KindHiddenFromList && c.ever[g.name], l.steady && !claimed[g]:
			delete(c.pending, g)
			continue
		case !now[g]:
			continue
		}
		c.all[g]++
		if l.steady {
			c.steady[g]++
		}
	}
}

func (c *confirmation) enough() bool {
	for g := range c.pending {
		if c.steady[g] < wantedSamples {
			return false
		}
	}
	return true
}

// busy reports whether a gap was seen in every look at a machine whose event counter never stopped.
func (c *confirmation) busy(g gap) bool {
	return c.all[g] == c.looks && c.looks >= busySamples
}

// readAgain reads again whether the gaps in question still exist, for each from the cheapest view, and takes over the
// rest.
func (r *viewReader) readAgain(ctx context.Context, l, before *look, pending map[gap]bool) error {
	l.carry(before)
	open, again := make(names), make(names)
	for g := range pending {
		switch g.kind {
		case KindDirectoryCount:
			again[SourceSysModule], again[viewLinks] = true, true
		case KindHiddenDirectory:
			again[SourceSysModule], open[g.name] = true, true
		case KindMissingDirectory:
			open[g.name] = true
		default:
			if view := before.cheapest(g.name); view == ViewOpen {
				open[g.name] = true
			} else {
				again[view] = true
			}
		}
	}
	if again[SourceSysModule] {
		r.directories(l)
	}
	r.reopen(l, open, again[SourceSysModule])
	if again[viewLinks] {
		r.links(ctx, l)
	}
	if again[viewHolders] {
		r.holders(l)
	}
	for _, v := range taggedViews {
		if again[v.view] {
			r.tags(ctx, l, v)
		}
	}
	if again[viewBTF] {
		r.btf(l)
	}
	if again[viewDrivers] {
		r.drivers(l)
	}
	if again[viewLog] {
		r.log(ctx, l)
	}
	return ctx.Err()
}

// carry takes over everything from the look before but the list and what a watch heard.
func (l *look) carry(before *look) {
	for view, seen := range before.seen {
		l.seen[view] = maps.Clone(seen)
	}
	for view, lost := range before.reports {
		if view != SourceModules && view != viewHistory {
			l.reports[view] = lost
		}
	}
	delete(l.seen, viewHistory)
	l.states, l.bare, l.unsure = maps.Clone(before.states), maps.Clone(before.bare), maps.Clone(before.unsure)
	l.dirs, l.links = before.dirs, before.links
	l.taint, l.hasTaint, l.unloaded, l.log = before.taint, before.hasTaint, before.unloaded, before.log
}

// reopen opens the directories of single modules again. listed says that the listing was read just
// now.
func (r *viewReader) reopen(l *look, wanted names, listed bool) {
	if l.seen[ViewOpen] == nil || len(wanted) == 0 {
		return
	}
	for name := range wanted {
		if listed && (l.seen[SourceSysModule][name] || l.bare[name]) {
			continue
		}
		delete(l.states, name)
		delete(l.unsure, name)
		delete(l.seen[ViewOpen], name)
		if validName(name) && r.initstate(l, name) {
			l.seen[ViewOpen][name] = true
		}
	}
	l.fresh[ViewOpen] = true
}

// byCost are the views that can show that a module is there which the list does not name, those that
// cost least first.
var byCost = []string{ViewOpen, viewHistory, viewLog, viewBTF, viewHolders, viewCrypto,
	viewDrivers, viewFtrace, viewSymbols}

// cheapest is the view that shows the module for the least cost.
func (l *look) cheapest(name string) string {
	for _, view := range byCost {
		if l.shows(view, name) {
			return view
		}
	}
	return ViewOpen
}

// shows reports whether a view shows a module in a way that counts against a list without it.
func (l *look) shows(view, name string) bool {
	switch view {
	case viewCrypto, viewDrivers, viewBTF:
		// These may name compiled-in code, which only /sys/module distinguishes.
		if l.seen[SourceSysModule] == nil {
			return false
		}
	case viewLog:
		// A module that the log names may be gone; where the kernel keeps a list of those, it says so.
		if l.seen[viewUnloaded] == nil || l.seen[viewUnloaded][name] {
			return false
		}
	}
	return l.seen[view][name] && !l.bare[name]
}
