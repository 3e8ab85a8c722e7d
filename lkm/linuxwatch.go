// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kernelext/kernelext/fact"
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

func (b *linuxBackend) hints(buffer int) (fact.Hints, error) {
	source, err := b.guard.Events(buffer)
	if err != nil {
		return nil, err
	}
	hints := &ueventHints{EventSource: source, backend: b, history: new(moduleHistory)}
	hints.history.begin(b)
	b.history.Store(hints.history)
	return hints, nil
}

// ueventHints turns the kernel's events into hints, and keeps what they say for Discrepancies.
type ueventHints struct {
	fact.EventSource
	backend *linuxBackend
	history *moduleHistory
}

func (u *ueventHints) Close() error {
	u.backend.history.CompareAndSwap(u.history, nil)
	return u.EventSource.Close()
}

func (u *ueventHints) Next(deadline time.Time) (fact.Hint, error) {
	b, err := u.Receive(deadline)
	switch {
	case errors.Is(err, fact.ErrHintsLost):
		u.history.begin(u.backend)
		return fact.Hint{}, fact.ErrHintsLost
	case err != nil:
		return fact.Hint{}, err
	}
	e, err := linux.ParseUevent(b)
	if err != nil {
		u.history.begin(u.backend)
		return fact.Hint{}, fact.ErrHintsLost
	}
	h := fact.Hint{Seq: e.Seq}
	if name := e.Module(); name != "" && (e.Action == "add" || e.Action == "remove") {
		h.ID, h.Name, h.Came = string(KindLinuxModule)+":"+name, name, e.Action == "add"
	}
	u.history.event(h.Seq, h.Name, h.Came)
	return h, nil
}
