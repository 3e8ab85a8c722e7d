// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
)

// Installed yields the files of the module path, sorted by path. Without DetailFiles it lists directories only, and
// takes what linker.hints says of the files.
func (k *Kernel) Installed(ctx context.Context, r *fact.Report) iter.Seq2[Record, error] {
	return sequence(func() ([]Record, error) { return k.installed(ctx, r) })
}

func (k *Kernel) installed(ctx context.Context, r *fact.Report) ([]Record, error) {
	lib, err := k.listedFiles(ctx)
	if err == nil {
		err = lib.err()
	}
	if err != nil {
		return nil, err
	}
	records := k.installedRecords(lib)
	outcome := fact.OutcomeOK
	if err := k.kernelErr(ctx); err != nil {
		if len(records) == 0 && len(lib.report.Problems) == 0 {
			return nil, err
		}
		outcome = fact.OutcomePartial
		r.Problem(SourceModulePath, "", "modules", err)
	}
	for _, p := range lib.report.Problems {
		outcome = fact.OutcomePartial
		r.Add(p)
	}
	for i := range lib.Files {
		if lib.Files[i].unread != nil {
			outcome = fact.OutcomePartial
		}
	}
	r.Source(SourceModulePath, outcome, fact.CountOf(int64(len(records))), nil)
	k.addHints(ctx, records, r)
	if k.options.Asks(fact.DetailFiles) {
		k.addPackages(ctx, records, r)
	}
	k.addHashes(ctx, records, r.Budget)
	slices.SortStableFunc(records, func(a, b Record) int { return cmp.Compare(a.Path, b.Path) })
	return records, nil
}

// listedFiles returns the files of the module path, with their metadata if DetailFiles asks for it.
func (k *Kernel) listedFiles(ctx context.Context) (*library, error) {
	if k.options.Asks(fact.DetailFiles) {
		return k.files(ctx)
	}
	if err := k.chosen(ctx); err != nil {
		return nil, err
	}
	lib := newLibrary(nil, nil)
	walkDirs(ctx, k.machine, k.dirs(ctx), &lib.report, func(path string) bool {
		lib.Files = append(lib.Files, diskFile{Path: path})
		return ctx.Err() == nil
	})
	for _, p := range k.aside(ctx) {
		if p = existing(k.machine, p); p != "" {
			lib.Files = append(lib.Files, diskFile{Path: p, aside: true})
		}
	}
	lib.index()
	return lib, ctx.Err()
}

// installedRecords returns the files as records, with the relations between them if they were read.
func (k *Kernel) installedRecords(lib *library) []Record {
	records := make([]Record, len(lib.Files))
	index := map[*diskFile]int{}
	for i := range lib.Files {
		records[i] = fileRecord(&lib.Files[i], k.kind)
		index[&lib.Files[i]] = i
	}
	whole := len(lib.report.Problems) == 0
	for i := range lib.Files {
		f := &lib.Files[i]
		if f.metadata == nil {
			whole = false
			continue
		}
		for _, n := range addRequires(&records[i], lib, f) {
			if j, ok := index[n]; ok {
				records[j].UsedBy = append(records[j].UsedBy, records[i].Name)
			}
		}
	}
	knowUsers(records, whole)
	return records
}

// addHints gives the files that were not opened the interfaces that linker.hints lists for them.
func (k *Kernel) addHints(ctx context.Context, records []Record, r *fact.Report) {
	if k.options.Asks(fact.DetailFiles) {
		r.Skip(SourceHints)
		return
	}
	versions := map[string][]Version{}
	outcome, n := fact.OutcomeAbsent, 0
	for _, dir := range k.dirs(ctx) {
		h, err := readHints(k.machine, dir, r)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		outcome = fact.OutcomeOK
		if err != nil {
			r.Problem(SourceHints, dir, "freebsd.versions", err)
			continue
		}
		n += len(h.Modules) + len(h.Versions) + len(h.PNP)
		for _, v := range h.Versions {
			file := strings.TrimSuffix(dir, "/") + "/" + v.File
			versions[file] = append(versions[file], Version{Name: v.Name, Version: v.Version})
		}
	}
	for i := range records {
		records[i].Own.Versions = versions[records[i].Path]
	}
	if outcome == fact.OutcomeOK && r.Count(SourceHints) > 0 {
		outcome = fact.OutcomePartial
	}
	r.Source(SourceHints, outcome, fact.CountOf(int64(n)), nil)
}

// conf returns the machine's configuration, read once.
func (k *Kernel) conf(ctx context.Context) *config {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.config == nil {
		k.config = readConfig(ctx, k.machine, k.layout == layoutDragonFly)
	}
	return k.config
}

// dirs returns the directories that the kernel loads from: those it says itself, else those that the configuration
// gives it.
func (k *Kernel) dirs(ctx context.Context) []string {
	if !k.options.Image && k.options.Kernel == "" {
		if text, err := k.call().text(ctx, sysctlModulePath); err == nil {
			return splitModulePath(text)
		}
	}
	return k.conf(ctx).modulePath(k.kernelDir(ctx))
}

// aside returns the paths outside of the module path that the configuration names.
func (k *Kernel) aside(ctx context.Context) []string { return k.conf(ctx).aside(k.dirs(ctx)) }

// kernelFile returns the path of the kernel's own file.
func (k *Kernel) kernelFile(ctx context.Context) string {
	if !k.options.Image && k.options.Kernel == "" {
		if file, err := k.call().text(ctx, sysctlBootFile); err == nil && strings.HasPrefix(file, "/") {
			return file
		}
	}
	return kernelIn(k.machine, k.conf(ctx).modulePath(k.kernelDir(ctx))[0])
}

// kernelDir returns the name of the directory of the kernel in question: the one that was asked for, else the one that
// loader.conf boots. If that one has no kernel and only one other has, it is that.
func (k *Kernel) kernelDir(ctx context.Context) string {
	if k.options.Kernel != "" && k.options.Kernel != fact.KernelAll {
		return k.options.Kernel
	}
	name := k.conf(ctx).kernelName()
	if !hasKernel(k.machine, k.conf(ctx).modulePath(name)[0]) {
		if others := kernels(k.machine); len(others) == 1 {
			return others[0]
		}
	}
	return name
}

// kernelIn returns the path of the kernel in a directory: "kernel", or its compressed file if only that is there.
func kernelIn(fsys fs.FS, dir string) string {
	file := dir + "/" + kernelName
	for _, suffix := range append([]string{""}, suffixes...) {
		if _, err := fs.Stat(fsys, slashPath(file+suffix)); !errors.Is(err, fs.ErrNotExist) {
			return file + suffix
		}
	}
	return file
}

// hasKernel reports whether a directory has a kernel. One that cannot be looked into may have.
func hasKernel(fsys fs.FS, dir string) bool {
	_, err := fs.Stat(fsys, slashPath(kernelIn(fsys, dir)))
	return !errors.Is(err, fs.ErrNotExist)
}

// bootless reports whether the machine is an image without a kernel: what its /boot lacks may be on another disk.
func (k *Kernel) bootless(ctx context.Context) bool {
	return k.options.Image && len(kernels(k.machine)) == 0 && !hasKernel(k.machine, dirOf(k.kernelFile(ctx)))
}

// kernelErr returns why the modules of the kernel that boots are not all in the module path of an image; nil if its
// kernel is there. With a kernel in another directory loader(8) may start that one, whose modules are beside it.
func (k *Kernel) kernelErr(ctx context.Context) error {
	dir := dirOf(k.kernelFile(ctx))
	switch {
	case k.bootless(ctx):
		return k.noKernel()
	case k.options.Image && !hasKernel(k.machine, dir):
		return fmt.Errorf("%s has no kernel: another one below /boot may start, with its own modules: %w", dir,
			fs.ErrNotExist)
	}
	return nil
}

// noKernel is why nobody can list all modules of a root without a kernel.
func (k *Kernel) noKernel() error {
	return fmt.Errorf("this root has no kernel (no kernel's directory below %s): it is a jail's, "+
		"or its /boot is on a disk of its own: %w", fact.PathAt(k.options.Root, "boot"), fs.ErrNotExist)
}

// kernels returns the names of the directories in /boot that have a kernel, sorted.
func kernels(fsys fs.ReadDirFS) []string {
	entries, err := fsys.ReadDir("boot")
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		if e.Type()&^fs.ModeSymlink == fs.ModeDir && hasKernel(fsys, "/boot/"+e.Name()) {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names
}

// chosen returns an error if the kernel that was asked for is not there.
func (k *Kernel) chosen(ctx context.Context) error {
	name := k.options.Kernel
	if name == "" || name == fact.KernelAll {
		return nil
	}
	if dir := k.conf(ctx).modulePath(name)[0]; !hasKernel(k.machine, dir) {
		return &fs.PathError{Op: "open", Path: dir + "/" + kernelName, Err: fs.ErrNotExist}
	}
	return nil
}

// files returns every file on disk with its metadata, and the kernel's, read once.
func (k *Kernel) files(ctx context.Context) (*library, error) {
	if err := k.chosen(ctx); err != nil {
		return nil, err
	}
	dirs, kernel, aside := k.dirs(ctx), k.kernelFile(ctx), k.aside(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.library != nil {
		return k.library, nil
	}
	lib := readLibrary(ctx, k.machine, dirs, aside, kernel, k.options.FileCap())
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	k.library = lib
	return lib, nil
}

// File reads one file of the machine by its absolute path there.
func (k *Kernel) File(_ context.Context, path string, r *fact.Report) ([]Record, error) {
	f := diskFile{Path: path, report: fact.Report{Budget: r.Budget}}
	var err error
	if f.metadata, err = readDisk(k.machine, path, k.options.FileCap(), &f.report); err != nil {
		return nil, err
	}
	m := fileRecord(&f, k.kind)
	addHash(k.machine, &m, slashPath(path), k.options, r.Budget)
	return []Record{m}, nil
}

// ReadFile reads a .ko file, or a kernel, by itself, within r's budget. ok is false for a file that is not of FreeBSD.
// head is the file's beginning, nil for a folder.
func ReadFile(
	_ context.Context, fsys fs.FS, name string, head []byte, o fact.Options, r *fact.Report,
) (m []Record, ok bool, err error) {
	packed := strings.HasPrefix(string(head), "\x1f\x8b") || strings.HasPrefix(string(head), "BZh")
	packed = packed && uncompressed(name) != name
	if !packed && !strings.HasPrefix(string(head), "\x7fELF") {
		return nil, false, nil
	}
	read := readMetadata
	if packed {
		read = readCompressed
	}
	f := diskFile{Path: name, report: *r.Part()}
	if f.metadata, err = read(fsys, name, o.FileCap(), &f.report); errors.Is(err, fact.ErrBudget) {
		return nil, true, err
	} else if err != nil {
		return nil, false, nil // whoever else may know it says what is wrong with it
	}
	one := fileRecord(&f, fact.KindFreeBSDKld)
	addHash(fsys, &one, name, o, r.Budget)
	return []Record{one}, true, nil
}
