// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"strings"
	"sync"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/freebsd"
	"github.com/kernelext/kernelext/internal/limit"
)

// freebsdBackend looks at a FreeBSD or DragonFly machine.
type freebsdBackend struct {
	unsupported
	guard   *guard
	options Options
	kind    Kind
	layout  freebsd.Layout
	image   bool

	mu      sync.Mutex // guards what follows, each read once
	config  *freebsd.Config
	library *freebsd.Library
}

func newFreeBSD(os OS, g *guard, o Options) *freebsdBackend {
	b := &freebsdBackend{unsupported: unsupported{os}, guard: g, options: o, kind: KindFreeBSDKld, image: o.Root != "" && !o.Live}
	if os == DragonFly {
		b.kind, b.layout = KindDragonFlyKld, freebsd.LayoutDragonFly
	}
	return b
}

func (b *freebsdBackend) asked(d Detail) bool { return b.options.Detail&d != 0 }

func (b *freebsdBackend) call() freebsd.CallFunc { return b.guard.Call }

func (b *freebsdBackend) maxFile() int64 {
	if b.options.MaxFile > 0 {
		return b.options.MaxFile
	}
	return limit.File
}

// header reads who and what the machine is. Nothing here is needed for the list.
func (b *freebsdBackend) header(ctx context.Context, s *Snapshot, r *report) {
	if s.Live != Yes {
		return
	}
	h := unixHeader{source: freebsd.SourceMachine, guard: b.guard}
	h.read(ctx, s, r)
	id, err := b.guard.Call(ctx, freebsd.OpBootID)
	if err == nil {
		s.BootID = strings.TrimSpace(string(id))
	} else if !errors.Is(err, fs.ErrNotExist) { // older kernels have none
		h.note(r, "bootId", err)
	}
	h.done(r)
}

// unixHeader reads what every Unix but Linux tells of a machine by the same three calls.
type unixHeader struct {
	source string
	guard  *guard
	lost   int
}

func (h *unixHeader) note(r *report, field string, err error) {
	if err != nil {
		h.lost++
		if e := fact.CodeOf(err).Err(); e != nil {
			err = e // in the same words on every machine
		}
		r.problem(h.source, "", field, err)
	}
}

func (h *unixHeader) read(ctx context.Context, s *Snapshot, r *report) {
	b, err := h.guard.Call(ctx, freebsd.OpUname)
	h.note(r, "release", err)
	u := freebsd.ParseUname(b)
	s.Release, s.Arch = u.Release, u.Machine
	b, err = h.guard.Call(ctx, freebsd.OpClock)
	if err == nil {
		s.TakenAt, err = time.Parse(time.RFC3339Nano, strings.TrimSpace(string(b)))
	}
	h.note(r, "takenAt", err)
	b, err = h.guard.Call(ctx, freebsd.OpIdentity)
	h.note(r, "privilege", err)
	switch id := freebsd.ParseIdentity(b); {
	case id.EUID == 0:
		s.Privilege = "root"
	case id.EUID > 0:
		s.Privilege = "user"
	}
}

func (h *unixHeader) done(r *report) {
	outcome := OutcomeOK
	if h.lost > 0 {
		outcome = OutcomePartial
	}
	r.source(h.source, outcome, Count{}, nil)
}

// loaded reads the kernel's list and, with DetailFiles, the metadata of the files it names.
func (b *freebsdBackend) loaded(ctx context.Context, s *Snapshot, r *report) ([]Module, error) {
	list, err := b.list(ctx)
	if err != nil {
		return nil, err
	}
	modules := b.modules(list, r)
	b.readAddresses(list, modules, s.Arch, r)
	b.readPreloads(ctx, modules, r)
	if b.asked(DetailFiles) {
		b.readFiles(ctx, list, modules, r)
	} else {
		r.source(freebsd.SourceModulePath, OutcomeSkipped, Count{}, nil)
	}
	return modules, ctx.Err()
}

// list walks the kernel's list. A refusal says where it comes from.
func (b *freebsdBackend) list(ctx context.Context) (*freebsd.FileList, error) {
	list, err := freebsd.ReadFiles(ctx, b.call(), b.layout)
	if errors.Is(err, fs.ErrPermission) {
		err = fmt.Errorf("%w (HardenedBSD lets only root list klds; a MAC policy may refuse too)", err)
	}
	return list, err
}

// modules converts a list, in its order, and reports how reading it went.
func (b *freebsdBackend) modules(list *freebsd.FileList, r *report) []Module {
	modules := make([]Module, len(list.Files))
	details := make([]freebsd.File, len(list.Files))
	var lost []lostField
	dir := kernelDir(list)
	for i := range list.Files {
		f := &list.Files[i]
		modules[i], details[i] = b.module(f, dir)
		modules[i].FreeBSD = &details[i]
		if f.Size == 0 && f.Name != "" {
			lost = append(lost, lostField{i, freebsd.SourceKldstat, "size", fmt.Errorf("size and address %w (HardenedBSD's HARDEN_KLD)", ErrRestricted)})
		}
	}
	r.settle(modules, lost)
	b.reportList(list, r)
	return modules
}

func (b *freebsdBackend) reportList(list *freebsd.FileList, r *report) {
	files, mods := OutcomeOK, OutcomeOK
	if list.Partial != nil {
		files, mods = OutcomePartial, OutcomePartial
		p := problemOf(freebsd.SourceKldstat, "", "modules", list.Partial)
		p.Text = fmt.Sprintf("the list kept changing during %d walks; a file that came or went may be missing: %s", list.Passes, p.Text)
		r.add(p)
	}
	for i := range list.Files {
		if list.Files[i].Name == "" {
			files = OutcomePartial
		}
		if list.Files[i].Modules == nil || len(list.Files[i].Problems) > 0 {
			mods = OutcomePartial
		}
	}
	r.source(freebsd.SourceKldstat, files, CountOf(int64(len(list.Files))), nil)
	r.source(freebsd.SourceModstat, mods, CountOf(int64(list.Modules)), nil)
}

// kernelDir is the directory that the running kernel was loaded from; "" when it is not told.
func kernelDir(list *freebsd.FileList) string {
	for i := range list.Files {
		f := &list.Files[i]
		if f.ID == 1 && strings.HasPrefix(f.Pathname, "/") {
			return f.Pathname[:strings.LastIndexByte(f.Pathname, '/')+1]
		}
	}
	return ""
}

func (b *freebsdBackend) module(f *freebsd.LoadedFile, kernelDir string) (Module, freebsd.File) {
	d := freebsd.File{ID: CountOf(int64(f.ID)), Pathname: f.Pathname}
	if f.Modules != nil {
		d.Modules = make([]freebsd.Module, len(f.Modules))
	}
	for i, m := range f.Modules {
		d.Modules[i] = freebsd.Module{ID: CountOf(int64(m.ID)), Name: m.Name, Refs: CountOf(int64(m.Refs)), Data: m.Data}
	}
	name := f.Name
	if name == "" {
		name = fmt.Sprintf("id %d", f.ID)
	}
	m := Module{ID: string(b.kind) + ":" + name, Kind: b.kind, Name: name, State: StateLoaded, Problems: f.Problems}
	if f.Name == "" { // only its id is known
		return m, d
	}
	m.Refs = CountOf(int64(f.Refs))
	if strings.HasPrefix(f.Pathname, "/") {
		m.Path = f.Pathname
	}
	if f.Size > 0 {
		m.Size = CountOf(int64(f.Size))
	}
	m.Origin = freebsdOrigin(f.Pathname, kernelDir, freebsd.SourceKldstat)
	return m, d
}

// freebsdOrigin says whose a file is by where it lies: beside its kernel are the system's own,
// /boot/modules and any other place are for others.
func freebsdOrigin(path, kernelDir, source string) Origin {
	var o Origin
	switch {
	case path == "":
		return o
	case kernelDir != "" && strings.HasPrefix(path, kernelDir), strings.HasPrefix(path, "/boot/kernel/"):
		o.Class = OriginOS
	case strings.HasPrefix(path, "/"):
		o.Class = OriginThirdParty
	default:
		return o // a path relative to nobody knows what
	}
	o.Evidence = []Evidence{{Fact: "path", Value: path, Source: source}}
	return o
}

// readAddresses keeps the load addresses when they were asked for, and says which are not to be
// had.
func (b *freebsdBackend) readAddresses(list *freebsd.FileList, modules []Module, arch string, r *report) {
	if !b.asked(DetailAddresses) {
		return
	}
	var lost []lostField
	for i := range list.Files {
		f := &list.Files[i]
		var err error
		switch {
		case f.Redacted:
			err = fmt.Errorf("address %w", ErrRedacted)
		case f.Address == 0:
			err = fmt.Errorf("address %w", ErrRestricted)
		case f.Bits == 32 && wideMachine(arch):
			err = fmt.Errorf("this program has pointers of 32 bits and sees only the low half of the kernel's addresses: %w", errors.ErrUnsupported)
		default:
			modules[i].Address = Address(f.Address)
		}
		if err != nil {
			lost = append(lost, lostField{i, freebsd.SourceKldstat, "address", err})
		}
	}
	r.settle(modules, lost)
}

// wideMachine reports whether a kernel of the machine has pointers of 64 bits; one that is not
// known is taken to have them, so that no half address is shown.
func wideMachine(arch string) bool {
	switch arch {
	case "i386", "arm", "armv6", "armv7", "powerpc", "mips", "pc98", "sh":
		return false
	}
	return true
}

// readPreloads marks the files that the boot loader had loaded.
func (b *freebsdBackend) readPreloads(ctx context.Context, modules []Module, r *report) {
	text, err := b.call().Text(ctx, freebsd.SysctlPreloaded)
	if err != nil {
		r.source(freebsd.SourcePreloaded, "", Count{}, err)
		r.problem(freebsd.SourcePreloaded, "", "freebsd.preloaded", err)
		return
	}
	preloads, bad := freebsd.ParsePreloads(text)
	outcome := OutcomeOK
	for _, e := range bad {
		outcome = OutcomePartial
		r.problem(freebsd.SourcePreloaded, "", "freebsd.preloaded", e)
	}
	r.source(freebsd.SourcePreloaded, outcome, CountOf(int64(len(preloads))), nil)
	paths, names := map[string]bool{}, map[string]bool{}
	for _, p := range preloads {
		if p.Code() {
			paths[p.Name], names[freebsd.FileName(p.Name)] = true, true
		}
	}
	for i := range modules {
		m := &modules[i]
		yes := paths[m.FreeBSD.Pathname] || m.FreeBSD.Pathname == "" && names[m.Name]
		if m.FreeBSD.Preloaded = No; yes {
			m.FreeBSD.Preloaded = Yes
		}
	}
}

func (b *freebsdBackend) poll(ctx context.Context, l *List) error {
	list, err := b.list(ctx)
	if err != nil {
		return err
	}
	var r report
	l.Modules = append(l.Modules[:0], b.modules(list, &r)...)
	sortModules(l.Modules)
	l.Modules = numberDuplicates(l.Modules)
	l.Sources, l.Problems = r.Sources, r.Problems
	return nil
}

// builtin yields the modules inside the kernel's own file: those that the running kernel shows, or
// those that an image's kernel file declares.
func (b *freebsdBackend) builtin(ctx context.Context, r *report) iter.Seq2[Module, error] {
	return func(yield func(Module, error) bool) {
		modules, err := b.builtins(ctx, r)
		if err != nil {
			yield(Module{}, err)
			return
		}
		for _, m := range modules {
			if !yield(m, nil) {
				return
			}
		}
	}
}

func (b *freebsdBackend) builtins(ctx context.Context, r *report) ([]Module, error) {
	if b.image {
		return b.imageBuiltins(ctx, r)
	}
	list, err := b.list(ctx)
	if err != nil {
		return nil, err
	}
	for i := range list.Files {
		f := &list.Files[i]
		if f.ID != 1 {
			continue
		}
		kernel := *list
		kernel.Files, kernel.Modules = list.Files[i:i+1], len(f.Modules)
		b.reportList(&kernel, r)
		for _, p := range f.Problems {
			if f.Modules == nil { // then there is no list
				return nil, p
			}
			r.add(p)
		}
		modules := make([]Module, 0, len(f.Modules))
		for _, m := range f.Modules {
			modules = append(modules, b.builtinModule(freebsd.Module{ID: CountOf(int64(m.ID)), Name: m.Name, Refs: CountOf(int64(m.Refs)), Data: m.Data}))
		}
		sortModules(modules)
		return modules, nil
	}
	return nil, fmt.Errorf("the kernel's own file, id 1, is not in its list: %w", ErrGone)
}

func (b *freebsdBackend) imageBuiltins(ctx context.Context, r *report) ([]Module, error) {
	k := freebsd.ReadDisk(b.guard, b.kernelFile(ctx), b.maxFile())
	if k.Err != nil {
		return nil, k.Err
	}
	modules := make([]Module, 0, len(k.Modules))
	for _, m := range k.Modules {
		modules = append(modules, b.builtinModule(m))
	}
	outcome := OutcomeOK
	for _, p := range k.Problems {
		outcome = OutcomePartial
		r.add(p)
	}
	r.source(freebsd.SourceModulePath, outcome, CountOf(int64(len(modules))), nil)
	sortModules(modules)
	return modules, nil
}

func (b *freebsdBackend) builtinModule(m freebsd.Module) Module {
	return Module{
		ID: string(b.kind) + ":" + m.Name, Kind: b.kind, Name: m.Name, State: StateBuiltin, Refs: m.Refs,
		FreeBSD: &freebsd.File{Modules: []freebsd.Module{m}},
	}
}

func (b *freebsdBackend) skipped(scope Scope) []Source {
	var s []Source
	if scope != ScopeLoaded {
		s = append(s, Source{Name: freebsd.SourcePreloaded, Outcome: OutcomeSkipped})
		if b.image {
			s = append(s, Source{Name: freebsd.SourceKldstat, Outcome: OutcomeSkipped}, Source{Name: freebsd.SourceModstat, Outcome: OutcomeSkipped})
		}
	}
	return append(s, Source{Name: freebsd.SourceDTrace, Outcome: OutcomeUnsupported, Code: CodeUnsupported})
}

func (b *freebsdBackend) plan(d Detail) []Plan {
	return []Plan{
		{Source: freebsd.SourceMachine, Reads: []string{freebsd.OpUname + "()", freebsd.OpClock + "()", freebsd.OpIdentity + "()", freebsd.OpBootID + "()"},
			For: "release, architecture, time, privilege, boot id", Asked: true},
		{Source: freebsd.SourceKldstat, Reads: []string{freebsd.OpKldNext + "(ID)", freebsd.OpKldStat + "(ID)"},
			Needs: "nothing on FreeBSD and DragonFly; root on HardenedBSD", For: "the loaded files: name, path, references, size, address", Asked: true},
		{Source: freebsd.SourceModstat, Reads: []string{freebsd.OpKldFirstMod + "(ID)", freebsd.OpModFNext + "(ID)", freebsd.OpModStat + "(ID)"},
			For: "the modules inside them, also those compiled into the kernel", Asked: true},
		{Source: freebsd.SourcePreloaded, Reads: []string{"sysctl " + freebsd.SysctlPreloaded}, For: "which files the boot loader loaded", Asked: true},
		{Source: freebsd.SourceModulePath, Reads: []string{"PATH of each file", "sysctl " + freebsd.SysctlBuildID},
			For: "metadata: interfaces, dependencies, devices, release built for; whether the loaded file is the one on disk", Asked: d&DetailFiles != 0},
		{Source: freebsd.SourcePolicy, Reads: []string{"sysctl " + freebsd.SysctlSecureLevel, "sysctl " + freebsd.SysctlVeriexec, "/etc/rc.conf", "/boot/loader.conf"},
			For: "what may be loaded", Asked: d&DetailPolicy != 0},
	}
}
