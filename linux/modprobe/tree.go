// SPDX-License-Identifier: Apache-2.0

package modprobe

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/linux/ko"
)

// ModuleRoots are the directories that may hold a directory for each kernel release, in the order
// in which they are tried. Behind the usual two come NixOS's, of which an image has only the last, and
// Android's.
var ModuleRoots = []string{
	"lib/modules",
	"usr/lib/modules",
	"run/booted-system/kernel-modules/lib/modules",
	"run/current-system/kernel-modules/lib/modules",
	"nix/var/nix/profiles/system/kernel-modules/lib/modules",
	"system_dlkm/lib/modules",
}

// FlatRoots are the directories that hold modules without a directory for the release: Android's.
var FlatRoots = []string{
	"vendor/lib/modules", "vendor_dlkm/lib/modules", "system_dlkm/lib/modules", "odm/lib/modules", "system/lib/modules",
}

// A ReleaseDir is one directory of modules.
type ReleaseDir struct {
	// Release is the kernel release; empty for a flat directory, which does not say.
	Release string
	// Dir is the directory, as a path below the machine's root.
	Dir string
	// Beside are other directories with modules of the same release: where /lib and /usr/lib are two,
	// which of them modprobe uses was fixed when it was compiled. Other flat directories are part of
	// the tree, but for their aliases.
	Beside []string

	beside fact.Report // why it is not known whether there is another
}

// Releases lists the directories of modules on a machine, those of more important roots first, and
// each root's in the order of their names. A release that several roots have is listed once, and so
// are the flat directories. The first root that exists and cannot be read is a problem of SourceTree;
// without any directory it is the returned error, which matches fs.ErrNotExist if no root exists.
func Releases(fsys fs.FS, r *fact.Report) ([]ReleaseDir, error) {
	var dirs []ReleaseDir
	var firstErr error
	exists := false
	at := make(map[string]int)
	for _, root := range ModuleRoots {
		entries, err := fs.ReadDir(fsys, root)
		if err != nil {
			if firstErr == nil && !errors.Is(err, fs.ErrNotExist) {
				firstErr = err
			}
			continue
		}
		exists = true
		for _, e := range entries {
			name := e.Name()
			if i, ok := at[name]; ok || !isDir(fsys, root, e) || !mayBeRelease(fsys, root, name) {
				if ok && root == ModuleRoots[1] {
					dirs[i].addBeside(fsys, root+"/"+name)
				}
				continue
			}
			at[name] = len(dirs)
			dirs = append(dirs, ReleaseDir{Release: name, Dir: root + "/" + name})
		}
	}
	if flat, ok := flatDir(fsys); ok {
		exists = true
		dirs = append(dirs, flat)
	}
	if firstErr == nil && !exists {
		firstErr = &fs.PathError{Op: "open", Path: ModuleRoots[0], Err: fs.ErrNotExist}
		if hint := ostreeHint(fsys); hint != "" {
			firstErr = fmt.Errorf("%w: %s", firstErr, hint)
		}
	}
	if len(dirs) == 0 {
		return nil, firstErr
	}
	if firstErr != nil {
		r.Problem(SourceTree, "", "", firstErr)
	}
	return dirs, nil
}

// ostreeHint says where the systems of an ostree's disk are, which hold modules; empty for another root.
func ostreeHint(fsys fs.FS) string {
	const top = "ostree/deploy"
	systems, err := fs.ReadDir(fsys, top)
	if err != nil {
		return ""
	}
	var found []string
	for _, system := range systems {
		deployments, err := fs.ReadDir(fsys, top+"/"+system.Name()+"/deploy")
		if err != nil {
			continue
		}
		for _, d := range deployments {
			if d.IsDir() && len(found) < maxHints {
				found = append(found, "/"+top+"/"+escape.Text(system.Name())+"/deploy/"+escape.Text(d.Name()))
			}
		}
	}
	if len(found) == 0 {
		return ""
	}
	return "this is the disk of an ostree system, whose deployments are roots of their own: " + strings.Join(found,
		", ")
}

// maxHints is how many deployments are named.
const maxHints = 8

// mayBeRelease leaves out directories that are not a release: those in which Arch keeps modules for
// several, which the release directories link to, and those within Android's flat directory.
func mayBeRelease(fsys fs.FS, root, name string) bool {
	if slices.Contains(FlatRoots, root) {
		return name[0] >= '0' && name[0] <= '9'
	}
	if !strings.HasPrefix(name, "extramodules") {
		return true
	}
	_, err := fs.Stat(fsys, root+"/"+name+"/version")
	return err != nil
}

// flatDir is the first directory of FlatRoots with modules in it, and the others.
func flatDir(fsys fs.FS) (flat ReleaseDir, ok bool) {
	for _, root := range FlatRoots {
		entries, err := fs.ReadDir(fsys, root)
		if err != nil || !slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return ko.IsModuleFile(e.Name()) }) {
			continue
		}
		if flat.Dir == "" {
			flat.Dir = root
			continue
		}
		flat.addBeside(fsys, root)
	}
	return flat, flat.Dir != ""
}

// addBeside adds another directory, unless links lead from one to the other.
func (r *ReleaseDir) addBeside(fsys fs.FS, dir string) {
	real, err := realDir(fsys, dir)
	for _, known := range append([]string{r.Dir}, r.Beside...) {
		place, placeErr := realDir(fsys, known)
		if err = cmp.Or(err, placeErr); err != nil {
			r.beside.Problem(SourceTree, "", "", err)
			return
		}
		if place == real {
			return
		}
	}
	r.Beside = append(r.Beside, dir)
}

// maxLinks is how many links a path may lead through, as for the kernel.
const maxLinks = 40

// realDir is where a directory is once links are followed.
func realDir(fsys fs.FS, dir string) (string, error) {
	done, rest := "", dir
	for links := 0; rest != ""; {
		elem, more, _ := strings.Cut(rest, "/")
		next := path.Join(done, elem)
		target, err := fs.ReadLink(fsys, next)
		if code := fact.CodeOf(err); code == fact.CodePermission || code == fact.CodeUnrecorded {
			return "", err
		}
		if err != nil { // no link
			done, rest = next, more
			continue
		}
		if links++; links > maxLinks {
			return "", &fact.ParseError{Source: dir, Reason: fmt.Sprintf("more than %d links", maxLinks)}
		}
		if !path.IsAbs(target) {
			target = path.Join("/", done, target)
		}
		done, rest = "", strings.Trim(path.Join(target, more), "/")
	}
	return done, nil
}

// FindRelease returns the directory of a release. The error matches fs.ErrNotExist if no root has it, or says why a
// root could not be read; the directory is then the usual one.
func FindRelease(fsys fs.FS, release string) (ReleaseDir, error) {
	if release == "" || strings.ContainsAny(release, "/\x00") || release == "." || release == ".." {
		return ReleaseDir{}, &fs.PathError{Op: "open", Path: ModuleRoots[0] + "/" + release, Err: fs.ErrInvalid}
	}
	usual := ReleaseDir{Release: release, Dir: ModuleRoots[0] + "/" + release}
	var firstErr error
	for i, root := range ModuleRoots {
		found := ReleaseDir{Release: release, Dir: root + "/" + release}
		info, err := fs.Stat(fsys, found.Dir)
		if err == nil && info.IsDir() {
			if i == 0 {
				found.lookBeside(fsys, ModuleRoots[1]+"/"+release)
			}
			if firstErr != nil { // modprobe may use the one that could not be looked at
				found.beside.Problem(SourceTree, "", "", firstErr)
			}
			return found, nil
		}
		if err != nil && firstErr == nil && !errors.Is(err, fs.ErrNotExist) {
			firstErr = err
		}
	}
	if firstErr != nil {
		return usual, firstErr
	}
	return usual, &fs.PathError{Op: "open", Path: usual.Dir, Err: fs.ErrNotExist}
}

// lookBeside adds another directory if there is one.
func (r *ReleaseDir) lookBeside(fsys fs.FS, dir string) {
	if info, err := fs.Stat(fsys, dir); err == nil && info.IsDir() {
		r.addBeside(fsys, dir)
	}
}

// HasUnseen reports whether there is, or may be, a directory beside this one that nobody looks into.
func (r *ReleaseDir) HasUnseen() bool { return len(r.Beside)+len(r.beside.Problems) > 0 }

// UnseenErr returns why directories beside this one could hold more; nil if none could.
func (d *ReleaseDir) UnseenErr() error {
	var r fact.Report
	d.reportUnseen(&r)
	if len(r.Problems) == 0 {
		return nil
	}
	return r.Problems[0]
}

// reportUnseen says why directories beside this one could hold more.
func (d *ReleaseDir) reportUnseen(r *fact.Report) {
	r.Append(&d.beside)
	for _, dir := range d.Beside {
		reason := "its aliases are not looked up, only those of /" + d.Dir
		if d.Release != "" {
			reason = "modules of the same kernel as in /" + d.Dir +
				" are not looked at: which of the two modprobe uses was fixed when it was compiled"
		}
		r.Problem(SourceTree, "", "", &fact.ParseError{Source: dir, Reason: reason})
	}
}

// A Tree is the directory of one kernel release, with its indexes, each read when it is first
// needed and kept. It is safe for concurrent use.
type Tree struct {
	ReleaseDir
	fsys fs.FS

	mu      sync.Mutex
	indexes map[string]*lazyIndex
	dep     *depTable
	files   map[string]string // by module, of a tree without modules.dep
	// filesErr is why files may lack a module; nil if the whole tree was walked.
	filesErr error
	config   *Config
	cmdline  bool
	workers  int
}

// lazyIndex is an index, or why it could not be read.
type lazyIndex struct {
	index *Index
	err   error
}

// OpenTree returns the tree of a directory. Nothing is read yet. With cmdline, the configuration
// includes the running kernel's command line.
func OpenTree(fsys fs.FS, dir ReleaseDir, cmdline bool) *Tree {
	return &Tree{ReleaseDir: dir, fsys: fsys, indexes: make(map[string]*lazyIndex), cmdline: cmdline}
}

// The indexes of a release directory, without their ending: each may be a text file, a binary one
// (with ".bin"), or both.
const (
	indexDep          = "modules.dep"
	IndexAlias        = "modules.alias"
	indexSymbols      = "modules.symbols"
	IndexBuiltin      = "modules.builtin"
	IndexBuiltinAlias = "modules.builtin.alias"
	BuiltinInfoFile   = "modules.builtin.modinfo"
	fileOrder         = "modules.order"
)

// Caps of an index, and of modules.dep. The largest real indexes have 2 MiB; Debian's modules.dep
// has 4,200 lines that need 11,000 files.
const (
	maxIndexFile = 32 << 20
	maxDepLines  = maxTreeFiles
	maxDepNeeds  = 1 << 20
)

// Index returns the named index: from the binary file, else made of the text file. The error matches fs.ErrNotExist if
// both are missing.
func (t *Tree) Index(name string) (*Index, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if l := t.indexes[name]; l != nil {
		return l.index, l.err
	}
	x, err := t.readIndex(name)
	t.indexes[name] = &lazyIndex{x, err}
	return x, err
}

func (t *Tree) readIndex(name string) (*Index, error) {
	file := t.Dir + "/" + name
	b, err := limit.ReadFile(t.fsys, file+".bin", maxIndexFile)
	if err == nil {
		return parseIndex(b, file+".bin")
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	text, err := limit.ReadFile(t.fsys, file, maxIndexFile)
	if err != nil {
		return nil, err
	}
	if name == IndexBuiltin {
		return builtinIndex(text, file)
	}
	return buildIndex(parseAliases(text), file)
}

// A depTable is modules.dep, by name and by path.
type depTable struct {
	lines  []DepLine
	names  []string // of each line
	byName map[string]int
	byPath map[string]int
	source string
	err    error
	bad    int
}

// deps returns modules.dep whole. It is made from the text, or from the binary index when only that
// is there.
func (t *Tree) deps() *depTable {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dep == nil {
		t.dep = t.readDeps()
	}
	return t.dep
}

// DepLines returns the lines of modules.dep; none when it cannot be read.
func (t *Tree) DepLines() []DepLine { return t.deps().lines }

// DepErr returns why modules.dep cannot be read, or that some of its lines are invalid.
func (t *Tree) DepErr() error { return t.deps().problem() }

// FS returns the file system of the machine's root.
func (t *Tree) FS() fs.FS { return t.fsys }

// SetConfig gives the tree another configuration than the machine's.
func (t *Tree) SetConfig(c *Config) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.config = c
}

// SetWorkers sets how many files Inventory may read at once, at first 1. With 2 or more it reads modules.dep and
// modules.order while it walks the directories. It must be called before the tree is used.
func (t *Tree) SetWorkers(n int) { t.workers = n }

func (t *Tree) readDeps() *depTable {
	d := &depTable{source: t.Dir + "/" + indexDep}
	text, err := limit.ReadFile(t.fsys, d.source, maxIndexFile)
	switch {
	case err == nil && (bytes.Count(text, []byte{'\n'}) > maxDepLines || bytes.Count(text, []byte{' '})+
		bytes.Count(text, []byte{'\t'}) > maxDepNeeds):
		d.err = d.tooLarge()
	case err == nil:
		d.lines, d.bad = parseDep(text)
	case errors.Is(err, fs.ErrNotExist):
		d.err = t.depsOfIndex(d, err)
	default:
		d.err = err
	}
	for _, dir := range t.flatBeside() {
		t.readDepsBeside(d, dir)
	}
	whole := "/" + t.Dir + "/" // Android writes whole paths
	for i := range d.lines {
		d.lines[i].Path = strings.TrimPrefix(d.lines[i].Path, whole)
		for j, need := range d.lines[i].Needs {
			d.lines[i].Needs[j] = strings.TrimPrefix(need, whole)
		}
	}
	d.byName = make(map[string]int, len(d.lines))
	d.byPath = make(map[string]int, len(d.lines))
	d.names = make([]string, len(d.lines))
	for i := range d.lines {
		name := d.lines[i].Name()
		d.names[i] = name
		if _, ok := d.byName[name]; !ok {
			d.byName[name] = i
		}
		d.byPath[d.lines[i].Path] = i
	}
	return d
}

// flatBeside are the other flat directories of a machine whose directories do not say the release.
func (r *ReleaseDir) flatBeside() []string {
	if r.Release != "" {
		return nil
	}
	return r.Beside
}

// readDepsBeside adds the modules.dep of another flat directory, with whole paths.
func (t *Tree) readDepsBeside(d *depTable, dir string) {
	text, err := limit.ReadFile(t.fsys, dir+"/"+indexDep, maxIndexFile)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		d.err = cmp.Or(d.err, err)
		return
	}
	lines, bad := parseDep(text)
	d.bad += bad
	if len(d.lines)+len(lines) > maxDepLines {
		d.err = d.tooLarge()
		return
	}
	whole := func(file string) string {
		if path.IsAbs(file) {
			return file
		}
		return "/" + dir + "/" + file
	}
	for _, line := range lines {
		line.Path = whole(line.Path)
		for i := range line.Needs {
			line.Needs[i] = whole(line.Needs[i])
		}
		d.lines = append(d.lines, line)
	}
}

// depsOfIndex fills the table from modules.dep.bin.
func (t *Tree) depsOfIndex(d *depTable, noText error) error {
	x, err := t.readDepIndex()
	if errors.Is(err, fs.ErrNotExist) {
		return noText
	}
	if err != nil {
		return err
	}
	d.source = x.source
	needs := 0
	eachErr := x.Each(func(_ string, values []IndexValue) bool {
		for _, v := range values {
			if needs += strings.Count(v.Value, " ") + strings.Count(v.Value, "\t"); needs > maxDepNeeds ||
				len(d.lines)+d.bad >= maxDepLines {
				err = d.tooLarge()
				return false
			}
			line, ok := parseDepLine(v.Value)
			if !ok {
				d.bad++
				continue
			}
			d.lines = append(d.lines, line)
		}
		return true
	})
	return cmp.Or(eachErr, err)
}

func (d *depTable) tooLarge() error {
	return &fact.ParseError{Source: d.source, Reason: fmt.Sprintf("more than %d lines or %d files that they need",
		maxDepLines, maxDepNeeds), Err: fact.ErrTooLarge}
}

// Config returns modprobe's configuration for this release.
func (t *Tree) Config() *Config {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.config == nil {
		t.config = ReadConfig(t.fsys, ConfigDirs, t.Dir, t.cmdline)
	}
	return t.config
}

// Path returns the path below the machine's root of a file that an index names.
func (t *Tree) Path(file string) string {
	if abs, ok := strings.CutPrefix(file, "/"); ok {
		return path.Clean(abs)
	}
	return path.Join(t.Dir, file)
}

// Builtin reads the list of what is compiled in. The error is that of modules.builtin. Of it and
// modules.builtin.modinfo one may be missing: then the metadata are unknown, or what has none is,
// which is a problem of SourceBuiltin.
func (t *Tree) Builtin(r *fact.Report) ([]BuiltinModule, error) {
	list, err := limit.ReadFile(t.fsys, t.Dir+"/"+IndexBuiltin, maxIndexFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	info, infoErr := limit.ReadFile(t.fsys, t.Dir+"/"+BuiltinInfoFile, maxIndexFile)
	if infoErr != nil {
		info = nil
	}
	if err != nil && infoErr != nil {
		return nil, err
	}
	if err := cmp.Or(infoErr, err); err != nil {
		r.Problem(SourceBuiltin, "", "linux.modinfo", err)
	}
	return parseBuiltin(list, info), nil
}

// problem returns the problems of the dependency index as one error; nil for none.
func (d *depTable) problem() error {
	if d.err != nil {
		return d.err
	}
	if d.bad > 0 {
		return &fact.ParseError{Source: d.source, Reason: fmt.Sprintf("%d lines are invalid", d.bad)}
	}
	return nil
}

// readDepIndex reads modules.dep.bin.
func (t *Tree) readDepIndex() (*Index, error) {
	file := t.Dir + "/" + indexDep + ".bin"
	b, err := limit.ReadFile(t.fsys, file, maxIndexFile)
	if err != nil {
		return nil, err
	}
	return parseIndex(b, file)
}
