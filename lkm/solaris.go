// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"fmt"

	"github.com/kernelext/kernelext/solaris"
)

// solarisBackend looks at an illumos or Solaris machine.
type solarisBackend struct {
	unsupported
	guard   *guard
	options Options
	kind    Kind
}

func newSolaris(os OS, g *guard, o Options) *solarisBackend {
	b := &solarisBackend{unsupported: unsupported{os}, guard: g, options: o, kind: KindSolarisModule}
	if os == Illumos {
		b.kind = KindIllumosModule
	}
	return b
}

func (b *solarisBackend) header(ctx context.Context, s *Snapshot, r *report) {
	if s.Live != Yes {
		return
	}
	h := unixHeader{source: solaris.SourceMachine, guard: b.guard}
	h.read(ctx, s, r)
	h.done(r)
}

func (b *solarisBackend) loaded(ctx context.Context, _ *Snapshot, r *report) ([]Module, error) {
	list, err := solaris.ReadModules(ctx, b.guard.Call)
	if err != nil {
		return nil, err
	}
	modules := make([]Module, len(list.Modules))
	var lost []lostField
	for i, info := range list.Modules {
		modules[i] = b.module(info)
		if b.options.Detail&DetailAddresses == 0 {
			continue
		}
		switch {
		case info.Redacted:
			lost = append(lost, lostField{i, solaris.SourceModinfo, "address", fmt.Errorf("address %w", ErrRedacted)})
		case info.Address == 0 && info.Loaded:
			lost = append(lost, lostField{i, solaris.SourceModinfo, "address", fmt.Errorf("address %w", ErrRestricted)})
		}
		modules[i].Address = Address(info.Address)
	}
	r.settle(modules, lost)
	outcome := OutcomeOK
	for _, e := range list.Problems {
		outcome = OutcomePartial
		r.problem(solaris.SourceModinfo, "", "modules", e)
	}
	if !list.Steady && len(list.Problems) == 0 {
		outcome = OutcomePartial
		r.add(Problem{Source: solaris.SourceModinfo, Field: "modules", Code: CodeGone,
			Text: "the list kept changing while it was read; a module that came or went may be missing"})
	}
	r.source(solaris.SourceModinfo, outcome, CountOf(int64(len(modules))), nil)
	return modules, ctx.Err()
}

func (b *solarisBackend) module(i solaris.Info) Module {
	m := Module{
		ID: string(b.kind) + ":" + i.Name, Kind: b.kind, Name: i.Name,
		Solaris: &solaris.Module{ID: CountOf(int64(i.ID)), State: []string{}, Rev: CountOf(int64(i.Rev)),
			LoadCount: CountOf(int64(i.LoadCount)), Linkages: i.Linkages},
	}
	if i.Size > 0 {
		m.Size = CountOf(int64(i.Size))
	}
	m.State = StateInstalled // known to the kernel, and not in memory any more
	if i.Loaded {
		m.State = StateLoaded
		m.Solaris.State = append(m.Solaris.State, "loaded")
	}
	if i.Installed {
		m.Solaris.State = append(m.Solaris.State, "installed")
	}
	if len(i.Linkages) > 0 {
		m.Description = i.Linkages[0].Description
	}
	return m
}

func (b *solarisBackend) poll(ctx context.Context, l *List) error {
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

func (b *solarisBackend) skipped(Scope) []Source {
	return []Source{{Name: solaris.SourceSystem, Outcome: OutcomeSkipped}}
}

func (b *solarisBackend) plan(d Detail) []Plan {
	return []Plan{
		{Source: solaris.SourceMachine, Reads: []string{solaris.OpUname + "()", solaris.OpClock + "()", solaris.OpIdentity + "()"},
			For: "release, architecture, time, privilege", Asked: true},
		{Source: solaris.SourceModinfo, Reads: []string{solaris.OpModinfo + "(ID)"}, Needs: "nothing; Solaris 11.4 hides addresses without privilege",
			For: "the modules: state, size, what they add to the kernel", Asked: true},
		{Source: solaris.SourceSystem, Reads: []string{"/" + solaris.SystemFile}, For: "what may be loaded", Asked: d&DetailPolicy != 0},
	}
}
