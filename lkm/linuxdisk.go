// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/linux"
	"github.com/kernelext/kernelext/linux/ko"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// linuxDisk is what a Linux backend keeps of the machine's disk.
type linuxDisk struct {
	mu       sync.Mutex
	release  string // the running kernel's, once asked
	trees    map[string]*modprobe.Tree
	firmware map[string]*linux.FirmwareFinder
	owners   map[string]*linux.Owners
	keys     *ko.Keys
	cache    ko.Cache
}

func (b *linuxBackend) refresh() {
	b.mu.Lock()
	b.dropSeq()
	b.mu.Unlock()
	d := &b.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	d.release, d.trees, d.firmware, d.owners = "", nil, nil, nil
	d.cache.Clear()
}

// image reports whether the machine runs no kernel.
func (b *linuxBackend) image() bool { return b.options.Root != "" && !b.options.Live }

// runningRelease is the release of the kernel that runs.
func (b *linuxBackend) runningRelease(ctx context.Context) (string, error) {
	b.disk.mu.Lock()
	defer b.disk.mu.Unlock()
	if b.disk.release != "" {
		return b.disk.release, nil
	}
	uname, err := b.guard.Call(ctx, linux.OpUname)
	if err != nil {
		return "", err
	}
	release := linux.ParseKeys(uname)["release"]
	if release == "" {
		return "", &ParseError{Source: linux.OpUname, Field: "release", Reason: "no release"}
	}
	b.disk.release = release
	return release, nil
}

// tree returns the release directory that the options name: that of Kernel, of the running kernel,
// or on an image the only one.
func (b *linuxBackend) tree(ctx context.Context) (*modprobe.Tree, error) {
	release := b.options.Kernel
	if release == "" && !b.image() {
		var err error
		if release, err = b.runningRelease(ctx); err != nil {
			return nil, err
		}
	}
	if release != "" {
		return b.treeOf(ctx, release)
	}
	dirs, err := modprobe.Releases(b.guard, new(fact.Report))
	switch {
	case len(dirs) == 0 && err == nil:
		return nil, fmt.Errorf("no kernel's modules under %s: %w", b.guard.path(modprobe.ModuleRoots[0]), fs.ErrNotExist)
	case len(dirs) == 0:
		return nil, err
	case len(dirs) > 1:
		names := make([]string, len(dirs))
		for i := range dirs {
			names[i] = dirs[i].Release
		}
		return nil, fmt.Errorf("modules of several kernels: name one with Options.Kernel (--kernel): %s", strings.Join(names, ", "))
	}
	return b.treeAt(dirs[0]), nil
}

func (b *linuxBackend) treeOf(ctx context.Context, release string) (*modprobe.Tree, error) {
	b.disk.mu.Lock()
	t := b.disk.trees[release]
	b.disk.mu.Unlock()
	if t != nil {
		return t, nil
	}
	dir, err := b.findRelease(release)
	if errors.Is(err, fs.ErrNotExist) && !b.image() {
		running, runErr := b.runningRelease(ctx)
		var lost fact.Report
		flat, flatErr := modprobe.Releases(b.guard, &lost)
		if flatErr == nil && len(lost.Problems) == 0 && runErr == nil && running == release {
			for _, f := range flat { // Android: no directory bears the release
				if f.Release == "" {
					return b.treeAt(f), nil
				}
			}
		}
	}
	if err != nil {
		return nil, err
	}
	return b.treeAt(dir), nil
}

// findRelease is linux.FindRelease with the path as the machine's user knows it in its error.
func (b *linuxBackend) findRelease(release string) (modprobe.ReleaseDir, error) {
	dir, err := modprobe.FindRelease(b.guard, release)
	return dir, b.guard.named(dir.Dir, err)
}

func (b *linuxBackend) treeAt(dir modprobe.ReleaseDir) *modprobe.Tree {
	b.disk.mu.Lock()
	defer b.disk.mu.Unlock()
	if t := b.disk.trees[dir.Release]; t != nil && t.Dir == dir.Dir {
		return t
	}
	if b.disk.trees == nil {
		b.disk.trees = make(map[string]*modprobe.Tree)
	}
	t := modprobe.OpenTree(b.guard, dir, !b.image())
	b.disk.trees[dir.Release] = t
	return t
}

// fileKeys makes the keys to verify with, once.
func (b *linuxBackend) fileKeys() *ko.Keys {
	b.disk.mu.Lock()
	defer b.disk.mu.Unlock()
	if b.disk.keys == nil {
		b.disk.keys = ko.NewKeys(b.options.Keys)
	}
	return b.disk.keys
}

// owners reads which package and which DKMS build files are of, once a release.
func (b *linuxBackend) owners(release string) *linux.Owners {
	b.disk.mu.Lock()
	defer b.disk.mu.Unlock()
	if o := b.disk.owners[release]; o != nil {
		return o
	}
	if b.disk.owners == nil {
		b.disk.owners = make(map[string]*linux.Owners)
	}
	o := linux.ReadOwners(b.guard, release)
	b.disk.owners[release] = o
	return o
}

func (b *linuxBackend) firmwareOf(release string) *linux.FirmwareFinder {
	b.disk.mu.Lock()
	defer b.disk.mu.Unlock()
	if f := b.disk.firmware[release]; f != nil {
		return f
	}
	if b.disk.firmware == nil {
		b.disk.firmware = make(map[string]*linux.FirmwareFinder)
	}
	f := linux.NewFirmwareFinder(b.guard, release, !b.image())
	b.disk.firmware[release] = f
	return f
}

// reads reports whether the file of m is to be read, when files are.
func (o *Options) reads(m *Module) bool { return o.Only == nil || o.Only(m) }

// fileDetail are the details for which module files are opened.
const fileDetail = DetailFiles | DetailHashes | DetailSignatures | DetailSymbols

func linuxFileOptions(o *Options, keys *ko.Keys) ko.Options {
	return ko.Options{
		Signature: o.Detail&DetailSignatures != 0,
		Symbols:   o.Detail&DetailSymbols != 0,
		Hash:      o.Detail&DetailHashes != 0,
		Keys:      keys,
		MaxFile:   o.MaxFile,
	}
}

// A linuxDescriber fills in modules from their files. It is for one goroutine.
type linuxDescriber struct {
	b        *linuxBackend
	tree     *modprobe.Tree
	reader   *ko.Reader
	options  ko.Options
	firmware *linux.FirmwareFinder
	owners   *linux.Owners
}

func (b *linuxBackend) describer(t *modprobe.Tree) *linuxDescriber {
	options := linuxFileOptions(&b.options, b.fileKeys())
	options.Root = cmp.Or(b.guard.prefix, "/")
	return &linuxDescriber{
		b: b, tree: t, reader: ko.NewReader(), options: options,
		firmware: b.firmwareOf(t.Release), owners: b.owners(t.Release),
	}
}

// reportLost says once what every description of a module's file lacks: packages that could not be
// read, and keys that cannot be used.
func (b *linuxBackend) reportLost(t *modprobe.Tree, r *report) {
	for _, err := range b.owners(t.Release).Lost {
		r.problem(linux.SourcePackages, "", "origin", err)
	}
	if b.options.Detail&DetailSignatures == 0 {
		return
	}
	for _, p := range keyProblems(b.fileKeys(), "") {
		r.add(p)
	}
}

// describe adds to m what its file says, a path relative to the release directory.
func (d *linuxDescriber) describe(m *Module, file string) ko.File {
	name := d.tree.Path(file)
	var lost fact.Report
	f, err := d.b.disk.cache.ReadFile(d.reader, d.b.guard, name, d.options, &lost)
	addLinuxFile(m, &f, d.tree.Release, &lost, err)
	m.Linux.File = file
	if err != nil {
		return f
	}
	d.place(m, file, name)
	return f
}

// place adds what the machine says of a file that lies in a release directory: which firmware it has,
// and whose the file is.
func (d *linuxDescriber) place(m *Module, file, name string) {
	for i := range m.Linux.Firmware {
		m.Linux.Firmware[i].Present = d.firmware.Present(m.Linux.Firmware[i].Name)
	}
	origin := d.owners.Origin(m.Linux, m.Name, file, name)
	if m.Origin.Class == "" {
		m.Origin.Class = origin.Class
	}
	m.Origin.Evidence = append(m.Origin.Evidence[:len(m.Origin.Evidence):len(m.Origin.Evidence)], origin.Evidence...)
}

// addLinuxFile adds to m what a file says; lost and err are what of it could not be read.
func addLinuxFile(m *Module, f *ko.File, release string, lost *fact.Report, err error) {
	if m.Linux == nil {
		m.Linux = new(linux.Module)
	}
	linux.DescribeFile(f, m.Linux, release)
	if f.Size == 0 && err != nil {
		m.Linux.FileSize = Count{}
	}
	if err != nil {
		m.Problems = append(m.Problems, problemOf(linux.SourceTree, m.Name, "", err))
		return
	}
	for _, p := range lost.Problems {
		m.Problems = append(m.Problems, problemOf(linux.SourceTree, m.Name, "", p))
	}
	m.Version, m.Description = m.Linux.Version, f.Modinfo.Get("description")
	evidence := m.Signature.Evidence
	if f.Verdict.Status != "" {
		m.Signature = f.Verdict
		m.Signature.Evidence = evidence
	}
}

func newLinuxModule(name string, state State) Module {
	return Module{ID: string(KindLinuxModule) + ":" + name, Kind: KindLinuxModule, Name: name, State: state}
}

// installed walks the release directory, and opens the files when they are asked for.
func (b *linuxBackend) installed(ctx context.Context, r *report) iter.Seq2[Module, error] {
	return func(yield func(Module, error) bool) {
		r.overBudget(b.options.Deadline) // the time runs from here on
		t, err := b.tree(ctx)
		if err != nil {
			r.source(linux.SourceTree, "", Count{}, err)
			yield(Module{}, err)
			return
		}
		inv, err := t.Inventory(&r.Report)
		if err != nil {
			r.source(linux.SourceTree, "", Count{}, err)
			yield(Module{}, err)
			return
		}
		outcome := OutcomeOK
		if !inv.Whole {
			outcome = OutcomePartial
		}
		if b.options.Detail&fileDetail != 0 {
			b.reportLost(t, r)
		}
		work := b.installedModules(ctx, t, inv.Modules)
		n, bad := int64(0), false
		newer, anyNewer := 0, ""
		for f := range work {
			m := f.Module
			if !inv.Written.IsZero() && f.changed.Sub(inv.Written) > timeGrain {
				newer, anyNewer = newer+1, m.Linux.File
			}
			if err := ctx.Err(); err != nil {
				yield(Module{}, err)
				return
			}
			if r.overBudget(b.options.Deadline) {
				r.add(Problem{Source: linux.SourceTree, Field: "modules", Code: CodeBudget,
					Text: fmt.Sprintf("%d of %d modules read in %v, the rest left out", n, len(inv.Modules), b.options.Deadline)})
				r.source(linux.SourceTree, OutcomePartial, CountOf(n), ErrBudget)
				return
			}
			n++
			bad = bad || len(m.Problems) > 0
			if !yield(m, nil) {
				return
			}
		}
		if err := ctx.Err(); err != nil {
			yield(Module{}, err)
			return
		}
		if newer > 0 {
			r.add(Problem{Source: linux.SourceTree, Field: "modules", Code: CodeOther,
				Text: fmt.Sprintf("%d module files are newer than modules.dep, such as %s: run depmod", newer, anyNewer)})
		}
		if bad {
			outcome = OutcomePartial
		}
		r.source(linux.SourceTree, outcome, CountOf(n), nil)
	}
}

// timeGrain is how coarse a file system's times may be.
const timeGrain = 2 * time.Second

// A foundModule is a module on disk, and when its file was last changed, if it was looked at.
type foundModule struct {
	Module
	changed time.Time
}

// installedModules makes the modules of an inventory in order, with as many workers as the options
// say. Without a detail that wants the files read, each is only glanced at.
func (b *linuxBackend) installedModules(ctx context.Context, t *modprobe.Tree, list []modprobe.Module) iter.Seq[foundModule] {
	return ordered(ctx, max(b.options.Workers, 1), len(list), func() func(int) foundModule {
		if b.options.Detail&fileDetail == 0 {
			reader := ko.NewReader()
			return func(i int) foundModule { return b.glance(reader, t, &list[i]) }
		}
		d := b.describer(t)
		return func(i int) foundModule {
			m := installedModule(t, &list[i])
			if !b.options.reads(&m) {
				return b.glance(d.reader, t, &list[i])
			}
			f := d.describe(&m, list[i].Path)
			if f.Size > 0 {
				m.Size = CountOf(f.Size)
			}
			m.ContentID = f.BuildID
			return foundModule{m, f.ModTime}
		}
	})
}

// glance adds the file's size and container, and whether it can be whole. What cannot be looked at
// is no problem: nobody asked for the file.
func (b *linuxBackend) glance(r *ko.Reader, t *modprobe.Tree, tm *modprobe.Module) foundModule {
	m := installedModule(t, tm)
	name := t.Path(tm.Path)
	f, err := r.Glance(b.guard, name, b.options.MaxFile)
	err = b.guard.named(name, err)
	if errors.Is(err, ErrMalformed) || errors.Is(err, ErrTooLarge) {
		m.Problems = append(m.Problems, problemOf(linux.SourceTree, m.Name, "", err))
	}
	if !f.ModTime.IsZero() {
		m.Size, m.Linux.FileSize = CountOf(f.Size), CountOf(f.Size)
		m.Linux.Compression = f.Compression
	}
	return foundModule{m, f.ModTime}
}

// installedModule is what directories and indexes say of a module.
func installedModule(t *modprobe.Tree, tm *modprobe.Module) Module {
	m := newLinuxModule(tm.Name, StateInstalled)
	m.Path = "/" + t.Path(tm.Path)
	m.Requires, m.UsedBy = tm.Needs, tm.UsedBy
	m.Linux = &linux.Module{Release: t.Release, File: tm.Path, Order: tm.Order, Candidates: tm.Candidates}
	return m
}

// ordered computes n results with several workers and gives them in order. At most a few results
// for each worker wait; no goroutine outlives the loop.
func ordered[T any](ctx context.Context, workers, n int, worker func() func(int) T) iter.Seq[T] {
	if workers <= 1 {
		return func(yield func(T) bool) {
			f := worker()
			for i := 0; i < n && ctx.Err() == nil; i++ {
				if !yield(f(i)) {
					return
				}
			}
		}
	}
	return func(yield func(T) bool) {
		const batch = 8 // so that the workers meet seldom
		type job struct {
			from int
			done chan []T
		}
		jobs := make(chan job)
		queue := make(chan job, 4*workers)
		stop := make(chan struct{})
		var wg sync.WaitGroup
		defer wg.Wait()
		defer close(stop)
		for range workers {
			wg.Go(func() {
				f := worker()
				for j := range jobs {
					out := make([]T, 0, batch)
					for i := j.from; i < min(j.from+batch, n) && ctx.Err() == nil; i++ {
						out = append(out, f(i))
					}
					j.done <- out
				}
			})
		}
		wg.Go(func() {
			defer close(jobs)
			defer close(queue)
			for i := 0; i < n && ctx.Err() == nil; i += batch {
				j := job{i, make(chan []T, 1)}
				select {
				case queue <- j:
				case <-stop:
					return
				}
				select {
				case jobs <- j:
				case <-stop:
					j.done <- nil
					return
				}
			}
		})
		for j := range queue {
			for _, v := range <-j.done {
				if !yield(v) {
					return
				}
			}
		}
	}
}

// file reads one file of the machine by its path there. Of one in a release directory it says what
// Installed says.
func (b *linuxBackend) file(ctx context.Context, name string) ([]Module, error) {
	rel := strings.TrimPrefix(path.Clean("/"+name), "/")
	o := linuxFileOptions(&b.options, b.fileKeys())
	var lost fact.Report
	f, err := ko.NewReader().ReadFile(b.guard, rel, o, &lost)
	if err != nil {
		return nil, b.guard.named(rel, err)
	}
	release, file := linux.InRelease(rel)
	m := linuxFileModule(&f, "/"+rel, cmp.Or(release, b.options.Kernel), &lost)
	if file != "" {
		b.placeFile(&m, release, file, rel)
	}
	m.addKeyProblems(&o)
	return []Module{m}, nil
}

// placeFile adds to a file by itself what Installed says beyond its content.
func (b *linuxBackend) placeFile(m *Module, release, file, name string) {
	d := &linuxDescriber{b: b, firmware: b.firmwareOf(release), owners: b.owners(release)}
	m.Linux.File, m.Origin = file, Origin{}
	d.place(m, file, name)
	for _, err := range d.owners.Lost {
		m.Problems = append(m.Problems, problemOf(linux.SourcePackages, m.Name, "origin", err))
	}
}

// addKeyProblems says of a module by itself which keys could not be used, if they were to be.
func (m *Module) addKeyProblems(o *ko.Options) {
	if o.Signature {
		m.Problems = append(m.Problems, keyProblems(o.Keys, m.Name)...)
	}
}

// keyProblems says which keys could not be used, as problems of the signature of a module, or of all.
func keyProblems(keys *ko.Keys, module string) []Problem {
	var lost fact.Report
	keys.Report(&lost)
	for i, p := range lost.Problems {
		lost.Problems[i] = problemOf(linux.SourceTree, module, "signature", p)
	}
	return lost.Problems
}

// readLinuxFile reads a module file by itself.
func readLinuxFile(fsys fs.FS, name string, o Options) ([]Module, error) {
	options := linuxFileOptions(&o, ko.NewKeys(o.Keys))
	var lost fact.Report
	f, err := ko.NewReader().ReadFile(fsys, name, options, &lost)
	if err != nil {
		return nil, err
	}
	m := linuxFileModule(&f, name, o.Kernel, &lost)
	m.addKeyProblems(&options)
	return []Module{m}, nil
}

// linuxFileModule is what a file by itself says: that it is the system's it cannot say.
func linuxFileModule(f *ko.File, name, release string, lost *fact.Report) Module {
	m := newLinuxModule(f.Name, StateInstalled)
	addLinuxFile(&m, f, release, lost, nil)
	m.Path, m.Size, m.ContentID = name, CountOf(f.Size), f.BuildID
	var none *linux.Owners
	m.Origin = none.Origin(m.Linux, m.Name, "", name)
	return m
}
