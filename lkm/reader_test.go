// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"errors"
	"io/fs"
	"testing"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/hostfs"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/windows"
)

// The internal machines give their fast reader to themselves alone: what embeds one and overrides Open is asked.
func TestInternalMachinesAreNotBypassed(t *testing.T) {
	root, err := hostfs.Mounted(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	live := running().machine(hostfs.Live(), Options{})
	g := newGuard(live, "", nil)
	for _, tt := range []struct {
		itself, embedded fs.FS
	}{
		{live, deniedLive{live}},
		{g, deniedGuard{g}},
		{windows.Volume(root), deniedRoot{windows.Volume(root)}},
		{hostfs.Live(), deniedRoot{hostfs.Live()}},
		{image{live, Linux}, deniedImage{image{live, Linux}}},
		// Maps cannot be compared, which is not a reason to panic.
		{image{odd{live, nil}, Linux}, deniedImage{image{odd{live, nil}, Linux}}},
	} {
		if !readsItself(tt.itself) {
			t.Errorf("%T: no fast reader", tt.itself)
		}
		if _, err := limit.ReadFile(tt.embedded, "proc/modules", 1<<20); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%T: %v", tt.embedded, err)
		}
		if _, err := limit.AppendAttr(tt.embedded, nil, "proc/modules", 1<<20); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%T: %v", tt.embedded, err)
		}
	}
}

func readsItself(fsys fs.FS) bool {
	a, ok := fsys.(fact.Accelerated)
	return ok && a.FileReader(fsys) != nil
}

type (
	deniedLive  struct{ *liveMachine }
	deniedGuard struct{ *guard }
	deniedRoot  struct{ hostfs.FS }
	deniedImage struct{ image }
	odd         struct {
		Machine
		_ map[string]string
	}
)

func (deniedLive) Open(name string) (fs.File, error)  { return refused(name) }
func (deniedGuard) Open(name string) (fs.File, error) { return refused(name) }
func (deniedRoot) Open(name string) (fs.File, error)  { return refused(name) }
func (deniedImage) Open(name string) (fs.File, error) { return refused(name) }

func refused(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
}

// A machine whose events are heard, and which does not show its list.
type deniedEvents struct{ *eventful }

func (d deniedEvents) Open(name string) (fs.File, error) {
	if name == "proc/modules" {
		return refused(name)
	}
	return d.eventful.Open(name)
}

// Events say where to look, and nothing of a module: a Watch without the list has no state.
func TestEventsAreNoList(t *testing.T) {
	s, err := OpenMachine(Linux, deniedEvents{&eventful{made: madeLinux()}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if l, ok := s.guard.machine.(fact.Listener); !ok {
		t.Fatal("the events are not inherited")
	} else if _, err := l.Events(0); err != nil {
		t.Fatal(err)
	}
	for e, err := range s.Watch(t.Context(), WatchOptions{}) {
		if err != nil || e.Type != EventDegraded || e.Code != CodePermission || e.Digest != "" {
			t.Errorf("%+v, %v", e, err)
		}
		break
	}
}
