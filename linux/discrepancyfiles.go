// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// Discrepancies compares the kernel's sources with each other and with the disk. What was not compared comes first.
func (k *Kernel) Discrepancies(ctx context.Context, r *fact.Report) ([]fact.Discrepancy, error) {
	unchecked := newUnchecked()
	found, err := k.findGaps(ctx, r)
	if err != nil {
		if err = k.whyNoList(err); err != errNoModules {
			return nil, err
		}
		reportNoModules(r)
		addUncheckedFor(&unchecked, SourceModules, fact.ProblemOf(SourceModules, "", "modules", errNoModules))
		return []fact.Discrepancy{unchecked}, nil
	}
	if len(found) > 0 && found[0].Kind == KindUnchecked {
		unchecked, found = found[0], found[1:]
	}
	found = append(found, k.diskDiscrepancies(ctx, &unchecked, r)...)
	return joinDiscrepancies(unchecked, found), nil
}

// joinDiscrepancies puts what was not checked first, and makes ids of names.
func joinDiscrepancies(unchecked fact.Discrepancy, found []fact.Discrepancy) []fact.Discrepancy {
	for i := range found {
		if found[i].ID != "" {
			found[i].ID = string(fact.KindLinuxModule) + ":" + found[i].ID
		}
	}
	if len(unchecked.Views) > 0 {
		found = append([]fact.Discrepancy{unchecked}, found...)
	}
	return found
}

// FileDiscrepancies compares an image's files with its packages, and looks at the configuration.
func (k *Kernel) FileDiscrepancies(ctx context.Context, r *fact.Report) ([]fact.Discrepancy, error) {
	unchecked := newUnchecked()
	noKernel := fmt.Errorf("an image runs no kernel, only its files are compared: %w", errors.ErrUnsupported)
	addUncheckedFor(&unchecked, SourceModules, noKernel)
	trees, err := k.imageTrees(ctx, r)
	if err != nil {
		addUncheckedFor(&unchecked, SourceTree, err)
		addUncheckedFor(&unchecked, SourcePackages, err)
	}
	var found []fact.Discrepancy
	for _, tree := range trees {
		found = append(found, k.packageDiscrepancies(ctx, tree, &unchecked, r)...)
		found = append(found, k.differentNames(tree, &unchecked, r)...)
	}
	found = append(found, configDiscrepancies(modprobe.ReadConfig(k.machine, modprobe.ConfigDirs, "", false),
		&unchecked, r)...)
	return joinDiscrepancies(unchecked, found), nil
}

// imageTrees are the release directories of an image: that of Options.Kernel, else all.
func (k *Kernel) imageTrees(ctx context.Context, r *fact.Report) ([]*modprobe.Tree, error) {
	if release := k.options.Kernel; release != "" && release != fact.KernelAll {
		tree, err := k.treeOf(ctx, release)
		if err != nil {
			return nil, err
		}
		return []*modprobe.Tree{tree}, nil
	}
	var lost fact.Report
	dirs, err := modprobe.Releases(k.machine, &lost)
	r.Append(&lost)
	for _, p := range lost.Problems { // one at most
		p.Source = "" // the caller names it
		err = p
	}
	if len(dirs) == 0 {
		err = k.noRelease(err)
	}
	trees := make([]*modprobe.Tree, len(dirs))
	for i, dir := range dirs {
		trees[i] = k.treeAt(dir)
	}
	return trees, err
}

// diskDiscrepancies compares the loaded modules with their files, the files with the packages, and
// looks for install lines that run programs.
func (k *Kernel) diskDiscrepancies(ctx context.Context, unchecked *fact.Discrepancy,
	r *fact.Report) []fact.Discrepancy {
	tree, err := k.runningTree(ctx)
	if err != nil {
		addUncheckedFor(unchecked, SourceTree, noTree(err))
		addUncheckedFor(unchecked, SourcePackages, noTree(err))
		return configDiscrepancies(modprobe.ReadConfig(k.machine, modprobe.ConfigDirs, "", true), unchecked, r)
	}
	found := k.compareFiles(ctx, tree, unchecked, r)
	found = append(found, k.packageDiscrepancies(ctx, tree, unchecked, r)...)
	found = append(found, k.differentNames(tree, unchecked, r)...)
	return append(found, configDiscrepancies(tree.Config(), unchecked, r)...)
}

func configDiscrepancies(config *modprobe.Config, unchecked *fact.Discrepancy, r *fact.Report) []fact.Discrepancy {
	var lost fact.Report
	config.Report(&lost)
	r.Append(&lost)
	for _, p := range lost.Problems {
		if p.Code != fact.CodeMalformed {
			addUnchecked(unchecked, SourceConfig, p.Code, p.Text)
			break
		}
	}
	return installCommands(config)
}

// compareFiles compares each loaded module with the file that would be loaded now.
func (k *Kernel) compareFiles(ctx context.Context, tree *modprobe.Tree, unchecked *fact.Discrepancy,
	r *fact.Report) []fact.Discrepancy {
	modules, err := k.loadedWithFiles(ctx, r)
	if err != nil {
		addUncheckedFor(unchecked, SourceTree, err)
		return nil
	}
	if tree, ok := r.Find(SourceTree); ok && tree.Outcome != fact.OutcomeOK && tree.Outcome != fact.OutcomePartial {
		addUncheckedFor(unchecked, SourceTree,
			fact.Problem{Source: SourceTree, Code: tree.Code, Text: "module files were not read: " + string(tree.Code)})
		return nil
	}
	var different, absent []fact.Discrepancy
	unknown := 0
	var first fact.Problem
	boot := k.bootTime(ctx)
	for i := range modules {
		m := &modules[i]
		switch {
		case m.OnDisk.Match == fact.MatchDifferent:
			different = append(different, k.differentCode(m, boot))
		case m.OnDisk.Match == fact.MatchAbsent:
			absent = append(absent, withoutFile(m))
		case m.OnDisk.Match == "" && m.State != fact.StateLoading && m.State != fact.StateUnloading:
			if unknown++; unknown == 1 {
				first = onDiskProblem(m)
			}
		}
	}
	if unknown > 0 {
		first.Text = fmt.Sprintf("%d of %d loaded modules could not be compared with a file, the first is %s: %s",
			unknown, len(modules), first.Subject, first.Text)
		addUncheckedFor(unchecked, SourceTree, first)
	}
	if len(absent) > 0 && tree.HasUnseen() { // the files may be there
		addUncheckedFor(unchecked, SourceTree, tree.UnseenErr())
		absent = nil
	}
	if len(absent) == len(modules) && len(absent) > 1 {
		absent = []fact.Discrepancy{{Name: "/" + tree.Dir, Kind: KindNoFile, Grade: fact.GradeWeak,
			Samples: 1, Views: absent[0].Views,
			Evidence: []fact.Evidence{
				{Fact: "loaded modules, none of which has a file", Value: fmt.Sprint(len(modules)),
					Source: SourceTree}}}}
	}
	return append(different, absent...)
}

// loadedWithFiles returns the loaded modules, each compared with its file.
func (k *Kernel) loadedWithFiles(ctx context.Context, r *fact.Report) ([]Record, error) {
	var list moduleList
	if err := newListReader(k.machine).Read(&list, r); err != nil {
		if err = k.whyNoList(err); err != errNoModules {
			return nil, err
		}
		reportNoModules(r)
		return nil, ctx.Err()
	}
	modules := recordsOf(&list, nil)
	r.Done(SourceModules, fact.CountOf(int64(len(modules))))
	k.readSysModules(ctx, modules, fact.DetailFiles, r)
	k.readFiles(ctx, modules, fact.DetailFiles, r)
	return modules, ctx.Err()
}

// onDiskProblem is first a module could not be compared with its file.
func onDiskProblem(m *Record) fact.Problem {
	for _, p := range m.Problems {
		if p.Field == "onDisk" || p.Source == SourceTree {
			return p
		}
	}
	return fact.Problem{Source: SourceTree, Subject: m.Name, Code: fact.CodeAbsent, Text: "nothing to compare by"}
}

// differentCode describes a loaded module whose code is not the file's. boot is when the machine was
// started, zero when not known.
func (k *Kernel) differentCode(m *Record, boot time.Time) fact.Discrepancy {
	d := fact.Discrepancy{ID: m.Name, Name: m.Name, Kind: KindDiskMemory, Grade: fact.GradeWeak, Samples: 1,
		Views: map[string]fact.View{SourceModules: fact.ViewSeen, SourceTree: fact.ViewSeen},
		Evidence: []fact.Evidence{
			{Fact: "loaded " + m.OnDisk.By, Value: loadedIdentity(m), Source: SourceSysModule},
			{Fact: "file's " + m.OnDisk.By, Value: m.OnDisk.ContentID, Source: m.OnDisk.Path},
		}}
	info, err := fs.Stat(k.machine, strings.TrimPrefix(m.OnDisk.Path, "/"))
	if err != nil {
		return d
	}
	when := info.ModTime().UTC().Format(time.RFC3339)
	switch {
	case boot.IsZero():
	case info.ModTime().After(boot):
		when += ", after the machine was started"
	default:
		when += ", before the machine was started"
	}
	d.Evidence = append(d.Evidence, fact.Evidence{Fact: "file written", Value: when, Source: m.OnDisk.Path})
	return d
}

// withoutFile describes a loaded module that has no file.
func withoutFile(m *Record) fact.Discrepancy {
	letters := "none"
	if m.Own != nil && len(m.Own.Taints) > 0 {
		letters = strings.Join(m.Own.Taints, "")
	}
	return fact.Discrepancy{ID: m.Name, Name: m.Name, Kind: KindNoFile, Grade: fact.GradeWeak, Samples: 1,
		Views:    map[string]fact.View{SourceModules: fact.ViewSeen, SourceTree: fact.ViewMissing},
		Evidence: []fact.Evidence{{Fact: "taint letters", Value: letters, Source: SourceModules}}}
}

// bootTime is when the machine was started, by its own clock; zero if that is unknown.
func (k *Kernel) bootTime(ctx context.Context) time.Time {
	now := k.Time(ctx)
	text, err := limit.AppendAttr(k.machine, nil, uptimeFile, limit.Attr)
	if err != nil || now.IsZero() {
		return time.Time{}
	}
	first, _, _ := strings.Cut(string(text), " ")
	up, err := time.ParseDuration(first + "s")
	if err != nil {
		return time.Time{}
	}
	return now.Add(-up)
}

// loadedIdentity is what a loaded module was compared by.
func loadedIdentity(m *Record) string {
	if m.OnDisk.By == "srcversion" {
		return m.Own.Srcversion
	}
	return m.ContentID
}
