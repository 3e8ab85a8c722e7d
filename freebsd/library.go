// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/elfset"
	"github.com/kernelext/kernelext/internal/limit"
)

// A diskFile is one .ko file, or the kernel, on disk.
type diskFile struct {
	// Path is where it lies, with a leading "/".
	Path string
	// metadata is what it declares; nil if it was not, or could not be, read.
	*metadata
	unread error       // why there is no metadata; nil if there is, or if the file was only listed
	report fact.Report // of this file alone: the problems of its record
	aside  bool        // it lies outside of the module path: a setting, or the question, names it
}

// mayLoad reports whether the file could not be read, so that the kernel may find in it what is not known. What is no
// ELF file the kernel refuses, too (link_elf_obj_load_file).
func (f *diskFile) mayLoad() bool {
	var parse *fact.ParseError
	return f.unread != nil && !(errors.As(f.unread, &parse) && parse.Field == elfset.FieldIdent)
}

// Name returns the file's base name, without what says that it is compressed: the boot loader's name for it.
func (f *diskFile) Name() string { return fileName(uncompressed(f.Path)) }

// compressed reports whether only the boot loader can read it: kldload(2) unpacks nothing.
func (f *diskFile) compressed() bool { return uncompressed(f.Path) != f.Path }

// suffixes are those of the compressed files that the boot loader opens under the name without (stand/libsa: gzipfs.c,
// bzipfs.c).
var suffixes = []string{".gz", ".bz2"}

// uncompressed returns a path without the suffix of a compressed file.
func uncompressed(path string) string {
	for _, suffix := range suffixes {
		if p, ok := strings.CutSuffix(path, suffix); ok {
			return p
		}
	}
	return path
}

// A library is the .ko files of a machine's module path and, when it could be read, its kernel,
// with indexes of what they declare.
type library struct {
	// Files are the files, in the order of the module path's directories, by name within each.
	Files []diskFile
	// Kernel is the kernel's own file; nil when it was not read.
	Kernel *diskFile
	report fact.Report // of the directories that could not be read

	dirs       []string          // the module path
	hints      map[string]*hints // of the directories that have an index that makes sense
	paths      map[string]*diskFile
	interfaces map[string][]provision
	modules    map[string][]*diskFile // by module, record and interface name, and last parts of names
	names      map[string][]*diskFile // by file name
}

// A provision is one VERSION record: a file that provides an interface.
type provision struct {
	version int32
	file    *diskFile
}

const (
	maxDirEntries = 64 << 10
	maxDirs       = 64
)

// slashPath turns an absolute path of the machine into one of package fs.
func slashPath(p string) string {
	p = path.Clean("/" + p)[1:]
	if p == "" {
		return "."
	}
	return p
}

// walkDirs yields each .ko file of the directories, in their order and by name within each, until yield returns false
// or ctx ends. A directory that does not exist is passed over; one that cannot be read is reported. The file's name is
// yielded before the file is read, so a caller may stop cheaply.
func walkDirs(ctx context.Context, fsys fs.ReadDirFS, dirs []string, r *fact.Report, yield func(path string) bool) {
	dirs, err := limit.Most(dirs, maxDirs, "the module path")
	if err != nil {
		r.Problem(SourceModulePath, "", "modules", err)
	}
	for _, dir := range dirs {
		if ctx.Err() != nil {
			return
		}
		entries, err := fsys.ReadDir(slashPath(dir))
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				r.Problem(SourceModulePath, "", "modules", err)
			}
			continue
		}
		if len(entries) > maxDirEntries {
			err := fmt.Errorf("%s: %w: %d entries", dir, fact.ErrTooLarge, len(entries))
			r.Problem(SourceModulePath, "", "modules", err)
			entries = entries[:maxDirEntries]
		}
		slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
		for _, e := range entries {
			if strings.HasSuffix(uncompressed(e.Name()), ".ko") && !e.IsDir() &&
				!yield(path.Clean("/"+dir)+"/"+e.Name()) {
				return
			}
		}
	}
}

// readDisk reads the metadata of the file at path, of at most max bytes.
func readDisk(fsys fs.FS, path string, max int64, r *fact.Report) (*metadata, error) {
	read := readMetadata
	if uncompressed(path) != path {
		read = readCompressed
	}
	m, err := read(fsys, slashPath(path), max, r)
	if errors.Is(err, fs.ErrNotExist) { // in the same words on every machine
		err = &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	return m, err
}

// readDiskFile is readDisk for a file that stays in the list if it cannot be read.
func readDiskFile(fsys fs.FS, path string, max int64, b *fact.Budget) diskFile {
	f := diskFile{Path: path, report: fact.Report{Budget: b}}
	f.metadata, f.unread = readDisk(fsys, path, max, &f.report)
	return f
}

// readLibrary reads the files in the directories, those that lie aside, and the kernel if its path is not empty.
func readLibrary(
	ctx context.Context, fsys fs.ReadDirFS, dirs, aside []string, kernel string, max int64,
) *library {
	l := &library{dirs: dirs, hints: map[string]*hints{}}
	l.report.Budget = fact.NewBudget(0) // its own: a library is kept beyond the call
	index := l.report.Part()            // what an index lacks, its files say
	for _, dir := range dirs[:min(len(dirs), maxDirs)] {
		if h, err := readHints(fsys, dir, index); err == nil {
			l.hints[path.Clean("/"+dir)] = h
		}
	}
	walkDirs(ctx, fsys, dirs, &l.report, func(p string) bool {
		l.Files = append(l.Files, readDiskFile(fsys, p, max, l.report.Budget))
		return ctx.Err() == nil
	})
	for _, p := range aside {
		if p = existing(fsys, p); p != "" && !slices.ContainsFunc(l.Files,
			func(f diskFile) bool { return f.Path == p }) {
			f := readDiskFile(fsys, p, max, l.report.Budget)
			f.aside = true
			l.Files = append(l.Files, f)
		}
	}
	if kernel != "" {
		k := readDiskFile(fsys, kernel, max, l.report.Budget)
		l.Kernel = &k
	}
	l.index()
	return l
}

// existing returns the file that a path in a setting means: itself, or with ".ko", or compressed. It is the first that
// may exist if none is known to exist, and empty if no such file exists.
func existing(fsys fs.FS, p string) string {
	may := ""
	for _, name := range loaderNames(path.Clean("/" + p)) {
		switch st, err := fs.Stat(fsys, slashPath(name)); {
		case err == nil && !st.IsDir():
			return name
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			may = cmp.Or(may, name)
		}
	}
	return may
}

// kernelModules returns the modules that the kernel's file declares; nil if it was not read.
func (l *library) kernelModules() []Module {
	if l.Kernel == nil || l.Kernel.metadata == nil {
		return nil
	}
	return l.Kernel.Modules
}

// lost reports the directories and the files that could not be read, in words for a conclusion: no field is missing,
// and a kernel without a file is not a problem.
func (l *library) lost(r *fact.Report) {
	for _, p := range l.report.Problems {
		p.Field = ""
		r.Add(p)
	}
	for i := range l.Files {
		if f := &l.Files[i]; f.unread != nil {
			r.Problem(SourceModulePath, f.Name(), "", f.unread)
		}
	}
	if k := l.Kernel; k != nil && k.unread != nil && !errors.Is(k.unread, fs.ErrNotExist) {
		r.Problem(SourceModulePath, kernelName, "", k.unread)
	}
}

// err returns why there are no files: a directory could not be read. It is nil if there are some, or none to find.
func (l *library) err() error {
	if len(l.Files) > 0 || len(l.report.Problems) == 0 {
		return nil
	}
	return asError(l.report.Problems[0])
}

// asError returns a Problem as the error of a whole call, which names no source or field.
func asError(p fact.Problem) error { return fact.Problem{Code: p.Code, Text: p.Text} }

// newLibrary makes a library of files that were read one by one.
func newLibrary(files []diskFile, kernel *diskFile) *library {
	l := &library{Files: files, Kernel: kernel}
	for i := range files {
		if dir := path.Dir(files[i].Path); !slices.Contains(l.dirs, dir) {
			l.dirs = append(l.dirs, dir)
		}
	}
	l.index()
	return l
}

func (l *library) index() {
	l.interfaces, l.modules, l.names = map[string][]provision{}, map[string][]*diskFile{}, map[string][]*diskFile{}
	l.paths = map[string]*diskFile{}
	if l.Kernel != nil {
		l.add(l.Kernel)
	}
	for i := range l.Files {
		l.add(&l.Files[i])
	}
}

func (l *library) add(f *diskFile) {
	l.names[f.Name()] = append(l.names[f.Name()], f)
	l.paths[f.Path] = f
	if f.metadata == nil {
		return
	}
	for _, v := range f.Versions {
		l.interfaces[v.Name] = append(l.interfaces[v.Name], provision{v.Version, f})
		l.module(v.Name, f)
	}
	for _, m := range f.Modules {
		l.module(m.Name, f)
		l.module(m.Record, f)
		l.module(lastPart(m.Name), f)
	}
}

func (l *library) module(name string, f *diskFile) {
	if files := l.modules[name]; name != "" && !slices.Contains(files, f) {
		l.modules[name] = append(files, f)
	}
}

// lastPart returns what follows the last "/" of a module's name: "aesni" of "nexus/aesni".
func lastPart(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }

// requires returns the files that f depends on, each once, in the order of its DEPEND records, and
// the dependencies that nothing meets. What the file itself provides is left out, as the kernel
// leaves it out.
func (l *library) requires(f *diskFile) (files []*diskFile, missing []Depend) {
	if f.metadata == nil {
		return nil, nil
	}
	own := map[string]bool{}
	for _, v := range f.Versions {
		own[v.Name] = true
	}
	for _, d := range f.Depends {
		if own[d.Name] {
			continue
		}
		p := l.provider(d)
		switch {
		case p == nil && d.Name == kernelName &&
			len(l.interfaces[kernelName]) == 0: // the kernel does not say its release
		case p == nil:
			missing = append(missing, d)
		case p != f && !slices.Contains(files, p):
			files = append(files, p)
		}
	}
	return files, missing
}

// A match is a file that drives a device, with the table that says so.
type match struct {
	File  *diskFile
	Table *deviceTable
	Row   int
}

// drivers returns the files that drive the device, each once, as devmatch(8) would find them.
func (l *library) drivers(d device) []match {
	var out []match
	for i := range l.Files {
		if m, ok := l.Files[i].match(d); ok {
			out = append(out, m)
		}
	}
	if l.Kernel != nil {
		if m, ok := l.Kernel.match(d); ok {
			out = append(out, m)
		}
	}
	return out
}

func (f *diskFile) match(d device) (match, bool) {
	if f.metadata == nil {
		return match{}, false
	}
	for i := range f.PNP {
		if row, ok := f.PNP[i].Matches(d); ok {
			return match{f, &f.PNP[i], row}, true
		}
	}
	return match{}, false
}

// undeclared returns the names of the modules that the kernel shows of the file and the file does not declare. A name
// that the kernel cut is compared as far as it goes.
func (m *metadata) undeclared(loaded []moduleStat) []string {
	var names []string
	for _, s := range loaded {
		found := slices.ContainsFunc(m.Modules, func(d Module) bool {
			return d.Name == s.Name || s.Cut && strings.HasPrefix(d.Name, s.Name)
		})
		if !found {
			names = append(names, s.Name)
		}
	}
	return names
}

// errMissing is the error for a dependency that no file meets.
func errMissing(d Depend) error {
	return fmt.Errorf("%w: no file provides %s.%d (%d to %d)", fs.ErrNotExist, d.Name, d.Preferred, d.Min, d.Max)
}
