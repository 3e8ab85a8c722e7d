// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/hostfs"
)

// File reads one module file of the machine, by its absolute path there, whether or not it is
// where modules belong. A file may hold several modules. See ReadFile for a file by itself.
func (s *System) File(ctx context.Context, path string) ([]Module, error) {
	return asked(s, "read "+path, func(r *fact.Report) ([]Module, error) { return s.backend.file(ctx, path, r) })
}

// Resolve returns the modules that a name, an alias, a device's modalias or (on Linux)
// "symbol:NAME" stands for, in the order in which the system's loader would load them. None is an
// empty list and no error. Whether they are loaded is not looked up: their State is builtin,
// installed on an image, and else unknown. If nothing was found and not everything could be read,
// the error says what was not.
func (s *System) Resolve(ctx context.Context, alias string) ([]Module, error) {
	if err := s.usable("resolve", false); err != nil {
		return nil, err
	}
	r := s.blank.Swap(nil)
	if r == nil {
		r = s.report()
	}
	modules, err := s.backend.resolve(ctx, alias, r)
	if err == nil && len(modules) == 0 {
		err = r.Err() // none is an answer only if everything was read
	}
	if s.options.Deadline == 0 && len(r.Problems)+len(r.Sources) == 0 && r.Budget.Cost() == (fact.Cost{}) {
		s.blank.Store(r)
	}
	if err != nil {
		return nil, fmt.Errorf("lkm: resolve %s: %w", alias, err)
	}
	return modules, nil
}

// LoadPlan returns what the system's loader (modprobe, devmatch, kextload) would do for a name or
// an alias if nothing were loaded yet, in its order. It loads nothing. The error matches fs.ErrNotExist if nothing has
// that name, and ErrBlacklisted if it is an alias of modules that the configuration keeps aliases from loading.
func (s *System) LoadPlan(ctx context.Context, query string) ([]Step, error) {
	return asked(s, "plan the load of "+query, func(r *fact.Report) ([]Step, error) {
		return s.backend.plan(ctx, query, r)
	})
}

// Upgrade returns what the kernel release lacks of what the machine uses of the running kernel, or of the one that
// Options.Kernel names; of an image with two kernels, of the other one. It looks at the files of both kernels, and of a
// running machine at its loaded modules and devices. Nothing is installed and nothing is loaded. The error matches
// fs.ErrNotExist if the machine has no such release, and errors.ErrUnsupported on systems other than Linux.
func (s *System) Upgrade(ctx context.Context, release string) (*Upgrade, error) {
	op := "compare with kernel " + release
	if err := s.usable(op, false); err != nil {
		return nil, err
	}
	r := s.report()
	u, err := s.backend.upgrade(ctx, release, r)
	s.log(op, r)
	if err != nil {
		return nil, fmt.Errorf("lkm: %s: %w", op, err)
	}
	return u, nil
}

func asked[T any](s *System, op string, f func(*fact.Report) ([]T, error)) ([]T, error) {
	if err := s.usable(op, false); err != nil {
		return nil, err
	}
	r := s.report()
	list, err := f(r)
	s.log(op, r)
	if err != nil {
		return nil, fmt.Errorf("lkm: %s: %w", op, err)
	}
	return list, nil
}

// ReadFile reads a file by itself, of any system on any system, and detects its kind by its content: a Linux module
// (plain, gzip, xz or zstd), a kld of FreeBSD, a module of NetBSD, an NLM of NetWare, a bundle, a kernel collection or
// the code of a kext of macOS, a driver of Windows. Of the options Detail, Keys, Catalogs, MaxFile, Deadline and Kernel
// count; Kernel is the release that a module is compared with. For any other file, such as a pipe or a device, the
// error matches ErrMalformed.
func ReadFile(ctx context.Context, fsys fs.FS, name string, o Options) ([]Module, error) {
	modules, err := readFile(ctx, fsys, name, o)
	if err != nil {
		return nil, fmt.Errorf("lkm: read %s: %w", name, err)
	}
	return modules, nil
}

func readFile(ctx context.Context, fsys fs.FS, name string, o Options) ([]Module, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	fsys = hostfs.Regular(fsys)
	st, err := fs.Stat(fsys, name)
	if err == nil && !st.IsDir() && !st.Mode().IsRegular() {
		return nil, &ParseError{Source: name, Reason: "not a regular file"}
	}
	folder := err == nil && st.IsDir()
	report := &fact.Report{Budget: fact.NewBudget(o.Deadline)}
	var head []byte
	if !folder {
		if head, err = readHead(fsys, name); err != nil {
			return nil, err
		}
	}
	for _, r := range rows() {
		if r.readFile == nil {
			continue
		}
		if modules, ok, err := r.readFile(ctx, fsys, name, head, o.facts(r.os, machineOf{}), report); ok {
			return numberDuplicates(modules), err
		}
	}
	if folder {
		return nil, &ParseError{Source: name, Reason: "a folder that is not a bundle"}
	}
	return nil, &ParseError{Source: name, Reason: "no kernel extension of a known kind"}
}

// readHead returns the first bytes of a file, fewer for a short one.
func readHead(fsys fs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	head := make([]byte, 4096)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, err
	}
	return head[:n], nil
}
