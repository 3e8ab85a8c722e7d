// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"errors"
	"fmt"
	"iter"
)

// A backend answers for one operating system. Each is in the file of its kernel's name (linux.go)
// and embeds unsupported, which answers what it lacks.
type backend interface {
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
	enforcer
	checker
	comparer
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

// failed is a sequence of one error.
func failed(err error) iter.Seq2[Module, error] {
	return func(yield func(Module, error) bool) { yield(Module{}, err) }
}

// newBackend chooses the backend for an operating system.
func newBackend(os OS, g *guard, o Options) (backend, error) {
	switch os {
	case Linux:
		return newLinux(g, o), nil
	case Darwin:
		return newDarwin(g, o), nil
	case Windows:
		return newWindows(g, o), nil
	case FreeBSD, DragonFly:
		return newFreeBSD(os, g, o), nil
	case NetBSD:
		return newNetBSD(g, o), nil
	case Illumos, Solaris:
		return newSolaris(os, g, o), nil
	case AIX:
		return newAIX(g, o), nil
	case OpenBSD:
		return nil, fmt.Errorf("openbsd: loadable kernel modules were removed from it in 2014: %w", errors.ErrUnsupported)
	case VxWorks:
		return nil, fmt.Errorf("vxworks: no live look, only captures of moduleShow: %w", errors.ErrUnsupported)
	case NetWare:
		return nil, fmt.Errorf("netware: no live look, only NLM files and captures of MODULES: %w", errors.ErrUnsupported)
	case "":
		return nil, fmt.Errorf("operating system not recognised: %w", errors.ErrUnsupported)
	}
	return nil, fmt.Errorf("%s: no backend for this operating system: %w", os, errors.ErrUnsupported)
}
