// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"cmp"
	"context"
	"errors"
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
	slices.SortStableFunc(records, func(a, b Record) int { return cmp.Compare(a.Path, b.Path) })
	return records, nil
}

// listedFiles returns the files of the module path, with their metadata if DetailFiles asks for it.
func (k *Kernel) listedFiles(ctx context.Context) (*library, error) {
	if k.options.Asks(fact.DetailFiles) {
		return k.files(ctx)
	}
	lib := newLibrary(nil, nil)
	walkDirs(ctx, k.machine, k.dirs(ctx), &lib.report, func(path string) bool {
		lib.Files = append(lib.Files, diskFile{Path: path})
		return ctx.Err() == nil
	})
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
		k.config = readConfig(ctx, k.machine)
	}
	return k.config
}

// dirs returns the directories that the kernel loads from: those it says itself, else those that the configuration
// gives it.
func (k *Kernel) dirs(ctx context.Context) []string {
	if !k.options.Image {
		if text, err := k.call().text(ctx, sysctlModulePath); err == nil {
			return splitModulePath(text)
		}
	}
	return k.conf(ctx).modulePath()
}

// kernelFile returns the path of the kernel's own file.
func (k *Kernel) kernelFile(ctx context.Context) string {
	if !k.options.Image {
		if file, err := k.call().text(ctx, sysctlBootFile); err == nil && strings.HasPrefix(file, "/") {
			return file
		}
	}
	return k.conf(ctx).modulePath()[0] + "/kernel"
}

// files returns every file on disk with its metadata, and the kernel's, read once.
func (k *Kernel) files(ctx context.Context) (*library, error) {
	dirs, kernel := k.dirs(ctx), k.kernelFile(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.library != nil {
		return k.library, nil
	}
	lib := readLibrary(ctx, k.machine, dirs, kernel, k.options.FileCap())
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	k.library = lib
	return lib, nil
}

// File reads one file of the machine by its absolute path there.
func (k *Kernel) File(_ context.Context, path string, _ *fact.Report) ([]Record, error) {
	f := diskFile{Path: path}
	var err error
	if f.metadata, err = readDisk(k.machine, path, k.options.FileCap(), &f.report); err != nil {
		return nil, err
	}
	return []Record{fileRecord(&f, k.kind)}, nil
}

// ReadFile reads a .ko file, or a kernel, by itself. ok is false for a file that is not of FreeBSD. head is the
// file's beginning, nil for a folder.
func ReadFile(
	_ context.Context, fsys fs.FS, name string, head []byte, o fact.Options,
) (m []Record, ok bool, err error) {
	if !strings.HasPrefix(string(head), "\x7fELF") {
		return nil, false, nil
	}
	f := diskFile{Path: name}
	if f.metadata, err = readMetadata(fsys, name, o.FileCap(), &f.report); err != nil {
		return nil, false, nil // whoever else may know it says what is wrong with it
	}
	return []Record{fileRecord(&f, fact.KindFreeBSDKld)}, true, nil
}
