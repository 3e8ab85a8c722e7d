// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/hostfs"
)

// A row is what lkm knows of one operating system: functions of its kernel's package, and plain data. Each is a
// variable that needs no work at import, so that a program links only the rows that it can reach.
type row struct {
	os OS
	// open returns what answers for a machine; nil where this library has nothing that does.
	open func(m Machine, o fact.Options) backend
	// reason says why open is nil.
	reason string
	// call answers for the running system; exec allows programs to be started.
	call func(exec bool) fact.Call
	// live adds to the running machine what no call answers; nil for nothing.
	live func(m *liveMachine)
	// root returns a mounted root as its own machine shows it; nil if both are the same.
	root func(hostfs.FS) hostfs.FS
	// readFile reads a file by itself; nil for a system whose files are read by another row. ok is false for a file
	// of another system. head is the file's beginning, nil for a folder. r has the call's budget.
	readFile func(
		ctx context.Context, fsys fs.FS, name string, head []byte, o fact.Options, r *fact.Report,
	) (m []Module, ok bool, err error)
	// kernels is set if Options.Kernel chooses among the kernels of a root.
	kernels bool
}

// rows returns all rows, in the order in which their packages are shown a file of unknown kind. Open must not reach it:
// a program that looks at its own machine alone would link every kernel's functions.
func rows() []*row {
	return []*row{
		&darwinRow, &netwareRow, &freebsdRow, &dragonflyRow, &netbsdRow, &windowsRow, &linuxRow,
		&illumosRow, &solarisRow, &aixRow, &openbsdRow, &vxworksRow,
	}
}

// rowOf returns the row of an operating system.
func rowOf(os OS) (*row, error) {
	for _, r := range rows() {
		if r.os == os {
			return r, nil
		}
	}
	if os == "" {
		return nil, fmt.Errorf("operating system not recognized: %w", errors.ErrUnsupported)
	}
	return nil, fmt.Errorf("%s: no backend for this operating system: %w", os, errors.ErrUnsupported)
}

// backend returns what answers for a machine of the row's system.
func (r *row) backend(m Machine, of machineOf, o Options) (backend, error) {
	if r.open == nil {
		return nil, fmt.Errorf("%s: %s: %w", r.os, r.reason, errors.ErrUnsupported)
	}
	if o.Kernel != "" && !r.kernels { // an answer about another kernel would be wrong
		return nil, fmt.Errorf("kernel %s: kernels of %s are not chosen by name: %w", o.Kernel, r.os,
			errors.ErrUnsupported)
	}
	return r.open(m, o.facts(r.os, of)), nil
}

// ListSources are the sources that say which modules of a state there are on one system. They are apart from the row,
// so that a program that compares two snapshots does not link the system's functions.
type listSources struct {
	os                         OS
	loaded, builtin, installed []string
	optional                   []string // of installed ones: those that not every machine of the system has
}

// listsOf returns the lists of an operating system; none for one that this library never lists modules of.
func listsOf(os OS) listSources {
	all := [...]*listSources{
		&linuxLists, &windowsLists, &darwinLists, &freebsdLists, &dragonflyLists, &netbsdLists, &illumosLists,
		&solarisLists, &aixLists,
	}
	for _, l := range all {
		if l.os == os {
			return *l
		}
	}
	return listSources{}
}

// of returns the sources that say which modules of that state there are.
func (l listSources) of(state State) []string {
	switch state {
	case StateBuiltin:
		return l.builtin
	case StateInstalled:
		return l.installed
	}
	return l.loaded
}

var openbsdRow = row{os: OpenBSD, reason: "loadable kernel modules were removed from it in 2014"}
