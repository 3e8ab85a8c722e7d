// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/parallel"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// readFiles adds to the loaded modules what the files say that would be loaded now, and whether
// they hold the same code.
func (k *Kernel) readFiles(ctx context.Context, modules []Record, detail fact.Detail, r *fact.Report) {
	if detail&fileDetail == 0 || len(modules) == 0 {
		return
	}
	t, err := k.runningTree(ctx)
	if err != nil {
		r.Source(SourceTree, "", fact.Count{}, err)
		r.Add(noTree(err))
		return
	}
	if err := t.IndexErr(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.Source(SourceTree, "", fact.Count{}, err)
		r.Problem(SourceTree, "", "onDisk", err)
		return
	}
	r.Budget.Spent() // the time runs from here on
	outcome, read, done := fact.OutcomeOK, int64(0), 0
	for m := range k.compared(ctx, t, modules, detail) {
		if m.Path != "" {
			read++
		}
		if len(m.Problems) > len(modules[done].Problems) {
			outcome = fact.OutcomePartial
		}
		modules[done] = m
		done++
		if done < len(modules) && r.Budget.Spent() {
			err = fact.ErrBudget
			break
		}
	}
	if err != nil {
		outcome = fact.OutcomePartial
		p := fact.ProblemOf(SourceTree, "", "onDisk",
			fmt.Errorf("%w: the files of %d of %d modules read in %v", err, done, len(modules), r.Budget.Time()))
		p.Count = len(modules) - done
		r.Add(p)
	}
	k.reportLost(t, detail, r)
	r.Source(SourceTree, outcome, fact.CountOf(read), err)
}

// compared yields the modules in their order, each compared with its file, with as many workers as the options say.
func (k *Kernel) compared(ctx context.Context, t *modprobe.Tree, modules []Record,
	detail fact.Detail) iter.Seq[Record] {
	return parallel.Ordered(ctx, k.options.Workers, len(modules), func() func(int) Record {
		d := k.describer(t, detail)
		return func(i int) Record {
			m := modules[i]
			if k.options.Reads(m.ID, m.Name, m.State) {
				d.compare(&m)
			}
			return m
		}
	})
}

// runningTree is the release directory of the kernel that runs.
func (k *Kernel) runningTree(ctx context.Context) (*modprobe.Tree, error) {
	release, err := k.runningRelease(ctx)
	if err != nil {
		return nil, err
	}
	return k.treeOf(ctx, release)
}

// noTree says what it may mean that the running kernel has no directory of modules.
func noTree(err error) fact.Problem {
	p := fact.ProblemOf(SourceTree, "", "onDisk", err)
	if errors.Is(err, fs.ErrNotExist) {
		p.Text += " (removed by an upgrade, not in this container, or hidden from this service by " +
			"ProtectKernelModules=: bind /usr/lib/modules read-only)"
	}
	return p
}

// compare finds a loaded module's file and compares it with the code that is loaded.
func (d *describer) compare(m *Record) {
	m.Problems = m.Problems[:len(m.Problems):len(m.Problems)]
	file, err := d.tree.FileOf(strings.ReplaceAll(m.Name, "-", "_"))
	if err != nil {
		m.Problems = append(m.Problems, fact.ProblemOf(SourceTree, m.Name, "onDisk", err))
		return
	}
	if file == "" && len(d.tree.Beside) > 0 && d.tree.Release != "" {
		m.Problems = append(m.Problems, fact.ProblemOf(SourceTree, m.Name, "onDisk",
			fmt.Errorf("not in /%s; /%s was not looked at: %w", d.tree.Dir, d.tree.Beside[0], errors.ErrUnsupported)))
		return
	}
	if file == "" {
		m.OnDisk.Match = fact.MatchAbsent
		return
	}
	detail := *m.Own
	live := detail
	version := m.Version
	m.Own = &detail
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
		m.OnDisk.By, m.OnDisk.ContentID, m.OnDisk.Match = "srcversion", srcversion,
			sameOrNot(live.Srcversion, srcversion)
	default:
		m.Problems = append(m.Problems, fact.ProblemOf(SourceTree, m.Name, "onDisk",
			fmt.Errorf("neither build-id nor srcversion of both the loaded module and its file: %w", fs.ErrNotExist)))
	}
}

func sameOrNot(a, b string) fact.Match {
	if a == b {
		return fact.MatchSame
	}
	return fact.MatchDifferent
}
