// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/kernelext/kernelext/fact"
)

// A kernel answers for one machine in records of its package. It is the one recipe of all kernels (linux.Kernel,
// freebsd.Kernel, …); the interfaces below are what a kernel leaves out if its system has no such thing. Every method
// reports to r which sources it read and what it could not read.
type kernel[Own any] interface {
	// Header fills h with what the machine says of itself.
	Header(ctx context.Context, h *fact.Header, r *fact.Report)
	// Loaded returns the loaded modules, in any order. An error means that there is no list. h was filled by Header.
	Loaded(ctx context.Context, h *fact.Header, r *fact.Report) ([]fact.Record[Own], error)
	// Skipped returns the sources that a list of scope does not read, and those that this library never reads.
	Skipped(scope Scope) []Source
	// Sources returns what a list with the given details reads.
	Sources(d Detail) []SourcePlan
}

type (
	// A poller returns the kernel's own list, from one or two reads. scratch is what it keeps from one call to the
	// next; the records may be overwritten by the next call.
	poller[Own any] interface {
		Poll(ctx context.Context, scratch *any, r *fact.Report) ([]fact.Record[Own], error)
	}
	// A counter returns a number that moves when the kernel's list does.
	counter interface {
		Changed(ctx context.Context) (uint64, error)
	}
	// A builder yields what is compiled in, sorted by name.
	builder[Own any] interface {
		Builtin(ctx context.Context, r *fact.Report) iter.Seq2[fact.Record[Own], error]
	}
	// An installer yields what is on disk, sorted by path.
	installer[Own any] interface {
		Installed(ctx context.Context, r *fact.Report) iter.Seq2[fact.Record[Own], error]
	}
	// A filer reads one file of the machine, by its absolute path there.
	filer[Own any] interface {
		File(ctx context.Context, path string, r *fact.Report) ([]fact.Record[Own], error)
	}
	// A resolver returns the modules that a name or an alias stands for, in the order of loading.
	resolver[Own any] interface {
		Resolve(ctx context.Context, alias string, r *fact.Report) ([]fact.Record[Own], error)
	}
	// A planner returns what the system's own loader would do for a name or an alias.
	planner interface {
		Plan(ctx context.Context, query string, r *fact.Report) ([]Step, error)
	}
	// An enforcer returns what is enforced on loading.
	enforcer interface {
		Policy(ctx context.Context, r *fact.Report) (*Policy, error)
	}
	// A configurer returns the configuration of the system's own loader; with lint, also the lines that do nothing.
	configurer interface {
		Config(ctx context.Context, lint bool, r *fact.Report) (*Config, error)
	}
	// An upgrader returns what another kernel of the machine lacks of what is in use.
	upgrader interface {
		Upgrade(ctx context.Context, release string, r *fact.Report) (*Upgrade, error)
	}
	// A checker answers for each module that the query means, and once if it means none.
	checker interface {
		Check(ctx context.Context, query string, r *fact.Report) ([]Verdict, error)
	}
	// A comparer returns what does not agree between the sources, what was not compared first.
	comparer interface {
		Discrepancies(ctx context.Context, r *fact.Report) ([]Discrepancy, error)
	}
	// A fileComparer returns, of an image, what does not agree between its files.
	fileComparer interface {
		FileDiscrepancies(ctx context.Context, r *fact.Report) ([]Discrepancy, error)
	}
	// A hinter opens the kernel's own events about modules.
	hinter interface {
		Hints(buffer int) (fact.Hints, error)
	}
	// A finder returns what the kernel says now of one loaded module: ErrGone if it is not there.
	finder[Own any] interface {
		Find(ctx context.Context, name string, r *fact.Report) (*fact.Record[Own], error)
	}
	// A clock returns the machine's time; zero if it is not known.
	clock interface {
		Time(ctx context.Context) time.Time
	}
	// A refresher forgets what it keeps of the machine.
	refresher interface{ Refresh() }
	// A closer releases what it holds.
	closer interface{ Close() error }
)

// adapt returns the backend made of a kernel.
func adapt[Own any](k kernel[Own], os OS) backend { return &adapter[Own]{os, k} }

// asModules returns what a kernel's package read of a file as Modules.
func asModules[Own any](records []fact.Record[Own], ok bool, err error) ([]Module, bool, error) {
	return modulesOf(records), ok, err
}

// An adapter is the backend made of a kernel: it converts records into Modules.
type adapter[Own any] struct {
	os     OS
	kernel kernel[Own]
}

// err is the answer for what the kernel leaves out. It names the operating system; the caller names the call.
func (a *adapter[Own]) err() error { return fmt.Errorf("not on %s: %w", a.os, errors.ErrUnsupported) }

func (a *adapter[Own]) header(ctx context.Context, h *fact.Header, r *fact.Report) {
	a.kernel.Header(ctx, h, r)
}

func (a *adapter[Own]) loaded(ctx context.Context, h *fact.Header, r *fact.Report) ([]Module, error) {
	records, err := a.kernel.Loaded(ctx, h, r)
	return modulesOf(records), err
}

// keptScratch is what a List keeps from one poll of a kernel to the next.
type keptScratch struct {
	of      any
	scratch any
}

func (a *adapter[Own]) poll(ctx context.Context, l *List) error {
	kept, ok := l.scratch.(*keptScratch)
	if !ok || kept.of != any(a) {
		kept = &keptScratch{of: a}
		l.scratch = kept
	}
	var r fact.Report
	records, err := a.polled(ctx, &kept.scratch, &r)
	if err != nil {
		return err
	}
	l.Modules = appendModules(l.Modules[:0], records)
	sortModules(l.Modules)
	l.Modules = numberDuplicates(l.Modules)
	l.Sources, l.Problems = forgiveOlder(r.Sources, r.Problems, l.Modules)
	return nil
}

func (a *adapter[Own]) polled(ctx context.Context, scratch *any, r *fact.Report) ([]fact.Record[Own], error) {
	if k, ok := a.kernel.(poller[Own]); ok {
		return k.Poll(ctx, scratch, r)
	}
	return a.kernel.Loaded(ctx, new(fact.Header), r)
}

func (a *adapter[Own]) changed(ctx context.Context) (uint64, error) {
	if k, ok := a.kernel.(counter); ok {
		return k.Changed(ctx)
	}
	return 0, a.err()
}

func (a *adapter[Own]) builtin(ctx context.Context, r *fact.Report) iter.Seq2[Module, error] {
	if k, ok := a.kernel.(builder[Own]); ok {
		return converted(k.Builtin(ctx, r))
	}
	return failed(a.err())
}

func (a *adapter[Own]) installed(ctx context.Context, r *fact.Report) iter.Seq2[Module, error] {
	if k, ok := a.kernel.(installer[Own]); ok {
		return converted(k.Installed(ctx, r))
	}
	return failed(a.err())
}

func (a *adapter[Own]) file(ctx context.Context, path string, r *fact.Report) ([]Module, error) {
	if k, ok := a.kernel.(filer[Own]); ok {
		records, err := k.File(ctx, path, r)
		return numberDuplicates(modulesOf(records)), err
	}
	return nil, a.err()
}

func (a *adapter[Own]) resolve(ctx context.Context, alias string, r *fact.Report) ([]Module, error) {
	if k, ok := a.kernel.(resolver[Own]); ok {
		records, err := k.Resolve(ctx, alias, r)
		return modulesOf(records), err
	}
	return nil, a.err()
}

func (a *adapter[Own]) plan(ctx context.Context, query string, r *fact.Report) ([]Step, error) {
	if k, ok := a.kernel.(planner); ok {
		return k.Plan(ctx, query, r)
	}
	return nil, a.err()
}

func (a *adapter[Own]) policy(ctx context.Context, r *fact.Report) (*Policy, error) {
	if k, ok := a.kernel.(enforcer); ok {
		return k.Policy(ctx, r)
	}
	return nil, a.err()
}

func (a *adapter[Own]) config(ctx context.Context, lint bool, r *fact.Report) (*Config, error) {
	if k, ok := a.kernel.(configurer); ok {
		return k.Config(ctx, lint, r)
	}
	return nil, a.err()
}

func (a *adapter[Own]) upgrade(ctx context.Context, release string, r *fact.Report) (*Upgrade, error) {
	if k, ok := a.kernel.(upgrader); ok {
		return k.Upgrade(ctx, release, r)
	}
	return nil, a.err()
}

func (a *adapter[Own]) check(ctx context.Context, query string, r *fact.Report) ([]Verdict, error) {
	if k, ok := a.kernel.(checker); ok {
		return k.Check(ctx, query, r)
	}
	return nil, a.err()
}

func (a *adapter[Own]) comparesFiles() bool {
	_, ok := a.kernel.(fileComparer)
	return ok
}

func (a *adapter[Own]) fileDiscrepancies(ctx context.Context, r *fact.Report) ([]Discrepancy, error) {
	if k, ok := a.kernel.(fileComparer); ok {
		return k.FileDiscrepancies(ctx, r)
	}
	return nil, a.err()
}

func (a *adapter[Own]) discrepancies(ctx context.Context, r *fact.Report) ([]Discrepancy, error) {
	if k, ok := a.kernel.(comparer); ok {
		return k.Discrepancies(ctx, r)
	}
	return nil, a.err()
}

func (a *adapter[Own]) hints(buffer int) (fact.Hints, error) {
	if k, ok := a.kernel.(hinter); ok {
		return k.Hints(buffer)
	}
	return nil, a.err()
}

func (a *adapter[Own]) find(ctx context.Context, name string, r *fact.Report) (*Module, error) {
	k, ok := a.kernel.(finder[Own])
	if !ok {
		return nil, a.err()
	}
	record, err := k.Find(ctx, name, r)
	if err != nil {
		return nil, err
	}
	m := moduleOf(record)
	return &m, nil
}

func (a *adapter[Own]) time(ctx context.Context) time.Time {
	if k, ok := a.kernel.(clock); ok {
		return k.Time(ctx)
	}
	return time.Time{}
}

func (a *adapter[Own]) skipped(scope Scope) []Source { return a.kernel.Skipped(scope) }

func (a *adapter[Own]) sources(d Detail) []SourcePlan { return a.kernel.Sources(d) }

func (a *adapter[Own]) refresh() {
	if k, ok := a.kernel.(refresher); ok {
		k.Refresh()
	}
}

func (a *adapter[Own]) close() error {
	if k, ok := a.kernel.(closer); ok {
		return k.Close()
	}
	return nil
}

// converted is a sequence of records as Modules.
func converted[Own any](records iter.Seq2[fact.Record[Own], error]) iter.Seq2[Module, error] {
	return func(yield func(Module, error) bool) {
		for record, err := range records {
			if err != nil {
				yield(Module{}, err)
				return
			}
			if !yield(moduleOf(&record), nil) {
				return
			}
		}
	}
}
