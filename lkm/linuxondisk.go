// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/kernelext/kernelext/linux"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// readFiles adds to the loaded modules what the files say that would be loaded now, and whether
// they hold the same code.
func (b *linuxBackend) readFiles(ctx context.Context, modules []Module, r *report) {
	if b.options.Detail&fileDetail == 0 || len(modules) == 0 {
		return
	}
	t, err := b.runningTree(ctx)
	if err != nil {
		r.source(linux.SourceTree, "", Count{}, err)
		r.add(noTree(err))
		return
	}
	if err := t.IndexErr(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.source(linux.SourceTree, "", Count{}, err)
		r.problem(linux.SourceTree, "", "onDisk", err)
		return
	}
	r.overBudget(b.options.Deadline) // the time runs from here on
	outcome, read := OutcomeOK, int64(0)
	before := make([]int, len(modules))
	for i := range modules {
		before[i] = len(modules[i].Problems)
	}
	i := 0
	for m := range ordered(ctx, max(b.options.Workers, 1), len(modules), func() func(int) Module {
		d := b.describer(t)
		return func(i int) Module {
			m := modules[i]
			if b.options.reads(&m) {
				d.compare(&m)
			}
			return m
		}
	}) {
		if m.Path != "" {
			read++
		}
		if len(m.Problems) > before[i] {
			outcome = OutcomePartial
		}
		modules[i] = m
		i++
		if i < len(modules) && r.overBudget(b.options.Deadline) {
			err = ErrBudget
			break
		}
	}
	if err != nil {
		outcome = OutcomePartial
		p := problemOf(linux.SourceTree, "", "onDisk", fmt.Errorf("%w: the files of %d of %d modules read in %v", err, i, len(modules), b.options.Deadline))
		p.Count = len(modules) - i
		r.add(p)
	}
	b.reportLost(t, r)
	r.source(linux.SourceTree, outcome, CountOf(read), err)
}

// runningTree is the release directory of the kernel that runs.
func (b *linuxBackend) runningTree(ctx context.Context) (*modprobe.Tree, error) {
	release, err := b.runningRelease(ctx)
	if err != nil {
		return nil, err
	}
	return b.treeOf(ctx, release)
}

// noTree says what it may mean that the running kernel has no directory of modules.
func noTree(err error) Problem {
	p := problemOf(linux.SourceTree, "", "onDisk", err)
	if errors.Is(err, fs.ErrNotExist) {
		p.Text += " (removed by an upgrade, not in this container, or hidden from this service by ProtectKernelModules=: bind /usr/lib/modules read-only)"
	}
	return p
}

// compare finds a loaded module's file and compares it with the code that is loaded.
func (d *linuxDescriber) compare(m *Module) {
	m.Problems = m.Problems[:len(m.Problems):len(m.Problems)]
	file, err := d.tree.FileOf(strings.ReplaceAll(m.Name, "-", "_"))
	if err != nil {
		m.Problems = append(m.Problems, problemOf(linux.SourceTree, m.Name, "onDisk", err))
		return
	}
	if file == "" && len(d.tree.Beside) > 0 && d.tree.Release != "" {
		m.Problems = append(m.Problems, problemOf(linux.SourceTree, m.Name, "onDisk",
			fmt.Errorf("not in /%s; /%s was not looked at: %w", d.tree.Dir, d.tree.Beside[0], errors.ErrUnsupported)))
		return
	}
	if file == "" {
		m.OnDisk.Match = MatchAbsent
		return
	}
	detail := *m.Linux
	live := detail
	version := m.Version
	m.Linux = &detail
	f := d.describe(m, file)
	detail.Version, detail.Srcversion, m.Version = live.Version, live.Srcversion, version
	m.Path = "/" + d.tree.Path(file)
	m.OnDisk.Path = m.Path
	if f.Modinfo == nil {
		return // a Problem says why
	}
	srcversion := f.Modinfo.Get("srcversion")
	switch {
	case m.ContentID != "" && f.BuildID != "":
		m.OnDisk.By, m.OnDisk.ContentID, m.OnDisk.Match = "build_id", f.BuildID, sameOrNot(m.ContentID, f.BuildID)
	case live.Srcversion != "" && srcversion != "":
		m.OnDisk.By, m.OnDisk.ContentID, m.OnDisk.Match = "srcversion", srcversion, sameOrNot(live.Srcversion, srcversion)
	default:
		m.Problems = append(m.Problems, problemOf(linux.SourceTree, m.Name, "onDisk",
			fmt.Errorf("neither build-id nor srcversion of both the loaded module and its file: %w", fs.ErrNotExist)))
	}
}

func sameOrNot(a, b string) Match {
	if a == b {
		return MatchSame
	}
	return MatchDifferent
}
