// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/linux"
)

// blocking never answers for one path until it is released.
type blocking struct {
	*made
	path    string
	release chan struct{}
	waiting int
}

func (b *blocking) Open(name string) (fs.File, error) {
	if name == b.path {
		b.mu.Lock()
		b.waiting++
		b.mu.Unlock()
		<-b.release
	}
	return b.made.Open(name)
}

func TestBlockedReadCostsTwoGoroutinesAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &blocking{made: madeLinux(), path: "sys/module/nvme/version", release: make(chan struct{})}
		sys, err := OpenMachine(Linux, b, Options{})
		if err != nil {
			t.Fatal(err)
		}
		for look := range 4 {
			start := time.Now()
			s, err := sys.Snapshot(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			nvme := s.Module("linux_module:nvme")
			if len(nvme.Problems) != 1 || nvme.Problems[0].Code != CodeTimeout || nvme.Problems[0].Field != "version" ||
				nvme.ContentID == "" {
				t.Errorf("look %d: %v", look, nvme.Problems)
			}
			if took := time.Since(start); look >= maxAbandoned && took != 0 {
				t.Errorf("look %d waited %v for a path that is known to block", look, took)
			}
		}
		if b.waiting != maxAbandoned {
			t.Errorf("%d reads were abandoned", b.waiting)
		}
		close(b.release)
		synctest.Wait()
	})
}

// One goroutine answers read after read while goroutines are kept, and ends with the last call that keeps it.
func TestKeptGoroutineAnswersAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ids sync.Map // of goroutines
		g := newGuard(madeLinux(), "", nil)
		read := func() {
			_, err := guarded(g, "open", "a", func() (int, error) {
				buf := make([]byte, 64)
				id, _, _ := strings.Cut(string(buf[:runtime.Stack(buf, false)]), "[")
				ids.Store(id, true)
				return 0, nil
			})
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		outer, inner := g.keep(), g.keep()
		read()
		inner()
		for range 10 {
			read()
		}
		outer()
		n := 0
		for range ids.Range {
			n++
		}
		if n != 1 {
			t.Errorf("%d goroutines", n)
		}
		read()
	})
}

// A machine whose file system hangs costs a bounded number of goroutines, and of waits, whatever
// number of paths it is asked for.
func TestAHangingMachineCostsABoundedNumberOfGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &blockingBelow{made: manyModules(1000), dir: "sys/module/", release: make(chan struct{})}
		sys, err := OpenMachine(Linux, b, Options{})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		s, err := sys.Snapshot(context.Background())
		if err != nil || len(s.Modules) != 1000 || outcome(t, s, linux.SourceSysModule) != OutcomeFailed {
			t.Fatalf("%v, %v", s, err)
		}
		if took := time.Since(start); took > (maxHanging+1)*patience || b.waiting.Load() > maxHanging {
			t.Errorf("%v and %d goroutines", took, b.waiting.Load())
		}
		close(b.release)
		synctest.Wait()
		if b.opened.Load() != 0 || sys.guard.hanging != 0 {
			t.Errorf("%d files that came too late are open, %d reads hang", b.opened.Load(), sys.guard.hanging)
		}
		if s, err = sys.Snapshot(context.Background()); err != nil || s.Modules[999].ContentID == "" {
			t.Errorf("after it woke up: %v", err)
		}
	})
}

// blockingBelow never answers for files below a directory until it is released.
type blockingBelow struct {
	*made
	dir             string
	release         chan struct{}
	waiting, opened atomic.Int32
}

func (b *blockingBelow) Open(name string) (fs.File, error) {
	if !strings.HasPrefix(name, b.dir) {
		return b.made.Open(name)
	}
	b.waiting.Add(1)
	<-b.release
	f, err := b.made.Open(name)
	if err != nil {
		return nil, err
	}
	b.opened.Add(1)
	return &countedFile{f, b}, nil
}

type countedFile struct {
	fs.File
	b *blockingBelow
}

func (f *countedFile) Close() error {
	f.b.opened.Add(-1)
	return f.File.Close()
}

// What may not be read may still be looked at, and the other way round.
func TestARefusalIsOfOneQuestion(t *testing.T) {
	m := madeLinux()
	g := newGuard(refusingOpen{m}, "", nil)
	if _, err := g.Open(linux.ModulesFile); !errors.Is(err, fs.ErrPermission) {
		t.Fatal(err)
	}
	if _, err := g.Stat(linux.ModulesFile); err != nil {
		t.Error(err)
	}
	if _, err := g.Open(linux.ModulesFile); !errors.Is(err, fs.ErrPermission) || m.count(linux.ModulesFile) != 1 {
		t.Errorf("%v: asked again although nothing changed", err)
	}
}

type refusingOpen struct{ *made }

func (r refusingOpen) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
}

func TestRefusalsAreTriedAgainWithBackOff(t *testing.T) {
	m := madeLinux()
	m.fails["sys/module/nvme/version"] = fs.ErrPermission
	g := newGuard(m, "", nil)
	now := time.Unix(1e9, 0)
	g.now = func() time.Time { return now }
	read := func() error {
		_, err := limit.AppendAttr(g, nil, "sys/module/nvme/version", limit.Attr)
		return err
	}
	tries := func() int { return m.count("sys/module/nvme/version") }
	for range 5 {
		if err := read(); !errors.Is(err, fs.ErrPermission) {
			t.Fatal(err)
		}
	}
	if tries() != 1 {
		t.Errorf("refused path was tried %d times", tries())
	}
	wait := firstBackOff
	for i := 2; i < 12; i++ {
		now = now.Add(wait - time.Second)
		read()
		if tries() != i-1 {
			t.Errorf("tried again before %v", wait)
		}
		now = now.Add(time.Second)
		read()
		if tries() != i {
			t.Errorf("not tried again after %v", wait)
		}
		wait = min(2*wait, lastBackOff)
	}
	delete(m.fails, "sys/module/nvme/version")
	if err := read(); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("believed until the wait is over: %v", err)
	}
	g.forget()
	if err := read(); err != nil {
		t.Errorf("after forget: %v", err)
	}
}

func TestGuardRemembersABoundedNumberOfPaths(t *testing.T) {
	m := madeLinux()
	m.fails["x/"] = fs.ErrPermission
	g := newGuard(m, "", nil)
	for i := range maxRemember + 100 {
		g.Stat("x/" + strings.Repeat("y", i%500) + "/" + strings.Repeat("z", i/500))
	}
	if len(g.refused) > maxRemember {
		t.Errorf("%d paths", len(g.refused))
	}
}

func TestGuardNamesThePathAsTheUserWould(t *testing.T) {
	for root, want := range map[string]string{"": "/proc/none", "/host": "/host/proc/none",
		"/host/": "/host/proc/none"} {
		g := newGuard(madeLinux(), root, nil)
		_, err := g.Open("proc/none")
		var pe *fs.PathError
		if !errors.As(err, &pe) || pe.Path != want {
			t.Errorf("root %q: %v, want path %s", root, err, want)
		}
	}
}

func TestReadKeepsWhatTheCallerHas(t *testing.T) {
	g := newGuard(madeLinux(), "", nil)
	b, err := limit.AppendFile(g, []byte("head "), "proc/sys/kernel/tainted", limit.Attr)
	if err != nil || string(b) != "head 12288\n" {
		t.Errorf("%q, %v", b, err)
	}
	b, err = limit.AppendFile(g, []byte("head "), "proc/sys/kernel/tainted", 3)
	if !errors.Is(err, ErrTooLarge) || string(b) != "head 122" {
		t.Errorf("%q, %v", b, err)
	}
	b, err = limit.AppendFile(g, []byte("head "), "proc/none", limit.Attr)
	if !errors.Is(err, fs.ErrNotExist) || string(b) != "head " {
		t.Errorf("%q, %v", b, err)
	}
}

func TestConcurrentLooks(t *testing.T) {
	sys := openMade(t, manyModules(50), Options{})
	done := make(chan error)
	for range 8 {
		go func() {
			_, err := sys.Snapshot(context.Background())
			if err == nil {
				err = sys.Poll(context.Background(), new(List))
			}
			if err == nil {
				_, err = sys.Changed(context.Background(), new(Token))
			}
			done <- err
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestDeadlineIsATimeout(t *testing.T) {
	if err := newGuard(madeLinux(), "", nil).blocked("read", "x"); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v", err)
	}
}
