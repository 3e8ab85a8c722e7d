// SPDX-License-Identifier: Apache-2.0

package lkmtest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/lkm/lkmtest"
)

// A fault is what happens to one input of a machine.
type fault string

const (
	refused    fault = "refused"     // permission denied
	unreadable fault = "unreadable"  // an input/output error in the middle of it
	cut        fault = "cut"         // only its first half is there
	overBudget fault = "over budget" // more than may be read
)

var faults = []fault{refused, unreadable, cut, overBudget}

// packageLists are the databases of package managers whose form is lines that each end with a newline.
var packageLists = []string{".list", ".md5sums", "/dpkg/status", "/dpkg/diversions", "/apk/db/installed", "/files",
	"/desc"}

// isPackageList reports whether an input is a database of a package manager.
func isPackageList(input string) bool {
	return slices.ContainsFunc(packageLists, func(form string) bool { return strings.HasSuffix(input, form) })
}

// noticeable reports whether a reader can notice that an input was cut: its form says how long it is, or how it ends.
// Another text of lines does not, nor does a directory.
func noticeable(input string) bool {
	if !strings.HasPrefix(input, "open ") {
		return false
	}
	for _, form := range []string{".bin", ".ko", ".kmod", ".plist", ".sys", ".kc", ".gz", ".xz", ".zst"} {
		if strings.HasSuffix(input, form) {
			return true
		}
	}
	return isPackageList(input)
}

// possible reports whether the fault can happen to the input, in a way that a reader can notice.
func (f fault) possible(input string) bool {
	switch {
	case f == cut:
		return noticeable(input)
	case f == overBudget:
		op, _, _ := strings.Cut(input, " ")
		return op == "open" || op == "readdir" || op == "call"
	}
	return true
}

func (f fault) err() error {
	switch f {
	case refused:
		return fs.ErrPermission
	case overBudget:
		return fmt.Errorf("%w: by this test", fact.ErrTooLarge)
	}
	return errors.New("input/output error")
}

// key is the input as a key of lkmtest.Faults.
func key(input string) string {
	op, name, _ := strings.Cut(input, " ")
	return op + ":" + name
}

// faultyMachine is the machine with one input that is not what it was; with no input it is whole.
func faultyMachine(m lkm.Machine, input string, f fault) *faulty {
	if input != "" && f != cut && !f.halves(input) {
		m = lkmtest.Faults(m, map[string]error{key(input): f.err()})
	}
	return &faulty{Machine: m, input: input, fault: f}
}

// halves reports whether a file's first half can be read. What the kernel makes at a read comes whole or not at all.
func (f fault) halves(input string) bool {
	return f != refused && strings.HasPrefix(input, "open ") && !strings.HasPrefix(input, "open proc/") &&
		!strings.HasPrefix(input, "open sys/")
}

// A faulty machine notes what it is asked, and can cut a file short.
type faulty struct {
	lkm.Machine
	input string // "open PATH", "readdir PATH", "stat PATH", "lstat PATH", "readlink PATH" or "call OP ARGUMENTS"
	fault fault

	mu    sync.Mutex
	asked []string
	known map[string]bool
}

func (m *faulty) ask(op, name string) {
	input := op + " " + name
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.known == nil {
		m.known = make(map[string]bool)
	}
	if !m.known[input] {
		m.known[input] = true
		m.asked = append(m.asked, input)
	}
}

func (m *faulty) Open(name string) (fs.File, error) {
	m.ask("open", name)
	f, err := m.Machine.Open(name)
	if err != nil || "open "+name != m.input || !m.fault.halves(m.input) {
		return f, err
	}
	return m.damaged(f, name)
}

// damaged returns a file that ends, or fails, in its middle.
func (m *faulty) damaged(f fs.File, name string) (fs.File, error) {
	info, err := f.Stat()
	if err != nil || info.IsDir() {
		return f, nil
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	b = b[:len(b)/2]
	if isPackageList(m.input) {
		b = bytes.TrimRight(b, "\n") // within a line
	}
	half := io.Reader(bytes.NewReader(b))
	if m.fault != cut {
		half = io.MultiReader(half, failing{&fs.PathError{Op: "read", Path: name, Err: m.fault.err()}})
	}
	return &halfFile{half, info}, nil
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

type halfFile struct {
	io.Reader
	info fs.FileInfo
}

func (f *halfFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *halfFile) Close() error               { return nil }

func (m *faulty) ReadDir(name string) ([]fs.DirEntry, error) {
	m.ask("readdir", name)
	return m.Machine.ReadDir(name)
}

func (m *faulty) Stat(name string) (fs.FileInfo, error) {
	m.ask("stat", name)
	return fs.Stat(m.Machine, name)
}

func (m *faulty) Lstat(name string) (fs.FileInfo, error) {
	m.ask("lstat", name)
	return m.Machine.Lstat(name)
}

func (m *faulty) ReadLink(name string) (string, error) {
	m.ask("readlink", name)
	return m.Machine.ReadLink(name)
}

func (m *faulty) Call(ctx context.Context, op string, args ...string) ([]byte, error) {
	m.ask("call", strings.Join(append([]string{op}, args...), " "))
	return m.Machine.Call(ctx, op, args...)
}

func (m *faulty) Redacted(key string) bool { return fact.IsRedacted(m.Machine, key) }

// shapeOf is an input with the names that differ from module to module taken out: two of a shape are enough.
func shapeOf(input string) string {
	op, name, _ := strings.Cut(input, " ")
	dir, base := path.Split(name)
	if strings.HasPrefix(name, "sys/module/") || strings.HasPrefix(name, "sys/bus/") {
		parts := strings.Split(name, "/")
		parts[2] = "*"
		if len(parts) > 4 {
			parts[len(parts)-2] = "*"
		}
		return op + " " + strings.Join(parts, "/")
	}
	if i := strings.IndexByte(base, '.'); i >= 0 && op == "open" && !strings.HasPrefix(base, "modules.") {
		return op + " " + dir + "*" + base[i:]
	}
	if op == "call" {
		words := strings.Fields(name)
		return op + " " + words[0] + strings.Repeat(" *", len(words)-1)
	}
	return input
}

// spread returns at most n of the list, evenly.
func spread[T any](list []T, n int) []T {
	if len(list) <= n {
		return list
	}
	out := make([]T, 0, n)
	for i := range n {
		out = append(out, list[i*len(list)/n])
	}
	return slices.Clip(out)
}
