// SPDX-License-Identifier: Apache-2.0

package solaris

import (
	"context"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/judge"
	"github.com/kernelext/kernelext/internal/machine"
)

// A Record is one module: what every system says, and illumos' or Solaris' own facts.
type Record = fact.Record[Module]

// A Kernel answers for one illumos or Solaris machine; the option OS says which.
type Kernel struct {
	machine fact.Machine
	options fact.Options
}

// Open returns the Kernel of a machine. It reads nothing yet.
func Open(m fact.Machine, o fact.Options) *Kernel { return &Kernel{m, o} }

// kind returns the kind of the machine's modules.
func (k *Kernel) kind() fact.Kind {
	if k.options.OS == fact.Illumos {
		return fact.KindIllumosModule
	}
	return fact.KindSolarisModule
}

// Header fills h with what the running machine says of itself.
func (k *Kernel) Header(ctx context.Context, h *fact.Header, r *fact.Report) {
	if k.options.Image {
		return
	}
	m := machine.Reader{Machine: k.machine, Source: SourceMachine, Privilege: machine.User, Plain: true}
	m.Read(ctx, h, r)
	m.Done(r)
}

// Loaded returns the modules that the kernel knows: the loaded ones, and those that it unloaded again.
func (k *Kernel) Loaded(ctx context.Context, _ *fact.Header, r *fact.Report) ([]Record, error) {
	infos, err := readModules(ctx, k.machine.Call, r)
	if err != nil {
		return nil, err
	}
	r.Done(SourceModinfo, fact.CountOf(int64(len(infos)))) // a hidden address costs itself, not the list
	return records(infos, k.kind(), k.options.Asks(fact.DetailAddresses), r), ctx.Err()
}

// Resolve returns the modules known to the kernel that the name stands for; of an image those on disk, also for the
// alias of a device.
func (k *Kernel) Resolve(ctx context.Context, name string, r *fact.Report) ([]Record, error) {
	if k.options.Image {
		return k.resolveImage(ctx, name, r)
	}
	modules, err := k.Loaded(ctx, new(fact.Header), r)
	if err != nil {
		return nil, err
	}
	return append([]Record{}, judge.Named(modules, name)...), nil
}

// Skipped returns the sources that a list does not read.
func (k *Kernel) Skipped(fact.Scope) []fact.Source {
	return []fact.Source{{Name: SourceSystem, Outcome: fact.OutcomeSkipped}}
}

// Sources returns what a list with the given details reads.
func (k *Kernel) Sources(d fact.Detail) []fact.SourcePlan {
	return []fact.SourcePlan{
		{Source: SourceMachine, Reads: []string{OpUname + "()", OpClock + "()", OpIdentity + "()"},
			For: "release, architecture, time, privilege", Asked: true},
		{Source: SourceModinfo, Reads: []string{OpModinfo + "(ID)"},
			Needs: "nothing; Solaris 11.4 hides addresses without privilege",
			For:   "the modules: state, size, what they add to the kernel", Asked: true},
		{Source: SourceSystem, Reads: []string{"/" + systemFile}, For: "what may be loaded",
			Asked: d&fact.DetailPolicy != 0},
	}
}
