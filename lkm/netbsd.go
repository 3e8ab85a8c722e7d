// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/kernelext/kernelext/netbsd"
)

// netbsdBackend looks at a NetBSD machine.
type netbsdBackend struct {
	unsupported
	guard   *guard
	options Options
}

func newNetBSD(g *guard, o Options) *netbsdBackend {
	return &netbsdBackend{unsupported: unsupported{NetBSD}, guard: g, options: o}
}

func (b *netbsdBackend) header(ctx context.Context, s *Snapshot, r *report) {
	if s.Live != Yes {
		return
	}
	h := unixHeader{source: netbsd.SourceMachine, guard: b.guard}
	h.read(ctx, s, r)
	h.done(r)
}

// all reads the kernel's list: loaded modules and built-in ones.
func (b *netbsdBackend) all(ctx context.Context, r *report) ([]Module, error) {
	list, err := netbsd.ReadModules(ctx, b.guard.Call)
	if err != nil {
		return nil, err
	}
	modules := netbsdModules(list.Modules, b.options.Detail&DetailAddresses != 0, r)
	outcome := OutcomeOK
	for _, p := range list.Problems {
		outcome = OutcomePartial
		r.problem(netbsd.SourceModctl, "", "", p)
	}
	r.source(netbsd.SourceModctl, outcome, CountOf(int64(len(modules))), nil)
	return modules, nil
}

func (b *netbsdBackend) loaded(ctx context.Context, _ *Snapshot, r *report) ([]Module, error) {
	modules, err := b.all(ctx, r)
	return slices.DeleteFunc(modules, func(m Module) bool { return m.State == StateBuiltin }), err
}

func (b *netbsdBackend) builtin(ctx context.Context, r *report) iter.Seq2[Module, error] {
	return func(yield func(Module, error) bool) {
		modules, err := b.all(ctx, r)
		if err != nil {
			yield(Module{}, err)
			return
		}
		sortModules(modules)
		for _, m := range modules {
			if m.State == StateBuiltin && !yield(m, nil) {
				return
			}
		}
	}
}

func (b *netbsdBackend) poll(ctx context.Context, l *List) error {
	var r report
	modules, err := b.loaded(ctx, nil, &r)
	if err != nil {
		return err
	}
	l.Modules = append(l.Modules[:0], modules...)
	sortModules(l.Modules)
	l.Modules = numberDuplicates(l.Modules)
	l.Sources, l.Problems = r.sources, r.problems
	return nil
}

// netbsdModules converts what the kernel, or modstat's text, says. UsedBy is Required turned around.
func netbsdModules(stats []netbsd.Stat, addresses bool, r *report) []Module {
	modules := make([]Module, len(stats))
	users := map[string][]string{}
	whole := true
	for _, s := range stats {
		whole = whole && s.Required != nil
		for _, name := range s.Required {
			users[name] = append(users[name], s.Name)
		}
	}
	var lost []lostField
	for i, s := range stats {
		modules[i] = netbsdModule(s, addresses)
		if users := users[s.Name]; users != nil {
			modules[i].UsedBy = users
		} else if whole {
			modules[i].UsedBy = []string{}
		}
		if s.Hidden {
			lost = append(lost, lostField{i, netbsd.SourceModctl, "size", fmt.Errorf("size and address %w from a caller without privilege", ErrRestricted)})
		}
		if s.Redacted && addresses {
			lost = append(lost, lostField{i, netbsd.SourceModctl, "address", fmt.Errorf("address %w", ErrRedacted)})
		}
		if s.Required == nil {
			lost = append(lost, lostField{i, netbsd.SourceModctl, "requires", fmt.Errorf("%w: the requirements could not be read", ErrMalformed)})
		}
	}
	r.settle(modules, lost)
	return modules
}

func netbsdModule(s netbsd.Stat, addresses bool) Module {
	m := Module{
		ID: string(KindNetBSDModule) + ":" + s.Name, Kind: KindNetBSDModule, Name: s.Name, State: StateLoaded,
		Size: s.Size, Refs: s.Refs,
		NetBSD: &netbsd.Module{Class: s.Class, Source: s.Source, Flags: s.Flags, Required: s.Required},
	}
	if s.Required != nil {
		m.Requires = slices.Sorted(slices.Values(s.Required))
		if m.Requires == nil {
			m.Requires = []string{}
		}
	}
	if s.Source == "builtin" {
		m.State = StateBuiltin
		m.NetBSD.Disabled = No
		if s.Disabled {
			m.NetBSD.Disabled = Yes
		}
	}
	if addresses {
		m.Address = Address(s.Address)
	}
	return m
}

func (b *netbsdBackend) skipped(Scope) []Source {
	return []Source{{Name: netbsd.SourceModulePath, Outcome: OutcomeSkipped}}
}

func (b *netbsdBackend) plan(d Detail) []Plan {
	return []Plan{
		{Source: netbsd.SourceMachine, Reads: []string{netbsd.OpUname + "()", netbsd.OpClock + "()", netbsd.OpIdentity + "()"},
			For: "release, architecture, time, privilege", Asked: true},
		{Source: netbsd.SourceModctl, Reads: []string{netbsd.OpModctlStat + "()"}, Needs: "nothing; addresses and sizes may need root",
			For: "the loaded and the built-in modules: class, source, size, requirements", Asked: true},
		{Source: netbsd.SourcePolicy, Reads: []string{"sysctl " + netbsd.SysctlSecureLevel, "sysctl " + netbsd.SysctlAutoload},
			For: "what may be loaded", Asked: d&DetailPolicy != 0},
	}
}
