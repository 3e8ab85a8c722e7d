// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"context"
	"errors"
	"fmt"
	"iter"
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
		t, err := k.tree(ctx)
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
			k.reportLost(t, k.options.Detail, r)
		}
		for f := range k.installedModules(ctx, t, inv.Modules) {
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
	text := fmt.Sprintf("%d of %d modules read in %v, the rest left out", w.count, len(w.inventory.Modules),
		r.Budget.Time())
	r.Add(fact.Problem{Source: SourceTree, Field: "modules", Code: fact.CodeBudget, Text: text})
	r.Source(SourceTree, fact.OutcomePartial, fact.CountOf(w.count), fact.ErrBudget)
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
func (k *Kernel) installedModules(ctx context.Context, t *modprobe.Tree, list []modprobe.Module) iter.Seq[foundModule] {
	return parallel.Ordered(ctx, k.options.Workers, len(list), func() func(int) foundModule {
		if !k.options.Asks(fileDetail) {
			reader := ko.NewReader()
			return func(i int) foundModule { return k.glance(reader, t, &list[i]) }
		}
		d := k.describer(t, k.options.Detail)
		return func(i int) foundModule {
			m := installedModule(t, &list[i])
			if !k.options.Reads(m.ID, m.Name, m.State) {
				return k.glance(d.reader, t, &list[i])
			}
			f := d.describe(&m, list[i].Path)
			if f.Size > 0 {
				m.Size = fact.CountOf(f.Size)
			}
			m.ContentID = f.BuildID
			return foundModule{m, f.ModTime}
		}
	})
}

// glance adds the file's size and container, and whether it can be whole. What cannot be looked at
// is no problem: nobody asked for the file.
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
