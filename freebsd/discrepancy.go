// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/pkgdb"
)

// The kinds of discrepancies. None of them sees a kld that is out of the kernel's list of files: its calls, and
// kern.function_list too, walk that list alone.
const (
	KindUnchecked  = "unchecked"         // views that could not be compared: no finding
	KindUnlisted   = "unlisted_file"     // kldstat(2) knows an id that kldnext(2) leaves out
	KindNoFile     = "no_file"           // a loaded file is not on disk where it was loaded from
	KindUndeclared = "undeclared_module" // a loaded file has a module that its file on disk does not declare
	KindUnloaded   = "preloaded_gone"    // the boot loader loaded a file that is not listed
	KindNotLoaded  = "asked_not_loaded"  // the boot asks for a file that is there and not loaded
	KindNotAsked   = "loaded_not_asked"  // a file is loaded, and nothing that was read loads it at boot
	KindUnowned    = "unowned_file"      // a file that no package owns
	KindChanged    = pkgdb.KindChanged   // a file is not the one that its package brought; Detail Hashes
	KindMissing    = pkgdb.KindMissing   // a package has a kld that is not there; Detail Hashes
	KindOtherMinor = "built_for_other"   // a file was built for another release than this kernel, in range
	SourcePackages = "packages"          // the database of pkg(8)
	moreIDs        = 64                  // ids after the highest that are asked for
)

// Discrepancies compares what the kernel says of its files with itself, with the disk, with what the boot asks for and
// with the packages. What was not compared comes first.
func (k *Kernel) Discrepancies(ctx context.Context, r *fact.Report) ([]fact.Discrepancy, error) {
	d := &differ{kernel: k, unchecked: fact.Discrepancy{
		Name: "kernel", Kind: KindUnchecked, Grade: fact.GradeTransient, Views: map[string]fact.View{}}}
	files, err := k.walk(ctx)
	if files == nil {
		return nil, err
	}
	d.listed = cmp.Or(err, unnamed(files))
	if d.listed != nil {
		d.skip(SourceKldstat, d.listed)
	}
	c, err := k.checker(ctx, r)
	if err != nil {
		return nil, err
	}
	d.hidden(ctx, files)
	d.disk(files, r)
	d.preloaded(ctx, files, r)
	d.asked(c, files)
	d.files(ctx, c)
	return d.all(), ctx.Err()
}

// FileDiscrepancies compares an image's files with its packages and with its kernel.
func (k *Kernel) FileDiscrepancies(ctx context.Context, r *fact.Report) ([]fact.Discrepancy, error) {
	d := &differ{kernel: k, unchecked: fact.Discrepancy{
		Name: "kernel", Kind: KindUnchecked, Grade: fact.GradeTransient, Views: map[string]fact.View{}}}
	d.skip(SourceKldstat, fmt.Errorf("an image runs no kernel, only its files are compared: %w", errors.ErrUnsupported))
	c, err := k.checker(ctx, r)
	if err != nil {
		return nil, err
	}
	d.files(ctx, c)
	return d.all(), ctx.Err()
}

// A differ collects discrepancies.
type differ struct {
	kernel    *Kernel
	found     []fact.Discrepancy
	unchecked fact.Discrepancy
	listed    error // why the kernel's list of files is not whole, so that nothing is known to be missing from it
}

// unnamed returns why a file of the list has no name; nil if each has one.
func unnamed(files []loadedFile) error {
	for i := range files {
		if f := &files[i]; f.Name == "" {
			if p, ok := f.report.First(SourceKldstat); ok {
				return p
			}
			return fmt.Errorf("file %d %w: it has no name", f.ID, fact.ErrMalformed)
		}
	}
	return nil
}

// skip notes a view that could not be compared.
func (d *differ) skip(view string, err error) {
	if d.unchecked.Views[view] != "" {
		return
	}
	d.unchecked.Views[view] = fact.ViewUnchecked
	d.unchecked.Evidence = append(d.unchecked.Evidence,
		fact.Evidence{Fact: string(fact.CodeOf(err)), Value: escape.Text(err.Error()), Source: view})
}

func (d *differ) all() []fact.Discrepancy {
	if len(d.unchecked.Views) == 0 {
		return d.found
	}
	return append([]fact.Discrepancy{d.unchecked}, d.found...)
}

// add adds a finding about a file: seen and missing are the sources that show it, and that do not.
func (d *differ) add(name, kind string, grade fact.Grade, seen, missing string, evidence ...fact.Evidence) {
	d.found = append(d.found, fact.Discrepancy{ID: d.kernel.id(name), Name: name, Kind: kind, Grade: grade, Samples: 1,
		Views: map[string]fact.View{seen: fact.ViewSeen, missing: fact.ViewMissing}, Evidence: evidence})
}

// hidden asks kldstat(2) for every id up to some after the highest listed one. An id that answers, and is in no walk
// before and after it, is left out of kldnext(2).
func (d *differ) hidden(ctx context.Context, files []loadedFile) {
	highest := int32(0)
	listed := map[int32]bool{}
	for _, f := range files {
		listed[f.ID], highest = true, max(highest, f.ID)
	}
	w := &walker{call: d.kernel.call(), layout: d.kernel.layout, fileVersion: 2, moduleVersion: 3}
	var odd []fileStat
	for id := int32(1); id <= min(highest, maxFiles)+moreIDs && ctx.Err() == nil; id++ {
		if listed[id] {
			continue
		}
		st, err := w.stat(ctx, int(id))
		switch {
		case err == nil:
			odd = append(odd, st)
		case !errors.Is(err, fact.ErrGone):
			d.skip("kldstat_ids", err)
			return
		}
	}
	if len(odd) == 0 {
		return
	}
	again, err := d.kernel.walk(ctx) // it may have been loaded meanwhile
	if err != nil {
		d.skip("kldstat_ids", err)
		return
	}
	for _, st := range odd {
		if slices.ContainsFunc(again, func(f loadedFile) bool { return f.ID == st.ID }) {
			continue
		}
		if now, err := w.stat(ctx, int(st.ID)); err != nil || now.Name != st.Name {
			continue
		}
		d.add(st.Name, KindUnlisted, fact.GradeStrong, "kldstat_ids", SourceKldstat,
			fact.Evidence{Fact: "id", Value: strconv.Itoa(int(st.ID)), Source: "kldstat_ids"})
	}
}

// disk compares the loaded files with those on disk.
func (d *differ) disk(files []loadedFile, r *fact.Report) {
	for i := range files {
		f := &files[i]
		if !strings.HasPrefix(f.Pathname, "/") {
			continue
		}
		own := r.Part() // of the file alone
		m, err := readDisk(d.kernel.machine, f.Pathname, d.kernel.options.FileCap(), own)
		path := fact.Evidence{Fact: "path", Value: f.Pathname, Source: SourceKldstat}
		switch {
		case errors.Is(err, fs.ErrNotExist):
			d.add(f.Name, KindNoFile, fact.GradeWeak, SourceKldstat, SourceModulePath, path)
		case err != nil:
			d.skip(SourceModulePath, err)
		case len(own.Problems) > 0: // a record that is invalid may be that of the module
			d.skip(SourceModulePath, own.Problems[0])
		case f.ID == 1:
			// The kernel has modules of its own making, too.
		default:
			if names := m.undeclared(f.Modules); len(names) > 0 {
				d.add(f.Name, KindUndeclared, fact.GradeWeak, SourceModstat, SourceModulePath, path,
					fact.Evidence{Fact: "modules", Value: strings.Join(names, " "), Source: SourceModstat})
			}
		}
	}
}

// preloaded compares what the boot loader loaded with what is listed.
func (d *differ) preloaded(ctx context.Context, files []loadedFile, r *fact.Report) {
	preloads, err := d.kernel.preloads(ctx, r)
	if err != nil {
		d.skip(SourcePreloaded, err)
		return
	}
	if d.listed != nil {
		return
	}
	for _, p := range preloads {
		listed := slices.ContainsFunc(files, func(f loadedFile) bool {
			return f.Pathname == p.Name || f.Pathname == "" && f.Name == fileName(p.Name)
		})
		if p.Code() && p.Type != "elf kernel" && !listed {
			d.add(fileName(p.Name), KindUnloaded, fact.GradeWeak, SourcePreloaded, SourceKldstat,
				fact.Evidence{Fact: "path", Value: p.Name, Source: SourcePreloaded})
		}
	}
}

// asked compares what the boot asks for with what is loaded, both ways.
func (d *differ) asked(c *checker, files []loadedFile) {
	wanted := map[string]bool{}
	for i := range c.library.Files {
		f := &c.library.Files[i]
		for _, q := range c.asked[f] {
			if q.answer.Blocked() != fact.No {
				continue
			}
			for _, g := range c.library.loadOrder(f, map[*diskFile]bool{c.library.Kernel: true}) {
				wanted[g.Name()] = true
			}
			if d.listed == nil && c.loadedFile(f.Name()) == nil && c.compiledIn(f) == "" {
				because := q.answer.Because()
				d.add(f.Name(), KindNotLoaded, fact.GradeWeak, q.way, SourceKldstat, fact.Evidence{Fact: "asked",
					Value: fmt.Sprintf("%s:%d", because.File, because.Line), Source: q.way})
			}
		}
	}
	if lost := c.library.report.Problems; len(lost) > 0 { // what is asked for may be there
		d.skip(SourceModulePath, lost[0])
		return
	}
	for _, source := range []string{SourceLoaderConf, SourceRCConf, SourceServices} {
		if p, lost := c.config.lost(source); lost {
			d.skip(source, p)
			return
		}
	}
	if len(c.anything) > 0 {
		d.skip(SourceRCConf, fmt.Errorf("what the boot loads is computed: %w", errors.ErrUnsupported))
		return
	}
	for i := range files {
		f := &files[i]
		disk := c.library.at(f.Pathname)
		if f.ID == 1 || f.Name == "" || wanted[f.Name] || c.preloaded(f) || disk != nil && c.hasDevmatch(disk) {
			continue
		}
		d.add(f.Name, KindNotAsked, fact.GradeWeak, SourceKldstat, SourceRCConf,
			fact.Evidence{Fact: "path", Value: f.Pathname, Source: SourceKldstat})
	}
}

// files compares the files on disk with the packages and with the kernel's release.
func (d *differ) files(ctx context.Context, c *checker) {
	for i := range c.library.Files {
		f := &c.library.Files[i]
		if f.metadata == nil || c.osRelDate == 0 {
			continue
		}
		if n, ok := builtFor(f.Depends); ok && int64(n)/1000 != c.osRelDate/1000 {
			evidence := fact.Evidence{Fact: "builtFor", Value: Release(int64(n)), Source: SourceModulePath}
			d.add(f.Name(), KindOtherMinor, fact.GradeWeak, SourceModulePath, SourceMachine, evidence,
				fact.Evidence{Fact: "kernel", Value: Release(c.osRelDate), Source: SourceMachine})
		}
	}
	d.owners(ctx, c)
}

// owners compares the files on disk with the packages. The system's own files have no owner unless the system itself
// came in packages (pkgbase).
func (d *differ) owners(ctx context.Context, c *checker) {
	var lost fact.Report
	owners := d.kernel.packages(ctx, &lost)
	d.verify(ctx, owners)
	if err := owners.Unsure(SourcePackages, &lost); err != nil {
		d.skip(SourcePackages, err)
		return
	}
	base := false
	for _, o := range owners.Files {
		base = base || o.Base
	}
	for i := range c.library.Files {
		f := &c.library.Files[i]
		if _, owned := owners.Files[strings.TrimPrefix(f.Path, "/")]; owned {
			continue
		}
		if !base && len(c.library.dirs) > 0 && dirOf(f.Path) == "/"+slashPath(c.library.dirs[0])+"/" {
			continue
		}
		d.add(f.Name(), KindUnowned, fact.GradeWeak, SourceModulePath, SourcePackages,
			fact.Evidence{Fact: "path", Value: f.Path, Source: SourceModulePath})
	}
}

// verify compares the klds with what their packages brought, if Detail Hashes asks for it.
func (d *differ) verify(ctx context.Context, owners *pkgdb.Owners) {
	if !d.kernel.options.Asks(fact.DetailHashes) {
		return
	}
	var lost fact.Report
	c := owners.Compare(ctx, d.kernel.machine, SourcePackages, func(path string) bool {
		return strings.HasSuffix(uncompressed(path), ".ko") || strings.HasPrefix(path, "boot/kernel/kernel")
	}, d.kernel.options.FileCap(), &lost)
	last := map[string]int{}
	for i := range c.Found {
		f := c.Found[i].Discrepancy(SourceModulePath, SourcePackages)
		f.Name = fileName(c.Found[i].Path)
		f.ID = d.kernel.id(f.Name)
		last[f.Kind] = len(d.found)
		d.found = append(d.found, f)
	}
	for kind, n := range c.More {
		f := &d.found[last[kind]]
		f.Evidence = append(f.Evidence,
			fact.Evidence{Fact: "and more such files", Value: strconv.Itoa(n), Source: SourceModulePath})
	}
	if p, failed := lost.First(SourcePackages); failed {
		d.skip(SourcePackages, p)
	}
}
