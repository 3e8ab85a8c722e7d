// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/linux"
)

// An oldBackend answers for one operating system. Each is in the file of its kernel's name (linux.go)
// and embeds unsupported, which answers what it lacks.
type oldBackend interface {
	// header fills what a Snapshot says of the machine as a whole, beside its modules.
	header(ctx context.Context, s *Snapshot, r *report)
	// loaded returns the loaded modules with the details asked for, in any order. An error means
	// that there is no list.
	loaded(ctx context.Context, s *Snapshot, r *report) ([]Module, error)
	// poll fills l with the kernel's own list, sorted by ID.
	poll(ctx context.Context, l *List) error
	// changed returns a number that moves when the kernel's list does.
	changed(ctx context.Context) (uint64, error)
	// builtin yields the modules that are compiled in, sorted by name, and reports their source.
	builtin(ctx context.Context, r *report) iter.Seq2[Module, error]
	// installed yields the modules on disk, sorted by path, and reports their sources.
	installed(ctx context.Context, r *report) iter.Seq2[Module, error]
	disk
	watcher
	policy(ctx context.Context, r *report) (*Policy, error)
	check(ctx context.Context, query string) ([]Verdict, error)
	discrepancies(ctx context.Context) ([]Discrepancy, error)
	// skipped are the sources that a look for scope does not read, with what it never looks at.
	skipped(scope Scope) []Source
	// plan says what a look with the given details reads.
	plan(d Detail) []Plan
	// close releases what the backend holds.
	close() error
}

// unsupported answers for a backend that lacks a call: an error that is errors.ErrUnsupported and
// names the operating system; the caller names the call.
type unsupported struct{ os OS }

func (u unsupported) err() error { return fmt.Errorf("not on %s: %w", u.os, errors.ErrUnsupported) }

func (u unsupported) changed(context.Context) (uint64, error) { return 0, u.err() }

func (u unsupported) builtin(_ context.Context, _ *report) iter.Seq2[Module, error] {
	return failed(u.err())
}

func (u unsupported) installed(_ context.Context, _ *report) iter.Seq2[Module, error] {
	return failed(u.err())
}

func (unsupported) close() error { return nil }

type disk interface {
	file(ctx context.Context, path string) ([]Module, error)
	resolve(ctx context.Context, alias string) ([]Module, error)
	loadPlan(ctx context.Context, query string) ([]Step, error)
	refresh()
}

type watcher interface {
	hints(buffer int) (fact.Hints, error)
	oneModule(ctx context.Context, name string) (*Module, error)
	machineTime(ctx context.Context) time.Time
}

func (u unsupported) policy(context.Context, *report) (*Policy, error)     { return nil, u.err() }
func (u unsupported) check(context.Context, string) ([]Verdict, error)     { return nil, u.err() }
func (u unsupported) discrepancies(context.Context) ([]Discrepancy, error) { return nil, u.err() }
func (u unsupported) oneModule(context.Context, string) (*Module, error)   { return nil, u.err() }
func (unsupported) machineTime(context.Context) time.Time                  { return time.Time{} }
func (u unsupported) hints(int) (fact.Hints, error)                        { return nil, u.err() }
func (u unsupported) file(context.Context, string) ([]Module, error)       { return nil, u.err() }
func (u unsupported) resolve(context.Context, string) ([]Module, error)    { return nil, u.err() }
func (u unsupported) loadPlan(context.Context, string) ([]Step, error)     { return nil, u.err() }
func (unsupported) refresh()                                               {}

// shim is a backend made of an old one, until that kernel's code has moved to its package.
type shim struct {
	os    OS
	b     oldBackend
	image bool
}

func with[T any](r *fact.Report, f func(r *report) T) T {
	rr := &report{*r}
	out := f(rr)
	*r = rr.Report
	return out
}

func (x shim) header(ctx context.Context, h *fact.Header, r *fact.Report) {
	s := x.snap(h)
	with(r, func(r *report) int { x.b.header(ctx, s, r); return 0 })
	*h = fact.Header{Release: s.Release, Arch: s.Arch, BootID: s.BootID, TakenAt: s.TakenAt, Privilege: s.Privilege, Kernel: s.Kernel}
}

func (x shim) snap(h *fact.Header) *Snapshot {
	s := &Snapshot{OS: x.os, Live: fact.TriOf(!x.image)}
	s.setHeader(*h)
	return s
}

func (x shim) loaded(ctx context.Context, h *fact.Header, r *fact.Report) (m []Module, err error) {
	s := x.snap(h)
	with(r, func(r *report) int { m, err = x.b.loaded(ctx, s, r); return 0 })
	h.Kernel = s.Kernel
	return m, err
}
func (x shim) poll(ctx context.Context, l *List) error     { return x.b.poll(ctx, l) }
func (x shim) changed(ctx context.Context) (uint64, error) { return x.b.changed(ctx) }
func (x shim) seq(r *fact.Report, f func(r *report) iter.Seq2[Module, error]) iter.Seq2[Module, error] {
	return func(yield func(Module, error) bool) {
		rr := &report{*r}
		defer func() { *r = rr.Report }()
		for m, err := range f(rr) {
			if !yield(m, err) {
				return
			}
		}
	}
}
func (x shim) builtin(ctx context.Context, r *fact.Report) iter.Seq2[Module, error] {
	return x.seq(r, func(r *report) iter.Seq2[Module, error] { return x.b.builtin(ctx, r) })
}
func (x shim) installed(ctx context.Context, r *fact.Report) iter.Seq2[Module, error] {
	return x.seq(r, func(r *report) iter.Seq2[Module, error] { return x.b.installed(ctx, r) })
}
func (x shim) file(ctx context.Context, path string, _ *fact.Report) ([]Module, error) {
	return x.b.file(ctx, path)
}
func (x shim) resolve(ctx context.Context, alias string, _ *fact.Report) ([]Module, error) {
	return x.b.resolve(ctx, alias)
}
func (x shim) loadPlan(ctx context.Context, query string, _ *fact.Report) ([]Step, error) {
	return x.b.loadPlan(ctx, query)
}
func (x shim) policy(ctx context.Context, r *fact.Report) (p *Policy, err error) {
	with(r, func(r *report) int { p, err = x.b.policy(ctx, r); return 0 })
	return p, err
}
func (x shim) check(ctx context.Context, query string, _ *fact.Report) ([]Verdict, error) {
	return x.b.check(ctx, query)
}
func (x shim) comparesFiles() bool { return x.os == Linux }
func (x shim) discrepancies(ctx context.Context, _ *fact.Report) ([]Discrepancy, error) {
	return x.b.discrepancies(ctx)
}
func (x shim) hints(buffer int) (fact.Hints, error) { return x.b.hints(buffer) }
func (x shim) oneModule(ctx context.Context, name string, _ *fact.Report) (*Module, error) {
	return x.b.oneModule(ctx, name)
}
func (x shim) machineTime(ctx context.Context) time.Time { return x.b.machineTime(ctx) }
func (x shim) skipped(scope Scope) []Source              { return x.b.skipped(scope) }
func (x shim) plan(d Detail) []Plan                      { return x.b.plan(d) }
func (x shim) refresh()                                  { x.b.refresh() }
func (x shim) close() error                              { return x.b.close() }

func oldOptions(m Machine) (*guard, Options, bool) {
	g := m.(*guard)
	return g, g.old, g.old.Root != "" && !g.old.Live
}

var linuxRow = row{os: Linux, call: func(bool) fact.Call { return linux.Call }, live: liveLinux,
	open: func(m Machine, o fact.Options) backend {
		g, oo, image := oldOptions(m)
		return shim{Linux, newLinux(g, oo), image}
	},
	loaded: []string{linux.SourceModules, SourceLsmod}, builtin: []string{linux.SourceBuiltin}, installed: []string{linux.SourceTree}}

// liveLinux adds the kernel's events, and the links of module directories below the machine's root.
func liveLinux(m *liveMachine) {
	m.events = linux.ListenUevents
	calls := m.call
	m.call = func(ctx context.Context, op string, args ...string) ([]byte, error) {
		if op == linux.OpModuleLinks {
			return linux.ModuleLinks(m.FS)
		}
		return calls(ctx, op, args...)
	}
}
