// SPDX-License-Identifier: Apache-2.0

package aix

import (
	"context"
	"errors"
	"fmt"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/judge"
	"github.com/kernelext/kernelext/internal/machine"
)

// reasonFiles is the code of the reason that the files of kernel extensions are not read.
const reasonFiles = "extension_files"

// A Kernel answers for one AIX machine.
type Kernel struct {
	machine fact.Machine
	options fact.Options
}

// Open returns the Kernel of a machine. It reads nothing yet.
func Open(m fact.Machine, o fact.Options) *Kernel { return &Kernel{m, o} }

// Header fills h with what the running machine says of itself.
func (k *Kernel) Header(ctx context.Context, h *fact.Header, r *fact.Report) {
	if k.options.Image {
		return
	}
	m := machine.Reader{Machine: k.machine, Source: SourceMachine, Privilege: machine.User, Plain: true}
	m.Read(ctx, h, r)
	m.Done(r)
}

// Loaded returns the loaded kernel extensions.
func (k *Kernel) Loaded(ctx context.Context, _ *fact.Header, r *fact.Report) ([]Record, error) {
	text, err := k.machine.Call(ctx, OpGenkex)
	if errors.Is(err, errors.ErrUnsupported) && !k.options.Exec {
		return nil, fmt.Errorf("AIX has no call that lists kernel extensions; allow %s to be run (Options.Exec), "+
			"or import its output: %w", program, err)
	}
	if err != nil {
		return nil, err
	}
	addresses := k.options.Asks(fact.DetailAddresses)
	if addresses && fact.IsRedacted(k.machine, OpGenkex) {
		r.Problem(SourceGenkex, "", "address", fmt.Errorf("addresses %w", fact.ErrRedacted))
	}
	c := ReadGenkex(string(text), r)
	if !c.Sure {
		return nil, &fact.ParseError{Source: SourceGenkex, Reason: "no header of genkex"}
	}
	if !addresses {
		hideAddresses(c.Records)
	}
	return c.Records, nil
}

// Resolve returns the loaded extensions that the name or the path stands for.
func (k *Kernel) Resolve(ctx context.Context, name string, r *fact.Report) ([]Record, error) {
	modules, err := k.Loaded(ctx, new(fact.Header), r)
	if err != nil {
		return nil, err
	}
	return append([]Record{}, judge.Named(modules, name)...), nil
}

// Check answers for each loaded extension that the query names.
func (k *Kernel) Check(ctx context.Context, query string, r *fact.Report) ([]fact.Verdict, error) {
	files := fmt.Errorf("kernel extension files of AIX: %w", errors.ErrUnsupported)
	c := judge.Case[fact.Other]{Query: query, Load: fact.Unsure(reasonFiles, files.Error())}
	modules, err := k.Loaded(ctx, new(fact.Header), r)
	c.Add(SourceGenkex, modules, err, r)
	c.Lose("", files)
	return c.Verdicts(), ctx.Err()
}

// Skipped returns the sources that a list does not read: none.
func (k *Kernel) Skipped(fact.Scope) []fact.Source { return nil }

// Sources returns what a list reads.
func (k *Kernel) Sources(fact.Detail) []fact.SourcePlan {
	return []fact.SourcePlan{
		{Source: SourceMachine, Reads: []string{OpUname + "()", OpClock + "()", OpIdentity + "()"},
			For: "release, architecture, time, privilege", Asked: true},
		{Source: SourceGenkex, Reads: []string{program + " -d"}, Needs: "leave to run a program (Options.Exec)",
			For: "the kernel extensions: path, addresses, sizes", Asked: k.options.Exec},
	}
}
