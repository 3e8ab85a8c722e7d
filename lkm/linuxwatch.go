// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kernelext/kernelext/linux"
)

func (b *linuxBackend) oneModule(ctx context.Context, name string) (*Module, error) {
	var list linux.ModuleList
	if _, err := linux.NewListReader(b.guard).Read(&list); err != nil {
		return nil, err
	}
	modules := linuxModules(&list, nil)
	i := slices.IndexFunc(modules, func(m Module) bool { return m.Name == name })
	if i < 0 {
		return nil, fmt.Errorf("module %s: %w", name, ErrGone)
	}
	b.readSysModules(ctx, modules[i:i+1:i+1], new(report))
	return &modules[i], nil
}

func (b *linuxBackend) machineTime(ctx context.Context) time.Time {
	text, err := b.guard.Call(ctx, linux.OpClock)
	if err != nil {
		return time.Time{}
	}
	t, _ := time.Parse(time.RFC3339Nano, strings.TrimSpace(string(text))) // zero when it makes no sense
	return t
}

// machineUevents is a Machine that gives its kernel's events.
type machineUevents interface {
	Uevents(buffer int) (linux.UeventSource, error)
}

func (b *linuxBackend) hints(buffer int) (hintSource, error) {
	m, ok := b.guard.machine.(machineUevents)
	if !ok {
		return nil, fmt.Errorf("listen for kernel events: not a running machine: %w", errors.ErrUnsupported)
	}
	source, err := m.Uevents(buffer)
	if err != nil {
		return nil, err
	}
	hints := &ueventHints{UeventSource: source, backend: b, history: new(moduleHistory)}
	hints.history.begin(b)
	b.history.Store(hints.history)
	return hints, nil
}

// ueventHints turns the kernel's events into hints, and keeps what they say for Discrepancies.
type ueventHints struct {
	linux.UeventSource
	backend *linuxBackend
	history *moduleHistory
}

func (u *ueventHints) Close() error {
	u.backend.history.CompareAndSwap(u.history, nil)
	return u.UeventSource.Close()
}

func (u *ueventHints) next(deadline time.Time) (hint, error) {
	b, err := u.Receive(deadline)
	switch {
	case errors.Is(err, linux.ErrEventsLost):
		u.history.begin(u.backend)
		return hint{}, errHintsLost
	case err != nil:
		return hint{}, err
	}
	e, err := linux.ParseUevent(b)
	if err != nil {
		u.history.begin(u.backend)
		return hint{}, errHintsLost
	}
	h := hint{seq: e.Seq}
	if name := e.Module(); name != "" && (e.Action == "add" || e.Action == "remove") {
		h.id, h.name, h.came = string(KindLinuxModule)+":"+name, name, e.Action == "add"
	}
	u.history.event(h.seq, h.name, h.came)
	return h, nil
}
