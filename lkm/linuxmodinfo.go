// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/linux"
)

// CaptureLinuxModinfo is the text of Linux's modinfo, of one module or many.
const CaptureLinuxModinfo CaptureKind = "linux_modinfo"

// SourceLinuxModinfo is the source of a Snapshot made from a capture of modinfo. Its modules are
// those on disk and those compiled in; which are loaded is not known.
const SourceLinuxModinfo = "modinfo"

func readLinuxModinfo(text string) captured {
	c := linux.ParseModinfoText(text)
	s := &Snapshot{OS: Linux, Modules: make([]Module, 0, len(c.Records))}
	var r report
	outcome := OutcomeOK
	for i := range c.Records {
		m := modinfoModule(&c.Records[i])
		if m.Linux.Release != "" && (i == 0 || s.Release == m.Linux.Release) {
			s.Release = m.Linux.Release
		} else {
			s.Release = ""
		}
		if len(m.Problems) > 0 {
			outcome = OutcomePartial
		}
		s.Modules = append(s.Modules, m)
	}
	for _, e := range c.Errors {
		outcome = OutcomePartial
		err := errors.New(e.Text)
		if strings.Contains(e.Text, "not found") {
			err = fmt.Errorf("%s: %w", e.Text, fs.ErrNotExist)
		}
		r.problem(SourceLinuxModinfo, e.Module, "", err)
	}
	if c.Truncated {
		outcome = OutcomePartial
		r.problem(SourceLinuxModinfo, "", "modules", &ParseError{Source: SourceLinuxModinfo, Reason: "the text ends within a line: its last field may be cut, and more may be missing"})
	}
	r.source(SourceLinuxModinfo, outcome, CountOf(int64(len(c.Records))), nil)
	s.Sources, s.Problems = r.Sources, r.Problems
	return captured{snapshot: s, rows: len(c.Records), stray: c.Stray, sure: c.Prompt && len(c.Records)+len(c.Errors) > 0}
}

func modinfoModule(rec *linux.ModinfoRecord) Module {
	m := newLinuxModule(rec.Name, StateInstalled)
	m.Linux = new(linux.Module)
	rec.Describe(m.Linux)
	m.Path, m.Version, m.Description = rec.Filename, m.Linux.Version, rec.Fields.Get("description")
	if rec.Builtin {
		m.State = StateBuiltin
	} else if rec.Err == "" {
		var nobody *linux.Owners
		m.Origin = nobody.Origin(m.Linux, m.Name, m.Linux.File, rec.Filename)
	}
	if sig := rec.Signature; sig != nil {
		m.Signature = Signature{Status: SignatureUnchecked, Source: fact.SignatureEmbedded, Signer: sig.Signer, Hash: sig.Hash}
	}
	if rec.Err != "" {
		m.Problems = append(m.Problems, problemOf(SourceLinuxModinfo, m.Name, "", fmt.Errorf("%s: %w", rec.Err, ErrMalformed)))
		m.Linux.Depends, m.Linux.Modinfo = nil, nil
	}
	return m
}
