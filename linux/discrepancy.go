// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/limit"
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
	KindInstallCommand   = "install_runs_programs" // loading a module runs something
)

// wantedSamples is how many steady looks must agree before a gap is strong, and maxLooks how many
// are taken to get them.
const (
	wantedSamples = 3
	maxLooks      = 12
	betweenLooks  = 20 * time.Millisecond
)

// A DiscrepancyMachine is what FindDiscrepancies looks at: a running machine's root and its calls.
type DiscrepancyMachine struct {
	FS   fs.FS
	Call func(ctx context.Context, op string, args ...string) ([]byte, error)
}

// FindDiscrepancies compares what the kernel's views say of its modules. A gap counts as strong
// only after three looks under an unchanged event counter with no module on its way in or out; one
// that goes away by itself, or never stands still, is transient or left out. Views that could not
// be read are the one discrepancy of kind "unchecked", which comes first: without it every view was
// compared.
//
// It reads files only, most of them without privilege: the list, /sys/module, /proc/kallsyms,
// /proc/crypto, /sys/kernel/btf, the drivers' links, and as root ftrace's and dynamic debug's lists
// and unloaded_tainted. A rootkit can filter every one of them: no finding is no proof.
//
// The error is that of the list itself, or ctx's.
func FindDiscrepancies(ctx context.Context, m DiscrepancyMachine) ([]fact.Discrepancy, error) {
	r := &viewReader{fsys: m.FS, call: m.Call}
	first, err := r.takeLook(ctx, nil, nil)
	if err != nil {
		return nil, err
	}
	gaps := first.gaps()
	last, samples := first, make(map[gap]int)
	count := func(l *look, now map[gap]bool) {
		if !l.steady {
			return
		}
		for g := range now {
			samples[g]++
		}
	}
	count(first, gaps)
	pending := maps.Clone(gaps)
	for looks := 1; len(pending) > 0 && looks < maxLooks; looks++ {
		if enough(pending, samples) {
			break
		}
		if err := pause(ctx, betweenLooks); err != nil {
			return nil, err
		}
		l, err := r.takeLook(ctx, last, pending)
		if err != nil {
			return nil, err
		}
		now := l.gaps()
		count(l, now)
		for g := range pending {
			if l.steady && !now[g] {
				delete(pending, g) // explained by what happened meanwhile
			}
		}
		last = l
	}
	var found []fact.Discrepancy
	if d := last.unchecked(); len(d.Views) > 0 {
		found = append(found, d)
	}
	for _, g := range slices.SortedFunc(maps.Keys(pending), compareGaps) {
		found = append(found, last.discrepancy(g, samples[g]))
	}
	return append(found, last.taintDiscrepancies()...), nil
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// enough reports whether every gap was seen often enough.
func enough(pending map[gap]bool, samples map[gap]int) bool {
	for g := range pending {
		if samples[g] < wantedSamples {
			return false
		}
	}
	return true
}

// A gap is one kind of disagreement about one module.
type gap struct{ kind, name string }

func compareGaps(a, b gap) int {
	if c := strings.Compare(a.kind, b.kind); c != 0 {
		return c
	}
	return strings.Compare(a.name, b.name)
}

// gaps are the disagreements of one look.
func (l *look) gaps() map[gap]bool {
	gaps := make(map[gap]bool)
	for name, state := range l.loadable {
		if !l.listed[name] && state == "live" {
			gaps[gap{KindHiddenFromList, name}] = true
		}
	}
	views := []string{ViewHolders, ViewSymbols, ViewFtrace}
	if l.seen[SourceSysModule] != nil {
		// These name compiled-in code too, which nothing but /sys/module tells apart.
		views = append(views, ViewCrypto, ViewDrivers)
	}
	for _, view := range views {
		for name := range l.seen[view] {
			if !l.listed[name] && !l.builtin[name] {
				gaps[gap{KindHiddenFromList, name}] = true
			}
		}
	}
	if directories := l.seen[SourceSysModule]; directories != nil {
		for name := range l.listed {
			if !directories[name] && !l.moving[name] {
				gaps[gap{KindMissingDirectory, name}] = true
			}
		}
	}
	if l.links > 2 && l.dirs > 0 && l.links-2 > l.dirs {
		gaps[gap{KindDirectoryCount, SysModuleDir}] = true
	}
	return gaps
}

// discrepancy describes a gap that stood in so many steady looks.
func (l *look) discrepancy(g gap, samples int) fact.Discrepancy {
	d := fact.Discrepancy{Name: g.name, Kind: g.kind, Samples: samples, Grade: fact.GradeTransient}
	if samples >= wantedSamples {
		d.Grade = fact.GradeStrong
	}
	if g.kind == KindDirectoryCount {
		d.Name = "/" + SysModuleDir
		d.Views = map[string]fact.View{ViewLinks: fact.ViewSeen, SourceSysModule: fact.ViewMissing}
		d.Evidence = []fact.Evidence{
			{Fact: "directories by link count", Value: fmt.Sprint(l.links - 2), Source: ViewLinks},
			{Fact: "directories listed", Value: fmt.Sprint(l.dirs), Source: SourceSysModule},
		}
		return d
	}
	d.ID, d.Views = g.name, l.views(g.name)
	for _, view := range slices.Sorted(maps.Keys(d.Views)) {
		if d.Views[view] == fact.ViewSeen {
			d.Evidence = append(d.Evidence, fact.Evidence{Fact: "shown by", Value: view, Source: view})
		}
	}
	if state, ok := l.loadable[g.name]; ok {
		d.Evidence = append(d.Evidence, fact.Evidence{Fact: "initstate", Value: state, Source: SourceSysModule})
	}
	if g.kind == KindHiddenFromList && samples >= wantedSamples && l.onlyWeak(g.name) {
		d.Grade = fact.GradeWeak
	}
	return d
}

// onlyWeak reports whether nothing shows the module but views in which something may be left behind
// by a module that is gone, or stand for code that is compiled in.
func (l *look) onlyWeak(name string) bool {
	for _, view := range []string{SourceSysModule, ViewHolders, ViewSymbols, ViewFtrace} {
		if l.seen[view][name] {
			return false
		}
	}
	return true
}

// unchecked says which views could not be compared, and why.
func (l *look) unchecked() fact.Discrepancy {
	d := fact.Discrepancy{Name: "kernel", Kind: KindUnchecked, Grade: fact.GradeTransient, Views: make(map[string]fact.View)}
	for _, view := range slices.Sorted(maps.Keys(l.why)) {
		if _, ok := l.seen[view]; ok {
			continue
		}
		AddUnchecked(&d, view, l.why[view])
	}
	return d
}

// AddUnchecked adds a view that could not be compared to the discrepancy of kind "unchecked".
func AddUnchecked(d *fact.Discrepancy, view string, why error) {
	d.Views[view] = fact.ViewUnchecked
	d.Evidence = append(d.Evidence, fact.Evidence{Fact: string(fact.CodeOf(why)), Value: escape.Text(why.Error()), Source: view})
}

// moduleTaints are the taint bits that a module sets, with their letters.
var moduleTaints = []struct {
	bit    int
	letter string
}{{0, "P"}, {1, "F"}, {12, "O"}, {13, "E"}}

// taintDiscrepancies compares the kernel's taint with that of the modules it lists.
func (l *look) taintDiscrepancies() []fact.Discrepancy {
	var found []fact.Discrepancy
	var gone string
	for _, name := range slices.Sorted(maps.Keys(l.unloaded)) {
		gone += l.unloaded[name]
		found = append(found, fact.Discrepancy{ID: name, Name: name, Kind: KindUnloadedTainted, Grade: fact.GradeTransient, Views: l.views(name),
			Evidence: []fact.Evidence{{Fact: "taint of a module that is gone", Value: l.unloaded[name], Source: ViewUnloaded}}, Samples: 1})
	}
	if !l.hasTaint {
		return found
	}
	listed := ""
	for _, e := range l.list.Entries {
		listed += e.Taints
	}
	unexplained := ""
	for _, t := range moduleTaints {
		if l.taint>>t.bit&1 == 1 && !strings.Contains(listed, t.letter) && !strings.Contains(gone, t.letter) {
			unexplained += t.letter
		}
	}
	if unexplained == "" {
		return found
	}
	d := fact.Discrepancy{Name: unexplained, Kind: KindTaintUnexplained, Grade: fact.GradeWeak, Samples: 1,
		Views: map[string]fact.View{SourceTainted: fact.ViewSeen, SourceModules: fact.ViewMissing, ViewUnloaded: fact.ViewMissing}}
	if l.seen[ViewUnloaded] == nil {
		d.Views[ViewUnloaded] = fact.ViewUnchecked
	}
	d.Evidence = []fact.Evidence{
		{Fact: "kernel taint", Value: fmt.Sprint(l.taint), Source: SourceTainted},
		{Fact: "letters that no visible module carries", Value: unexplained, Source: SourceModules},
	}
	return append(found, d)
}

// maxFindings is how many findings of one kind are listed; the rest is counted in the last one.
const maxFindings = limit.Problems

// ConfigDiscrepancies are the install lines of modprobe's configuration that run something other
// than nothing.
func ConfigDiscrepancies(c *Config) []fact.Discrepancy {
	var found []fact.Discrepancy
	for i := range c.Install {
		d := &c.Install[i]
		effect := EffectOf(d.Value, d.Name)
		if effect == CommandFails || effect == CommandNothing || len(found) == maxFindings {
			continue
		}
		found = append(found, fact.Discrepancy{ID: d.Name, Name: d.Name, Kind: KindInstallCommand, Grade: fact.GradeWeak, Samples: 1,
			Views:    map[string]fact.View{SourceConfig: fact.ViewSeen},
			Evidence: []fact.Evidence{{Fact: "install", Value: escape.Text(d.Value), Source: fmt.Sprintf("/%s:%d", d.File, d.Line)}}})
	}
	return found
}

// UnownedFiles are the module files of a tree that no package and no DKMS build owns. It is nil
// when the packages could not be read: then nothing is known of any file.
func UnownedFiles(t *Tree, owners *Owners) ([]fact.Discrepancy, error) {
	if len(owners.packages) == 0 {
		return nil, fmt.Errorf("no package database that lists module files: %w", fs.ErrNotExist)
	}
	inv, err := t.Inventory()
	if err != nil {
		return nil, err
	}
	var found []fact.Discrepancy
	more := 0
	for i := range inv.Modules {
		m := &inv.Modules[i]
		file := t.Path(m.Path)
		if owners.Package(file) != "" || owners.DKMS(m.Name) != "" {
			continue
		}
		if len(found) == maxFindings {
			more++
			continue
		}
		found = append(found, fact.Discrepancy{ID: m.Name, Name: m.Name, Kind: KindUnownedFile, Grade: fact.GradeWeak, Samples: 1,
			Views:    map[string]fact.View{SourceTree: fact.ViewSeen, SourcePackages: fact.ViewMissing},
			Evidence: []fact.Evidence{{Fact: "file", Value: "/" + file, Source: SourceTree}}})
	}
	if more > 0 {
		last := &found[len(found)-1]
		last.Evidence = append(last.Evidence, fact.Evidence{Fact: "and more such files", Value: fmt.Sprint(more), Source: SourceTree})
	}
	return found, nil
}
