// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/kernelext/kernelext/solaris"
)

// wayLoad is the one way that the simple systems list: root loads it by name (modload, loadext).
const wayLoad = "modload"

// A simpleCheck is what a verdict on the simple Unix systems is made of.
type simpleCheck struct {
	query   string
	modules []Module // those in the kernel, and those known to it
	err     error    // why they could not be read
	disk    []Module // those on disk
	diskErr error    // why those could not be read
	blocked Tri      // whether root may load by name
	why     Reason   // what blocks
}

// verdicts answers for each module that the query names.
func (c *simpleCheck) verdicts() []Verdict {
	var out []Verdict
	seen := map[string]bool{}
	for _, m := range append(named(c.modules, c.query), named(c.disk, c.query)...) {
		if !seen[m.ID] {
			seen[m.ID] = true
			out = append(out, c.verdict(m))
		}
	}
	if out == nil {
		v := Verdict{Query: c.query, Now: &Prospect{Outcome: VerdictAbsent}, NextBoot: &Prospect{Outcome: VerdictAbsent}}
		if c.err != nil || c.diskErr != nil {
			v.Now.Outcome, v.NextBoot.Outcome = VerdictUnknown, VerdictUnknown
		}
		out = append(out, v)
	}
	for i := range out {
		for _, err := range []error{c.err, c.diskErr} {
			if err != nil {
				out[i].Problems = append(out[i].Problems, problemOf("", "", "", err))
			}
		}
	}
	return out
}

func (c *simpleCheck) verdict(m Module) Verdict {
	v := Verdict{Query: c.query, Module: m.ID, NextBoot: &Prospect{Outcome: VerdictUnknown}}
	if c.why.Code != "" {
		v.Reasons = append(v.Reasons, c.why)
	}
	switch m.State {
	case StateLoaded:
		v.Now, v.Word = &Prospect{Outcome: VerdictLoaded}, "loaded"
	case StateBuiltin:
		v.Now, v.Word = &Prospect{Outcome: VerdictBuiltin}, "builtin"
		v.NextBoot.Outcome = VerdictBuiltin
	default:
		v.Now = &Prospect{Outcome: VerdictUnknown, Ways: []Way{{Way: wayLoad, Blocked: c.blocked}}}
		switch c.blocked {
		case Yes:
			v.Now.Outcome = VerdictBlocked
		case No:
			v.Now.Outcome = VerdictLoadable
		}
	}
	if m.Path != "" && m.State != StateBuiltin {
		v.Reasons = append(v.Reasons, Reason{Code: "installed", Text: "its file is on disk", File: m.Path})
		v.NextBoot.Outcome = VerdictLoadable
	}
	return v
}

// named returns the module with that id, else those with that name or path.
func named(modules []Module, query string) []Module {
	var out []Module
	for _, m := range modules {
		if m.ID == query {
			return []Module{m}
		}
		if m.Name == query || m.Path != "" && m.Path == query {
			out = append(out, m)
		}
	}
	return out
}

// everything returns the modules in the kernel, built-in ones too.
func everything(ctx context.Context, b oldBackend) ([]Module, error) {
	modules, err := b.loaded(ctx, &Snapshot{Live: Yes}, new(report))
	if err != nil {
		return nil, err
	}
	for m, err := range b.builtin(ctx, new(report)) {
		if err != nil {
			break // the system has no such thing
		}
		modules = append(modules, m)
	}
	return modules, nil
}

// resolveName returns the modules of a list that a name stands for.
func resolveName(ctx context.Context, b oldBackend, name string) ([]Module, error) {
	modules, err := everything(ctx, b)
	if err != nil {
		return nil, err
	}
	out := named(modules, name)
	if out == nil {
		out = []Module{}
	}
	return out, nil
}

func (b *solarisBackend) resolve(ctx context.Context, name string) ([]Module, error) {
	return resolveName(ctx, b, name)
}

// directives reads /etc/system.
func (b *solarisBackend) directives() ([]solaris.Directive, error) {
	text, err := b.guard.AppendFile(nil, solaris.SystemFile, 4<<20)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	d, _ := solaris.ParseSystem(string(text))
	return d, nil
}

func (b *solarisBackend) policy(ctx context.Context, r *report) (*Policy, error) {
	p := &Policy{Facts: []PolicyFact{}}
	if b.os == Illumos {
		p.Loading = LoadingAny // it has no signatures of modules and no securelevel
	}
	list, err := b.directives()
	if err != nil {
		p.Facts = append(p.Facts, PolicyFact{Name: "exclude", Source: solaris.SourceSystem, Code: problemOf("", "", "", err).Code})
	}
	for _, d := range list {
		f := PolicyFact{Name: d.Word, Value: d.Module, Source: solaris.SourceSystem, File: "/" + solaris.SystemFile, Line: d.Line}
		switch d.Word {
		case "exclude":
			f.Effect = "this module is not loaded at boot"
		case "forceload":
			f.Effect = "this module is loaded at boot"
		}
		p.Facts = append(p.Facts, f)
	}
	r.policy(p)
	return p, ctx.Err()
}

func (b *solarisBackend) check(ctx context.Context, query string) ([]Verdict, error) {
	c := &simpleCheck{query: query, diskErr: fmt.Errorf("module files of %s: %w", b.os, errors.ErrUnsupported)}
	c.modules, c.err = everything(ctx, b)
	list, err := b.directives()
	if err != nil && c.err == nil {
		c.err = err
	}
	out := c.verdicts()
	for _, d := range list {
		if d.Name() != strings.TrimPrefix(query, string(b.kind)+":") {
			continue
		}
		reason := Reason{Code: d.Word, Text: d.Word + ": " + d.Module, File: "/" + solaris.SystemFile, Line: d.Line}
		for i := range out {
			if d.Word == "forceload" {
				out[i].Triggers = append(out[i].Triggers, reason)
			} else {
				out[i].Reasons = append(out[i].Reasons, reason)
			}
		}
	}
	return out, ctx.Err()
}

func (b *aixBackend) resolve(ctx context.Context, name string) ([]Module, error) {
	return resolveName(ctx, b, name)
}

func (b *aixBackend) check(ctx context.Context, query string) ([]Verdict, error) {
	c := &simpleCheck{query: query, diskErr: fmt.Errorf("kernel extension files of AIX: %w", errors.ErrUnsupported)}
	c.modules, c.err = everything(ctx, b)
	return c.verdicts(), ctx.Err()
}
