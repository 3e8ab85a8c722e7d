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
	"github.com/kernelext/kernelext/internal/limit"
)

// A DiskFile is one .ko file, or the kernel, on disk.
type DiskFile struct {
	// Path is where it lies, with a leading "/".
	Path string
	// Metadata is what it declares; nil when it could not be read.
	*Metadata
	// Err is why it could not be read; nil when it was.
	Err error
}

// Name returns the file's base name.
func (f *DiskFile) Name() string { return FileName(f.Path) }

// A Library is the .ko files of a machine's module path and, when it could be read, its kernel,
// with indexes of what they declare.
type Library struct {
	// Files are the files, in the order of the module path's directories, by name within each.
	Files []DiskFile
	// Kernel is the kernel's own file; nil when it was not read.
	Kernel *DiskFile
	// Problems are the directories that could not be read, as errors of package fs.
	Problems []error

	interfaces map[string][]provider
	modules    map[string][]*DiskFile // by module, record and interface name, and last parts of names
	names      map[string][]*DiskFile // by file name
}

// provider is one VERSION record.
type provider struct {
	version int32
	file    *DiskFile
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

// Walk yields each .ko file of the directories, in their order and by name within each, until
// yield returns false. A directory that does not exist is passed over; the errors of others are
// returned. The file's name is yielded before it is read, so a caller may stop cheaply.
func Walk(ctx context.Context, fsys fs.ReadDirFS, dirs []string, yield func(path string) bool) []error {
	var errs []error
	for _, dir := range dirs[:min(len(dirs), maxDirs)] {
		if ctx.Err() != nil {
			return append(errs, ctx.Err())
		}
		entries, err := fsys.ReadDir(slashPath(dir))
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
			}
			continue
		}
		if len(entries) > maxDirEntries {
			errs = append(errs, fmt.Errorf("%s: %w: %d entries", dir, fact.ErrTooLarge, len(entries)))
			entries = entries[:maxDirEntries]
		}
		slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), ".ko") && !e.IsDir() && !yield(path.Clean("/"+dir)+"/"+e.Name()) {
				return errs
			}
		}
	}
	return errs
}

// ReadDisk reads the metadata of the file at path, of at most max bytes.
func ReadDisk(fsys fs.FS, path string, max int64) DiskFile {
	m, err := ReadMetadata(fsys, slashPath(path), max)
	if errors.Is(err, fs.ErrNotExist) { // in the same words on every machine
		err = &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	return DiskFile{Path: path, Metadata: m, Err: err}
}

// ReadLibrary reads the files in the directories, and the kernel when its path is not empty.
func ReadLibrary(ctx context.Context, fsys fs.ReadDirFS, dirs []string, kernel string, max int64) *Library {
	l := &Library{}
	l.Problems = Walk(ctx, fsys, dirs, func(p string) bool {
		l.Files = append(l.Files, ReadDisk(fsys, p, max))
		return ctx.Err() == nil
	})
	if err := ctx.Err(); err != nil && !slices.Contains(l.Problems, err) {
		l.Problems = append(l.Problems, err)
	}
	if kernel != "" {
		k := ReadDisk(fsys, kernel, max)
		l.Kernel = &k
	}
	l.index()
	return l
}

// NewLibrary makes a Library of files that were read one by one.
func NewLibrary(files []DiskFile, kernel *DiskFile) *Library {
	l := &Library{Files: files, Kernel: kernel}
	l.index()
	return l
}

func (l *Library) index() {
	l.interfaces, l.modules, l.names = map[string][]provider{}, map[string][]*DiskFile{}, map[string][]*DiskFile{}
	if l.Kernel != nil {
		l.add(l.Kernel)
	}
	for i := range l.Files {
		l.add(&l.Files[i])
	}
}

func (l *Library) add(f *DiskFile) {
	l.names[f.Name()] = append(l.names[f.Name()], f)
	if f.Metadata == nil {
		return
	}
	for _, v := range f.Versions {
		l.interfaces[v.Name] = append(l.interfaces[v.Name], provider{v.Version, f})
		l.module(v.Name, f)
	}
	for _, m := range f.Modules {
		l.module(m.Name, f)
		l.module(m.Record, f)
		l.module(LastPart(m.Name), f)
	}
}

func (l *Library) module(name string, f *DiskFile) {
	if files := l.modules[name]; name != "" && !slices.Contains(files, f) {
		l.modules[name] = append(files, f)
	}
}

// LastPart returns what follows the last "/" of a module's name: "aesni" of "nexus/aesni".
func LastPart(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }

// Provider returns the file that meets the dependency, as the kernel would choose it; nil when
// there is none.
func (l *Library) Provider(d Depend) *DiskFile {
	have := l.interfaces[d.Name]
	versions := make([]int32, len(have))
	for i, p := range have {
		versions[i] = p.version
	}
	if i := d.Choose(versions); i >= 0 {
		return have[i].file
	}
	return nil
}

// Requires returns the files that f depends on, each once, in the order of its DEPEND records, and
// the dependencies that nothing meets. What the file itself provides is left out, as the kernel
// leaves it out.
func (l *Library) Requires(f *DiskFile) (files []*DiskFile, missing []Depend) {
	if f.Metadata == nil {
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
		p := l.Provider(d)
		switch {
		case p == nil && d.Name == kernelName && len(l.interfaces[kernelName]) == 0: // the kernel does not say its release
		case p == nil:
			missing = append(missing, d)
		case p != f && !slices.Contains(files, p):
			files = append(files, p)
		}
	}
	return files, missing
}

// Find returns the files that a name means: a file name with or without ".ko", else a path, else a
// module's, record's or interface's name, or the last part of a module's name. The kernel's own
// file is among them when the name is that of something compiled in.
func (l *Library) Find(name string) []*DiskFile {
	if strings.HasPrefix(name, "/") {
		for i := range l.Files {
			if l.Files[i].Path == name {
				return []*DiskFile{&l.Files[i]}
			}
		}
		return nil
	}
	for _, n := range []string{name, name + ".ko"} {
		if files := l.names[n]; len(files) > 0 {
			return files
		}
	}
	return l.modules[name]
}

// A Match is a file that drives a device, with the table that says so.
type Match struct {
	File  *DiskFile
	Table *DeviceTable
	Row   int
}

// Match returns the files that drive the device, each once, as devmatch(8) would find them.
func (l *Library) Match(d Device) []Match {
	var out []Match
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

func (f *DiskFile) match(d Device) (Match, bool) {
	if f.Metadata == nil {
		return Match{}, false
	}
	for i := range f.PNP {
		if row, ok := f.PNP[i].Matches(d); ok {
			return Match{f, &f.PNP[i], row}, true
		}
	}
	return Match{}, false
}

// Contains reports whether the file declares all the modules that the kernel shows of it, and how
// many it does not. A name that the kernel cut is compared as far as it goes.
func (m *Metadata) Contains(loaded []ModuleStat) (missing int) {
	for _, s := range loaded {
		found := slices.ContainsFunc(m.Modules, func(d Module) bool {
			return d.Name == s.Name || s.Cut && strings.HasPrefix(d.Name, s.Name)
		})
		if !found {
			missing++
		}
	}
	return missing
}

// A Config is the configuration that decides what is loaded at boot and what is never loaded.
type Config struct {
	// Loader is what the boot loader reads; RC what rc(8) reads.
	Loader, RC Conf
	// Files are the files that were read, with a leading "/".
	Files []string
	// Errs are the files that exist and could not be read.
	Errs []error
}

// loaderFiles are what the boot loader reads, in order; directories end in "/".
var loaderFiles = []string{
	"boot/defaults/loader.conf", "boot/device.hints", "boot/loader.conf", "boot/loader.conf.d/", "boot/loader.conf.local",
}

var rcFiles = []string{"etc/defaults/rc.conf", "etc/rc.conf", "etc/rc.conf.local", "etc/rc.conf.d/", "usr/local/etc/rc.conf.d/"}

// ReadConfig reads the configuration of a machine. Files that do not exist cost nothing.
func ReadConfig(ctx context.Context, fsys fs.ReadDirFS) *Config {
	c := &Config{}
	for _, name := range loaderFiles {
		c.read(ctx, fsys, name, ".conf", c.Loader.ReadLoaderConf)
	}
	for _, name := range rcFiles {
		c.read(ctx, fsys, name, "", c.RC.ReadRCConf)
	}
	return c
}

func (c *Config) read(ctx context.Context, fsys fs.ReadDirFS, name, suffix string, add func(file, text string)) {
	if ctx.Err() != nil {
		c.Errs = append(c.Errs, ctx.Err())
		return
	}
	dir, isDir := strings.CutSuffix(name, "/")
	if !isDir {
		c.readFile(fsys, name, add)
		return
	}
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			c.Errs = append(c.Errs, err)
		}
		return
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	for _, e := range entries[:min(len(entries), 256)] {
		if !e.IsDir() && strings.HasSuffix(e.Name(), suffix) {
			c.readFile(fsys, dir+"/"+e.Name(), add)
		}
	}
}

func (c *Config) readFile(fsys fs.FS, name string, add func(file, text string)) {
	b, err := limit.ReadFile(fsys, name, 4<<20)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			c.Errs = append(c.Errs, err)
		}
		return
	}
	c.Files = append(c.Files, "/"+name)
	add("/"+name, string(b))
}

// ModulePath returns the directories that a kernel booted with this configuration will search: its
// own, then those of the loader's module_path.
func (c *Config) ModulePath() []string {
	kernel := "kernel"
	if s, ok := c.Loader.Lookup("kernel"); ok && s.Value != "" {
		kernel = s.Value
	}
	dirs := []string{path.Join("/boot", kernel)}
	if strings.HasPrefix(kernel, "/") {
		dirs[0] = path.Clean(kernel)
	}
	more := SplitModulePath("/boot/modules")
	if s, ok := c.Loader.Lookup("module_path"); ok {
		more = SplitModulePath(s.Value)
	}
	for _, d := range more {
		if d = path.Clean("/" + d); !slices.Contains(dirs, d) {
			dirs = append(dirs, d)
		}
	}
	return dirs
}

// Loads returns the setting by which the boot loader loads the file of that base name (without
// ".ko"), and whether there is one that says YES.
func (c *Config) Loads(base string) (Setting, bool) {
	for _, s := range c.Loader.Settings {
		name, ok := strings.CutSuffix(s.Name, "_load")
		if !ok || !strings.EqualFold(s.Value, "YES") {
			continue
		}
		file := name
		if n, ok := c.Loader.Lookup(name + "_name"); ok && n.Value != "" {
			file = n.Value
		}
		if t, ok := c.Loader.Lookup(name + "_type"); ok && t.Value != "" && !strings.HasPrefix(t.Value, "elf") {
			continue // data, such as a splash image
		}
		if BaseName(file) == base {
			return s, true
		}
	}
	return Setting{}, false
}

// listed looks a base name up in a list of names or paths, with or without ".ko".
func listed(c *Conf, setting, base string) (Setting, bool) {
	words, s := c.Words(setting)
	for _, w := range words {
		if BaseName(w) == base {
			return s, true
		}
	}
	return Setting{}, false
}

// Blacklisted returns the loader's module_blacklist, if it names the file of that base name. Only
// the boot loader heeds it: kldload(8) does not.
func (c *Config) Blacklisted(base string) (Setting, bool) {
	return listed(&c.Loader, "module_blacklist", base)
}

// Listed returns rc.conf's kld_list, if it names the file of that base name.
func (c *Config) Listed(base string) (Setting, bool) { return listed(&c.RC, "kld_list", base) }

// DevmatchBlocked returns rc.conf's devmatch_blocklist, if it names the file of that base name.
func (c *Config) DevmatchBlocked(base string) (Setting, bool) {
	for _, name := range []string{"devmatch_blocklist", "devmatch_blacklist"} {
		if s, ok := c.RC.Lookup(name); ok && (s.Value != "" || s.Code != "") {
			return listed(&c.RC, name, base)
		}
	}
	return Setting{}, false
}

// DevmatchEnabled returns rc.conf's devmatch_enable; devmatch runs when that is yes, and known is
// false when no file sets it.
func (c *Config) DevmatchEnabled() (s Setting, yes, known bool) {
	s, known = c.RC.Lookup("devmatch_enable")
	return s, known && Yes(s.Value), known && s.Code == ""
}

// SecureLevel returns the securelevel that rc(8) raises the kernel to at the end of a boot, and
// whether it does.
func (c *Config) SecureLevel() (level Setting, raised bool) {
	enable, ok := c.RC.Lookup("kern_securelevel_enable")
	if !ok || !Yes(enable.Value) {
		return enable, false
	}
	level, ok = c.RC.Lookup("kern_securelevel")
	return level, ok && level.Value != "" && !strings.HasPrefix(level.Value, "-") && level.Value != "0"
}

// ErrMissing is the error for a dependency that no file meets.
func ErrMissing(d Depend) error {
	return fmt.Errorf("%w: no file provides %s.%d (%d to %d)", fs.ErrNotExist, d.Name, d.Preferred, d.Min, d.Max)
}
