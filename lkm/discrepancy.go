// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/linux"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// Discrepancies compares what the kernel's sources say of its modules with each other and with the
// disk: modules that one shows and another does not, taint that nothing explains, loaded code that
// is not the file's, files that no package owns, configuration that runs programs. Each is evidence
// with a grade, never a verdict: none found does not mean that there is none.
//
// Views that could not be compared are in one Discrepancy of the kind "unchecked" (linux.KindUnchecked),
// which comes first; a caller that wants all views must look for it. While a Watch of this System
// hears the kernel's events, what they say is loaded is a view as well. A gap in the kernel's views is
// looked at three times, so this takes up to a second; it is dearer than a Snapshot, because it reads
// the kernel's symbols and every module's file.
//
// An image runs no kernel: of a Linux one the files of Options.Kernel, else of every release, are
// compared with the packages, and the configuration is looked at; the kernel's list is unchecked.
//
// The error is that of Snapshot, or errors.ErrUnsupported where this library compares nothing.
func (s *System) Discrepancies(ctx context.Context) ([]Discrepancy, error) {
	const op = "compare sources"
	if err := s.usable(op, !s.backend.comparesFiles()); err != nil {
		return nil, err
	}
	found, err := s.backend.discrepancies(ctx, s.report())
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("lkm: %s: %w", op, err)
	}
	return found, nil
}

func (b *linuxBackend) discrepancies(ctx context.Context) ([]Discrepancy, error) {
	unchecked := Discrepancy{Name: "kernel", Kind: linux.KindUnchecked, Grade: GradeTransient, Views: make(map[string]View)}
	if b.image() {
		found := b.imageDiscrepancies(ctx, &unchecked)
		return joinDiscrepancies(unchecked, found), nil
	}
	found, err := linux.FindDiscrepancies(ctx, linux.DiscrepancyMachine{FS: b.guard, Call: b.guard.Call, History: b.heardModules})
	if err != nil {
		var r report
		if none := b.noList(err, &r); none != nil {
			return nil, none
		}
		linux.AddUnchecked(&unchecked, linux.SourceModules, r.Problems[0])
		return []Discrepancy{unchecked}, nil
	}
	if len(found) > 0 && found[0].Kind == linux.KindUnchecked {
		unchecked, found = found[0], found[1:]
	}
	found = append(found, b.diskDiscrepancies(ctx, &unchecked)...)
	return joinDiscrepancies(unchecked, found), nil
}

// joinDiscrepancies puts what was not checked first, and makes ids of names.
func joinDiscrepancies(unchecked Discrepancy, found []Discrepancy) []Discrepancy {
	for i := range found {
		if found[i].ID != "" {
			found[i].ID = string(KindLinuxModule) + ":" + found[i].ID
		}
	}
	if len(unchecked.Views) > 0 {
		found = append([]Discrepancy{unchecked}, found...)
	}
	return found
}

// imageDiscrepancies are those of files alone.
func (b *linuxBackend) imageDiscrepancies(ctx context.Context, unchecked *Discrepancy) []Discrepancy {
	linux.AddUnchecked(unchecked, linux.SourceModules, fmt.Errorf("an image runs no kernel, only its files are compared: %w", errors.ErrUnsupported))
	trees, err := b.imageTrees(ctx)
	if err != nil {
		linux.AddUnchecked(unchecked, linux.SourceTree, err)
		linux.AddUnchecked(unchecked, linux.SourcePackages, err)
	}
	var found []Discrepancy
	for _, tree := range trees {
		found = append(found, b.unownedFiles(tree, unchecked)...)
	}
	return append(found, configDiscrepancies(modprobe.ReadConfig(b.guard, modprobe.ConfigDirs, "", false), unchecked)...)
}

// imageTrees are the release directories of an image: that of Options.Kernel, else all.
func (b *linuxBackend) imageTrees(ctx context.Context) ([]*modprobe.Tree, error) {
	if release := b.options.Kernel; release != "" && release != KernelAll {
		tree, err := b.treeOf(ctx, release)
		if err != nil {
			return nil, err
		}
		return []*modprobe.Tree{tree}, nil
	}
	var lost fact.Report
	dirs, err := modprobe.Releases(b.guard, &lost)
	for _, p := range lost.Problems { // one at most
		p.Source = ""
		err = p
	}
	if len(dirs) == 0 && err == nil {
		err = fmt.Errorf("no kernel's modules under %s: %w", b.guard.path(modprobe.ModuleRoots[0]), fs.ErrNotExist)
	}
	trees := make([]*modprobe.Tree, len(dirs))
	for i, dir := range dirs {
		trees[i] = b.treeAt(dir)
	}
	return trees, err
}

// diskDiscrepancies compares the loaded modules with their files, the files with the packages, and
// looks for install lines that run programs.
func (b *linuxBackend) diskDiscrepancies(ctx context.Context, unchecked *Discrepancy) []Discrepancy {
	tree, err := b.runningTree(ctx)
	if err != nil {
		linux.AddUnchecked(unchecked, linux.SourceTree, noTree(err))
		linux.AddUnchecked(unchecked, linux.SourcePackages, noTree(err))
		return configDiscrepancies(modprobe.ReadConfig(b.guard, modprobe.ConfigDirs, "", true), unchecked)
	}
	found := b.compareFiles(ctx, tree, unchecked)
	found = append(found, b.unownedFiles(tree, unchecked)...)
	return append(found, configDiscrepancies(tree.Config(), unchecked)...)
}

// unownedFiles are the files of a tree that no package owns. That the packages could not be read is said
// once, for all trees.
func (b *linuxBackend) unownedFiles(tree *modprobe.Tree, unchecked *Discrepancy) []Discrepancy {
	found, err := linux.UnownedFiles(tree, b.owners(tree.Release), new(fact.Report))
	if err != nil && unchecked.Views[linux.SourcePackages] == "" {
		linux.AddUnchecked(unchecked, linux.SourcePackages, err)
	}
	return found
}

func configDiscrepancies(config *modprobe.Config, unchecked *Discrepancy) []Discrepancy {
	var lost fact.Report
	config.Report(&lost)
	for _, p := range lost.Problems {
		if p.Code != CodeMalformed {
			p.Source = ""
			linux.AddUnchecked(unchecked, linux.SourceConfig, p)
			break
		}
	}
	return linux.ConfigDiscrepancies(config)
}

// compareFiles compares each loaded module with the file that would be loaded now.
func (b *linuxBackend) compareFiles(ctx context.Context, tree *modprobe.Tree, unchecked *Discrepancy) []Discrepancy {
	o := b.options
	o.Detail = DetailFiles
	var r report
	modules, err := newLinux(b.guard, o).loaded(ctx, new(Snapshot), &r)
	if err != nil {
		linux.AddUnchecked(unchecked, linux.SourceTree, err)
		return nil
	}
	if tree, ok := findSource(r.Sources, linux.SourceTree); ok && tree.Outcome != OutcomeOK && tree.Outcome != OutcomePartial {
		linux.AddUnchecked(unchecked, linux.SourceTree, Problem{Source: linux.SourceTree, Code: tree.Code, Text: "module files were not read: " + string(tree.Code)})
		return nil
	}
	var different, absent []Discrepancy
	unknown := 0
	var why Problem
	boot := b.bootTime(ctx)
	for i := range modules {
		m := &modules[i]
		switch {
		case m.OnDisk.Match == MatchDifferent:
			different = append(different, b.differentCode(m, boot))
		case m.OnDisk.Match == MatchAbsent:
			absent = append(absent, withoutFile(m))
		case m.OnDisk.Match == "" && settled(m):
			if unknown++; unknown == 1 {
				why = onDiskProblem(m)
			}
		}
	}
	if unknown > 0 {
		why.Text = fmt.Sprintf("%d of %d loaded modules could not be compared with a file, the first is %s: %s", unknown, len(modules), why.Subject, why.Text)
		linux.AddUnchecked(unchecked, linux.SourceTree, why)
	}
	if len(absent) == len(modules) && len(absent) > 1 {
		absent = []Discrepancy{{Name: "/" + tree.Dir, Kind: linux.KindNoFile, Grade: GradeWeak, Samples: 1, Views: absent[0].Views,
			Evidence: []Evidence{{Fact: "loaded modules, none of which has a file", Value: fmt.Sprint(len(modules)), Source: linux.SourceTree}}}}
	}
	return append(different, absent...)
}

// onDiskProblem is why a module could not be compared with its file.
func onDiskProblem(m *Module) Problem {
	for _, p := range m.Problems {
		if p.Field == "onDisk" || p.Source == linux.SourceTree {
			return p
		}
	}
	return Problem{Source: linux.SourceTree, Subject: m.Name, Code: CodeAbsent, Text: "nothing to compare by"}
}

// differentCode describes a loaded module whose code is not the file's. boot is when the machine was
// started, zero when not known.
func (b *linuxBackend) differentCode(m *Module, boot time.Time) Discrepancy {
	d := Discrepancy{ID: m.Name, Name: m.Name, Kind: linux.KindDiskMemory, Grade: GradeWeak, Samples: 1,
		Views: map[string]View{linux.SourceModules: ViewSeen, linux.SourceTree: ViewSeen},
		Evidence: []Evidence{
			{Fact: "loaded " + m.OnDisk.By, Value: loadedIdentity(m), Source: linux.SourceSysModule},
			{Fact: "file's " + m.OnDisk.By, Value: m.OnDisk.ContentID, Source: m.OnDisk.Path},
		}}
	info, err := fs.Stat(b.guard, strings.TrimPrefix(m.OnDisk.Path, "/"))
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
	d.Evidence = append(d.Evidence, Evidence{Fact: "file written", Value: when, Source: m.OnDisk.Path})
	return d
}

// withoutFile describes a loaded module that has no file.
func withoutFile(m *Module) Discrepancy {
	letters := "none"
	if m.Linux != nil && len(m.Linux.Taints) > 0 {
		letters = strings.Join(m.Linux.Taints, "")
	}
	return Discrepancy{ID: m.Name, Name: m.Name, Kind: linux.KindNoFile, Grade: GradeWeak, Samples: 1,
		Views:    map[string]View{linux.SourceModules: ViewSeen, linux.SourceTree: ViewMissing},
		Evidence: []Evidence{{Fact: "taint letters", Value: letters, Source: linux.SourceModules}}}
}

// bootTime is when the machine was started, by its own clock; zero when it does not tell.
func (b *linuxBackend) bootTime(ctx context.Context) time.Time {
	now := b.machineTime(ctx)
	text, err := limit.AppendAttr(b.guard, nil, linux.UptimeFile, limit.Attr)
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
func loadedIdentity(m *Module) string {
	if m.OnDisk.By == "srcversion" {
		return m.Linux.Srcversion
	}
	return m.ContentID
}
