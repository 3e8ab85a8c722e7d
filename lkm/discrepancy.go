// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"errors"
	"fmt"

	"github.com/kernelext/kernelext/linux"
)

// A comparer is the part of a backend that compares its sources with each other.
type comparer interface {
	// discrepancies returns what does not agree, what was not compared first.
	discrepancies(ctx context.Context) ([]Discrepancy, error)
}

func (u unsupported) discrepancies(context.Context) ([]Discrepancy, error) {
	return nil, u.err()
}

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
// The error is that of Snapshot, or errors.ErrUnsupported where this library compares nothing.
func (s *System) Discrepancies(ctx context.Context) ([]Discrepancy, error) {
	const op = "compare sources"
	if err := s.usable(op, true); err != nil {
		return nil, err
	}
	found, err := s.backend.discrepancies(ctx)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("lkm: %s: %w", op, err)
	}
	return found, nil
}

func (b *linuxBackend) discrepancies(ctx context.Context) ([]Discrepancy, error) {
	found, err := linux.FindDiscrepancies(ctx, linux.DiscrepancyMachine{FS: b.guard, Call: b.guard.Call, History: b.heardModules})
	if err != nil {
		var r report
		if none := b.noList(err, &r); none != nil {
			return nil, none
		}
		return []Discrepancy{{Name: "kernel", Kind: linux.KindUnchecked, Grade: GradeTransient, Views: map[string]View{linux.SourceModules: ViewUnchecked},
			Evidence: []Evidence{{Fact: string(CodeUnsupported), Value: r.problems[0].Text, Source: linux.SourceModules}}}}, nil
	}
	unchecked := Discrepancy{Name: "kernel", Kind: linux.KindUnchecked, Grade: GradeTransient, Views: make(map[string]View)}
	if len(found) > 0 && found[0].Kind == linux.KindUnchecked {
		unchecked, found = found[0], found[1:]
	}
	found = append(found, b.diskDiscrepancies(ctx, &unchecked)...)
	for i := range found {
		if found[i].ID != "" {
			found[i].ID = string(KindLinuxModule) + ":" + found[i].ID
		}
	}
	if len(unchecked.Views) > 0 {
		found = append([]Discrepancy{unchecked}, found...)
	}
	return found, ctx.Err()
}

// diskDiscrepancies compares the loaded modules with their files, the files with the packages, and
// looks for install lines that run programs.
func (b *linuxBackend) diskDiscrepancies(ctx context.Context, unchecked *Discrepancy) []Discrepancy {
	tree, err := b.runningTree(ctx)
	if err != nil {
		for _, view := range []string{linux.SourceTree, linux.SourcePackages, linux.SourceConfig} {
			linux.AddUnchecked(unchecked, view, err)
		}
		return nil
	}
	found := b.compareFiles(ctx, unchecked)
	owners := b.owners(tree.Release)
	unowned, err := linux.UnownedFiles(tree, owners)
	if err != nil {
		linux.AddUnchecked(unchecked, linux.SourcePackages, err)
	}
	config := tree.Config()
	for _, lost := range config.Lost {
		if !errors.Is(lost, ErrMalformed) {
			linux.AddUnchecked(unchecked, linux.SourceConfig, lost)
			break
		}
	}
	return append(append(found, unowned...), linux.ConfigDiscrepancies(config)...)
}

// compareFiles compares each loaded module with the file that would be loaded now.
func (b *linuxBackend) compareFiles(ctx context.Context, unchecked *Discrepancy) []Discrepancy {
	o := b.options
	o.Detail = DetailFiles
	var r report
	modules, err := newLinux(b.guard, o).loaded(ctx, new(Snapshot), &r)
	if err != nil {
		linux.AddUnchecked(unchecked, linux.SourceTree, err)
		return nil
	}
	if tree, ok := findSource(r.sources, linux.SourceTree); ok && tree.Outcome != OutcomeOK && tree.Outcome != OutcomePartial {
		linux.AddUnchecked(unchecked, linux.SourceTree, Problem{Source: linux.SourceTree, Code: tree.Code, Text: "module files were not read: " + string(tree.Code)})
		return nil
	}
	var found []Discrepancy
	for i := range modules {
		m := &modules[i]
		d := Discrepancy{ID: m.Name, Name: m.Name, Grade: GradeWeak, Samples: 1,
			Views: map[string]View{linux.SourceModules: ViewSeen, linux.SourceTree: ViewSeen}}
		switch m.OnDisk.Match {
		case MatchDifferent:
			d.Kind = linux.KindDiskMemory
			d.Evidence = []Evidence{
				{Fact: "loaded " + m.OnDisk.By, Value: loadedIdentity(m), Source: linux.SourceSysModule},
				{Fact: "file's " + m.OnDisk.By, Value: m.OnDisk.ContentID, Source: m.OnDisk.Path},
			}
		case MatchAbsent:
			d.Kind = linux.KindNoFile
			d.Views[linux.SourceTree] = ViewMissing
			letters := "none"
			if m.Linux != nil && len(m.Linux.Taints) > 0 {
				letters = ""
				for _, t := range m.Linux.Taints {
					letters += t
				}
			}
			d.Evidence = []Evidence{{Fact: "taint letters", Value: letters, Source: linux.SourceModules}}
		default:
			continue
		}
		found = append(found, d)
	}
	return found
}

// loadedIdentity is what a loaded module was compared by.
func loadedIdentity(m *Module) string {
	switch m.OnDisk.By {
	case "srcversion":
		return m.Linux.Srcversion
	case "version":
		return m.Version
	}
	return m.ContentID
}
