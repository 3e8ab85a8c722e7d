// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/machine"
)

// A Record is one kernel or DriverKit extension: what every system says, and macOS's own facts.
type Record = fact.Record[Kext]

// A Kernel answers for one Mac: the running one, a tape, or a mounted volume.
type Kernel struct {
	machine fact.Machine
	options fact.Options

	mu   sync.Mutex // guards arch
	arch string     // the kernel's architecture; "" is unknown
}

// Open returns the Kernel of a machine. It reads nothing yet.
func Open(m fact.Machine, o fact.Options) *Kernel { return &Kernel{machine: m, options: o} }

// Header fills h with what the running machine says of itself. Nothing of it is needed for the list.
func (k *Kernel) Header(ctx context.Context, h *fact.Header, r *fact.Report) {
	if k.options.Image {
		return
	}
	m := machine.Reader{Machine: k.machine, Source: SourceMachine, Privilege: machine.User}
	m.Read(ctx, h, r)
	bootID, err := k.machine.Call(ctx, OpSysctl, "kern.bootsessionuuid")
	m.Note(r, "bootId", err)
	h.BootID = strings.TrimSpace(string(bootID))
	m.Done(r)
}

// Loaded returns the kernel's list, joined with the disk where that was asked for.
func (k *Kernel) Loaded(ctx context.Context, _ *fact.Header, r *fact.Report) ([]Record, error) {
	modules, source, err := k.list(ctx, r)
	if err != nil {
		return nil, err
	}
	if source == SourceKextManager {
		noteLostLinks(modules)
	}
	k.addresses(modules, source, r)
	if k.options.Asks(fact.DetailFiles | fact.DetailSignatures) {
		k.addDisk(ctx, modules, source, r)
	} else {
		r.Skip(SourceBundles, SourceCollections, SourceSysExt)
	}
	finish(modules, source)
	return modules, ctx.Err()
}

// Poll returns the kernel's list alone.
func (k *Kernel) Poll(ctx context.Context, _ *any, r *fact.Report) ([]Record, error) {
	modules, source, err := k.list(ctx, r)
	if err != nil {
		return nil, err
	}
	for i := range modules {
		modules[i].Address = 0
	}
	finish(modules, source)
	return modules, nil
}

// list asks the kernel. If the kernel refuses, or the call does not exist, it asks the programs that the machine's user
// allowed to start. It returns the source that answered.
func (k *Kernel) list(ctx context.Context, r *fact.Report) (modules []Record, source string, err error) {
	data, err := k.machine.Call(ctx, OpLoadedKextInfo)
	if err == nil {
		modules, err := parseLoadedInfo(data, r)
		if err != nil {
			return nil, "", err
		}
		r.Done(SourceKextManager, fact.CountOf(int64(len(modules))))
		return modules, SourceKextManager, nil
	}
	refusal := err
	if !errors.Is(err, fs.ErrPermission) && !lacks(err) {
		return nil, "", err
	}
	for _, source := range []string{SourceKmutil, SourceKextstat} {
		text, err := k.machine.Call(ctx, opOf(source))
		if lacks(err) {
			continue
		}
		if err != nil {
			return nil, "", fmt.Errorf("%w; then %w", refusal, err)
		}
		r.Source(SourceKextManager, "", fact.Count{}, refusal)
		modules, err := readToolList(string(text), source, r)
		return modules, source, err
	}
	return nil, "", fmt.Errorf("%w (kmutil may do better: allow starting programs, Options.Exec, --exec)", refusal)
}

// lacks reports whether the machine has no answer to a call at all.
func lacks(err error) bool {
	return errors.Is(err, errors.ErrUnsupported) || errors.Is(err, fact.ErrUnrecorded)
}

// opOf returns the call that answers for a source of the kernel's list.
func opOf(source string) string {
	switch source {
	case SourceKmutil:
		return OpKmutil
	case SourceKextstat:
		return OpKextstat
	}
	return OpLoadedKextInfo
}

// noteLostLinks reports for each kext which of its dependencies have no name.
func noteLostLinks(modules []Record) {
	for i := range modules {
		m := &modules[i]
		for _, link := range m.Own.LinkedAgainst {
			if tag, ok := link.Tag.Get(); ok && link.BundleID == "" {
				m.Problem(SourceKextManager, "requires",
					fmt.Errorf("load tag %d belongs to no kext in the list: %w", tag, fact.ErrGone))
			}
		}
	}
}

// addresses drops the load addresses that were not asked for, and reports those that the kernel hides.
func (k *Kernel) addresses(modules []Record, source string, r *fact.Report) {
	hidden := 0
	for i := range modules {
		m := &modules[i]
		if !k.options.Asks(fact.DetailAddresses) {
			m.Address = 0
		} else if size, _ := m.Size.Get(); m.Address == 0 && size > 0 {
			hidden++
		}
	}
	if hidden == 0 {
		return
	}
	err := fmt.Errorf("addresses %w: it shows none of auxiliary kexts on Apple silicon", fact.ErrRestricted)
	if fact.IsRedacted(k.machine, opOf(source)) {
		err = fmt.Errorf("addresses: %w", fact.ErrRedacted)
	}
	p := fact.ProblemOf(source, "", "address", err)
	p.Count = hidden
	r.Add(p)
}

// release returns the release of the running kernel, and of an image the one in the options; empty is unknown.
func (k *Kernel) release(ctx context.Context) (string, error) {
	if k.options.Image {
		return k.options.Kernel, nil
	}
	uname, err := k.machine.Call(ctx, OpUname)
	return machine.Keys(uname)["release"], err
}

// architecture returns the kernel's architecture, which chooses among a file's slices; "" is unknown, and Header
// reports why. The architecture of an Apple silicon kernel is arm64e.
func (k *Kernel) architecture(ctx context.Context) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.arch != "" || k.options.Image {
		return k.arch
	}
	uname, err := k.machine.Call(ctx, OpUname)
	if err == nil {
		k.arch = machine.Keys(uname)["machine"]
	}
	if k.arch == "arm64" {
		k.arch = "arm64e"
	}
	return k.arch
}

// Skipped returns the sources that a list of the scope does not read.
func (k *Kernel) Skipped(scope fact.Scope) []fact.Source {
	if scope == fact.ScopeLoaded {
		return nil
	}
	return []fact.Source{{Name: SourceKextManager, Outcome: fact.OutcomeSkipped}}
}

// Sources returns what a list with the given details reads.
func (k *Kernel) Sources(d fact.Detail) []fact.SourcePlan {
	dirs := make([]string, 0, 12)
	for _, dir := range folders() {
		dirs = append(dirs, "/"+dir)
	}
	files := d&(fact.DetailFiles|fact.DetailSignatures) != 0
	return []fact.SourcePlan{
		{Source: SourceMachine,
			Reads: []string{OpUname + "()", OpClock + "()", OpIdentity + "()", OpSysctl + "(kern.bootsessionuuid)"},
			For:   "release, architecture, time, privilege, boot id", Asked: true},
		{Source: SourceKextManager, Reads: []string{"KextManagerCopyLoadedKextInfo()"},
			For: "the list: bundle id, version, path, size, references, links, UUID, flags", Asked: true},
		{Source: SourceKmutil, Reads: []string{"/usr/bin/kmutil showloaded", "/usr/sbin/kextstat"},
			Needs: "Options.Exec (--exec); only after a refusal of the call",
			For:   "the list: bundle id, version, size, references, links, UUID", Asked: k.options.Exec},
		{Source: SourceBundles, Reads: dirs, Needs: "root for some vendors' folders",
			For:   "Info.plist, architectures, UUIDs; with signatures, every byte of the bundles",
			Asked: files},
		{Source: SourceCollections, Reads: []string{"/System/Library/KernelCollections/*.kc",
			"/Library/KernelCollections/*.kc", "/System/Volumes/Preboot/*/boot/*"},
			Needs: "root for the Preboot volume", For: "kexts that are linked but not on disk, stale collections",
			Asked: files},
		{Source: SourceKextPolicy, Reads: []string{"/" + kextPolicyFile, "/" + kextPolicyFile + "-wal"}, Needs: "root",
			For: "the decisions about kexts of a user or a management server", Asked: d&fact.DetailSignatures != 0},
		{Source: SourceSysExt, Reads: []string{"/" + sysExtFile}, For: "system extensions and their state",
			Asked: files},
	}
}
