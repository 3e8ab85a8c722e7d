// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"slices"

	"github.com/kernelext/kernelext/linux"
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
func (b *linuxBackend) builtins(ctx context.Context, list *linux.ModuleList, r *report) (*builtinList, error) {
	l := &builtinList{onDisk: make(map[string]*modprobe.BuiltinModule), shown: make(map[string]bool)}
	disk, t, running, diskErr := b.builtinsOnDisk(ctx, r)
	if t != nil {
		l.release = t.Release
	}
	for i := range disk {
		l.onDisk[disk[i].Name] = &disk[i]
		l.names = append(l.names, disk[i].Name)
	}
	if running {
		shown, err := linux.BuiltinNames(b.guard, list, r.notBuiltin)
		if err != nil && diskErr != nil {
			return nil, r.noBuiltins(err)
		}
		if err != nil {
			r.problem(linux.SourceBuiltin, "", "", err)
		}
		for _, name := range shown {
			l.shown[name] = true
			if l.onDisk[name] == nil {
				l.names = append(l.names, name)
			}
		}
	} else if diskErr != nil {
		return nil, r.noBuiltins(diskErr)
	}
	slices.Sort(l.names)
	outcome := OutcomeOK
	if diskErr != nil {
		outcome = OutcomePartial
		if !errors.Is(diskErr, fs.ErrNotExist) {
			r.problem(linux.SourceBuiltin, "", "", diskErr)
		}
	}
	r.source(linux.SourceBuiltin, outcome, CountOf(int64(len(l.names))), nil)
	return l, nil
}

func (r *report) noBuiltins(err error) error {
	r.source(linux.SourceBuiltin, "", Count{}, err)
	r.problem(linux.SourceBuiltin, "", "", err)
	return err
}

// notBuiltin reports a directory of /sys/module of which it is not known what it is.
func (r *report) notBuiltin(name string, err error) {
	r.problem(linux.SourceBuiltin, name, "", err)
}

// builtinTree returns the tree whose list of builtins to read, and whether it is that of the
// running kernel, which /sys/module shows too.
func (b *linuxBackend) builtinTree(ctx context.Context) (t *modprobe.Tree, running bool, err error) {
	if b.image() {
		t, err = b.tree(ctx)
		return t, false, err
	}
	release, err := b.runningRelease(ctx)
	if err != nil {
		return nil, b.options.Kernel == "", err
	}
	if b.options.Kernel != "" && b.options.Kernel != release {
		t, err = b.treeOf(ctx, b.options.Kernel)
		return t, false, err
	}
	t, err = b.treeOf(ctx, release)
	return t, true, err
}

// builtinsOnDisk reads modules.builtin and its metadata. A release directory that is not there is
// no error: the list is then what the kernel shows.
func (b *linuxBackend) builtinsOnDisk(ctx context.Context, r *report) (list []modprobe.BuiltinModule, t *modprobe.Tree, running bool, err error) {
	t, running, err = b.builtinTree(ctx)
	if err != nil {
		return nil, nil, running, err
	}
	list, err = t.Builtin(&r.Report)
	return list, t, running, err
}

func (b *linuxBackend) builtin(ctx context.Context, r *report) iter.Seq2[Module, error] {
	return func(yield func(Module, error) bool) {
		var list linux.ModuleList
		if !b.image() {
			_, err := linux.NewListReader(b.guard).Read(&list)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				yield(Module{}, err)
				return
			}
		}
		l, err := b.builtins(ctx, &list, r)
		if err != nil {
			yield(Module{}, err)
			return
		}
		sys := linux.NewSysReader(b.guard)
		for _, name := range l.names {
			if ctx.Err() != nil {
				yield(Module{}, ctx.Err())
				return
			}
			if !yield(b.builtinModule(sys, l, name), nil) {
				return
			}
		}
	}
}

// builtinModule is what the kernel and the disk say of one builtin.
func (b *linuxBackend) builtinModule(sys *linux.SysReader, l *builtinList, name string) Module {
	m := newLinuxModule(name, StateBuiltin)
	m.Linux = new(linux.Module)
	if l.shown[name] {
		b.addShown(&m, sys)
	}
	if d := l.onDisk[name]; d != nil {
		if b.options.Detail&fileDetail != 0 {
			linux.DescribeBuiltin(d, m.Linux, l.release)
			m.Version, m.Description = m.Linux.Version, d.Modinfo.Get("description")
		}
		m.Linux.Release, m.Linux.File = l.release, d.File
	}
	return m
}

// addShown adds what /sys/module says of a builtin.
func (b *linuxBackend) addShown(m *Module, sys *linux.SysReader) {
	facts, lost, err := sys.ReadModule(m.Name)
	if err != nil {
		m.Problems = append(m.Problems, problemOf(linux.SourceSysModule, m.Name, "", err))
	}
	m.Version, m.Linux.Version = facts.Version, facts.Version
	if b.asked(DetailParameters) {
		params, errs, err := linux.ReadParameters(b.guard, m.Name)
		m.Linux.Parameters = params
		lost = append(lost, errs...)
		if err != nil {
			lost = append(lost, linux.AttrError{Field: "parameters", Err: err})
		}
	}
	for _, l := range lost {
		m.Problems = append(m.Problems, problemOf(linux.SourceSysModule, m.Name, l.Field, l.Err))
	}
}
