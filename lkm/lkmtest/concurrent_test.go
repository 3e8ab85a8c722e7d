// SPDX-License-Identifier: Apache-2.0

package lkmtest_test

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/kernelext/kernelext/internal/testing/linuxtest"
	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/lkm/lkmtest"
)

// A call is one way to use a System.
type call func(context.Context, *lkm.System) error

// calls are all that a System can be asked.
var calls = []call{
	func(ctx context.Context, s *lkm.System) error { _, err := s.Snapshot(ctx); return err },
	func(ctx context.Context, s *lkm.System) error { _, err := s.SnapshotOf(ctx, lkm.ScopeAll); return err },
	func(ctx context.Context, s *lkm.System) error { return s.Poll(ctx, new(lkm.List)) },
	func(ctx context.Context, s *lkm.System) error { _, err := s.Changed(ctx, new(lkm.Token)); return err },
	func(ctx context.Context, s *lkm.System) error { _, err := s.Policy(ctx); return err },
	func(ctx context.Context, s *lkm.System) error { _, err := s.Check(ctx, "nosuch"); return err },
	func(ctx context.Context, s *lkm.System) error { _, err := s.Resolve(ctx, "nosuch"); return err },
	func(ctx context.Context, s *lkm.System) error { _, err := s.LoadPlan(ctx, "nosuch"); return err },
	func(ctx context.Context, s *lkm.System) error { _, err := s.File(ctx, "/nosuch.ko"); return err },
	func(ctx context.Context, s *lkm.System) error { _, err := s.Discrepancies(ctx); return err },
	func(ctx context.Context, s *lkm.System) error {
		for _, err := range s.Builtin(ctx) {
			if err != nil {
				return err
			}
		}
		return nil
	},
	func(ctx context.Context, s *lkm.System) error {
		for _, err := range s.Installed(ctx) {
			return err // stopping early leaves nothing behind
		}
		return nil
	},
	func(ctx context.Context, s *lkm.System) error {
		for _, err := range s.Watch(ctx, lkm.WatchOptions{Interval: time.Millisecond}) {
			return err
		}
		return nil
	},
	func(context.Context, *lkm.System) error { return nil }, // Refresh, below
}

// openers open each kind of machine: the running one, a mounted root, images, a tape and fakes of every system.
func openers(t *testing.T) map[string]func() (*lkm.System, error) {
	t.Helper()
	dir, files := t.TempDir(), linuxRoot(true)
	maps.Copy(files, linuxtest.Files(map[string]string{
		"proc/modules":              "a 4096 0 - Live 0x0000000000000000\n",
		"proc/sys/kernel/osrelease": "6.1.0-test\n",
	}))
	for name, f := range files {
		at := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, f.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	open := map[string]func() (*lkm.System, error){
		"image": func() (*lkm.System, error) {
			fsys, err := lkm.Dir(dir)
			if err != nil {
				return nil, err
			}
			return lkm.OpenImage(fsys, lkm.Options{OS: lkm.Linux})
		},
		"files in memory": func() (*lkm.System, error) {
			return lkm.OpenImage(linuxRoot(false), lkm.Options{OS: lkm.Linux})
		},
		"tape": func() (*lkm.System, error) {
			tp, err := lkmtest.Open("synthetic-debian-root")
			if err != nil {
				return nil, err
			}
			return lkm.OpenMachine(lkm.Linux, tp, lkm.Options{})
		},
	}
	if s, err := lkm.Open(lkm.Options{}); err == nil { // a system that has a kernel of its own
		s.Close()
		open["live"] = func() (*lkm.System, error) { return lkm.Open(lkm.Options{}) }
		open["mounted"] = func() (*lkm.System, error) { return lkm.Open(lkm.Options{HostRoot: dir}) }
	}
	taken := make(map[lkm.OS]bool)
	for _, m := range madeUps() {
		if !taken[m.os] {
			taken[m.os] = true
			open[m.name] = func() (*lkm.System, error) { return lkm.OpenMachine(m.os, m.machine(), lkm.Options{}) }
		}
	}
	return open
}

// Every call beside every other, Refresh, a context that ends and Close: each ends, and a later one returns an error
// that matches fs.ErrClosed.
func TestCallsBesideClose(t *testing.T) {
	for name, open := range openers(t) {
		t.Run(name, func(t *testing.T) {
			for round := range 6 {
				s, err := open()
				if err != nil {
					t.Skip(err)
				}
				callsBesideClose(t, s, round)
			}
		})
	}
}

func callsBesideClose(t *testing.T, s *lkm.System, round int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg, started sync.WaitGroup
	started.Add(len(calls))
	for i, c := range calls {
		wg.Go(func() {
			started.Done()
			for range 3 {
				if i == len(calls)-1 {
					s.Refresh()
					s.Sources()
				}
				_ = c(ctx, s) // whatever comes, it comes
			}
		})
	}
	started.Wait()
	if round%2 == 1 {
		cancel()
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	cancel()
	for i, c := range calls[:len(calls)-1] {
		if err := c(t.Context(), s); !errors.Is(err, fs.ErrClosed) && !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("call %d after Close: %v", i, err)
		}
	}
}

// Systems that were opened, used and closed leave nothing: no goroutine, no descriptor, no memory that grows with them.
func TestNothingIsLeft(t *testing.T) {
	opens, polls := 40, 400
	if os.Getenv("KERNELEXT_FULL") != "" {
		opens, polls = 2000, 20000
	}
	for name, open := range openers(t) {
		t.Run(name, func(t *testing.T) {
			use(t, open, 2, 20) // what is made once
			goroutines, files, memory := resources(0, 0)
			use(t, open, opens, polls)
			g, f, m := resources(goroutines, files)
			if g > goroutines || f > files {
				t.Errorf("%d goroutines became %d, %d descriptors %d", goroutines, g, files, f)
			}
			if grown := m - memory; grown > 1<<20 {
				t.Errorf("%d bytes are left of %d opens and %d polls", grown, opens, polls)
			}
		})
	}
}

// use opens a System many times, and polls the last one many times.
func use(t *testing.T, open func() (*lkm.System, error), opens, polls int) {
	t.Helper()
	var l lkm.List
	for i := range opens {
		s, err := open()
		if err != nil {
			t.Skip(err)
		}
		_ = s.Poll(t.Context(), &l) // an image has no list
		for i == opens-1 && polls > 0 {
			_ = s.Poll(t.Context(), &l)
			polls--
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// resources returns what the process holds: goroutines, open descriptors (Linux alone says), and bytes in use. It waits
// a while for goroutines to end that are more than those, and for roots that nobody uses to close themselves.
func resources(mostGoroutines, mostFiles int) (goroutines, descriptors int, memory int64) {
	for range 100 {
		runtime.GC()
		entries, _ := os.ReadDir("/proc/self/fd")
		goroutines, descriptors = runtime.NumGoroutine(), len(entries)
		if goroutines <= mostGoroutines && descriptors <= mostFiles {
			break
		}
		time.Sleep(time.Millisecond)
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return goroutines, descriptors, int64(m.HeapAlloc)
}
