// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/internal/pkgdb"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// The kinds of discrepancies.
const (
	KindUnchecked        = "unchecked"             // views that could not be compared: no finding
	KindHiddenFromList   = "hidden_from_list"      // other views show a module that the list does not
	KindMissingDirectory = "missing_directory"     // the list shows a module that /sys/module does not
	KindHiddenDirectory  = "hidden_directory"      // a directory that is there is left out of its listing
	KindDirectoryCount   = "directory_count"       // /sys/module holds more directories than it lists
	KindTaintUnexplained = "taint_unexplained"     // the kernel is tainted and no listed module says why
	KindUnloadedTainted  = "unloaded_tainted"      // a tainted module is gone
	KindDiskMemory       = "disk_memory"           // the loaded code is another than the file's
	KindNoFile           = "no_file"               // a loaded module has no file that would be loaded
	KindUnownedFile      = "unowned_file"          // a module file that no package owns
	KindChangedFile      = pkgdb.KindChanged       // a module file is not its package's; Detail Hashes
	KindMissingFile      = pkgdb.KindMissing       // a package has a module file that is not there; Detail Hashes
	KindNamesDiffer      = "names_differ"          // a module file whose metadata has another name than its code
	KindInstallCommand   = "install_runs_programs" // loading a module runs something
)

// findGaps compares what the kernel's views say of its modules. A gap counts as strong
// only after three looks under an unchanged event counter with no module on its way in or out; one
// that goes away by itself, or whose module is in any of the lists that are read meanwhile, is left
// out. On a machine whose event counter never stops a gap that is in each of twelve looks is weak,
// any other transient. Views that could not be read are the one discrepancy of kind "unchecked",
// which comes first: without it every view was compared.
//
// It reads files only, most of them without privilege: the list, /sys/module, /proc/kallsyms,
// /proc/crypto, /sys/kernel/btf, the drivers' links, what the kernel's log says of modules that
// taint it, and as root ftrace's and dynamic debug's lists, unloaded_tainted, and for a module in
// question its address and /proc/vmallocinfo. A rootkit can filter every one of them: no finding is
// no proof.
//
// The error is that of the list itself, or ctx's.
func (k *Kernel) findGaps(ctx context.Context, report *fact.Report) ([]fact.Discrepancy, error) {
	r := &viewReader{kernel: k, fsys: k.machine}
	c, err := r.confirm(ctx)
	if err != nil {
		return nil, err
	}
	c.last.report(report)
	var found []fact.Discrepancy
	if d := c.last.unchecked(); len(d.Views) > 0 {
		r.unsupported(ctx, &d)
		found = append(found, d)
	}
	for _, g := range slices.SortedFunc(maps.Keys(c.pending), compareGaps) {
		d := c.discrepancy(g)
		if g.kind != KindDirectoryCount {
			r.memory(&d)
		}
		found = append(found, d)
	}
	return append(found, c.last.taintDiscrepancies()...), nil
}

// memory says of a module in question whether its code is in memory that is in use.
func (r *viewReader) memory(d *fact.Discrepancy) {
	used, err := r.inMemory(d.Name)
	switch {
	case err != nil:
		d.Views[viewVmalloc] = fact.ViewUnchecked
	case used:
		d.Views[viewVmalloc] = fact.ViewSeen
		d.Evidence = append(d.Evidence, fact.Evidence{Fact: "its code's memory", Value: "in use", Source: viewVmalloc})
	default:
		d.Views[viewVmalloc] = fact.ViewMissing
	}
}

// A gap is one kind of disagreement about one module.
type gap struct{ kind, name string }

func compareGaps(a, b gap) int {
	if c := strings.Compare(a.kind, b.kind); c != 0 {
		return c
	}
	return strings.Compare(a.name, b.name)
}

// gaps are the disagreements of one look, of all its views or of those alone that it read itself.
func (l *look) gaps(fresh bool) map[gap]bool {
	gaps := make(map[gap]bool)
	for _, view := range byCost {
		if fresh && !l.fresh[view] {
			continue
		}
		for name := range l.seen[view] {
			if !l.listed[name] && l.shows(view, name) {
				gaps[gap{KindHiddenFromList, name}] = true
			}
		}
	}
	if opened := l.seen[ViewOpen]; opened != nil {
		for name := range l.stayed {
			if !opened[name] && !l.moving[name] && !l.unsure[name] && validName(name) {
				gaps[gap{KindMissingDirectory, name}] = true
			}
		}
		for name := range opened {
			if !l.seen[SourceSysModule][name] {
				gaps[gap{KindHiddenDirectory, name}] = true
			}
		}
	}
	if l.links > 2 && l.dirs > 0 && l.links-2 > l.dirs {
		gaps[gap{KindDirectoryCount, SysModuleDir}] = true
	}
	return gaps
}

// discrepancy describes a gap with the weight that the looks give it.
func (c *confirmation) discrepancy(g gap) fact.Discrepancy {
	l := c.last
	d := fact.Discrepancy{Name: g.name, Kind: g.kind, Samples: c.steady[g], Grade: fact.GradeTransient}
	if g.kind == KindDirectoryCount {
		l.describeCount(&d)
	} else {
		l.describeModule(&d)
	}
	switch {
	case d.Samples >= wantedSamples && !l.onlyWeak(g):
		d.Grade = fact.GradeStrong
	case d.Samples >= wantedSamples:
		d.Grade = fact.GradeWeak
	case c.busy(g):
		d.Grade = fact.GradeWeak
		d.Evidence = append(d.Evidence,
			fact.Evidence{Fact: "looks that agree while the event counter kept changing",
				Value: fmt.Sprint(c.all[g]), Source: SourceModules})
	}
	return d
}

func (l *look) describeCount(d *fact.Discrepancy) {
	d.Name = "/" + SysModuleDir
	d.Views = map[string]fact.View{viewLinks: fact.ViewSeen, SourceSysModule: fact.ViewMissing}
	d.Evidence = []fact.Evidence{
		{Fact: "directories by link count", Value: fmt.Sprint(l.links - 2), Source: viewLinks},
		{Fact: "directories listed", Value: fmt.Sprint(l.dirs), Source: SourceSysModule},
	}
}

func (l *look) describeModule(d *fact.Discrepancy) {
	d.ID, d.Views = d.Name, l.views(d.Name)
	if state, ok := l.states[d.Name]; ok {
		d.Evidence = append(d.Evidence,
			fact.Evidence{Fact: "initstate", Value: escape.Text(state), Source: SourceSysModule})
	}
	if l.bare[d.Name] {
		d.Evidence = append(d.Evidence,
			fact.Evidence{Fact: "directory", Source: SourceSysModule,
				Value: "without initstate: covered by a mount, or that of compiled-in code"})
	}
	if d.Kind == KindHiddenFromList && len(l.list.Entries) == 0 {
		d.Evidence = append(d.Evidence,
			fact.Evidence{Fact: "list", Value: "empty: it may be covered by a mount", Source: SourceModules})
	}
	for _, t := range l.log {
		if t.Module == d.Name {
			d.Evidence = append(d.Evidence, fact.Evidence{Fact: "the kernel said", Value: t.Text, Source: viewLog})
		}
	}
}

// onlyWeak reports whether a gap has a harmless explanation even when nothing moves.
func (l *look) onlyWeak(g gap) bool {
	switch g.kind {
	case KindMissingDirectory:
		return l.bare[g.name] // a directory is there: something may cover what was in it
	case KindHiddenFromList:
	default:
		return false
	}
	if len(l.list.Entries) == 0 {
		return true
	}
	if state, ok := l.states[g.name]; ok && state != "live" {
		return true // a module that fails to load, again and again
	}
	// The other views may keep what a module left behind that is gone, or name what never got so far.
	for _, view := range []string{ViewOpen, viewHolders, viewSymbols, viewFtrace, viewHistory} {
		if l.shows(view, g.name) {
			return false
		}
	}
	return true
}

// unchecked says which views could not be compared, and why.
func (l *look) unchecked() fact.Discrepancy {
	d := newUnchecked()
	for _, view := range slices.Sorted(maps.Keys(l.reports)) {
		if _, ok := l.seen[view]; !ok {
			p := l.reports[view].Problems[0]
			addUnchecked(&d, view, p.Code, p.Text)
		}
	}
	if p, ok := l.firstUnsure(); ok {
		text := fmt.Sprintf("%d directories could not be read, the first is %s: %s", len(l.unsure),
			escape.Text(p.Subject), p.Text)
		addUnchecked(&d, SourceSysModule, p.Code, text)
	}
	return d
}

func newUnchecked() fact.Discrepancy {
	return fact.Discrepancy{Name: "kernel", Kind: KindUnchecked, Grade: fact.GradeTransient,
		Views: make(map[string]fact.View)}
}

// firstUnsure returns the Problem of the first directory, by name, that could not be read.
func (l *look) firstUnsure() (first fact.Problem, ok bool) {
	if len(l.unsure) == 0 {
		return first, false
	}
	for _, p := range l.reports[SourceSysModule].Problems {
		if l.unsure[p.Subject] && (!ok || p.Subject <= first.Subject) {
			first, ok = p, true
		}
	}
	return first, ok
}

// addUnchecked adds a view that could not be compared to the discrepancy of kind "unchecked".
func addUnchecked(d *fact.Discrepancy, view string, code fact.Code, text string) {
	d.Views[view] = fact.ViewUnchecked
	d.Evidence = append(d.Evidence, fact.Evidence{Fact: string(code), Value: text, Source: view})
}

// addUncheckedFor does the same with the error of reading the view.
func addUncheckedFor(d *fact.Discrepancy, view string, err error) {
	addUnchecked(d, view, fact.CodeOf(err), escape.Text(err.Error()))
}

// moduleTaints are the taint bits that nothing but a module sets, with their letters. The test taint
// is not among them: compiled-in tests set it too.
var moduleTaints = []struct {
	bit    int
	letter string
}{{0, "P"}, {1, "F"}, {10, "C"}, {12, "O"}, {13, "E"}, {15, "K"}}

// taintDiscrepancies compares the kernel's taint with that of the modules it lists.
func (l *look) taintDiscrepancies() []fact.Discrepancy {
	found := l.goneTainted()
	if d := l.taintUnexplained(); d != nil {
		found = append(found, *d)
	}
	return found
}

// goneTainted returns a finding for each module that the kernel says is gone and that tainted it.
func (l *look) goneTainted() (found []fact.Discrepancy) {
	gone := 0
	for _, name := range slices.Sorted(maps.Keys(l.unloaded)) {
		if gone++; l.listed[name] {
			gone--
		} else if len(found) < maxFindings {
			found = append(found, fact.Discrepancy{ID: name, Name: name, Kind: KindUnloadedTainted,
				Grade: fact.GradeTransient, Views: l.views(name),
				Evidence: []fact.Evidence{{Fact: "taint of a module that is gone", Value: escape.Text(l.unloaded[name]),
					Source: viewUnloaded}}, Samples: 1})
		}
	}
	if more := gone - len(found); more > 0 {
		last := &found[len(found)-1]
		last.Evidence = append(last.Evidence,
			fact.Evidence{Fact: "and more modules that are gone", Value: fmt.Sprint(more), Source: viewUnloaded})
	}
	return found
}

// taintUnexplained returns a finding if the kernel has a taint of modules that none carries of those that are there, or
// that it says are gone.
func (l *look) taintUnexplained() *fact.Discrepancy {
	if !l.hasTaint {
		return nil
	}
	var carried strings.Builder
	for _, letters := range l.unloaded {
		carried.WriteString(letters)
	}
	for _, e := range l.list.Entries {
		carried.WriteString(e.Taints)
	}
	unexplained := ""
	for _, t := range moduleTaints {
		if l.taint>>t.bit&1 == 1 && !strings.Contains(carried.String(), t.letter) {
			unexplained += t.letter
		}
	}
	if unexplained == "" {
		return nil
	}
	d := &fact.Discrepancy{Name: unexplained, Kind: KindTaintUnexplained, Grade: fact.GradeWeak, Samples: 1,
		Views: map[string]fact.View{SourceTainted: fact.ViewSeen, SourceModules: fact.ViewMissing,
			viewUnloaded: fact.ViewMissing, viewLog: fact.ViewMissing}}
	for _, view := range []string{viewUnloaded, viewLog} {
		if l.seen[view] == nil {
			d.Views[view] = fact.ViewUnchecked
		}
	}
	d.Evidence = []fact.Evidence{
		{Fact: "kernel taint", Value: fmt.Sprint(l.taint), Source: SourceTainted},
		{Fact: "letters that no visible module carries", Value: unexplained, Source: SourceModules},
	}
	for _, t := range l.log {
		if strings.Contains(unexplained, t.Letter) && len(d.Evidence) < maxFindings {
			d.Views[viewLog] = fact.ViewSeen
			d.Evidence = append(d.Evidence,
				fact.Evidence{Fact: "the kernel said of " + t.Module, Value: t.Text, Source: viewLog})
		}
	}
	return d
}

// maxFindings is how many findings of one kind are listed; the rest is counted in the last one.
const maxFindings = limit.Problems

// installCommands returns the install lines of modprobe's configuration that run something other
// than nothing: one finding for each command, so that the odd one is seen among many of one script.
func installCommands(c *modprobe.Config) []fact.Discrepancy {
	var found []fact.Discrepancy
	byCommand := make(map[string]int)
	others := make(map[string]int) // lines beyond the first of a command
	more := 0
	for i := range c.Install {
		d := &c.Install[i]
		effect := modprobe.EffectOf(d.Value, d.Name)
		at, known := byCommand[d.Value]
		switch {
		case effect == modprobe.CommandFails, effect == modprobe.CommandNothing:
			continue
		case known:
			others[found[at].ID]++
			continue
		case len(found) == maxFindings:
			more++
			continue
		}
		byCommand[d.Value] = len(found)
		found = append(found, fact.Discrepancy{ID: d.Name, Name: d.Name, Kind: KindInstallCommand,
			Grade: fact.GradeWeak, Samples: 1,
			Views: map[string]fact.View{SourceConfig: fact.ViewSeen},
			Evidence: []fact.Evidence{
				{Fact: "install", Value: escape.Text(d.Value), Source: fmt.Sprintf("/%s:%d", d.File, d.Line)}}})
	}
	for i := range found {
		if n := others[found[i].ID]; n > 0 {
			found[i].Evidence = append(found[i].Evidence,
				fact.Evidence{Fact: "and more modules with this command", Value: fmt.Sprint(n), Source: SourceConfig})
		}
	}
	if more > 0 {
		last := &found[len(found)-1]
		last.Evidence = append(last.Evidence,
			fact.Evidence{Fact: "and more such lines", Value: fmt.Sprint(more), Source: SourceConfig})
	}
	return found
}

// unownedFiles returns the module files of a tree that no package and no DKMS build owns. It is nil
// when the packages could not be read, not even some: then nothing is known of any file. lost is what reading
// the owners reported; r takes what the walk of the tree does.
func unownedFiles(t *modprobe.Tree, owners *fileOwners, lost, r *fact.Report) ([]fact.Discrepancy, error) {
	if err := owners.unsure(lost); err != nil {
		return nil, err
	}
	inv, err := t.Inventory(r)
	if err != nil {
		return nil, err
	}
	var found []fact.Discrepancy
	more := 0
	for i := range inv.Modules {
		m := &inv.Modules[i]
		file := t.Path(m.Path)
		if owners.DKMS(m.Name, m.Path, file) != "" || owners.Package(file) != "" ||
			owners.Package(modprobe.LinkTarget(t.FS(), file)) != "" {
			continue
		}
		if len(found) == maxFindings {
			more++
			continue
		}
		found = append(found, fact.Discrepancy{ID: m.Name, Name: m.Name, Kind: KindUnownedFile,
			Grade: fact.GradeWeak, Samples: 1,
			Views:    map[string]fact.View{SourceTree: fact.ViewSeen, SourcePackages: fact.ViewMissing},
			Evidence: []fact.Evidence{{Fact: "file", Value: "/" + file, Source: SourceTree}}})
	}
	if more > 0 {
		last := &found[len(found)-1]
		last.Evidence = append(last.Evidence,
			fact.Evidence{Fact: "and more such files", Value: fmt.Sprint(more), Source: SourceTree})
	}
	return found, nil
}
