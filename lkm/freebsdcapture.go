// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"errors"
	"fmt"

	"github.com/kernelext/kernelext/freebsd"
)

// The kinds of captures of FreeBSD and DragonFly. The two systems print the same columns: a text
// whose kind is found out is taken to be FreeBSD's.
const (
	CaptureKldstat          CaptureKind = "kldstat"           // kldstat of FreeBSD, with -v, -h, -d, -i, -n or -m
	CaptureKldstatDragonFly CaptureKind = "kldstat_dragonfly" // kldstat of DragonFly
)

func readKldstat(text string) captured { return freebsdCapture(text, FreeBSD, KindFreeBSDKld) }

func readKldstatDragonFly(text string) captured {
	c := freebsdCapture(text, DragonFly, KindDragonFlyKld)
	c.sure = false // FreeBSD's goes first where nobody says which it is
	return c
}

func freebsdCapture(text string, os OS, kind Kind) captured {
	c, err := freebsd.ParseCapture(text)
	if err != nil {
		return captured{}
	}
	s := &Snapshot{OS: os, Modules: make([]Module, 0, len(c.Rows)+len(c.Modules))}
	r := &report{}
	outcome := badLines(r, freebsd.SourceKldstat, toErrors(c.Bad), c.BadCount)
	dir := ""
	for _, row := range c.Rows {
		if row.ID == 1 {
			dir = kernelDirOf(row.Pathname)
		}
	}
	for i := range c.Rows {
		s.Modules = append(s.Modules, kldstatRow(&c.Rows[i], kind, dir))
	}
	for _, m := range c.Modules {
		s.Modules = append(s.Modules, Module{
			ID: string(kind) + ":" + m.Name, Kind: kind, Name: m.Name, State: StateLoaded, Refs: m.Refs,
			FreeBSD: &freebsd.File{Modules: []freebsd.Module{m}},
		})
	}
	if len(c.Modules) > 0 {
		r.problem(freebsd.SourceKldstat, "", "freebsd.id", fmt.Errorf("kldstat -m lists modules without the files that hold them: %w", errors.ErrUnsupported))
	}
	r.source(freebsd.SourceKldstat, outcome, CountOf(int64(len(s.Modules))), nil)
	s.Sources, s.Problems = r.Sources, r.Problems
	return captured{snapshot: s, rows: len(s.Modules), stray: c.BadCount, sure: freebsd.LooksLikeCapture(text)}
}

// kernelDirOf returns a path's directory with its slash; "" for a path that is not absolute.
func kernelDirOf(path string) string {
	if len(path) == 0 || path[0] != '/' {
		return ""
	}
	return path[:len(path)-len(freebsd.FileName(path))]
}

func kldstatRow(row *freebsd.CaptureRow, kind Kind, kernelDir string) Module {
	m := Module{
		ID: string(kind) + ":" + row.Name, Kind: kind, Name: row.Name, State: StateLoaded,
		Size: row.Size, Refs: CountOf(row.Refs), Address: row.Address, Origin: freebsdOrigin(row.Pathname, kernelDir, freebsd.SourceKldstat),
		FreeBSD: &freebsd.File{ID: CountOf(row.ID), Pathname: row.Pathname, SizeText: row.SizeText, Modules: row.Modules},
	}
	if kernelDirOf(row.Pathname) != "" {
		m.Path = row.Pathname
	}
	note := func(field string, err error) {
		p := problemOf(freebsd.SourceKldstat, row.Name, field, err)
		p.Line = row.Line
		m.Problems = append(m.Problems, p)
	}
	if row.SizeText != "" {
		note("size", fmt.Errorf("the text has it rounded, %s: %w", row.SizeText, errors.ErrUnsupported))
	}
	if size, ok := row.Size.Get(); ok && size == 0 && row.Address == 0 {
		m.Size = Count{}
		note("size", fmt.Errorf("size and address %w", ErrRestricted))
	}
	if row.Elided {
		note("freebsd.modules", fmt.Errorf("the text leaves out some of its modules: %w", ErrUnrecorded))
	}
	return m
}

// toErrors is a slice of errors of one type as errors.
func toErrors[E error](in []E) []error {
	out := make([]error, len(in))
	for i, e := range in {
		out[i] = e
	}
	return out
}

// badLines reports the lines of a capture that make no sense, and returns the source's outcome.
func badLines(r *report, source string, bad []error, count int) Outcome {
	if count == 0 {
		return OutcomeOK
	}
	p := problemOf(source, "", "", bad[0])
	if count > 1 {
		p.Text = fmt.Sprintf("%d lines are no rows; the first: %s", count, p.Text)
		p.Count = count
	}
	r.add(p)
	return OutcomePartial
}
