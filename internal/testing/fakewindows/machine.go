// SPDX-License-Identifier: Apache-2.0

// Package fakewindows makes up a Windows machine for tests: the images in its kernel, its services
// in the service manager and the registry, devices, driver packages, files and policy.
package fakewindows

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing/fstest"

	"github.com/kernelext/kernelext/internal/testing/petest"
	"github.com/kernelext/kernelext/windows"
)

// A Machine answers as a made-up host would. It implements lkm.Machine.
type Machine struct {
	Files fstest.MapFS      // by folded name: Windows ignores case
	Calls map[string]string // by op and arguments with spaces between them
	Deny  map[string]bool   // calls and files that are refused
}

func (m *Machine) denied(op, name string) error {
	if m.Deny[name] {
		return &fs.PathError{Op: op, Path: name, Err: fs.ErrPermission}
	}
	return nil
}

// Open opens a file.
func (m *Machine) Open(name string) (fs.File, error) {
	if err := m.denied("open", name); err != nil {
		return nil, err
	}
	return m.Files.Open(strings.ToLower(name))
}

// ReadDir lists a directory.
func (m *Machine) ReadDir(name string) ([]fs.DirEntry, error) {
	if err := m.denied("open", name); err != nil {
		return nil, err
	}
	return m.Files.ReadDir(strings.ToLower(name))
}

// Stat describes what name leads to.
func (m *Machine) Stat(name string) (fs.FileInfo, error) { return m.Files.Stat(strings.ToLower(name)) }

// Lstat describes name.
func (m *Machine) Lstat(name string) (fs.FileInfo, error) {
	return m.Files.Lstat(strings.ToLower(name))
}

// ReadLink returns a link's target.
func (m *Machine) ReadLink(name string) (string, error) {
	return m.Files.ReadLink(strings.ToLower(name))
}

// Call answers the ops of package windows.
func (m *Machine) Call(_ context.Context, op string, args ...string) ([]byte, error) {
	key := strings.Join(append([]string{op}, args...), " ")
	if m.Deny[key] {
		return nil, fmt.Errorf("call %s: %w", op, fs.ErrPermission)
	}
	text, ok := m.Calls[key]
	switch {
	case ok:
		return []byte(text), nil
	case op == windows.OpRegistry, op == windows.OpSubkeys:
		return nil, fmt.Errorf("call %s: %w", op, fs.ErrNotExist)
	}
	return nil, fmt.Errorf("call %s: %w", op, errors.ErrUnsupported)
}

// add adds a file.
func (m *Machine) add(name string, content []byte) {
	m.Files[strings.ToLower(name)] = &fstest.MapFile{Data: content}
}

// An image is one entry of class 77.
type image struct {
	path            string
	base            uint64
	size            uint32
	checksum, stamp uint32
}

// modulesEx writes class 77 as a 64-bit kernel does.
func modulesEx(images []image) string {
	le := binary.LittleEndian
	var b []byte
	for i, m := range images {
		e := make([]byte, 320)
		le.PutUint16(e, 320)
		le.PutUint64(e[8+16:], m.base)
		le.PutUint32(e[8+24:], m.size)
		le.PutUint32(e[8+28:], 0x8804000)
		le.PutUint16(e[8+32:], uint16(i))
		le.PutUint16(e[8+36:], 1)
		le.PutUint16(e[8+38:], uint16(strings.LastIndexByte(m.path, '\\')+1))
		copy(e[8+40:], m.path)
		le.PutUint32(e[304:], m.checksum)
		le.PutUint32(e[308:], m.stamp)
		b = append(b, e...)
	}
	return string(append(b, 0, 0))
}

// A driver is a file of the machine.
type driver struct {
	name, company, version string
	imports                []string
}

func (d driver) build() []byte {
	im := petest.Image{
		TimeStamp: 0x60000000 + uint32(len(d.name)), PDB: strings.TrimSuffix(d.name, ".sys") + ".pdb",
		Code: []byte("code of " + d.name),
		Version: map[string]string{"CompanyName": d.company, "OriginalFilename": d.name, "FileDescription": "Driver " +
			d.name, "FileVersion": d.version},
	}
	_, _ = fmt.Sscanf(d.version, "%d.%d.%d.%d", &im.Numbers[0], &im.Numbers[1], &im.Numbers[2], &im.Numbers[3])
	for _, lib := range d.imports {
		im.Imports = append(im.Imports, petest.Import{Library: lib, Functions: []string{"Init"}})
	}
	return im.Build()
}

// header returns checksum and time stamp of a built file.
func header(b []byte) (checksum, stamp uint32) {
	at := int(binary.LittleEndian.Uint32(b[0x3c:]))
	return binary.LittleEndian.Uint32(b[at+24+64:]), binary.LittleEndian.Uint32(b[at+8:])
}

func noFiles() fstest.MapFS { return fstest.MapFS{} }
