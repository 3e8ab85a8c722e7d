// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/kernelext/kernelext/freebsd"
)

// conf returns the machine's configuration, read once.
func (b *freebsdBackend) conf(ctx context.Context) *freebsd.Config {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.config == nil {
		b.config = freebsd.ReadConfig(ctx, b.guard)
	}
	return b.config
}

// dirs are the directories that the kernel loads from: those it says itself, else those that the
// configuration gives it.
func (b *freebsdBackend) dirs(ctx context.Context) []string {
	if !b.image {
		if dirs, known, _ := b.call().ModulePath(ctx); known {
			return dirs
		}
	}
	return b.conf(ctx).ModulePath()
}

// kernelFile is the path of the kernel's own file.
func (b *freebsdBackend) kernelFile(ctx context.Context) string {
	if !b.image {
		if file, err := b.call().Text(ctx, freebsd.SysctlBootFile); err == nil && strings.HasPrefix(file, "/") {
			return file
		}
	}
	return b.conf(ctx).ModulePath()[0] + "/kernel"
}

// files returns every file on disk with its metadata, and the kernel's, read once.
func (b *freebsdBackend) files(ctx context.Context) (*freebsd.Library, error) {
	dirs, kernel := b.dirs(ctx), b.kernelFile(ctx)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.library != nil {
		return b.library, nil
	}
	lib := freebsd.ReadLibrary(ctx, b.guard, dirs, kernel, b.maxFile())
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b.library = lib
	return lib, nil
}

func (b *freebsdBackend) refresh() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.library, b.config = nil, nil
}

// installed yields the files of the module path. Without DetailFiles it lists directories only.
func (b *freebsdBackend) installed(ctx context.Context, r *report) iter.Seq2[Module, error] {
	return func(yield func(Module, error) bool) {
		modules, err := b.listInstalled(ctx, r)
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

func (b *freebsdBackend) listInstalled(ctx context.Context, r *report) ([]Module, error) {
	lib, err := b.installedFiles(ctx)
	if err != nil {
		return nil, err
	}
	if len(lib.Files) == 0 && len(lib.Problems) > 0 {
		return nil, lib.Problems[0]
	}
	modules := b.installedModules(lib)
	outcome := OutcomeOK
	for _, e := range lib.Problems {
		outcome = OutcomePartial
		r.problem(freebsd.SourceModulePath, "", "modules", e)
	}
	for i := range lib.Files {
		if lib.Files[i].Err != nil {
			outcome = OutcomePartial
		}
	}
	r.source(freebsd.SourceModulePath, outcome, CountOf(int64(len(modules))), nil)
	b.addHints(ctx, modules, r)
	slices.SortStableFunc(modules, func(a, b Module) int { return cmp.Compare(a.Path, b.Path) })
	return modules, nil
}

// addHints gives the files that were not opened the interfaces that linker.hints lists for them.
func (b *freebsdBackend) addHints(ctx context.Context, modules []Module, r *report) {
	if b.asked(DetailFiles) {
		r.source(freebsd.SourceHints, OutcomeSkipped, Count{}, nil)
		return
	}
	versions := map[string][]freebsd.Version{}
	outcome, n := OutcomeAbsent, 0
	for _, dir := range b.dirs(ctx) {
		h, err := freebsd.ReadHints(b.guard, dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if outcome == OutcomeAbsent {
			outcome = OutcomeOK
		}
		if err != nil {
			outcome = OutcomePartial
			r.problem(freebsd.SourceHints, dir, "freebsd.versions", err)
			continue
		}
		for _, p := range h.Problems {
			outcome = OutcomePartial
			r.problem(freebsd.SourceHints, dir, "freebsd.versions", p)
		}
		n += len(h.Modules) + len(h.Versions) + len(h.PNP)
		for _, v := range h.Versions {
			file := strings.TrimSuffix(dir, "/") + "/" + v.File
			versions[file] = append(versions[file], freebsd.Version{Name: v.Name, Version: v.Version})
		}
	}
	for i := range modules {
		modules[i].FreeBSD.Versions = versions[modules[i].Path]
	}
	r.source(freebsd.SourceHints, outcome, CountOf(int64(n)), nil)
}

func (b *freebsdBackend) installedFiles(ctx context.Context) (*freebsd.Library, error) {
	if b.asked(DetailFiles) {
		return b.files(ctx)
	}
	var files []freebsd.DiskFile
	errs := freebsd.Walk(ctx, b.guard, b.dirs(ctx), func(path string) bool {
		files = append(files, freebsd.DiskFile{Path: path})
		return ctx.Err() == nil
	})
	lib := freebsd.NewLibrary(files, nil)
	lib.Problems = errs
	return lib, ctx.Err()
}

// installedModules converts the files, with the relations between them where they were read.
func (b *freebsdBackend) installedModules(lib *freebsd.Library) []Module {
	modules := make([]Module, len(lib.Files))
	index := map[*freebsd.DiskFile]int{}
	for i := range lib.Files {
		modules[i] = b.installedModule(lib, &lib.Files[i])
		index[&lib.Files[i]] = i
	}
	whole := len(lib.Problems) == 0
	for i := range lib.Files {
		whole = whole && lib.Files[i].Metadata != nil
		needs, _ := lib.Requires(&lib.Files[i])
		for _, n := range needs {
			if j, ok := index[n]; ok {
				modules[j].UsedBy = append(modules[j].UsedBy, modules[i].Name)
			}
		}
	}
	for i := range modules {
		if whole && modules[i].UsedBy == nil {
			modules[i].UsedBy = []string{}
		}
	}
	return modules
}

// installedModule converts one file on disk.
func (b *freebsdBackend) installedModule(lib *freebsd.Library, f *freebsd.DiskFile) Module {
	m := b.fileModule(f)
	if f.Metadata == nil {
		return m
	}
	needs, missing := lib.Requires(f)
	m.Requires = []string{}
	for _, n := range needs {
		m.Requires = append(m.Requires, n.Name())
	}
	slices.Sort(m.Requires)
	for _, d := range missing {
		m.Problems = append(m.Problems, problemOf(freebsd.SourceModulePath, m.Name, "requires", freebsd.ErrMissing(d)))
	}
	return m
}

// fileModule converts one file by itself.
func (b *freebsdBackend) fileModule(f *freebsd.DiskFile) Module {
	return freebsdFile(f, b.kind)
}

func freebsdFile(f *freebsd.DiskFile, kind Kind) Module {
	m := Module{
		ID: string(kind) + ":" + f.Name(), Kind: kind, Name: f.Name(), State: StateInstalled, Path: f.Path,
		Origin: freebsdOrigin(f.Path, "", freebsd.SourceModulePath), FreeBSD: &freebsd.File{Pathname: f.Path},
	}
	if f.Err != nil {
		m.Problems = append(m.Problems, problemOf(freebsd.SourceModulePath, f.Name(), "freebsd", f.Err))
	}
	if f.Metadata == nil {
		return m
	}
	m.Size, m.ContentID = CountOf(f.Size), f.BuildID
	addFreeBSDFile(&m, f)
	return m
}

// file reads one file of the machine.
func (b *freebsdBackend) file(_ context.Context, path string) ([]Module, error) {
	f := freebsd.ReadDisk(b.guard, path, b.maxFile())
	if f.Err != nil {
		return nil, f.Err
	}
	return []Module{b.fileModule(&f)}, nil
}

// resolve returns the files that a name or a device stands for. What is compiled into the kernel
// is a module of the kernel's own.
func (b *freebsdBackend) resolve(ctx context.Context, alias string) ([]Module, error) {
	lib, err := b.files(ctx)
	if err != nil {
		return nil, err
	}
	modules := []Module{}
	for _, f := range meant(lib, alias) {
		if f != lib.Kernel {
			modules = append(modules, b.installedModule(lib, f))
			continue
		}
		for _, m := range f.Modules {
			if m.Name == alias || m.Record == alias || freebsd.LastPart(m.Name) == alias {
				modules = append(modules, b.builtinModule(m))
			}
		}
	}
	if !b.image {
		for i := range modules { // whether they are loaded was not looked up
			if modules[i].State != StateBuiltin {
				modules[i].State = ""
			}
		}
	}
	if len(modules) == 0 && len(lib.Problems) > 0 {
		return nil, lib.Problems[0]
	}
	return modules, nil
}

// meant returns the files that a device's text or a name stands for.
func meant(lib *freebsd.Library, alias string) []*freebsd.DiskFile {
	if d, err := freebsd.ParseDevice(alias); err == nil {
		var files []*freebsd.DiskFile
		for _, m := range lib.Match(d) {
			files = append(files, m.File)
		}
		return files
	}
	return lib.Find(strings.TrimPrefix(strings.TrimPrefix(alias, string(KindFreeBSDKld)+":"), string(KindDragonFlyKld)+":"))
}

// loadPlan returns what kldload (for a device, devmatch) would load, what is needed first.
func (b *freebsdBackend) loadPlan(ctx context.Context, query string) ([]Step, error) {
	lib, err := b.files(ctx)
	if err != nil {
		return nil, err
	}
	files := meant(lib, query)
	if len(files) == 0 {
		return nil, fmt.Errorf("no file and no module is called %q: %w", query, fs.ErrNotExist)
	}
	if _, err := freebsd.ParseDevice(query); err != nil {
		files = files[:1] // of one name, the first of the module path
	}
	steps := []Step{}
	done := map[*freebsd.DiskFile]bool{lib.Kernel: true}
	for _, f := range files {
		for _, g := range loadOrder(lib, f, done) {
			s := Step{Module: string(b.kind) + ":" + g.Name(), Path: g.Path}
			if g != f {
				s.Reason = "depends"
			}
			steps = append(steps, s)
		}
	}
	return steps, nil
}

// loadOrder returns f and what it needs, needs first, without what is done already. Files that
// need each other are in the order in which they are met.
func loadOrder(lib *freebsd.Library, f *freebsd.DiskFile, done map[*freebsd.DiskFile]bool) []*freebsd.DiskFile {
	var out []*freebsd.DiskFile
	type visit struct {
		file  *freebsd.DiskFile
		needs []*freebsd.DiskFile
	}
	var stack []visit
	push := func(f *freebsd.DiskFile) {
		if !done[f] {
			done[f] = true
			needs, _ := lib.Requires(f)
			stack = append(stack, visit{f, needs})
		}
	}
	push(f)
	for len(stack) > 0 {
		top := &stack[len(stack)-1]
		if len(top.needs) == 0 {
			out = append(out, top.file)
			stack = stack[:len(stack)-1]
			continue
		}
		next := top.needs[0]
		top.needs = top.needs[1:]
		push(next)
	}
	return out
}

// policy reads what is enforced on loading.
func (b *freebsdBackend) policy(ctx context.Context, r *report) (*Policy, error) {
	var lock *freebsd.Lock
	if !b.image {
		l := freebsd.ReadLock(ctx, b.call())
		lock = &l
	}
	p := freebsd.Policy(lock, b.conf(ctx))
	r.policy(p)
	return p, ctx.Err()
}

// check answers whether what the query means is, or can get, in the kernel.
func (b *freebsdBackend) check(ctx context.Context, query string) ([]Verdict, error) {
	s, err := b.situation(ctx)
	if err != nil {
		return nil, err
	}
	name := strings.TrimPrefix(strings.TrimPrefix(query, string(KindFreeBSDKld)+":"), string(KindDragonFlyKld)+":")
	findings := s.Check(name)
	out := make([]Verdict, len(findings))
	for i, f := range findings {
		out[i] = f.Verdict
		out[i].Query = query
		if f.Name != "" {
			out[i].Module = string(b.kind) + ":" + f.Name
		}
	}
	return out, nil
}

func (b *freebsdBackend) situation(ctx context.Context) (*freebsd.Situation, error) {
	lib, err := b.files(ctx)
	if err != nil {
		return nil, err
	}
	s := &freebsd.Situation{Live: !b.image, Library: lib, Config: b.conf(ctx)}
	if b.image {
		if lib.Kernel != nil && lib.Kernel.Metadata != nil {
			s.OSRelDate = kernelRelease(lib.Kernel)
		}
		return s, ctx.Err()
	}
	list, err := b.list(ctx)
	if err != nil {
		s.LoadedErr = err
	} else {
		s.Loaded, s.LoadedErr = list.Files, list.Partial
	}
	if text, err := b.call().Text(ctx, freebsd.SysctlPreloaded); err == nil {
		s.Preloads, _ = freebsd.ParsePreloads(text)
	}
	s.Lock = freebsd.ReadLock(ctx, b.call())
	if text, err := b.guard.Call(ctx, freebsd.OpUname); err == nil {
		s.Release = freebsd.ParseUname(text).Release
	}
	s.OSRelDate, _ = b.call().Int(ctx, freebsd.SysctlOSRelDate)
	return s, ctx.Err()
}

// kernelRelease is the release number that a kernel's file gives itself.
func kernelRelease(k *freebsd.DiskFile) int64 {
	for _, v := range k.Versions {
		if v.Name == "kernel" {
			return int64(v.Version)
		}
	}
	return 0
}

// machineTime is the machine's time; zero when it is not known.
func (b *freebsdBackend) machineTime(ctx context.Context) time.Time {
	text, err := b.guard.Call(ctx, freebsd.OpClock)
	if err != nil {
		return time.Time{}
	}
	t, _ := time.Parse(time.RFC3339Nano, strings.TrimSpace(string(text)))
	return t
}
