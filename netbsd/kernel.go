// SPDX-License-Identifier: Apache-2.0

package netbsd

import (
	"context"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/judge"
	"github.com/kernelext/kernelext/internal/machine"
)

// A Record is one module: what every system says, and NetBSD's own facts.
type Record = fact.Record[Module]

// A Kernel answers for one NetBSD machine.
type Kernel struct {
	machine fact.Machine
	options fact.Options
}

// Open returns the Kernel of a machine. It reads nothing yet.
func Open(m fact.Machine, o fact.Options) *Kernel { return &Kernel{m, o} }

func (k *Kernel) call() callFunc { return k.machine.Call }

// Header fills h with what the running machine says of itself.
func (k *Kernel) Header(ctx context.Context, h *fact.Header, r *fact.Report) {
	if k.options.Image {
		return
	}
	m := machine.Reader{Machine: k.machine, Source: SourceMachine, Privilege: machine.User, Plain: true}
	m.Read(ctx, h, r)
	m.Done(r)
}

// Loaded returns the loaded modules.
func (k *Kernel) Loaded(ctx context.Context, _ *fact.Header, r *fact.Report) ([]Record, error) {
	modules, err := k.list(ctx, r)
	return slices.DeleteFunc(modules, func(m Record) bool { return m.State == fact.StateBuiltin }), err
}

// Builtin yields the modules that are compiled into the running kernel, or of an image into
// the kernel that boots.
func (k *Kernel) Builtin(ctx context.Context, r *fact.Report) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		list := k.list
		if k.options.Image {
			list = k.imageBuiltins
		}
		modules, err := list(ctx, r)
		if err != nil {
			yield(Record{}, err)
			return
		}
		slices.SortFunc(modules, func(a, b Record) int { return strings.Compare(a.Name, b.Name) })
		for _, m := range modules {
			if m.State == fact.StateBuiltin && !yield(m, nil) {
				return
			}
		}
	}
}

// list returns the kernel's list: loaded modules and built-in ones.
func (k *Kernel) list(ctx context.Context, r *fact.Report) ([]Record, error) {
	stats, err := readModules(ctx, k.call(), r)
	if err != nil {
		return nil, err
	}
	modules := records(stats, k.options.Asks(fact.DetailAddresses), r)
	r.Done(SourceModctl, fact.CountOf(int64(len(modules))))
	return modules, nil
}

// Resolve returns the modules in the kernel that the name stands for, else those on disk.
func (k *Kernel) Resolve(ctx context.Context, name string, r *fact.Report) ([]Record, error) {
	if k.options.Image {
		disk, err := k.installed(ctx, r)
		return append([]Record{}, judge.Named(disk, name)...), err
	}
	modules, err := k.list(ctx, r)
	if err != nil {
		return nil, err
	}
	if out := judge.Named(modules, name); len(out) > 0 {
		return out, nil
	}
	disk, err := k.installed(ctx, r)
	if err != nil {
		return nil, err
	}
	return append([]Record{}, judge.Named(disk, name)...), nil
}

// Check answers for each module that the query names.
func (k *Kernel) Check(ctx context.Context, query string, r *fact.Report) ([]fact.Verdict, error) {
	if k.options.Image {
		return k.checkImage(ctx, query, r)
	}
	c := judge.Case[Module]{Query: query}
	modules, err := k.list(ctx, r)
	c.Add(SourceModctl, modules, err, r)
	modules, err = k.installed(ctx, r)
	c.Add(SourceModulePath, modules, err, r)
	p := readPolicy(ctx, k.call())
	switch level := p.Facts[0]; p.Loading {
	case fact.LoadingAny:
		c.Load = fact.Passes(fact.Reason{Code: "securelevel", Text: level.Effect})
	case fact.LoadingNone:
		c.Load = fact.Stops(fact.Reason{Code: "securelevel", Text: level.Effect})
	default:
		c.Load = fact.Unsure("securelevel", "the securelevel could not be read: "+string(level.Code))
	}
	return c.Verdicts(), ctx.Err()
}

// Policy returns what the running kernel enforces on loading; of an image what its files say.
func (k *Kernel) Policy(ctx context.Context, r *fact.Report) (*fact.Policy, error) {
	if k.options.Image {
		return k.imagePolicy(r), ctx.Err()
	}
	p := readPolicy(ctx, k.call())
	r.Policy(p)
	return p, ctx.Err()
}

// Time returns the machine's time; zero if it does not say.
func (k *Kernel) Time(ctx context.Context) time.Time {
	t, _ := machine.Time(ctx, k.machine) // zero if unknown
	return t
}

// Skipped returns the sources that a list does not read.
func (k *Kernel) Skipped(fact.Scope) []fact.Source {
	return []fact.Source{{Name: SourceModulePath, Outcome: fact.OutcomeSkipped}}
}

// Sources returns what a list with the given details reads.
func (k *Kernel) Sources(d fact.Detail) []fact.SourcePlan {
	return []fact.SourcePlan{
		{Source: SourceMachine, Reads: []string{OpUname + "()", OpClock + "()", OpIdentity + "()"},
			For: "release, architecture, time, privilege", Asked: true},
		{Source: SourceModctl, Reads: []string{OpModctlStat + "()"},
			Needs: "nothing; addresses and sizes may need root",
			For:   "the loaded and the built-in modules: class, source, size, requirements", Asked: true},
		{Source: SourcePolicy, Reads: []string{"sysctl " + sysctlSecureLevel, "sysctl " + sysctlAutoload},
			For: "what may be loaded", Asked: d&fact.DetailPolicy != 0},
	}
}
