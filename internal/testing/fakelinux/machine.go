// SPDX-License-Identifier: Apache-2.0

package fakelinux

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"testing/fstest"
)

// A Machine answers as a made-up host would. It implements lkm.Machine.
type Machine struct {
	files fstest.MapFS
	user  bool
	calls map[string]string
}

// readable returns why the one who asks may not open a file or directory.
func (m *Machine) readable(op, name string) error {
	fi, err := m.files.Stat(name)
	if err != nil {
		return nil // the open itself will say
	}
	bit := fs.FileMode(0o400)
	if m.user {
		bit = 0o004
	}
	if fi.Mode()&bit == 0 && (m.user || !fi.IsDir()) {
		return &fs.PathError{Op: op, Path: name, Err: fs.ErrPermission}
	}
	return nil
}

// Open opens a file, or refuses it as its mode says.
func (m *Machine) Open(name string) (fs.File, error) {
	if err := m.readable("open", name); err != nil {
		return nil, err
	}
	return m.files.Open(name)
}

// ReadDir lists a directory, or refuses it as its mode says.
func (m *Machine) ReadDir(name string) ([]fs.DirEntry, error) {
	if err := m.readable("open", name); err != nil {
		return nil, err
	}
	return m.files.ReadDir(name)
}

// Stat describes what name leads to.
func (m *Machine) Stat(name string) (fs.FileInfo, error) { return m.files.Stat(name) }

// Lstat describes name.
func (m *Machine) Lstat(name string) (fs.FileInfo, error) { return m.files.Lstat(name) }

// ReadLink returns a link's target.
func (m *Machine) ReadLink(name string) (string, error) { return m.files.ReadLink(name) }

// Call answers uname, clock and identity.
func (m *Machine) Call(_ context.Context, op string, args ...string) ([]byte, error) {
	text, ok := m.calls[op]
	if !ok || len(args) > 0 {
		return nil, fmt.Errorf("call %s: %w", op, errors.ErrUnsupported)
	}
	return []byte(text), nil
}
