// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"iter"
	"slices"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// A builtinList is what is compiled into a kernel, by name: what its directory of modules lists,
// and what the running kernel shows beside that.
type builtinList struct {
	names   []string // sorted
	onDisk  map[string]*modprobe.BuiltinModule
	shown   map[string]bool // by the running kernel
	release string
}

// builtins joins the list on disk with the directories of /sys/module, and reports the source: it
// is whole when the list on disk could be read. list is what is loaded.
func (k *Kernel) builtins(ctx context.Context, list *moduleList, r *fact.Report) (*builtinList, error) {
	l := &builtinList{onDisk: make(map[string]*modprobe.BuiltinModule), shown: make(map[string]bool)}
	disk, t, running, diskErr := k.builtinsOnDisk(ctx, r)
	if t != nil {
		l.release = t.Release
	}
	for i := range disk {
		l.onDisk[disk[i].Name] = &disk[i]
		l.names = append(l.names, disk[i].Name)
	}
	if running {
		shown, err := builtinNames(k.machine, list, r)
		if err != nil && diskErr != nil {
			return nil, noBuiltins(r, err)
		}
		if err != nil {
			r.Problem(SourceBuiltin, "", "", err)
		}
		for _, name := range shown {
			l.shown[name] = true
			if l.onDisk[name] == nil {
				l.names = append(l.names, name)
			}
		}
	} else if diskErr != nil {
		return nil, noBuiltins(r, diskErr)
	}
	slices.Sort(l.names)
	outcome := fact.OutcomeOK
	if diskErr != nil {
		outcome = fact.OutcomePartial
		if !errors.Is(diskErr, fs.ErrNotExist) {
			r.Problem(SourceBuiltin, "", "", diskErr)
		}
	}
	r.Source(SourceBuiltin, outcome, fact.CountOf(int64(len(l.names))), nil)
	return l, nil
}

func noBuiltins(r *fact.Report, err error) error {
	r.Source(SourceBuiltin, "", fact.Count{}, err)
	r.Problem(SourceBuiltin, "", "", err)
	return err
}

// builtinTree returns the tree whose list of builtins to read, and whether it is that of the
// running kernel, which /sys/module shows too.
func (k *Kernel) builtinTree(ctx context.Context) (t *modprobe.Tree, running bool, err error) {
	if k.options.Image {
		t, err = k.tree(ctx)
		return t, false, err
	}
	release, err := k.runningRelease(ctx)
	if err != nil {
		return nil, k.options.Kernel == "", err
	}
	if k.options.Kernel != "" && k.options.Kernel != release {
		t, err = k.treeOf(ctx, k.options.Kernel)
		return t, false, err
	}
	t, err = k.treeOf(ctx, release)
	return t, true, err
}

// builtinsOnDisk reads modules.builtin and its metadata. A release directory that is not there is
// no error: the list is then what the kernel shows.
func (k *Kernel) builtinsOnDisk(ctx context.Context, r *fact.Report) (list []modprobe.BuiltinModule, t *modprobe.Tree,
	running bool, err error) {
	t, running, err = k.builtinTree(ctx)
	if err != nil {
		return nil, nil, running, err
	}
	list, err = t.Builtin(r)
	return list, t, running, err
}

// Builtin yields what is compiled into the kernel, sorted by name.
func (k *Kernel) Builtin(ctx context.Context, r *fact.Report) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		var list moduleList
		if !k.options.Image {
			// What the list lost costs nothing here: each directory that it does not name is asked for its state.
			err := newListReader(k.machine).Read(&list, new(fact.Report))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				yield(Record{}, err)
				return
			}
		}
		l, err := k.builtins(ctx, &list, r)
		if err != nil {
			yield(Record{}, err)
			return
		}
		sys := &sysReader{fsys: k.machine}
		for _, name := range l.names {
			if ctx.Err() != nil {
				yield(Record{}, ctx.Err())
				return
			}
			if !yield(k.builtinModule(sys, l, name), nil) {
				return
			}
		}
	}
}

// builtinModule is what the kernel and the disk say of one builtin.
func (k *Kernel) builtinModule(sys *sysReader, l *builtinList, name string) Record {
	m := newRecord(name, fact.StateBuiltin)
	m.Own = new(Module)
	if l.shown[name] {
		k.addShown(&m, sys)
	}
	if d := l.onDisk[name]; d != nil {
		if k.options.Detail&fileDetail != 0 {
			describeBuiltin(d, m.Own, l.release)
			m.Version, m.Description = m.Own.Version, d.Modinfo.Get("description")
		}
		m.Own.Release, m.Own.File = l.release, d.File
	}
	return m
}

// addShown adds what /sys/module says of a builtin.
func (k *Kernel) addShown(m *Record, sys *sysReader) {
	sys.losses = sys.losses[:0]
	facts, err := sys.readModule(m.Name)
	if err != nil {
		m.Problem(SourceSysModule, "", err)
	}
	m.Version, m.Own.Version = facts.Version, facts.Version
	if k.options.Asks(fact.DetailParameters) {
		m.Own.Parameters = sys.readParameters(m.Name)
	}
	for _, l := range sys.losses {
		m.Problem(l.Source, cmp.Or(l.Field, "parameters"), l.Err) // the directory of the parameters has no field
	}
}
