// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"slices"
	"sync/atomic"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/order"
)

// A System is one machine that can be looked at. It is safe for concurrent use. Close it when done.
//
// [System.Watch] is the call for an agent; [System.Poll] reads the bare list, [System.Snapshot] answers one query. If a
// system cannot answer a call, the error matches errors.ErrUnsupported. A fact that a result has no place for, such as
// a file that [System.File] could not read whole, goes to Options.Logger.
//
// # Linux notes
//
// The list is /proc/modules, each module's facts are in /sys/module; neither needs privilege. Addresses need
// CAP_SYSLOG; section addresses, some parameters, most initramfs files and the kernel's keyrings need root. A container
// or a service with ProcSubset=pid sees less, and the sources say so. Watch reads the kernel's events (uevents),
// Changed reads /sys/kernel/uevent_seqnum. A file's path is not kept by the kernel: it is that of the file which would
// be loaded now. Signatures are verified, also without Options.Keys, against the certificates that are compiled into
// the kernel's own image: the key set of a valid one is the image's path, such as /boot/vmlinuz-6.1.0-57-amd64. On a
// running machine the keys of its owner (MOK) count where that kernel takes them. Options.Trust leaves either
// out. See package linux.
//
// # FreeBSD notes
//
// The list is walked by kldnext(2) and kldstat(2), also on DragonFly; any process may. HardenedBSD refuses it to all
// but root. A file (a kld) and the modules inside it are two things: the records are files. There are no events and
// there is no counter: Watch compares the list every interval. Which file needs which follows from the files on disk.
// See package freebsd.
//
// # macOS notes
//
// The list is that of the kext manager, in IOKit's framework, which needs no privilege and which a sandbox may refuse;
// Options.Exec then allows kmutil and kextstat to be started. The KextPolicy database needs root. Files are bundles and
// kernel collections, compressed or not; an encrypted kernelcache is named and not read. Signatures are verified
// against Apple's roots, which this library brings, also without Options.Keys. There are no events. See package darwin.
//
// # Windows notes
//
// The list is that of NtQuerySystemInformation, joined with the registry, the service manager and the driver store,
// whose packages that are not installed are "staged" on disk. Signatures are verified against Microsoft's roots, which
// this library brings, and the machine's own stores, also without Options.Keys; Options.Trust leaves either out.
// Addresses need SeDebugPrivilege from Windows 11 24H2, the filter manager's list needs an administrator. The file
// system of a [Machine] is rooted at the drives, "C:/Windows"; that of an image at the volume. Options.Call may add WMI
// as a cross-check, Options.Catalogs more catalogs. There are no events. See package windows.
//
// # Other systems
//
// NetBSD (modctl(2)), illumos and Solaris (modctl(2)) and AIX (genkex(1), only with Options.Exec) have a list; of
// NetBSD, illumos and Solaris images are read too. Of VxWorks and NetWare captures are read (package lkm/capture), of
// NetWare also files ([ReadFile]). OpenBSD has no loadable modules. See packages netbsd, solaris, aix, vxworks and
// netware.
type System struct {
	os      OS
	options Options
	guard   *guard
	backend backend
	of      machineOf
	closed  atomic.Bool
	blank   atomic.Pointer[fact.Report] // of a call that read and reported nothing, for the next; nil if none is left
}

// Take opens the running machine, takes one Snapshot of the kernel's own list, and closes it.
func Take(ctx context.Context) (*Snapshot, error) {
	s, err := Open(Options{})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	return s.Snapshot(ctx)
}

// Open returns the System of the running machine. In a container that has the host's root mounted, Options.HostRoot
// says where. On an operating system that this library does not support, the error matches errors.ErrUnsupported and
// names the system. See OpenImage for a disk whose kernel does not run.
func Open(o Options) (*System, error) {
	here, m, err := live(o)
	if err != nil {
		return nil, err
	}
	return here.system(m, machineOf{root: o.HostRoot}, o)
}

// OpenMachine returns the System of any running machine: a tape of one, a host over ssh. Nothing but m is asked;
// Options.HostRoot is only put before paths in texts. A recorded image is opened by OpenImage.
func OpenMachine(os OS, m Machine, o Options) (*System, error) {
	r, err := rowOf(os)
	if err != nil {
		closeMachine(m)
		return nil, fmt.Errorf("lkm: open: %w", err)
	}
	return r.system(m, machineOf{root: o.HostRoot}, o)
}

// A machineOf says of a machine whether it is an image, and where its root is for its user.
type machineOf struct {
	image bool
	root  string
}

func (r *row) system(m Machine, of machineOf, o Options) (*System, error) {
	g := newGuard(m, of.root, o.Logger)
	b, err := r.backend(g, of, o)
	if err != nil {
		closeMachine(m)
		return nil, fmt.Errorf("lkm: open: %w", err)
	}
	return &System{os: r.os, options: o, guard: g, backend: b, of: of}, nil
}

func closeMachine(m Machine) error {
	if c, ok := m.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// OS returns the machine's operating system.
func (s *System) OS() OS { return s.os }

// Snapshot looks at the machine: the loaded modules with the details asked for, and every source
// with how reading it went. A non-nil error means that there is no list, and then the Snapshot is
// nil: the kernel's list cannot be read, the machine is an image (errors.ErrUnsupported), or ctx
// ended. Everything less is a Problem in the Snapshot.
func (s *System) Snapshot(ctx context.Context) (*Snapshot, error) {
	return s.snapshot(ctx, ScopeLoaded, s.backend.loaded)
}

// A collector returns the modules of a scope. h was filled before.
type collector func(ctx context.Context, h *fact.Header, r *fact.Report) ([]Module, error)

// SnapshotOf is Snapshot with other modules than the loaded ones: its loaded source is then
// skipped. ScopeInstalled works on images, ScopeBuiltin too where the backend reads it from disk. The error is
// that of Snapshot, or the one of the sequence that the scope is made of.
func (s *System) SnapshotOf(ctx context.Context, scope Scope) (*Snapshot, error) {
	return s.SnapshotEach(ctx, scope, nil)
}

// SnapshotEach is SnapshotOf that also calls each for every module as soon as it is read, in the order of reading, so
// that the first of thousands can be shown at once. A module of which each returns false is left out of the Snapshot,
// which takes the less memory. A module's id may not be unique then; the Snapshot's are. The function must neither
// change nor keep the module. It may be nil.
func (s *System) SnapshotEach(ctx context.Context, scope Scope, each func(*Module) bool) (*Snapshot, error) {
	return s.snapshot(ctx, scope, func(ctx context.Context, h *fact.Header, r *fact.Report) ([]Module, error) {
		return s.collect(ctx, scope, h, r, each)
	})
}

// snapshot looks at the machine with the modules of one collector. A program that calls Snapshot alone does not link
// what the other scopes read.
func (s *System) snapshot(ctx context.Context, scope Scope, collect collector) (*Snapshot, error) {
	op := "list modules"
	if scope == ScopeBuiltin || scope == ScopeInstalled {
		op = "list " + string(scope) + " modules"
	}
	if err := s.usable(op, scope == ScopeLoaded); err != nil {
		return nil, err
	}
	snap := &Snapshot{Schema: Schema, Producer: Producer, Host: s.options.Host, OS: s.os, Detail: s.options.Detail,
		Root: s.of.root, Live: Yes}
	if s.of.image {
		snap.Live = No
	}
	defer s.guard.keep()()
	r := s.report()
	var h fact.Header
	s.backend.header(ctx, &h, r)
	modules, err := collect(ctx, &h, r)
	if err == nil {
		s.addPolicy(ctx, snap, r)
		err = ctx.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("lkm: %s: %w", op, err)
	}
	if modules == nil {
		modules = []Module{}
	}
	sortModules(modules)
	snap.Modules = numberDuplicates(modules)
	snap.setHeader(h)
	sources := append(r.Sources, s.backend.skipped(scope)...)
	snap.Sources, snap.Problems = forgiveOlder(sources, r.Problems, snap.Modules)
	return snap, nil
}

func (s *System) collect(
	ctx context.Context, scope Scope, h *fact.Header, r *fact.Report, each func(*Module) bool,
) ([]Module, error) {
	switch scope {
	case ScopeLoaded:
		modules, err := s.backend.loaded(ctx, h, r)
		kept := modules[:0]
		for i := range modules {
			if each == nil || each(&modules[i]) {
				kept = append(kept, modules[i])
			}
		}
		return kept, err
	case ScopeBuiltin:
		return gather(s.backend.builtin(ctx, r), each)
	case ScopeInstalled:
		return gather(s.backend.installed(ctx, r), each)
	case ScopeAll:
		return s.collectAll(ctx, h, r, each)
	}
	return nil, fmt.Errorf("scope %q: %w", scope, errors.ErrUnsupported)
}

// collectAll is the union of what is loaded, compiled in and on disk, as far as the system has
// each. The first that has an id says what it is. A list that could not be read is a Problem if another list was read.
// Without the kernel's own list there is no answer.
func (s *System) collectAll(
	ctx context.Context, h *fact.Header, r *fact.Report, each func(*Module) bool,
) ([]Module, error) {
	var all []Module
	known := make(map[string]bool)
	any := false
	var lost []error
	for _, scope := range []Scope{ScopeLoaded, ScopeBuiltin, ScopeInstalled} {
		if scope == ScopeLoaded && s.of.image {
			continue
		}
		var fresh []string // ids of this list
		modules, err := s.collect(ctx, scope, h, r, func(m *Module) bool {
			if known[m.ID] {
				return false
			}
			fresh = append(fresh, m.ID)
			return each == nil || each(m)
		})
		if errors.Is(err, errors.ErrUnsupported) {
			continue
		}
		if err != nil && (scope == ScopeLoaded || ctx.Err() != nil) {
			return nil, err
		}
		if err != nil {
			r.Problem(string(scope), "", "modules", err)
			lost = append(lost, err)
			continue
		}
		any = true
		for _, id := range fresh {
			known[id] = true
		}
		all = append(all, modules...)
	}
	if !any && lost != nil {
		return nil, lost[0] // the others are of the same directory
	}
	if !any {
		return nil, fmt.Errorf("not on %s: %w", s.os, errors.ErrUnsupported)
	}
	r.Merge()
	return all, nil
}

func gather(seq iter.Seq2[Module, error], each func(*Module) bool) ([]Module, error) {
	var modules []Module
	shown := new(Module) // one for all: each does not keep it
	for m, err := range seq {
		if err != nil {
			return nil, err
		}
		if *shown = m; each != nil && !each(shown) {
			continue
		}
		if len(modules) == cap(modules) { // doubled: append alone would copy a long list five times
			modules = slices.Grow(modules, max(len(modules), 64))
		}
		modules = append(modules, m)
	}
	return modules, nil
}

// sortModules sorts by id.
func sortModules(modules []Module) {
	order.By(modules, nil, func(m *Module) string { return m.ID })
}

// numberDuplicates makes the ids of sorted modules unique. The second file of a name gets "#" and its path, so that its
// id stays when other files come and go; a second module without a path gets "#2". Both get a Problem.
func numberDuplicates(modules []Module) []Module {
	var taken map[string]bool // made for the first duplicate
	n := 1
	for i := 1; i < len(modules); i++ {
		base := modules[i-n].ID
		if modules[i].ID != base {
			n = 1
			continue
		}
		if taken == nil {
			taken = make(map[string]bool, len(modules))
			for j := range modules {
				taken[modules[j].ID] = true
			}
		}
		first, m := &modules[i-n], &modules[i]
		n++
		if m.Path != "" && m.Path != first.Path {
			m.ID = base + "#" + m.Path
		}
		for number := n; taken[m.ID]; number++ { // a module may be called "a#2" itself
			m.ID = fmt.Sprintf("%s#%d", base, number)
		}
		taken[m.ID] = true
		m.Problems = append(m.Problems, Problem{Subject: m.Name, Field: "id", Code: CodeMalformed,
			Text: "another module has the same name"})
	}
	if taken != nil {
		sortModules(modules)
	}
	return modules
}

// usable returns why a call cannot be made: the System is closed, or the call needs a running
// kernel and this is an image.
func (s *System) usable(op string, needsKernel bool) error {
	if s.closed.Load() {
		return fmt.Errorf("lkm: %s: system is closed: %w", op, fs.ErrClosed)
	}
	if needsKernel && s.of.image {
		return fmt.Errorf("lkm: %s: %s is an image, not a running machine: use Installed (lkm list --installed), "+
			"or Open with HostRoot (--live) if it is this host's root: %w",
			op, cmp.Or(s.of.root, "the file system"), errors.ErrUnsupported)
	}
	return nil
}

// Poll fills l with the kernel's own list, reusing l's memory. It costs a fraction of a Snapshot:
// no per-module file is read. The error is as for Snapshot; l is then empty.
func (s *System) Poll(ctx context.Context, l *List) error {
	err := s.usable("poll", true)
	if err == nil {
		if err = s.backend.poll(ctx, l); err != nil {
			err = fmt.Errorf("lkm: poll: %w", err)
		}
	}
	if err != nil {
		l.Modules, l.Sources, l.Problems = l.Modules[:0], l.Sources[:0], l.Problems[:0]
	}
	return err
}

// Changed reports whether the kernel's list may have changed since the last call with the same
// token, by one cheap read; the first call with a new token says true. It is a hint: true may be
// for nothing (any device event), and false does not prove that nothing changed (reference counts
// and a rootkit do not move the counter). The error matches errors.ErrUnsupported on a system without such a counter.
func (s *System) Changed(ctx context.Context, t *Token) (bool, error) {
	if err := s.usable("changed", true); err != nil {
		return false, err
	}
	value, err := s.backend.changed(ctx)
	if err != nil {
		return false, fmt.Errorf("lkm: changed: %w", err)
	}
	moved := !t.seen || t.value != value
	t.value, t.seen = value, true
	return moved, nil
}

// Builtin yields the modules that are compiled into the kernel, as far as they can be seen, sorted
// by name. An error comes at most once, last, with a zero Module; SnapshotOf with ScopeBuiltin says how complete the
// list is.
func (s *System) Builtin(ctx context.Context) iter.Seq2[Module, error] {
	if err := s.usable("list builtin modules", false); err != nil {
		return failed(err)
	}
	return s.sequence("list builtin modules", func(r *fact.Report) iter.Seq2[Module, error] {
		return s.backend.builtin(ctx, r)
	})
}

// sequence yields what list does. A list that its budget cut short ends in an error, because nobody sees its Problem.
func (s *System) sequence(op string, list func(*fact.Report) iter.Seq2[Module, error]) iter.Seq2[Module, error] {
	return func(yield func(Module, error) bool) {
		defer s.guard.keep()()
		r := s.report()
		for m, err := range list(r) {
			if err != nil {
				yield(Module{}, fmt.Errorf("lkm: %s: %w", op, err))
				return
			}
			m.Problems = withoutOlder(m.Problems)
			if !yield(m, nil) {
				return
			}
		}
		if err := r.BudgetErr(); err != nil {
			yield(Module{}, fmt.Errorf("lkm: %s: %w", op, err))
		}
	}
}

// log reports to Options.Logger what a call could not read, if its result has no place for problems of its own.
func (s *System) log(op string, r *fact.Report) {
	if s.options.Logger == nil {
		return
	}
	for _, p := range r.Problems {
		s.options.Logger.Debug(op, "problem", p)
	}
}

// report returns the report of one call.
func (s *System) report() *fact.Report {
	return &fact.Report{Budget: fact.NewBudget(s.options.Deadline)}
}

// Installed yields the modules that are on disk, sorted by path: thousands on a usual system. On
// Linux each file's first and last bytes are looked at, so that one that cannot be whole has a
// Problem; DetailFiles reads them. An error comes at most once, last, with a zero Module: it matches ErrBudget if
// Options.Deadline cut the list short. SnapshotOf with ScopeInstalled keeps such a list, and says how complete it is.
// It works on images.
func (s *System) Installed(ctx context.Context) iter.Seq2[Module, error] {
	if err := s.usable("list installed modules", false); err != nil {
		return failed(err)
	}
	return s.sequence("list installed modules", func(r *fact.Report) iter.Seq2[Module, error] {
		return s.backend.installed(ctx, r)
	})
}

// Sources returns the sources that this library knows on the system, in a fixed order, and what a Snapshot with the
// System's details would read of each. It reads nothing.
func (s *System) Sources() []SourcePlan { return s.backend.sources(s.options.Detail) }

// Refresh forgets what the System keeps of the machine: which reads were refused, so that they are
// tried again at once, and the indexes, the configuration and the metadata of files on disk.
func (s *System) Refresh() {
	s.guard.forget()
	s.backend.refresh()
}

// Close releases what the System holds, its Machine included when that has a Close method. Calls
// after it fail with fs.ErrClosed. A second Close does nothing.
func (s *System) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	return errors.Join(s.backend.close(), closeMachine(s.guard.machine))
}
