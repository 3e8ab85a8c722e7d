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
	// root returns a mounted root as the machine had it; nil if it had it as it is.
	root func(hostfs.FS) hostfs.FS
	// readFile reads a file by itself; nil for a system whose files are read by another row. ok is false for a file
	// of another system. head is the file's beginning, nil for a folder.
	readFile func(
		ctx context.Context, fsys fs.FS, name string, head []byte, o fact.Options,
	) (m []Module, ok bool, err error)
	// loaded, builtin and installed are the sources that say which modules of that state there are.
	loaded, builtin, installed []string
}

// rows returns all rows, in the order in which their packages are shown a file of unknown kind.
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
	return r.open(m, o.facts(r.os, of)), nil
}

// listed returns the sources that say which modules of that state there are.
func (r *row) listed(state State) []string {
	switch state {
	case StateBuiltin:
		return r.builtin
	case StateInstalled:
		return r.installed
	}
	return r.loaded
}

var openbsdRow = row{os: OpenBSD, reason: "loadable kernel modules were removed from it in 2014"}
