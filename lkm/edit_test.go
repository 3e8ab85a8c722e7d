// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"encoding/json"

	"github.com/kernelext/kernelext/fact"
)

// An Edit changes what a System's kernel says, for tests of any operating system.
type Edit struct {
	// Modules returns the list that takes the place of the kernel's, or the error of a list that is refused.
	Modules func([]Module) ([]Module, error)
	// BootID replaces the kernel's, unless it is empty.
	BootID string
	// Cut makes the sources of the list partial.
	Cut bool
	// Canned is the list instead of the kernel's, unless it is nil.
	Canned []Module
}

// edited is a backend whose answers are changed.
type edited struct {
	backend
	os   OS
	edit *Edit
}

// EditBackend changes the answers of a System for a test.
func EditBackend(s *System, e *Edit) { s.backend = &edited{s.backend, s.os, e} }

func (e *edited) header(ctx context.Context, h *fact.Header, r *fact.Report) {
	e.backend.header(ctx, h, r)
	if e.edit.BootID != "" {
		h.BootID = e.edit.BootID
	}
}

func (e *edited) loaded(ctx context.Context, h *fact.Header, r *fact.Report) ([]Module, error) {
	modules, err := e.edit.Canned, error(nil)
	if modules == nil {
		if modules, err = e.backend.loaded(ctx, h, r); err != nil {
			return nil, err
		}
	} else {
		r.Source(listsOf(e.os).loaded[0], fact.OutcomeOK, fact.CountOf(int64(len(modules))), nil)
	}
	if e.edit.Cut {
		for i := range r.Sources {
			if r.Sources[i].Outcome == fact.OutcomeOK {
				r.Sources[i].Outcome = fact.OutcomePartial
			}
		}
	}
	return e.edit.Modules(modules)
}

func (e *edited) poll(ctx context.Context, l *List) error {
	modules, err := e.loaded(ctx, new(fact.Header), new(fact.Report))
	l.Modules = append(l.Modules[:0], modules...)
	sortModules(l.Modules)
	return err
}

func (e *edited) changed(context.Context) (uint64, error) {
	return 0, (&adapter[struct{}]{os: e.os}).err()
}

// Steady returns the snapshot as text without what is volatile.
func Steady(s *Snapshot) string {
	var b []byte
	for i := range s.Modules {
		m := s.Modules[i].Clone()
		m.dropVolatile()
		b = append(appendJSON(b, &m), '\n')
	}
	c := *s
	c.dropVolatile()
	return string(appendJSON(b, &c))
}

func appendJSON(b []byte, v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return append(b, text...)
}
