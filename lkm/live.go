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

// Live returns the running machine and its operating system, for a program that puts something between the machine
// and OpenMachine, such as a recorder. The machine has a Close method. The error is that of opening o.HostRoot, or
// errors.ErrUnsupported if the running kernel is not of the system o.OS.
func Live(o Options) (OS, Machine, error) {
	here, m, err := live(o)
	if err != nil {
		return "", nil, err
	}
	return here.os, m, nil
}

func live(o Options) (*row, Machine, error) {
	here := running()
	if o.OS != "" && o.OS != here.os {
		return nil, nil, fmt.Errorf("lkm: open: the kernel that runs here is %s, not %s: %w",
			here.os, o.OS, errors.ErrUnsupported)
	}
	if o.HostRoot == "" {
		return here, here.machine(hostfs.Live(), o), nil
	}
	root, err := hostfs.Mounted(o.HostRoot)
	if err != nil {
		return nil, nil, fmt.Errorf("lkm: open: %w", err)
	}
	return here, here.machine(root, o), nil
}

func noCall(_ context.Context, op string, _ ...string) ([]byte, error) {
	return nil, fmt.Errorf("call %s: %w", op, errors.ErrUnsupported)
}

// withFallback asks the caller's function for what the system does not answer.
func withFallback(first, second fact.Call) fact.Call {
	if second == nil {
		return first
	}
	return func(ctx context.Context, op string, args ...string) ([]byte, error) {
		b, err := first(ctx, op, args...)
		if errors.Is(err, errors.ErrUnsupported) {
			return second(ctx, op, args...)
		}
		return b, err
	}
}

type liveMachine struct {
	hostfs.FS
	call   fact.Call
	events func(buffer int) (fact.EventSource, error) // nil on a system without events
}

// machine returns the machine of the row's system whose kernel runs this program.
func (r *row) machine(files hostfs.FS, o Options) *liveMachine {
	m := &liveMachine{FS: files, call: noCall}
	if r.call != nil {
		m.call = r.call(o.Exec)
	}
	m.call = withFallback(m.call, o.Call)
	if r.live != nil {
		r.live(m)
	}
	return m
}

func (m *liveMachine) Call(ctx context.Context, op string, args ...string) ([]byte, error) {
	return m.call(ctx, op, args...)
}

// FileReader implements [fact.Accelerated].
func (m *liveMachine) FileReader(self fs.FS) fact.FileReader {
	if self != fs.FS(m) {
		return nil
	}
	return m.FS
}

// Events opens the running kernel's own stream of events: the one exception to the rule that all
// comes through Machine.
func (m *liveMachine) Events(buffer int) (fact.EventSource, error) {
	if m.events == nil {
		return nil, fmt.Errorf("listen for kernel events: %w", errors.ErrUnsupported)
	}
	return m.events(buffer)
}
