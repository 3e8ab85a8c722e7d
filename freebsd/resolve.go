// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
)

// Resolve returns the files that a name or a device stands for. What is compiled into the kernel is a module of the
// kernel's own. The State of a file is unknown on a running machine: whether it is loaded is not looked up.
func (k *Kernel) Resolve(ctx context.Context, alias string, r *fact.Report) ([]Record, error) {
	lib, err := k.files(ctx)
	if err != nil {
		return nil, err
	}
	records := []Record{}
	for _, f := range lib.meant(alias) {
		if f != lib.Kernel {
			m := fileRecord(f, k.kind)
			if f.metadata != nil {
				addRequires(&m, lib, f)
			}
			if !k.options.Image {
				m.State = ""
			}
			addHash(k.machine, &m, slashPath(m.Path), k.options, r.Budget)
			records = append(records, m)
			continue
		}
		for _, m := range lib.kernelModules() {
			if m.Name == alias || m.Record == alias || lastPart(m.Name) == alias {
				records = append(records, k.builtinRecord(m))
			}
		}
	}
	for _, p := range lib.report.Problems {
		if len(records) == 0 {
			return nil, asError(p)
		}
		r.Add(p)
	}
	if len(records) == 0 {
		return records, lib.unreadFile()
	}
	return records, nil
}

// unreadFile returns the error of a file whose metadata was not read, which may be what is asked for; nil if all were
// read. A damaged file holds nothing that the linker would take.
func (l *library) unreadFile() error {
	for i := range l.Files {
		if f := &l.Files[i]; f.mayLoad() {
			return fmt.Errorf("%s: what it holds is not known: %w", f.Path, f.unread)
		}
	}
	return nil
}

// bareName returns a query without the kind that an id begins with.
func bareName(query string) string {
	name := strings.TrimPrefix(query, string(fact.KindFreeBSDKld)+":")
	return strings.TrimPrefix(name, string(fact.KindDragonFlyKld)+":")
}

// meant returns the files that a device's text or a name stands for.
func (l *library) meant(query string) []*diskFile {
	d, err := parseDevice(query)
	if err != nil { // it is not a device
		return l.find(bareName(query))
	}
	var files []*diskFile
	for _, m := range l.drivers(d) {
		files = append(files, m.File)
	}
	return files
}

// Plan returns what kldload (for a device, devmatch) would load, what is needed first.
func (k *Kernel) Plan(ctx context.Context, query string, r *fact.Report) ([]fact.Step, error) {
	lib, err := k.files(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range lib.report.Problems {
		r.Add(p)
	}
	files := lib.meant(query)
	if len(files) == 0 {
		if err := lib.unreadFile(); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("no file and no module is called %q: %w", query, fs.ErrNotExist)
	}
	if _, err := parseDevice(query); err != nil {
		files = slices.Clone(files[:1]) // of one name, the first of the module path
		if f := lib.byKernel(bareName(query)); f != nil && f != lib.Kernel {
			files[0] = f // the file that has the interface comes before the file that has the name
		}
	}
	steps := []fact.Step{}
	done := map[*diskFile]bool{lib.Kernel: true}
	for _, f := range files {
		for _, g := range lib.loadOrder(f, done) {
			s := fact.Step{Module: k.id(g.Name()), Path: g.Path}
			if g != f {
				s.Reason = "depends"
			}
			steps = append(steps, s)
		}
	}
	return steps, nil
}

// loadOrder returns f and what it needs, needs first, without what is done already. Files that need each other are in
// the order in which they are met.
func (l *library) loadOrder(f *diskFile, done map[*diskFile]bool) []*diskFile {
	var out []*diskFile
	type visit struct {
		file  *diskFile
		needs []*diskFile
	}
	var stack []visit
	push := func(f *diskFile) {
		if !done[f] {
			done[f] = true
			needs, _ := l.requires(f)
			stack = append(stack, visit{f, needs})
		}
	}
	push(f)
	for len(stack) > 0 {
		top := &stack[len(stack)-1]
		if len(top.needs) == 0 {
			out = append(out, top.file)
			stack = stack[:len(stack)-1]
			continue
		}
		next := top.needs[0]
		top.needs = top.needs[1:]
		push(next)
	}
	return out
}
