// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"fmt"

	"github.com/kernelext/kernelext/linux"
)

// SourceLsmod is the source of a Snapshot made from a capture of lsmod.
const SourceLsmod = "lsmod"

func readLsmod(text string) captured {
	c := linux.ParseLsmod(text)
	out := linuxCapture(c, SourceLsmod)
	for i := range out.snapshot.Modules {
		m := &out.snapshot.Modules[i]
		m.Linux.Taints = nil // lsmod does not say
		if refs, ok := m.Refs.Get(); m.State == "" && ok && refs >= 0 {
			m.State = StateLoaded
		}
	}
	return out
}

func readProcModulesText(text string) captured {
	return linuxCapture(linux.ParseModulesText(text), linux.SourceModules)
}

// linuxCapture makes a Snapshot of a capture's rows.
func linuxCapture(c *linux.Capture, source string) captured {
	list := &linux.ModuleList{Entries: c.Entries}
	s := &Snapshot{OS: Linux, Modules: linuxModules(list, nil)}
	var r report
	outcome := OutcomeOK
	if c.Stray > 0 {
		outcome = OutcomePartial
		p := problemOf(source, "", "", c.Bad[0])
		if c.Stray > 1 {
			p.Text = fmt.Sprintf("%d lines are no rows; the first: %s", c.Stray, p.Text)
			p.Count = c.Stray
		}
		r.add(p)
	}
	if c.Truncated {
		outcome = OutcomePartial
		r.problem(source, "", "modules", &ParseError{Source: source, Reason: "the text ends within a line: its last row may be cut, and more may be missing"})
	}
	if c.HasKernelTaint {
		s.Kernel.TaintFlags = linux.TaintFlagsOf(c.KernelTaint)
	}
	r.source(source, outcome, CountOf(int64(len(c.Entries))), nil)
	s.Sources, s.Problems = r.Sources, r.Problems
	return captured{snapshot: s, rows: len(c.Entries), stray: c.Stray, sure: c.Header || (c.Filtered && len(c.Entries) > 0)}
}
