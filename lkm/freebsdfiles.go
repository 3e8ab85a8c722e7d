// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/freebsd"
)

// readFiles adds to each loaded module what its file on disk declares, the relations between the
// loaded files, and whether the loaded code is that of the file.
func (b *freebsdBackend) readFiles(ctx context.Context, list *freebsd.FileList, modules []Module, r *report) {
	files := make([]freebsd.DiskFile, len(modules))
	var lost []lostField
	read := 0
	for i := range modules {
		if ctx.Err() != nil {
			return
		}
		if modules[i].Path == "" {
			files[i].Err = fmt.Errorf("the kernel does not tell the file's path: %w", errors.ErrUnsupported)
		} else if files[i] = freebsd.ReadDisk(b.guard, modules[i].Path, b.maxFile()); files[i].Err == nil {
			read++
		}
		if err := files[i].Err; err != nil {
			lost = append(lost, lostField{i, freebsd.SourceModulePath, "freebsd.depends", err})
		}
	}
	kernelID, err := b.kernelBuildID(ctx)
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // older kernels have none
		r.problem(freebsd.SourceModulePath, "kernel", "contentId", err)
	}
	for i := range modules {
		addFreeBSDFile(&modules[i], &files[i])
		b.compare(&modules[i], &list.Files[i], &files[i], kernelID)
	}
	b.relate(modules, files)
	outcome := OutcomeOK
	if read < len(modules) {
		outcome = OutcomePartial
	}
	r.settle(modules, lost)
	r.source(freebsd.SourceModulePath, outcome, CountOf(int64(read)), nil)
}

// kernelBuildID is the running kernel's build-id.
func (b *freebsdBackend) kernelBuildID(ctx context.Context) (string, error) {
	id, err := b.call().Text(ctx, freebsd.SysctlBuildID)
	return strings.ToLower(strings.TrimSpace(id)), err
}

// addFreeBSDFile adds what a file declares.
func addFreeBSDFile(m *Module, f *freebsd.DiskFile) {
	if f.Metadata == nil {
		return
	}
	d := m.FreeBSD
	d.Versions, d.Depends, d.PNP, d.Machine = f.Versions, f.Depends, f.Tables(), f.Machine
	if n, ok := freebsd.BuiltFor(f.Depends); ok {
		d.BuiltFor = CountOf(int64(n))
	}
	if d.Modules == nil {
		d.Modules = f.Modules
	}
	for i := range d.Modules {
		for _, declared := range f.Modules {
			if declared.Name == d.Modules[i].Name {
				d.Modules[i].Record = declared.Record
			}
		}
	}
	for _, p := range f.Problems {
		p.Subject = m.Name + " " + p.Subject
		m.Problems = append(m.Problems, p)
	}
}

// compare says whether the loaded code is the file's, as far as the kernel tells.
func (b *freebsdBackend) compare(m *Module, loaded *freebsd.LoadedFile, f *freebsd.DiskFile, kernelID string) {
	m.OnDisk.Path = m.Path
	if errors.Is(f.Err, fs.ErrNotExist) {
		m.OnDisk.Match = MatchAbsent
		return
	}
	if f.Metadata == nil {
		return
	}
	m.OnDisk.ContentID = f.BuildID
	if loaded.ID == 1 && kernelID != "" {
		m.ContentID = kernelID
		if f.BuildID != "" {
			m.OnDisk.By, m.OnDisk.Match = "build_id", MatchSame
			if f.BuildID != kernelID {
				m.OnDisk.Match = MatchDifferent
			}
			return
		}
	}
	if n := f.Contains(loaded.Modules); n > 0 {
		m.OnDisk.By, m.OnDisk.Match = "modules", MatchDifferent
		return
	}
	m.Problems = append(m.Problems, Problem{Source: freebsd.SourceModulePath, Subject: m.Name, Field: "onDisk.match", Code: CodeUnsupported,
		Text: "the file declares every module that is loaded, and the kernel keeps nothing else to compare"})
}

// relate fills Requires and UsedBy of loaded files from their metadata, by the kernel's rule.
func (b *freebsdBackend) relate(modules []Module, files []freebsd.DiskFile) {
	index := map[*freebsd.DiskFile]int{}
	for i := range files {
		index[&files[i]] = i
		if files[i].Path == "" {
			files[i].Path = modules[i].Name
		}
	}
	lib := freebsd.NewLibrary(files, nil)
	whole := true
	for i := range files {
		if files[i].Metadata == nil {
			whole = false
		}
	}
	for i := range files {
		if files[i].Metadata == nil {
			continue
		}
		needs, missing := lib.Requires(&lib.Files[i])
		m := &modules[i]
		m.Requires = []string{}
		for _, n := range needs {
			m.Requires = append(m.Requires, n.Name())
			j := index[n]
			modules[j].UsedBy = append(modules[j].UsedBy, m.Name)
		}
		slices.Sort(m.Requires)
		for _, d := range missing {
			m.Problems = append(m.Problems, problemOf(freebsd.SourceModulePath, m.Name, "requires", freebsd.ErrMissing(d)))
		}
	}
	for i := range modules {
		if modules[i].UsedBy == nil && whole {
			modules[i].UsedBy = []string{}
		}
	}
}
