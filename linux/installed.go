// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/parallel"
	"github.com/kernelext/kernelext/linux/ko"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// Installed yields the modules in the release directory, sorted by path. It opens the files if a detail asks for them.
func (k *Kernel) Installed(ctx context.Context, r *fact.Report) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		r.Budget.Spent() // the time runs from here on
		t, err := k.tree(ctx, r)
		var inv *modprobe.Inventory
		if err == nil {
			inv, err = t.Inventory(r)
		}
		if err != nil {
			r.Source(SourceTree, "", fact.Count{}, err)
			yield(Record{}, err)
			return
		}
		w := walk{inventory: inv, outcome: fact.OutcomeOK}
		if !inv.Whole {
			w.outcome = fact.OutcomePartial
		}
		if k.options.Asks(fileDetail) {
			k.reportLost(ctx, t, k.options.Detail, r)
		}
		for f := range k.installedModules(ctx, t, inv.Modules, r.Budget) {
			if err := ctx.Err(); err != nil {
				yield(Record{}, err)
				return
			}
			if r.Budget.Spent() {
				w.cutShort(r)
				return
			}
			w.add(&f)
			if !yield(f.Record, nil) {
				return
			}
		}
		if err := ctx.Err(); err != nil {
			yield(Record{}, err)
			return
		}
		w.done(r)
	}
}

// A walk counts the modules of an inventory that were yielded.
type walk struct {
	inventory *modprobe.Inventory
	outcome   fact.Outcome
	count     int64
	newer     int    // files that are newer than the index
	example   string // one of them
}

func (w *walk) add(f *foundModule) {
	w.count++
	if len(f.Problems) > 0 {
		w.outcome = fact.OutcomePartial
	}
	if written := w.inventory.Written; !written.IsZero() && f.changed.Sub(written) > timeGrain {
		w.newer, w.example = w.newer+1, f.Own.File
	}
}

// cutShort reports a walk that its budget ended.
func (w *walk) cutShort(r *fact.Report) {
	err := r.Budget.Err()
	r.Problem(SourceTree, "", "modules",
		fmt.Errorf("%w: %d of %d modules read, the rest left out", err, w.count, len(w.inventory.Modules)))
	r.Source(SourceTree, fact.OutcomePartial, fact.CountOf(w.count), err)
}

// done reports a walk that came to its end.
func (w *walk) done(r *fact.Report) {
	if w.newer > 0 {
		r.Add(fact.Problem{Source: SourceTree, Field: "modules", Code: fact.CodeOther,
			Text: fmt.Sprintf("%d module files are newer than modules.dep, such as %s: run depmod",
				w.newer, w.example)})
	}
	r.Source(SourceTree, w.outcome, fact.CountOf(w.count), nil)
}

// timeGrain is how coarse a file system's times may be.
const timeGrain = 2 * time.Second

// A foundModule is a module on disk, and when its file was last changed, if it was looked at.
type foundModule struct {
	Record
	changed time.Time
}

// installedModules makes the modules of an inventory in order, with as many workers as the options
// say. Without a detail that wants the files read, each is only glanced at.
func (k *Kernel) installedModules(
	ctx context.Context, t *modprobe.Tree, list []modprobe.Module, budget *fact.Budget,
) iter.Seq[foundModule] {
	return parallel.Ordered(ctx, k.options.WorkersFor(fact.ScopeInstalled), len(list), func() func(int) foundModule {
		if !k.options.Asks(fileDetail) {
			reader := ko.NewReader()
			return func(i int) foundModule { return k.glance(reader, t, &list[i]) }
		}
		d := k.describer(ctx, t, k.options.Detail, budget)
		return func(i int) foundModule {
			m := installedModule(t, &list[i])
			if !k.options.Reads(m.ID, m.Name, m.State) {
				return k.glance(d.reader, t, &list[i])
			}
			f := d.describe(&m, list[i].Path, m.Path[1:])
			if f.Size > 0 {
				m.Size = fact.CountOf(f.Size)
			}
			m.ContentID = f.BuildID
			return foundModule{m, f.ModTime}
		}
	})
}

// glance adds the file's size and container, and whether it can be whole. What cannot be looked at
// is not a problem: nobody asked for the file.
func (k *Kernel) glance(r *ko.Reader, t *modprobe.Tree, tm *modprobe.Module) foundModule {
	m := installedModule(t, tm)
	name := t.Path(tm.Path)
	f, err := r.Glance(k.machine, name, k.options.MaxFile)
	err = fact.ErrorAt(k.options.Root, name, err)
	if errors.Is(err, fact.ErrMalformed) || errors.Is(err, fact.ErrTooLarge) {
		m.Problems = append(m.Problems, fact.ProblemOf(SourceTree, m.Name, "", err))
	}
	if !f.ModTime.IsZero() {
		m.Size, m.Own.FileSize = fact.CountOf(f.Size), fact.CountOf(f.Size)
		m.Own.Compression = f.Compression
	}
	return foundModule{m, f.ModTime}
}

// installedModule is what directories and indexes say of a module.
func installedModule(t *modprobe.Tree, tm *modprobe.Module) Record {
	m := newRecord(tm.Name, fact.StateInstalled)
	m.Path = "/" + t.Path(tm.Path)
	m.Requires, m.UsedBy = tm.Needs, tm.UsedBy
	m.Own = &Module{Release: t.Release, File: tm.Path, Order: tm.Order, Candidates: tm.Candidates}
	return m
}

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
	for m := range k.compared(ctx, t, modules, detail, r.Budget) {
		if m.Path != "" {
			read++
		}
		if len(m.Problems) > len(modules[done].Problems) {
			outcome = fact.OutcomePartial
		}
		modules[done] = m
		done++
		if done < len(modules) && r.Budget.Spent() {
			err = r.Budget.Err()
			break
		}
	}
	if err != nil {
		outcome = fact.OutcomePartial
		p := fact.ProblemOf(SourceTree, "", "onDisk",
			fmt.Errorf("%w: the files of %d of %d modules read", err, done, len(modules)))
		p.Count = len(modules) - done
		r.Add(p)
	}
	k.reportLost(ctx, t, detail, r)
	r.Source(SourceTree, outcome, fact.CountOf(read), err)
}

// compared yields the modules in their order, each compared with its file, with as many workers as the options say.
func (k *Kernel) compared(
	ctx context.Context, t *modprobe.Tree, modules []Record, detail fact.Detail, budget *fact.Budget,
) iter.Seq[Record] {
	return parallel.Ordered(ctx, k.options.WorkersFor(fact.ScopeLoaded), len(modules), func() func(int) Record {
		d := k.describer(ctx, t, detail, budget)
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
	if file == "" {
		file = d.fileOfKernelName(m.Name)
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
	name := d.tree.Path(file)
	f := d.describe(m, file, name)
	detail.Version, detail.Srcversion, m.Version = live.Version, live.Srcversion, version
	m.Path = "/" + name
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

// fileOfKernelName returns the file whose module the kernel knows by that name, which is not the file's: the kernel's
// own build gives both the same name, so only files outside of its folder are opened. It is empty if no file has that
// name.
func (d *describer) fileOfKernelName(name string) string {
	lines := d.tree.DepLines()
	opened := 0
	for i := range lines {
		if strings.HasPrefix(lines[i].Path, "kernel/") {
			continue
		}
		if opened++; opened > maxInnerNames {
			return ""
		}
		lost := &fact.Report{Budget: d.budget} // of a file that is only looked at for its name
		f, err := d.read(d.tree.Path(lines[i].Path), lost)
		switch {
		case fact.CodeOf(err) == fact.CodeBudget, slices.ContainsFunc(lost.Problems, isOverBudget):
			return ""
		case err == nil && f.Name == name:
			return lines[i].Path
		}
	}
	return ""
}

func sameOrNot(a, b string) fact.Match {
	if a == b {
		return fact.MatchSame
	}
	return fact.MatchDifferent
}
