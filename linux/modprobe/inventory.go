// SPDX-License-Identifier: Apache-2.0

package modprobe

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/linux/ko"
)

// A Module is one module of a tree, with every file that bears its name.
type Module struct {
	// Name is the module's name, from its file's.
	Name string
	// Path is the file that depmod would choose, relative to the release directory or absolute for
	// an external directory.
	Path string
	// Candidates are all files of that name, the chosen one first; nil when there is only one.
	Candidates []Candidate
	// Order is its place in modules.order, from 0; unknown for one that was not built with the kernel.
	Order fact.Count
	// Needs are the names of the modules that must be in the kernel first, directly or not, sorted;
	// nil when modules.dep does not say.
	Needs []string
	// UsedBy are the names of the modules that need it, directly or not, sorted; nil when
	// modules.dep could not be read.
	UsedBy []string
}

// A Candidate is one of several files that bear one module's name.
type Candidate struct {
	// Path is the file, as an absolute path on its machine.
	Path string `json:"path"`
	// Chosen is set for the one that depmod chooses.
	Chosen bool `json:"chosen,omitzero"`
	// Reason is the rule that gives the file its rank.
	Reason string `json:"reason"`
}

// An Inventory is what a release directory holds.
type Inventory struct {
	// Modules are sorted by path.
	Modules []Module
	// Written is when modules.dep was written; zero if the file is missing. A module file that is newer may have been
	// put there without depmod.
	Written time.Time
	// Whole says that every directory and index was read, and every line of depmod's configuration.
	Whole bool
}

// Caps of a tree.
const (
	maxTreeFiles = 1 << 17
	maxTreeDirs  = 1 << 15
	maxTreeDepth = 64
	maxTreeLinks = 8 // links to directories within one another
)

// Inventory walks the tree and joins what it finds with modules.dep. Problems of SourceTree are the
// directories and indexes that could not be read, the lines of depmod's configuration that are invalid, how modules.dep
// and the files disagree, and that there is no modules.dep. The error is that of the release directory itself.
func (t *Tree) Inventory(r *fact.Report) (*Inventory, error) {
	inv := new(Inventory)
	before := r.Count(SourceTree)
	conf := readDepmodConfig(t.fsys, t.Release, r)
	if t.Release != "" {
		t.reportUnseen(r)
	}
	var lists lists
	var reading sync.WaitGroup
	if t.workers > 1 {
		reading.Go(func() { lists.read(t) })
	} else {
		lists.read(t)
	}
	files, err := t.walk(t.Dir, "", conf, r)
	reading.Wait()
	if err != nil {
		return nil, err
	}
	for _, dir := range append(slices.Clone(conf.External), t.flatBeside()...) {
		more, err := t.walk(dir, "/"+dir+"/", conf, r)
		if err != nil {
			r.Problem(SourceTree, "", "", err)
		}
		files = append(files, more...)
	}
	d := t.deps()
	noIndex := fact.CodeOf(d.err) == fact.CodeAbsent
	x, err := t.depIndex()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.Problem(SourceTree, "", "", err)
	}
	if err := d.problem(); err != nil && !noIndex {
		r.Problem(SourceTree, "", "", err)
	}
	unfilled := noIndex && len(files) == 0 && t.unfilled()
	if unfilled {
		r.Problem(SourceTree, "", "modules", t.errUnfilled())
	}
	inv.choose(t, files, conf, d)
	inv.relate(d, &lists, r)
	if lists.orderErr != nil && !errors.Is(lists.orderErr, fs.ErrNotExist) {
		r.Problem(SourceTree, "", "", lists.orderErr)
	}
	inv.order(lists.order)
	inv.Whole = r.Count(SourceTree) == before
	if x != nil && len(x.data) == 0 && len(d.lines) > 0 {
		disagrees(r, "modules", fact.CodeOther, "modules.dep.bin is empty and modules.dep is not: run depmod")
	}
	inv.compare(files, d, r)
	inv.compareTimes(t, r)
	if noIndex && !unfilled {
		disagrees(r, "requires", fact.CodeAbsent, "no modules.dep: who needs whom is only in the files (linux.depends)")
	}
	slices.SortFunc(inv.Modules, func(a, b Module) int { return cmp.Compare(a.Path, b.Path) })
	return inv, nil
}

// lists are what a release directory's files say of the modules, beside the directories themselves.
type lists struct {
	needs    [][]int32 // of each line of modules.dep, see closure
	related  bool      // needs is known
	order    map[string]int64
	orderErr error
}

func (l *lists) read(t *Tree) {
	if d := t.deps(); d.err == nil {
		l.needs, l.related = d.closure()
	}
	t.depIndex() // is kept, as is its error
	l.order, l.orderErr = t.readOrder()
}

// unfilled reports whether the release directory lacks what the kernel's own build installs into it, also for a kernel
// without modules (make modules_install): modules.order and modules.builtin. depmod warns about each that is missing,
// and its index of such a directory is empty, which says nothing of the kernel's modules.
func (t *Tree) unfilled() bool {
	for _, name := range []string{fileOrder, IndexBuiltin} {
		if _, err := fs.Stat(t.fsys, t.Path(name)); !errors.Is(err, fs.ErrNotExist) {
			return false
		}
	}
	return true
}

// errUnfilled is the error of a release directory that says nothing of the kernel's modules.
func (t *Tree) errUnfilled() error {
	return fmt.Errorf("/%s has neither a module file nor an index: "+
		"its modules are on another disk, or were removed: %w", t.Dir, fs.ErrNotExist)
}

// A walker lists the module files below a directory.
type walker struct {
	fsys    fs.FS
	conf    *depmodConfig
	files   []string
	stack   []place // directories to look into
	dirs    int     // how many were found
	skipped string  // the first that is not looked into
}

// A place is a directory that a walk comes to.
type place struct {
	dir, rel string
	depth    int
	links    int
}

// walk lists the module files below dir, with prefix before each path. Links to files and to
// directories are followed, as depmod does, the latter a few within one another, so that a loop ends.
// The error is that of dir itself; directories that are not looked into are problems.
func (t *Tree) walk(dir, prefix string, conf *depmodConfig, r *fact.Report) ([]string, error) {
	entries, err := fs.ReadDir(t.fsys, dir)
	if err != nil {
		return nil, err
	}
	w := walker{fsys: t.fsys, conf: conf}
	w.visit(entries, place{dir: dir, rel: prefix})
	for len(w.stack) > 0 {
		p := w.stack[len(w.stack)-1]
		w.stack = w.stack[:len(w.stack)-1]
		if len(w.files) > maxTreeFiles {
			r.Problem(SourceTree, "", "", &fact.ParseError{Source: dir,
				Reason: fmt.Sprintf("more than %d module files", maxTreeFiles), Err: fact.ErrTooLarge})
			break
		}
		entries, err := fs.ReadDir(t.fsys, p.dir)
		if err != nil {
			r.Problem(SourceTree, "", "", err)
		}
		w.visit(entries, p)
	}
	if w.skipped != "" {
		r.Problem(SourceTree, "", "", &fact.ParseError{Source: w.skipped, Err: fact.ErrTooLarge,
			Reason: fmt.Sprintf("not looked into: more than %d directories, %d deep, or %d links within one another",
				maxTreeDirs, maxTreeDepth, maxTreeLinks)})
	}
	slices.Sort(w.files)
	return w.files, nil
}

// visit takes the module files of a directory, and puts its directories on the stack.
func (w *walker) visit(entries []fs.DirEntry, p place) {
	for _, e := range entries {
		name := e.Name()
		linked := e.Type()&fs.ModeSymlink != 0
		if slices.Contains(w.conf.Exclude, name) {
			continue
		}
		if ko.IsModuleFile(name) && !e.IsDir() && !(linked && isDir(w.fsys, p.dir, e)) {
			w.files = append(w.files, p.rel+name)
			continue
		}
		if !e.IsDir() && (!linked || !isDir(w.fsys, p.dir, e)) {
			continue
		}
		next := place{p.dir + "/" + name, p.rel + name + "/", p.depth + 1, p.links}
		if linked {
			next.links++
		}
		w.dirs++
		if next.depth > maxTreeDepth || next.links > maxTreeLinks || w.dirs > maxTreeDirs {
			w.skipped = cmp.Or(w.skipped, next.dir)
			continue
		}
		w.stack = append(w.stack, next)
	}
}

// choose groups the files by module and picks the one that depmod would.
func (inv *Inventory) choose(t *Tree, files []string, conf *depmodConfig, d *depTable) {
	at := make(map[string]int, len(files))
	several := make(map[int][]string) // files of one name
	inv.Modules = make([]Module, 0, len(files))
	for _, f := range files {
		name := ko.NameOfFile(f)
		i, ok := at[name]
		if !ok {
			at[name] = len(inv.Modules)
			inv.Modules = append(inv.Modules, Module{Name: name, Path: f})
			continue
		}
		if several[i] == nil {
			several[i] = []string{inv.Modules[i].Path}
		}
		several[i] = append(several[i], f)
	}
	for i, group := range several {
		m := &inv.Modules[i]
		m.Candidates = t.candidates(m.Name, group, conf, d)
		m.Path = t.relative(m.Candidates[0].Path)
	}
}

// candidates ranks the files of one module, the chosen one first. Between files of equal rank depmod uses the
// directory's own order, which only modules.dep remembers.
func (t *Tree) candidates(name string, files []string, conf *depmodConfig, d *depTable) []Candidate {
	indexed := ""
	if i, ok := d.byName[name]; ok {
		indexed = d.lines[i].Path
	}
	ranks := make(map[string]rank, len(files))
	for _, f := range files {
		ranks[f] = conf.rank(f)
	}
	slices.SortStableFunc(files, func(a, b string) int {
		if c := cmp.Compare(ranks[b].level, ranks[a].level); c != 0 {
			return c
		}
		return cmp.Compare(rankIndexed(b, indexed), rankIndexed(a, indexed))
	})
	list := make([]Candidate, len(files))
	for i, f := range files {
		reason := ranks[f].reason
		if tie := files[min(1, len(files)-1)]; i == 0 && ranks[tie].level == ranks[f].level {
			if f == indexed {
				reason += "; of equal rank with " + tie + ", modules.dep names this one"
			} else {
				reason += "; of equal rank with " + tie + ", which one depmod takes is up to the directory's own order"
			}
		}
		list[i] = Candidate{Path: "/" + t.Path(f), Chosen: i == 0, Reason: reason}
	}
	return list
}

func rankIndexed(file, indexed string) int {
	if file == indexed {
		return 1
	}
	return 0
}

// relative undoes Path.
func (t *Tree) relative(abs string) string {
	if rel, ok := strings.CutPrefix(abs, "/"+t.Dir+"/"); ok {
		return rel
	}
	return abs
}

// relate fills in who needs whom.
func (inv *Inventory) relate(d *depTable, l *lists, r *fact.Report) {
	if d.err != nil {
		return
	}
	if !l.related {
		r.Problem(SourceTree, "", "", &fact.ParseError{Source: d.source, Err: fact.ErrTooLarge,
			Reason: fmt.Sprintf("more than %d pairs of modules that need one another", maxRelations)})
		return
	}
	byName := make([]int32, len(d.lines)) // the lines, sorted
	for i := range byName {
		byName[i] = int32(i)
	}
	slices.SortFunc(byName, func(a, b int32) int { return cmp.Compare(d.names[a], d.names[b]) })
	users := inverted(l.needs, byName)
	needs := inverted(users, byName)
	for i := range inv.Modules {
		m := &inv.Modules[i]
		m.UsedBy = []string{}
		if line, ok := d.byName[m.Name]; ok {
			m.Needs, m.UsedBy = d.namesOf(needs[line]), d.namesOf(users[line])
		}
	}
}

// inverted returns for each line the lines that have it in their list, in the order that is given.
func inverted(lists [][]int32, order []int32) [][]int32 {
	counts := make([]int, len(lists))
	total := 0
	for _, list := range lists {
		total += len(list)
		for _, n := range list {
			counts[n]++
		}
	}
	slab := make([]int32, total) // one for all
	result := make([][]int32, len(lists))
	for i, n := range counts {
		result[i], slab = slab[:0:n], slab[n:]
	}
	for _, i := range order {
		for _, n := range lists[i] {
			result[n] = append(result[n], i)
		}
	}
	return result
}

// namesOf returns the names of the modules of some lines.
func (d *depTable) namesOf(lines []int32) []string {
	names := make([]string, len(lines))
	for i, n := range lines {
		names[i] = d.names[n]
	}
	return names
}

// Caps of what closure finds, and of how often it looks at what a line names: a chain of n lines
// has n*n/2 pairs. Debian's largest tree has 11,000 pairs and looks 28,000 times.
const (
	maxRelations = 1 << 20
	maxRelating  = 1 << 24
)

// closure returns for each line the lines that it needs, directly or not, in the line's order.
// kmod's lists are complete; others' are completed. Files that modules.dep names without a line of
// their own are left out. It reports false for more than the caps.
func (d *depTable) closure() (lines [][]int32, ok bool) {
	direct := make([][]int32, len(d.lines))
	total := 0
	for i := range d.lines {
		total += len(d.lines[i].Needs)
	}
	slab := make([]int32, 0, total)
	for i := range d.lines {
		from := len(slab)
		for _, file := range d.lines[i].Needs {
			if n, ok := d.byPath[file]; ok {
				slab = append(slab, int32(n))
			}
		}
		direct[i] = slab[from:len(slab):len(slab)]
	}
	seen := make([]int32, len(d.lines)) // the line, counted from 1, that a line was last seen for
	result := make([][]int32, len(d.lines))
	pairs, looks := maxRelations, maxRelating
	for i := range direct {
		stamp := int32(i + 1)
		seen[i] = stamp
		list := make([]int32, 0, len(direct[i]))
		add := func(needs []int32) {
			looks -= len(needs)
			for _, n := range needs {
				if seen[n] != stamp {
					seen[n] = stamp
					list = append(list, n)
				}
			}
		}
		add(direct[i])
		for at := 0; at < len(list) && looks >= 0; at++ {
			add(direct[list[at]])
		}
		if pairs -= len(list); pairs < 0 || looks < 0 {
			return nil, false
		}
		result[i] = list
	}
	return result, true
}

// readOrder returns the place of each file in modules.order, which names files as the build made them, before any was
// compressed.
func (t *Tree) readOrder() (map[string]int64, error) {
	text, err := limit.ReadFile(t.fsys, t.Dir+"/"+fileOrder, maxIndexFile)
	if err != nil {
		return nil, err
	}
	paths := parseOrder(text)
	order := make(map[string]int64, len(paths))
	for i, p := range paths {
		order[p] = int64(i)
	}
	return order, nil
}

// order fills in the modules' places in modules.order.
func (inv *Inventory) order(places map[string]int64) {
	if places == nil {
		return
	}
	for i := range inv.Modules {
		m := &inv.Modules[i]
		plain := strings.TrimSuffix(m.Path, ko.Suffix(path.Base(m.Path))) + ".ko"
		if n, ok := places[plain]; ok {
			m.Order = fact.CountOf(n)
		}
	}
}

// compare finds where modules.dep and the files disagree.
func (inv *Inventory) compare(files []string, d *depTable, r *fact.Report) {
	if d.err != nil {
		return
	}
	there := make(map[string]bool, len(files))
	for _, f := range files {
		there[f] = true
	}
	var missing, unlisted, other []string
	for i := range d.lines {
		if !there[d.lines[i].Path] {
			missing = append(missing, d.lines[i].Path)
		}
	}
	for i := range inv.Modules {
		m := &inv.Modules[i]
		line, ok := d.byName[m.Name]
		switch {
		case !ok:
			unlisted = append(unlisted, m.Path)
		case d.lines[line].Path != m.Path && there[d.lines[line].Path]:
			other = append(other, m.Path)
		}
	}
	stale(r, "names %d files that are not there, such as %s", missing)
	stale(r, "lacks %d modules that are there, such as %s", unlisted)
	stale(r, "names other files than depmod would choose now for %d modules, such as %s", other)
}

// maxIndexSpread is how far apart the indexes of one run of depmod can be written.
const maxIndexSpread = time.Minute

// compareTimes finds indexes that were not written together with modules.dep.
func (inv *Inventory) compareTimes(t *Tree, r *fact.Report) {
	dep, err := fs.Stat(t.fsys, t.Dir+"/"+indexDep)
	if err != nil {
		return
	}
	inv.Written = dep.ModTime()
	var apart []string
	for _, name := range []string{indexDep, IndexAlias, indexSymbols, IndexBuiltin, IndexBuiltinAlias} {
		info, err := fs.Stat(t.fsys, t.Dir+"/"+name+".bin")
		if err == nil && info.ModTime().Sub(inv.Written).Abs() > maxIndexSpread {
			apart = append(apart, name+".bin")
		}
	}
	stale(r, "was not written together with %d other indexes, such as %s", apart)
}

// stale reports how modules.dep differs from the files of a list, if there are any.
func stale(r *fact.Report, format string, list []string) {
	if len(list) > 0 {
		disagrees(r, "modules", fact.CodeOther, "modules.dep "+fmt.Sprintf(format, len(list), list[0])+": run depmod")
	}
}

// disagrees reports what is wrong with modules.dep.
func disagrees(r *fact.Report, field string, code fact.Code, text string) {
	r.Add(fact.Problem{Source: SourceTree, Field: field, Code: code, Text: text})
}
