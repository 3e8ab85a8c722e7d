// SPDX-License-Identifier: Apache-2.0

// Package judge makes the verdicts of systems that have one way in: root loads a module by its name.
package judge

import (
	"github.com/kernelext/kernelext/fact"
)

// Way is the one way (modload, modprobe, loadext).
const Way = "modload"

// A Case is what a verdict is made of. Own is the kernel's own object.
type Case[Own any] struct {
	// Query is what was asked, as the caller wrote it.
	Query string
	// Kernel are the modules in the kernel and those known to it, KernelErr is why they could not be read.
	Kernel    []fact.Record[Own]
	KernelErr error
	// Disk are those on disk, DiskErr is why those could not be read.
	Disk    []fact.Record[Own]
	DiskErr error
	// Load says whether root may load a module that is not in the kernel.
	Load fact.Answer
}

// Verdicts answers for each module that the query names, and once if it names none.
func (c *Case[Own]) Verdicts() []fact.Verdict {
	var out []fact.Verdict
	seen := map[string]bool{}
	for _, m := range append(Named(c.Kernel, c.Query), Named(c.Disk, c.Query)...) {
		if !seen[m.ID] {
			seen[m.ID] = true
			out = append(out, c.verdict(&m))
		}
	}
	if out == nil {
		out = append(out, c.nothing())
	}
	for i := range out {
		for _, err := range []error{c.KernelErr, c.DiskErr} {
			if err != nil {
				out[i].Problems = append(out[i].Problems, fact.ProblemOf("", "", "", err))
			}
		}
	}
	return out
}

// nothing is the verdict on a name that no list has: absent if both lists were read, else unknown.
func (c *Case[Own]) nothing() fact.Verdict {
	outcome := fact.VerdictAbsent
	if c.KernelErr != nil || c.DiskErr != nil {
		outcome = fact.VerdictUnknown
	}
	return fact.Verdict{Query: c.Query, Now: &fact.Prospect{Outcome: outcome}, NextBoot: &fact.Prospect{Outcome: outcome}}
}

func (c *Case[Own]) verdict(m *fact.Record[Own]) fact.Verdict {
	v := fact.Verdict{Query: c.Query, Module: m.ID, NextBoot: &fact.Prospect{Outcome: fact.VerdictUnknown}}
	if c.Load.Blocked() == fact.Yes {
		v.Reasons = append(v.Reasons, c.Load.Because())
	}
	switch m.State {
	case fact.StateLoaded:
		v.Now, v.Word = &fact.Prospect{Outcome: fact.VerdictLoaded}, "loaded"
	case fact.StateBuiltin:
		v.Now, v.Word = &fact.Prospect{Outcome: fact.VerdictBuiltin}, "builtin"
		v.NextBoot.Outcome = fact.VerdictBuiltin
	default:
		v.Now = &fact.Prospect{Outcome: outcomeOf(c.Load), Ways: []fact.Way{c.Load.Way(Way)}}
	}
	if m.Path != "" && m.State != fact.StateBuiltin {
		v.Reasons = append(v.Reasons, fact.Reason{Code: "installed", Text: "its file is on disk", File: m.Path})
		v.NextBoot.Outcome = fact.VerdictLoadable
	}
	return v
}

func outcomeOf(load fact.Answer) fact.VerdictOutcome {
	switch load.Blocked() {
	case fact.Yes:
		return fact.VerdictBlocked
	case fact.No:
		return fact.VerdictLoadable
	}
	return fact.VerdictUnknown
}

// Named returns the module with that id, else those with that name or path.
func Named[Own any](modules []fact.Record[Own], query string) []fact.Record[Own] {
	var out []fact.Record[Own]
	for _, m := range modules {
		if m.ID == query {
			return []fact.Record[Own]{m}
		}
		if m.Name == query || m.Path != "" && m.Path == query {
			out = append(out, m)
		}
	}
	return out
}
