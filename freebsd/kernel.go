// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/machine"
)

// A Kernel answers for one FreeBSD or DragonFly machine. It is safe for concurrent use.
type Kernel struct {
	machine fact.Machine
	options fact.Options
	kind    fact.Kind
	layout  layout

	mu      sync.Mutex // guards what follows, each read once
	config  *config
	library *library
}

// Open returns the Kernel of a machine. o.OS says which of the two systems it is; FreeBSD unless it is DragonFly.
// Open reads nothing yet.
func Open(m fact.Machine, o fact.Options) *Kernel {
	k := &Kernel{machine: m, options: o, kind: fact.KindFreeBSDKld}
	if o.OS == fact.DragonFly {
		k.kind, k.layout = fact.KindDragonFlyKld, layoutDragonFly
	}
	return k
}

func (k *Kernel) call() callFunc { return k.machine.Call }

// Header fills h with what the running machine says of itself.
func (k *Kernel) Header(ctx context.Context, h *fact.Header, r *fact.Report) {
	if k.options.Image {
		return
	}
	m := machine.Reader{Machine: k.machine, Source: SourceMachine, Privilege: machine.User, Plain: true}
	m.Read(ctx, h, r)
	id, err := k.machine.Call(ctx, OpBootID)
	if err == nil {
		h.BootID = strings.TrimSpace(string(id))
	} else if !errors.Is(err, fs.ErrNotExist) { // older kernels have none
		m.Note(r, "bootId", err)
	}
	m.Done(r)
}

// Builtin yields the modules inside the kernel's own file: those that the running kernel shows, or those that an
// image's kernel file declares.
func (k *Kernel) Builtin(ctx context.Context, r *fact.Report) iter.Seq2[Record, error] {
	return sequence(func() ([]Record, error) {
		if k.options.Image {
			return k.imageBuiltins(ctx, r)
		}
		return k.runningBuiltins(ctx, r)
	})
}

// sequence yields what list returns.
func sequence(list func() ([]Record, error)) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		records, err := list()
		if err != nil {
			yield(Record{}, err)
			return
		}
		for _, m := range records {
			if !yield(m, nil) {
				return
			}
		}
	}
}

func (k *Kernel) runningBuiltins(ctx context.Context, r *fact.Report) ([]Record, error) {
	files, err := k.walk(ctx)
	if files == nil {
		return nil, err
	}
	i := slices.IndexFunc(files, func(f loadedFile) bool { return f.ID == 1 })
	if i < 0 {
		return nil, fmt.Errorf("the kernel's own file, id 1, is not in its list: %w", fact.ErrGone)
	}
	reportList(files[i:i+1], err, r)
	f := &files[i]
	for _, p := range f.report.Problems {
		if f.Modules == nil { // then there is no list
			return nil, p
		}
		r.Add(p)
	}
	modules := make([]Module, len(f.Modules))
	for j := range f.Modules {
		modules[j] = f.Modules[j].module()
	}
	return k.builtinRecords(modules), nil
}

func (k *Kernel) imageBuiltins(ctx context.Context, r *fact.Report) ([]Record, error) {
	m, err := readDisk(k.machine, k.kernelFile(ctx), k.options.FileCap(), r)
	if err != nil {
		return nil, err
	}
	r.Done(SourceModulePath, fact.CountOf(int64(len(m.Modules))))
	return k.builtinRecords(m.Modules), nil
}

// builtinRecords returns modules inside the kernel as records, sorted.
func (k *Kernel) builtinRecords(modules []Module) []Record {
	records := make([]Record, 0, len(modules))
	for _, m := range modules {
		records = append(records, k.builtinRecord(m))
	}
	slices.SortStableFunc(records, func(a, b Record) int { return strings.Compare(a.ID, b.ID) })
	return records
}

// Time returns the machine's time; zero if it does not say.
func (k *Kernel) Time(ctx context.Context) time.Time {
	t, _ := machine.Time(ctx, k.machine) // zero if unknown
	return t
}

// Refresh forgets the configuration and the files on disk.
func (k *Kernel) Refresh() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.library, k.config = nil, nil
}

// Skipped returns the sources that a list of scope does not read, and those that are never read.
func (k *Kernel) Skipped(scope fact.Scope) []fact.Source {
	var r fact.Report
	if scope != fact.ScopeLoaded {
		r.Skip(SourcePreloaded)
		if k.options.Image {
			r.Skip(SourceKldstat, SourceModstat)
		}
	}
	r.Source(SourceDTrace, fact.OutcomeUnsupported, fact.Count{}, errors.ErrUnsupported)
	return r.Sources
}

// Sources returns what a list with the given details reads.
func (k *Kernel) Sources(d fact.Detail) []fact.SourcePlan {
	return []fact.SourcePlan{
		{Source: SourceMachine, Reads: []string{OpUname + "()", OpClock + "()", OpIdentity + "()", OpBootID + "()"},
			For: "release, architecture, time, privilege, boot id", Asked: true},
		{Source: SourceKldstat, Reads: []string{OpKldNext + "(ID)", OpKldStat + "(ID)"},
			Needs: "nothing on FreeBSD and DragonFly; root on HardenedBSD",
			For:   "the loaded files: name, path, references, size, address", Asked: true},
		{Source: SourceModstat, Reads: []string{OpKldFirstMod + "(ID)", OpModFNext + "(ID)", OpModStat + "(ID)"},
			For: "the modules inside them, also those compiled into the kernel", Asked: true},
		{Source: SourcePreloaded, Reads: []string{"sysctl " + sysctlPreloaded},
			For: "which files the boot loader loaded", Asked: true},
		{Source: SourceModulePath, Reads: []string{"PATH of each file", "sysctl " + sysctlBuildID},
			For: "metadata: interfaces, dependencies, devices, release built for; " +
				"whether the loaded file is the one on disk",
			Asked: d&fact.DetailFiles != 0},
		{Source: SourcePolicy, Reads: []string{"sysctl " + sysctlSecureLevel, "sysctl " + sysctlVeriexec,
			"/etc/rc.conf", "/boot/loader.conf"},
			For: "what may be loaded", Asked: d&fact.DetailPolicy != 0},
	}
}
