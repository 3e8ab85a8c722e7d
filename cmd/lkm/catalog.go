// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	facts "github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/freebsd"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/near"
	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/windows"
)

// A catalog is every module that a machine shows, to find some by name.
type catalog struct {
	os      lkm.OS
	modules []lkm.Module
	lost    error      // what could not be read of the machine as a whole
	lists   lkm.Source // how reading the machine's own block lists went (Windows)
	byID    map[string]int
	byName  map[string][]int
	soft    map[string][]edge // what modprobe loads beside a module, of the modules in a tree
}

// catalog looks at all of the machine that can be seen: what is loaded, compiled in and on disk.
// Files are read of those modules only that only chooses; nil is all.
func (a *app) catalog(ctx context.Context, detail lkm.Detail, only func(*lkm.Module) bool) (*catalog, error) {
	sys, err := a.openOnce(detail, only)
	if err != nil {
		return nil, err
	}
	defer sys.Close()
	snap, err := sys.SnapshotEach(ctx, lkm.ScopeAll, a.progress.count)
	if err != nil {
		return nil, err
	}
	whole := lkm.Snapshot{Sources: snap.Sources, Problems: snap.Problems}
	lists, _ := snap.Source(windows.SourceCIFiles)
	c := &catalog{os: snap.OS, lists: lists, modules: snap.Modules, lost: whole.Err(), byID: make(map[string]int),
		byName: make(map[string][]int)}
	for i := range c.modules {
		m := &c.modules[i]
		c.byID[m.ID] = i
		c.byName[m.Name] = append(c.byName[m.Name], i)
	}
	return c, nil
}

// answersTo reports whether a module's id or name is name; on Linux "-" and "_" are the same letter.
func answersTo(m *lkm.Module, name string) bool {
	return m.ID == name || m.Name == name || m.Kind == facts.KindLinuxModule && m.Name == strings.ReplaceAll(name, "-",
		"_")
}

// matching returns the module with that id, else all with that name; on Windows also those of a
// service with that name, whatever the case, and of FreeBSD's klds those whose file the name means.
func (c *catalog) matching(name string) []lkm.Module {
	if i, ok := c.byID[name]; ok {
		return []lkm.Module{c.modules[i]}
	}
	at := c.byName[name]
	if at == nil {
		for i := range c.modules {
			if namesDriver(&c.modules[i], name) {
				at = append(at, i)
			}
		}
		for _, i := range c.byName[strings.ReplaceAll(name, "-", "_")] {
			if c.modules[i].Kind == facts.KindLinuxModule {
				at = append(at, i)
			}
		}
	}
	if at == nil {
		at = c.klds(name)
	}
	found := make([]lkm.Module, 0, len(at))
	for _, i := range at {
		found = append(found, c.modules[i])
	}
	return found
}

// isKld reports whether a module is a linker file of FreeBSD or DragonFly, whose name ends in ".ko".
func isKld(m *lkm.Module) bool {
	return m.Kind == facts.KindFreeBSDKld || m.Kind == facts.KindDragonFlyKld
}

// klds returns the linker files that a name means: that of a file without ".ko", as for kldload(8), else of a module in
// it, or the last part of one.
func (c *catalog) klds(name string) []int {
	var files, inside []int
	for i := range c.modules {
		m := &c.modules[i]
		switch {
		case !isKld(m):
		case m.Name == name+".ko":
			files = append(files, i)
		case m.FreeBSD != nil && slices.ContainsFunc(m.FreeBSD.Modules, func(in freebsd.Module) bool {
			return name == in.Name || name == in.Record || strings.HasSuffix(in.Name, "/"+name)
		}):
			inside = append(inside, i)
		}
	}
	if files != nil {
		return files
	}
	return inside
}

// needs are the modules that m names itself: of one on Linux's disk, Requires has also what those
// need.
func needs(m *lkm.Module) []string {
	if m.State != lkm.StateInstalled || m.Linux == nil || m.Linux.Depends == nil {
		return m.Requires
	}
	names := make([]string, len(m.Linux.Depends))
	for i, name := range m.Linux.Depends {
		names[i] = strings.ReplaceAll(name, "-", "_")
	}
	return names
}

// neededBy turns needs around, for all of the catalog.
func (c *catalog) neededBy() map[string][]string {
	users := make(map[string][]string)
	for i := range c.modules {
		for _, name := range needs(&c.modules[i]) {
			users[name] = append(users[name], c.modules[i].Name)
		}
	}
	return users
}

// noMatch says on stderr that nothing has the name, with names like it.
func (a *app) noMatch(name string, known *catalog) {
	names := make([]string, len(known.modules))
	for i := range known.modules {
		names[i] = known.modules[i].Name
		names = append(names, serviceNames(&known.modules[i])...)
	}
	text := name + ": no such module"
	if hint := fileHint(name); hint != "" {
		text += hint
	} else {
		text += didYouMean("", near.Names(name, names))
	}
	fmt.Fprintln(a.stderr, "lkm: "+escape.Text(text))
	if known.lost != nil {
		fmt.Fprintln(a.stderr, "lkm: incomplete: "+escape.Text(oneLine(known.lost)))
	}
}

// fileHint says that a file of this directory has the name, which only a path would mean; or "".
func fileHint(name string) string {
	if isFile(name) {
		return ""
	}
	if _, err := os.Stat(name); err != nil {
		return ""
	}
	return "; for the file of that name here: ./" + name
}

// problemsOf joins the problems of modules that make an answer about them incomplete.
func problemsOf(modules []lkm.Module) error {
	var errs []error
	for i := range modules {
		for _, p := range modules[i].Problems {
			if p.Code != lkm.CodeUnsupported {
				errs = append(errs, p)
			}
		}
	}
	return errors.Join(errs...)
}
