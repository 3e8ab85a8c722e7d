// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kernelext/kernelext/linux"
)

// The running kernel, whatever it is: either a list whose sources say how it was read, or an error that says why there
// is not a list.
func TestTakeOnThisMachine(t *testing.T) {
	s, err := Take(context.Background())
	if err != nil {
		t.Skipf("this machine shows no list: %v", err)
	}
	src, ok := s.Source(linux.SourceModules)
	if !ok || (len(s.Modules) == 0) == (src.Outcome == OutcomeOK && src.Count != CountOf(0)) {
		t.Errorf("%d modules from %+v", len(s.Modules), src)
	}
	if s.Release == "" || s.Privilege == "" || s.TakenAt.IsZero() {
		t.Errorf("%+v", s)
	}
}

// The event counter of the running kernel is read without memory.
func TestChangedOnThisMachine(t *testing.T) {
	sys, err := Open(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer sys.Close()
	var token Token
	if _, err := sys.Changed(context.Background(), &token); err != nil {
		t.Skipf("this machine has no event counter: %v", err)
	}
	n := testing.AllocsPerRun(100, func() {
		if _, err := sys.Changed(context.Background(), &token); err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkChangedOnThisMachine(b *testing.B) {
	sys, err := Open(Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer sys.Close()
	var token Token
	if _, err := sys.Changed(context.Background(), &token); err != nil {
		b.Skip(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		sys.Changed(context.Background(), &token)
	}
}

// A FIFO that nobody writes to, where a file is expected, is refused at once and not waited for.
func TestFIFODoesNotBlock(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "proc/sys/kernel"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(root, linux.ModulesFile), 0o644); err != nil {
		t.Skipf("no FIFO can be made here: %v", err)
	}
	sys, err := Open(Options{HostRoot: root})
	if err != nil {
		t.Fatal(err)
	}
	defer sys.Close()
	if s, err := sys.Snapshot(context.Background()); !errors.Is(err, ErrMalformed) {
		t.Errorf("a pipe is not an empty list: %v, %v", s, err)
	}
}

// A FIFO in place of an index or a file of modprobe's configuration is a Problem, not an empty file.
func TestFIFOIsNoEmptyFile(t *testing.T) {
	const dir = "lib/modules/6.1.0-made/"
	for _, fifo := range []string{dir + "modules.dep", "etc/modprobe.d/x.conf"} {
		root, _ := writeTree(t, time.Now(), map[string]string{"kernel/m.ko": string(emptyModule())})
		if fifo != dir+"modules.dep" {
			os.WriteFile(filepath.Join(root, dir, "modules.dep"), []byte("kernel/m.ko:\n"), 0o644)
		}
		os.MkdirAll(filepath.Join(root, "etc/modprobe.d"), 0o755)
		if err := syscall.Mkfifo(filepath.Join(root, fifo), 0o644); err != nil {
			t.Skipf("no FIFO can be made here: %v", err)
		}
		sys := openDir(t, root, Options{OS: Linux})
		list, err := sys.Check(t.Context(), "m")
		if err != nil || len(list) != 1 {
			t.Fatalf("%s: %+v, %v", fifo, list, err)
		}
		said := false
		for _, p := range list[0].Problems {
			said = said || p.Code == CodeMalformed && strings.Contains(p.Text, "pipe")
		}
		if !said {
			t.Errorf("%s: %v", fifo, list[0].Problems)
		}
	}
}

// A host's root that is mounted elsewhere: its own proc and sys are read, and a file that is missing there gives an
// error, never this machine's answer.
func TestMountedLiveRoot(t *testing.T) {
	root := t.TempDir()
	open := func() error {
		sys, err := Open(Options{HostRoot: root})
		if err != nil {
			return err
		}
		defer sys.Close()
		_, err = sys.Snapshot(context.Background())
		return err
	}
	if err := open(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without /proc: %v", err)
	}
	for name, text := range map[string]string{linux.ModulesFile: "nvme 57344 3 - Live 0x0\n",
		"proc/sys/kernel/tainted": "0\n"} {
		os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755)
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := open(); err != nil {
		t.Error(err)
	}
	if err := os.Chmod(filepath.Join(root, linux.ModulesFile), 0); err != nil {
		t.Fatal(err)
	}
	if err := open(); os.Geteuid() != 0 && !errors.Is(err, os.ErrPermission) {
		t.Errorf("a refused list: %v", err)
	}
	os.Remove(filepath.Join(root, linux.ModulesFile))
	if err := open(); err != nil {
		t.Errorf("a kernel without modules: %v", err)
	}
}

// mountedModules writes the files of a machine with n modules below a folder, and opens it as a host's root.
func mountedModules(b *testing.B, n int) *System {
	dir := b.TempDir()
	for name, f := range manyModules(n).MapFS {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(path, f.Data, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	sys, err := Open(Options{OS: Linux, HostRoot: dir})
	if err != nil {
		b.Skip(err)
	}
	b.Cleanup(func() { sys.Close() })
	return sys
}

// reportCPU reports the processor time of a loop, which other programs do not lengthen as much as its time.
func reportCPU(b *testing.B) (done func()) {
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before := used()
	return func() { b.ReportMetric(float64(used()-before)/float64(b.N), "cpu-ns/op") }
}

// BenchmarkSnapshotOfFiles takes Snapshots of a mounted root, over real files: the design's figures are of these.
func BenchmarkSnapshotOfFiles(b *testing.B) {
	for _, n := range []int{250, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			sys := mountedModules(b, n)
			b.ReportAllocs()
			defer reportCPU(b)()
			for b.Loop() {
				if s, err := sys.Snapshot(context.Background()); err != nil || len(s.Modules) != n {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkPollOfFiles polls a mounted root.
func BenchmarkPollOfFiles(b *testing.B) {
	sys := mountedModules(b, 250)
	var list List
	b.ReportAllocs()
	defer reportCPU(b)()
	for b.Loop() {
		if err := sys.Poll(context.Background(), &list); err != nil || len(list.Modules) != 250 {
			b.Fatal(err)
		}
	}
}
