// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/kernelext/kernelext/aix"
)

// aixBackend looks at an AIX machine.
type aixBackend struct {
	unsupported
	guard   *guard
	options Options
}

func newAIX(g *guard, o Options) *aixBackend {
	return &aixBackend{unsupported: unsupported{AIX}, guard: g, options: o}
}

func (b *aixBackend) header(ctx context.Context, s *Snapshot, r *report) {
	if s.Live != Yes {
		return
	}
	h := unixHeader{source: aix.SourceMachine, guard: b.guard}
	h.read(ctx, s, r)
	h.done(r)
}

func (b *aixBackend) loaded(ctx context.Context, _ *Snapshot, r *report) ([]Module, error) {
	text, err := b.guard.Call(ctx, aix.OpGenkex)
	if errors.Is(err, errors.ErrUnsupported) && !b.options.Exec {
		return nil, fmt.Errorf("AIX has no call that lists kernel extensions; allow %s to be run (Options.Exec), or import its output: %w", aix.Program, err)
	}
	if err != nil {
		return nil, err
	}
	c, err := aix.ParseCapture(string(text))
	if err != nil {
		return nil, err
	}
	asked := b.options.Detail&DetailAddresses != 0
	modules := aixModules(c, asked)
	if asked && b.guard.Redacted(aix.OpGenkex) {
		r.problem(aix.SourceGenkex, "", "address", fmt.Errorf("addresses %w", ErrRedacted))
	}
	outcome := badLines(r, aix.SourceGenkex, toErrors(c.Bad), c.BadCount)
	r.source(aix.SourceGenkex, outcome, CountOf(int64(len(modules))), nil)
	return modules, nil
}

func (b *aixBackend) poll(ctx context.Context, l *List) error {
	var r report
	modules, err := b.loaded(ctx, nil, &r)
	if err != nil {
		return err
	}
	l.Modules = append(l.Modules[:0], modules...)
	sortModules(l.Modules)
	l.Modules = numberDuplicates(l.Modules)
	l.Sources, l.Problems = r.Sources, r.Problems
	return nil
}

func (b *aixBackend) skipped(Scope) []Source { return nil }

func (b *aixBackend) plan(Detail) []Plan {
	return []Plan{
		{Source: aix.SourceMachine, Reads: []string{aix.OpUname + "()", aix.OpClock + "()", aix.OpIdentity + "()"},
			For: "release, architecture, time, privilege", Asked: true},
		{Source: aix.SourceGenkex, Reads: []string{strings.Join([]string{aix.Program, "-d"}, " ")}, Needs: "leave to run a program (Options.Exec)",
			For: "the kernel extensions: path, addresses, sizes", Asked: b.options.Exec},
	}
}
