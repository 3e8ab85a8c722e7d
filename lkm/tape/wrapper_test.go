// SPDX-License-Identifier: Apache-2.0

package tape_test

import (
	"context"
	"errors"
	"io/fs"
	"reflect"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/lkm/lkmtest"
	"github.com/kernelext/kernelext/lkm/tape"
)

const denied = "proc/modules"

func refuse(name string) error {
	if name == denied {
		return &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return nil
}

// The machines of a caller who overrides Open alone, as a test of a refusal does first.
type (
	deniedTape     struct{ *tape.Tape }
	deniedRecorder struct{ *tape.Recorder }
	deniedMachine  struct{ lkm.Machine }
	deniedTwice    struct{ deniedTape }
)

func (d deniedTape) Open(name string) (fs.File, error) {
	if err := refuse(name); err != nil {
		return nil, err
	}
	return d.Tape.Open(name)
}

func (d deniedRecorder) Open(name string) (fs.File, error) {
	if err := refuse(name); err != nil {
		return nil, err
	}
	return d.Recorder.Open(name)
}

func (d deniedMachine) Open(name string) (fs.File, error) {
	if err := refuse(name); err != nil {
		return nil, err
	}
	return d.Machine.Open(name)
}

func TestWrapperIsNotBypassed(t *testing.T) {
	tp, err := lkmtest.Open("synthetic-debian-root")
	if err != nil {
		t.Fatal(err)
	}
	recorder := func() *tape.Recorder { return tape.Record(lkm.Linux, tp, tape.Options{}) }
	for name, m := range map[string]lkm.Machine{
		"tape": deniedTape{tp}, "pointer": &deniedTape{tp}, "twice": deniedTwice{deniedTape{tp}},
		"recorder": deniedRecorder{recorder()}, "machine": deniedMachine{tp},
		"recorded": tape.Record(lkm.Linux, deniedTape{tp}, tape.Options{}),
		"faults":   lkmtest.Faults(tp, map[string]error{denied: fs.ErrPermission}),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := m.Open(denied); !errors.Is(err, fs.ErrPermission) {
				t.Fatal(err)
			}
			askDenied(t, m)
		})
	}
}

// askDenied asks a machine that does not show the kernel's list for everything.
func askDenied(t *testing.T, m lkm.Machine) {
	t.Helper()
	sys, err := lkm.OpenMachine(lkm.Linux, m, lkm.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if snap, err := sys.Snapshot(t.Context()); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("Snapshot: %v, %v", snap, err)
	}
	var l lkm.List
	if err := sys.Poll(t.Context(), &l); !errors.Is(err, fs.ErrPermission) || len(l.Modules) > 0 {
		t.Errorf("Poll: %v, %v", l.Modules, err)
	}
	verdicts, err := sys.Check(t.Context(), "nvme")
	if err != nil || len(verdicts) == 0 {
		t.Fatal(verdicts, err)
	}
	for _, v := range verdicts {
		if v.Now.Outcome == lkm.VerdictLoaded || v.Now.Outcome == lkm.VerdictAbsent {
			t.Errorf("Check: %+v", v.Now)
		}
	}
	for range sys.Watch(t.Context(), lkm.WatchOptions{}) {
		break
	}
	if err := sys.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// A wrapper's refusal of a file that Policy reads reaches Policy.
func TestWrapperPolicy(t *testing.T) {
	tp, err := lkmtest.Open("synthetic-debian-root")
	if err != nil {
		t.Fatal(err)
	}
	const name = "proc/sys/kernel/modules_disabled"
	for _, m := range []lkm.Machine{
		refusing{tp, name}, refusingRecorder{tape.Record(lkm.Linux, tp, tape.Options{}), name},
	} {
		sys, err := lkm.OpenMachine(lkm.Linux, m, lkm.Options{})
		if err != nil {
			t.Fatal(err)
		}
		p, err := sys.Policy(t.Context())
		if err != nil || p.Loading != "" || !errors.Is(p.Err(), fs.ErrPermission) {
			t.Errorf("%T: %q, %v, %v", m, p.Loading, p.Err(), err)
		}
	}
}

type refusing struct {
	*tape.Tape
	name string
}

func (r refusing) Open(name string) (fs.File, error) {
	if name == r.name {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return r.Tape.Open(name)
}

type refusingRecorder struct {
	*tape.Recorder
	name string
}

func (r refusingRecorder) Open(name string) (fs.File, error) {
	if name == r.name {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return r.Recorder.Open(name)
}

// The methods that an embedding type inherits without being asked give no file's content.
func TestInheritedMethods(t *testing.T) {
	known := "Call Close Describe Entries FileReader Header Lstat Open ReadDir ReadLink Redacted Stat Tape WriteTo"
	for _, v := range []any{new(tape.Tape), new(tape.Recorder)} {
		methods := reflect.TypeOf(v)
		for i := range methods.NumMethod() {
			if name := methods.Method(i).Name; !strings.Contains(" "+known+" ", " "+name+" ") {
				t.Errorf("%T has %s: may a type that overrides Open be bypassed by it?", v, name)
			}
		}
		if _, ok := v.(fact.FileReader); ok {
			t.Errorf("%T is a FileReader itself", v)
		}
	}
}

// A closer records that it was closed, and how often it was asked.
type closer struct {
	lkm.Machine
	closed, redacted int
}

func (c *closer) Close() error         { c.closed++; return nil }
func (c *closer) Redacted(string) bool { c.redacted++; return true }

// The wrapper's own Close and Redacted are asked, through a recorder and through faults as well.
func TestWrapperAbilities(t *testing.T) {
	tp, err := lkmtest.Open("synthetic-debian-root")
	if err != nil {
		t.Fatal(err)
	}
	for name, wrap := range map[string]func(lkm.Machine) lkm.Machine{
		"itself":   func(m lkm.Machine) lkm.Machine { return m },
		"recorder": func(m lkm.Machine) lkm.Machine { return tape.Record(lkm.Linux, m, tape.Options{}) },
		"faults":   func(m lkm.Machine) lkm.Machine { return lkmtest.Faults(m, nil) },
	} {
		c := &closer{Machine: tp}
		sys, err := lkm.OpenMachine(lkm.Linux, wrap(c), lkm.Options{Detail: lkm.DetailAddresses})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := sys.Snapshot(context.Background()); err != nil {
			t.Fatal(err)
		}
		if err := sys.Close(); err != nil || c.closed != 1 || c.redacted == 0 {
			t.Errorf("%s: closed %d times, asked %d times, %v", name, c.closed, c.redacted, err)
		}
	}
}
