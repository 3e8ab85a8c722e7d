// SPDX-License-Identifier: Apache-2.0

package lkm

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

	"github.com/kernelext/kernelext/darwin"
	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/linux"
)

// darwinBackend looks at a Mac: the running one, a tape, or a mounted volume.
type darwinBackend struct {
	unsupported
	guard   *guard
	options Options
	image   bool

	mu   sync.Mutex // guards arch
	arch string     // the kernel's; "" is not known
}

func newDarwin(g *guard, o Options) *darwinBackend {
	return &darwinBackend{unsupported: unsupported{Darwin}, guard: g, options: o, image: o.Root != "" && !o.Live}
}

func (b *darwinBackend) asked(d Detail) bool { return b.options.Detail&d != 0 }

// header reads who and what the machine is. Nothing here is needed for the list.
func (b *darwinBackend) header(ctx context.Context, s *Snapshot, r *report) {
	if s.Live != Yes {
		return
	}
	lost := 0
	note := func(field string, err error) {
		if err != nil {
			lost++
			r.problem(darwin.SourceMachine, "", field, err)
		}
	}
	uname, err := b.guard.Call(ctx, darwin.OpUname)
	note("release", err)
	keys := linux.ParseKeys(uname)
	s.Release, s.Arch = keys["release"], keys["machine"]
	clock, err := b.guard.Call(ctx, darwin.OpClock)
	if err == nil {
		s.TakenAt, err = time.Parse(time.RFC3339Nano, strings.TrimSpace(string(clock)))
	}
	note("takenAt", err)
	identity, err := b.guard.Call(ctx, darwin.OpIdentity)
	note("privilege", err)
	s.Privilege = linux.Privilege(identity)
	bootID, err := b.guard.Call(ctx, darwin.OpSysctl, "kern.bootsessionuuid")
	note("bootId", err)
	s.BootID = strings.TrimSpace(string(bootID))
	outcome := OutcomeOK
	if lost > 0 {
		outcome = OutcomePartial
	}
	r.source(darwin.SourceMachine, outcome, Count{}, nil)
}

// architecture is the kernel's, which chooses among a file's slices. An Apple silicon kernel is
// arm64e.
func (b *darwinBackend) architecture(ctx context.Context) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.arch != "" || b.image {
		return b.arch
	}
	uname, err := b.guard.Call(ctx, darwin.OpUname)
	if err == nil {
		b.arch = linux.ParseKeys(uname)["machine"]
	}
	if b.arch == "arm64" {
		b.arch = "arm64e"
	}
	return b.arch
}

// loaded reads the kernel's list and joins it with what is on disk, where that was asked for.
func (b *darwinBackend) loaded(ctx context.Context, s *Snapshot, r *report) ([]Module, error) {
	list, source, err := b.list(ctx, r)
	if err != nil {
		return nil, err
	}
	modules := darwinModules(list.Kexts, source)
	if source == darwin.SourceKextManager {
		noteLostLinks(modules)
	}
	b.addresses(list.Kexts, modules, source, r)
	if b.asked(DetailFiles | DetailSignatures) {
		b.addDisk(ctx, modules, source, r)
	} else {
		for _, name := range []string{darwin.SourceBundles, darwin.SourceCollections, darwin.SourceSysExt} {
			r.source(name, OutcomeSkipped, Count{}, nil)
		}
	}
	finishDarwin(modules, source)
	return modules, ctx.Err()
}

// list asks the kernel, and where it refuses, or the call is not there, the tools whose programs the
// machine's user allowed to start.
func (b *darwinBackend) list(ctx context.Context, r *report) (darwin.LoadedList, string, error) {
	data, err := b.guard.Call(ctx, darwin.OpLoadedKextInfo)
	if err == nil {
		list, err := darwin.ParseLoadedInfo(data)
		if err != nil {
			return list, "", err
		}
		outcome := OutcomeOK
		for _, p := range list.Problems {
			outcome = OutcomePartial
			r.add(p)
		}
		r.source(darwin.SourceKextManager, outcome, CountOf(int64(len(list.Kexts))), nil)
		return list, darwin.SourceKextManager, nil
	}
	refusal := err
	if !errors.Is(err, fs.ErrPermission) && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, ErrUnrecorded) {
		return darwin.LoadedList{}, "", err
	}
	for _, tool := range []struct{ op, source string }{{darwin.OpKmutil, darwin.SourceKmutil}, {darwin.OpKextstat, darwin.SourceKextstat}} {
		text, err := b.guard.Call(ctx, tool.op)
		if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, ErrUnrecorded) {
			continue
		}
		if err != nil {
			return darwin.LoadedList{}, "", fmt.Errorf("%w; then %w", refusal, err)
		}
		r.source(darwin.SourceKextManager, "", Count{}, refusal)
		return toolList(string(text), tool.source, r)
	}
	return darwin.LoadedList{}, "", fmt.Errorf("%w (kmutil may do better: allow starting programs, Options.Exec, --exec)", refusal)
}

// toolList reads the whole output of kmutil or kextstat. A line that is no row may hide a kext.
func toolList(text, source string, r *report) (darwin.LoadedList, string, error) {
	c := darwin.ParseKextstat(text)
	if !c.Header {
		return darwin.LoadedList{}, "", &ParseError{Source: source, Reason: "the output has no header: it is no list"}
	}
	outcome := OutcomeOK
	for _, bad := range c.Bad {
		outcome = OutcomePartial
		bad.Source = source
		r.problem(source, "", "modules", bad)
	}
	r.source(source, outcome, CountOf(int64(len(c.Kexts))), nil)
	return darwin.LoadedList{Kexts: c.Kexts}, source, nil
}

// noteLostLinks says of each kext which of its dependencies have no name.
func noteLostLinks(modules []Module) {
	for i := range modules {
		m := &modules[i]
		for _, link := range m.Darwin.LinkedAgainst {
			if tag, ok := link.Tag.Get(); ok && link.BundleID == "" {
				m.Problems = append(m.Problems, problemOf(darwin.SourceKextManager, m.Name, "requires",
					fmt.Errorf("load tag %d belongs to no kext in the list: %w", tag, ErrGone)))
			}
		}
	}
}

// addresses keeps the load addresses when they were asked for, and says so when they are hidden.
func (b *darwinBackend) addresses(kexts []darwin.Loaded, modules []Module, source string, r *report) {
	if !b.asked(DetailAddresses) {
		return
	}
	op := map[string]string{darwin.SourceKextManager: darwin.OpLoadedKextInfo, darwin.SourceKmutil: darwin.OpKmutil, darwin.SourceKextstat: darwin.OpKextstat}[source]
	hidden := 0
	for i := range kexts {
		modules[i].Address = kexts[i].Address
		size, _ := kexts[i].Size.Get()
		if kexts[i].Address == 0 && size > 0 && modules[i].Kind == KindMacOSKext {
			hidden++
		}
	}
	if hidden == 0 {
		return
	}
	err := fmt.Errorf("addresses %w: it shows none of auxiliary kexts on Apple silicon", ErrRestricted)
	if b.guard.Redacted(op) {
		err = fmt.Errorf("addresses: %w", ErrRedacted)
	}
	p := problemOf(source, "", "address", err)
	p.Count = hidden
	r.add(p)
}

// reader says what to read of the disk for the details asked for.
func (b *darwinBackend) reader(ctx context.Context) darwin.DiskReader {
	return darwin.DiskReader{BundleReader: darwin.BundleReader{
		FS: b.guard, Architecture: b.architecture(ctx), Code: b.asked(DetailFiles | DetailSignatures),
		Signatures: b.asked(DetailSignatures), Verify: b.asked(DetailSignatures),
		Keys: b.options.Keys, MaxBytes: b.options.MaxFile,
	}}
}

// readDisk reads the disk within the deadline, and reports its sources.
func (b *darwinBackend) readDisk(ctx context.Context, reader darwin.DiskReader, r *report) *darwin.Disk {
	if b.options.Deadline > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, b.options.Deadline)
		defer cancel()
	}
	d := reader.Read(ctx)
	for _, p := range d.Problems {
		r.add(p)
	}
	members, extensions, bundles := 0, 0, 0
	for _, list := range d.Bundles {
		bundles += len(list)
	}
	for _, c := range d.Collections {
		members += len(c.Members)
	}
	for _, list := range d.Extensions {
		extensions += len(list)
	}
	diskSource(r, d, darwin.SourceBundles, bundles)
	diskSource(r, d, darwin.SourceCollections, members)
	diskSource(r, d, darwin.SourceSysExt, extensions)
	return d
}

// badBundles reports the bundles that could not be read, where they are no modules of the result.
func (r *report) badBundles(d *darwin.Disk) {
	for _, bad := range d.BadBundles {
		for _, p := range bad.Problems {
			r.add(p)
		}
	}
}

func diskSource(r *report, d *darwin.Disk, name string, count int) {
	switch err := d.Errors[name]; {
	case err != nil:
		r.source(name, "", Count{}, err)
	case d.Views[name] != fact.ViewSeen:
		code := CodeOther
		for _, p := range d.Problems {
			if p.Source == name {
				code = p.Code
				break
			}
		}
		if name == darwin.SourceBundles && code == CodeOther && len(d.BadBundles) > 0 {
			code = d.BadBundles[0].Problems[0].Code
		}
		r.Sources = append(r.Sources, Source{Name: name, Outcome: OutcomePartial, Count: CountOf(int64(count)), Code: code})
	default:
		r.source(name, OutcomeOK, CountOf(int64(count)), nil)
	}
}

// addDisk joins the loaded kexts with the disk.
func (b *darwinBackend) addDisk(ctx context.Context, modules []Module, source string, r *report) {
	d := b.readDisk(ctx, b.reader(ctx), r)
	r.badBundles(d)
	for i := range modules {
		m := &modules[i]
		m.Darwin.Views = map[string]fact.View{source: fact.ViewSeen}
		bundle := d.Attach(m.Darwin, m.Path, m.Version)
		if bundle != nil {
			addBundle(m, bundle)
		}
		m.OnDisk = onDisk(m, bundle, d)
		if m.OnDisk.Match == "" && m.Darwin.Pseudo == "" {
			m.Problems = append(m.Problems, problemOf(darwin.SourceBundles, m.Name, "onDisk.match",
				fmt.Errorf("no UUID to compare, or not all of the disk was read: %w", errors.ErrUnsupported)))
		}
	}
}

// onDisk compares the loaded code with the bundle's, else with that in the kernel collections.
func onDisk(m *Module, bundle *darwin.Bundle, d *darwin.Disk) OnDisk {
	k := m.Darwin
	switch {
	case k.Pseudo != "":
		return OnDisk{} // it is the kernel's own code
	case bundle != nil && len(bundle.Slices) > 0 && k.UUID != "":
		o := OnDisk{Match: MatchDifferent, Path: bundle.ExecutablePath, By: "macho_uuid"}
		for _, s := range bundle.Slices {
			if s.UUID == k.UUID {
				o.Match, o.ContentID = MatchSame, s.UUID
			}
		}
		if o.Match == MatchDifferent && len(bundle.Slices) == 1 {
			o.ContentID = bundle.Slices[0].UUID
		}
		return o
	case bundle == nil && len(k.Collections) > 0:
		for _, c := range k.Collections {
			if c.UUID != "" && c.UUID == k.UUID {
				return OnDisk{Match: MatchSame, Path: c.Path, ContentID: c.UUID, By: "macho_uuid"}
			}
		}
		if c := k.Collections[0]; c.UUID != "" && k.UUID != "" {
			return OnDisk{Match: MatchDifferent, Path: c.Path, ContentID: c.UUID, By: "macho_uuid"}
		}
	case bundle == nil && k.Views[darwin.SourceBundles] == fact.ViewMissing && k.Views[darwin.SourceCollections] == fact.ViewMissing:
		return OnDisk{Match: MatchAbsent}
	}
	return OnDisk{}
}

func (b *darwinBackend) poll(ctx context.Context, l *List) error {
	var r report
	list, source, err := b.list(ctx, &r)
	if err != nil {
		return err
	}
	l.Modules = append(l.Modules[:0], darwinModules(list.Kexts, source)...)
	finishDarwin(l.Modules, source)
	sortModules(l.Modules)
	l.Modules = numberDuplicates(l.Modules)
	l.Sources, l.Problems = r.Sources, r.Problems
	return nil
}

// installed yields the bundles on disk by path, then the members of kernel collections that have no
// bundle.
func (b *darwinBackend) installed(ctx context.Context, r *report) iter.Seq2[Module, error] {
	return func(yield func(Module, error) bool) {
		d := b.readDisk(ctx, b.reader(ctx), r)
		if err := d.Errors[darwin.SourceBundles]; err != nil && len(d.Members) == 0 {
			yield(Module{}, err)
			return
		}
		for _, m := range installedDarwin(d) {
			if !yield(m, nil) {
				return
			}
		}
		if err := ctx.Err(); err != nil {
			yield(Module{}, err)
		}
	}
}

// installedDarwin makes the modules of what is on disk.
func installedDarwin(d *darwin.Disk) []Module {
	var modules []Module
	for id, list := range d.Bundles {
		for i := range list {
			k := &darwin.Kext{BundleID: id}
			bundle := &list[i]
			d.Attach(k, bundle.Path, "")
			m := Module{Kind: KindMacOSKext, Name: id, State: StateInstalled, Darwin: k}
			addBundle(&m, bundle)
			modules = append(modules, m)
		}
	}
	for id := range d.Members {
		if len(d.Bundles[id]) > 0 {
			continue
		}
		if member, collection, ok := d.Member(id); ok {
			k := &darwin.Kext{BundleID: id}
			d.Attach(k, "", "")
			modules = append(modules, memberModule(&member, &collection, k))
		}
	}
	for id, list := range d.Extensions {
		if len(d.Bundles[id]) == 0 {
			for i := range list {
				modules = append(modules, extensionModule(&list[i]))
			}
		}
	}
	for _, bad := range d.BadBundles {
		modules = append(modules, badBundle(bad))
	}
	finishDarwin(modules, "")
	slices.SortStableFunc(modules, func(a, b Module) int {
		return strings.Compare(a.Path+"\x00"+a.ID, b.Path+"\x00"+b.ID)
	})
	return modules
}

// changed is not answered: the kernel counts no changes of its list.
func (b *darwinBackend) skipped(scope Scope) []Source {
	var s []Source
	if scope != ScopeLoaded {
		s = append(s, Source{Name: darwin.SourceKextManager, Outcome: OutcomeSkipped})
	}
	return s
}

func (b *darwinBackend) plan(d Detail) []Plan {
	folders := make([]string, 0, 12)
	for _, dir := range darwin.Folders() {
		folders = append(folders, "/"+dir)
	}
	files := d&(DetailFiles|DetailSignatures) != 0
	return []Plan{
		{Source: darwin.SourceMachine, Reads: []string{darwin.OpUname + "()", darwin.OpClock + "()", darwin.OpIdentity + "()", darwin.OpSysctl + "(kern.bootsessionuuid)"},
			For: "release, architecture, time, privilege, boot id", Asked: true},
		{Source: darwin.SourceKextManager, Reads: []string{"KextManagerCopyLoadedKextInfo()"},
			For: "the list: bundle id, version, path, size, references, links, UUID, flags", Asked: true},
		{Source: darwin.SourceKmutil, Reads: []string{"/usr/bin/kmutil showloaded", "/usr/sbin/kextstat"}, Needs: "Options.Exec (--exec); only after a refusal of the call",
			For: "the list: bundle id, version, size, references, links, UUID", Asked: b.options.Exec},
		{Source: darwin.SourceBundles, Reads: folders, Needs: "root for some vendors' folders",
			For: "Info.plist, architectures, UUIDs; with signatures, every byte of the bundles", Asked: files},
		{Source: darwin.SourceCollections, Reads: []string{"/System/Library/KernelCollections/*.kc", "/Library/KernelCollections/*.kc", "/System/Volumes/Preboot/*/boot/*"},
			Needs: "root for the Preboot volume", For: "kexts that are linked but not on disk, stale collections", Asked: files},
		{Source: darwin.SourceSysExt, Reads: []string{"/" + darwin.SysExtFile}, For: "system extensions and their state", Asked: files},
	}
}
