// SPDX-License-Identifier: Apache-2.0

package lkmtest_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/linux"
	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/lkm/lkmtest"
	"github.com/kernelext/kernelext/lkm/tape"
)

func open(t testing.TB, name string) *tape.Tape {
	t.Helper()
	tp, err := lkmtest.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	return tp
}

// What is refused: each operation, by each form of key.
func TestFaultKeys(t *testing.T) {
	ask := map[string]func(lkm.Machine) error{
		"open":     func(m lkm.Machine) error { _, err := m.Open("sys/module/a/taint"); return err },
		"readdir":  func(m lkm.Machine) error { _, err := m.ReadDir("sys/module/a/taint"); return err },
		"stat":     func(m lkm.Machine) error { _, err := fs.Stat(m, "sys/module/a/taint"); return err },
		"lstat":    func(m lkm.Machine) error { _, err := m.Lstat("sys/module/a/taint"); return err },
		"readlink": func(m lkm.Machine) error { _, err := m.ReadLink("sys/module/a/taint"); return err },
		"call":     func(m lkm.Machine) error { _, err := m.Call(context.Background(), "op", "a", "b"); return err },
	}
	all, paths := "open readdir stat lstat readlink call", "open readdir stat lstat readlink"
	for _, tt := range []struct {
		key  string
		want string // the operations that are refused
	}{
		{"sys/module/a/taint", paths}, {"sys/module/a/", paths}, {"sys/", paths}, {"sys/module/a/taint/", paths},
		{"sys/module/*/taint", paths}, {"sys/module/*", ""}, {"sys/module/a", ""}, {"sys/module/a/tain", ""}, {"", ""},
		{"open:sys/module/a/taint", "open"}, {"stat:sys/", "stat"}, {"lstat:sys/", "lstat"},
		{"readdir:sys/module/*/taint", "readdir"}, {"readlink:sys/", "readlink"},
		{"call:op a b", "call"}, {"call:op *", "call"}, {"call:*", "call"}, {"call:op a *", "call"}, {"call:op", ""},
		{"call:op a", ""}, {"call:o", ""}, {"call:op b *", ""}, {"call:op a b *", "call"}, {"op a b", ""},
	} {
		m := lkmtest.Faults(open(t, "synthetic-aix"), map[string]error{tt.key: lkm.ErrRestricted})
		for op, f := range ask {
			want := op != "" && contains(tt.want, op)
			if got := errors.Is(f(m), lkm.ErrRestricted); got != want {
				t.Errorf("%q: %s: %v, want %v", tt.key, op, f(m), want)
			}
		}
	}
	m := lkmtest.Faults(open(t, "synthetic-aix"), map[string]error{
		"sys/": fs.ErrPermission, "sys/module/": nil, "sys/module/a/taint": fs.ErrNotExist, "call:*": fs.ErrPermission,
		"call:op *": nil,
	})
	for name, want := range map[string]error{
		"sys": fs.ErrPermission, "sys/x": fs.ErrPermission,
		"sys/module/b": fact.ErrUnrecorded, "sysx": fact.ErrUnrecorded,
		"sys/module/a/taint": fs.ErrNotExist,
	} {
		if _, err := m.Open(name); !errors.Is(err, want) {
			t.Errorf("the longest key: %s: %v, want %v", name, err, want)
		}
	}
	for op := range ask {
		if !contains(all, op) {
			t.Error(op)
		}
	}
	windows := lkmtest.Faults(open(t, "synthetic-windows11-user"), map[string]error{"C:/Windows/": fs.ErrPermission})
	if _, err := windows.Open("c:/windows/SYSTEM32/x"); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("upper case: %v", err)
	}
}

func contains(words, word string) bool {
	for w := range strings.FieldsSeq(words) {
		if w == word {
			return true
		}
	}
	return false
}

// Every call of a System gives the error of the fault, or a Problem with its code.
func TestFaultsReachTheCaller(t *testing.T) {
	for _, fault := range []error{fs.ErrPermission, fs.ErrNotExist, os.ErrDeadlineExceeded, lkm.ErrRestricted} {
		m := lkmtest.Faults(open(t, "synthetic-debian-root"), map[string]error{"proc/modules": fault})
		sys, err := lkm.OpenMachine(lkm.Linux, m, lkm.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := sys.Snapshot(t.Context()); !errors.Is(err, fault) {
			t.Errorf("Snapshot: %v, want %v", err, fault)
		}
		if err := sys.Poll(t.Context(), new(lkm.List)); !errors.Is(err, fault) {
			t.Errorf("Poll: %v, want %v", err, fault)
		}
		if err := sys.Close(); err != nil {
			t.Error(err)
		}
	}
	m := lkmtest.Faults(open(t, "synthetic-debian-root"), map[string]error{
		linux.SysModuleDir + "/nvme/taint": fs.ErrPermission, "call:uname": os.ErrDeadlineExceeded,
	})
	sys, err := lkm.OpenMachine(lkm.Linux, m, lkm.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer sys.Close()
	snap, err := sys.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := snap.Err(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the call's fault is not in %v", err)
	}
}

// Faults may be asked by several goroutines at once.
func TestFaultsConcurrently(t *testing.T) {
	m := lkmtest.Faults(open(t, "synthetic-debian-root"), map[string]error{"sys/module/*/taint": fs.ErrPermission})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			sys, err := lkm.OpenMachine(lkm.Linux, m, lkm.Options{})
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := sys.Snapshot(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// A test says what its program does when a machine does not show its modules.
func ExampleFaults() {
	t, err := lkmtest.Open("synthetic-debian-root")
	if err != nil {
		fmt.Println(err)
		return
	}
	m := lkmtest.Faults(t, map[string]error{
		"proc/modules": fs.ErrPermission, // a file
		"sys/module/":  fs.ErrNotExist,   // a directory with all that is below it
		"call:uname":   lkm.ErrRestricted,
	})
	sys, err := lkm.OpenMachine(lkm.Linux, m, lkm.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sys.Close()
	_, err = sys.Snapshot(context.Background())
	fmt.Println(err)
	fmt.Println(errors.Is(err, fs.ErrPermission))
	// Output:
	// lkm: list modules: open /proc/modules: permission denied
	// true
}
