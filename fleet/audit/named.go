// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"context"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/lkm"
)

// named answers a rule about one module that it names.
func (m *machine) named(ctx context.Context, r *Rule, name string) {
	if err := m.notName(name, r.Kind); err != nil {
		m.unknown(r, name, err)
		return
	}
	if m.System == nil {
		m.add(r, m.namedInList(ctx, r, name))
		return
	}
	row := Row{Subject: name, Status: Unknown, Because: "no verdict"}
	verdicts, err := m.System.Check(ctx, name)
	if err != nil {
		row.Because = oneLine(err)
	} else if v := worst(verdicts, r.Kind == MustBeLoaded); v != nil {
		if v.Release != "" {
			m.release = v.Release
		}
		row = judged(r, name, v)
	}
	if r.Check != "" {
		row.Text, row.TextBecause = m.text(ctx, r.Check, name)
	}
	m.add(r, row)
}

// worst returns the verdict that decides: that which is worst, or for a module that has to be loaded the one that is
// furthest from it.
func worst(verdicts []lkm.Verdict, loaded bool) *lkm.Verdict {
	var found *lkm.Verdict
	for i := range verdicts {
		v := &verdicts[i]
		if found == nil || v.Worst().Worse(found.Worst()) != loaded {
			found = v
		}
	}
	return found
}

// judged is the row of a verdict.
func judged(r *Rule, name string, v *lkm.Verdict) Row {
	outcome := v.Worst()
	if r.Kind == MustBeLoaded {
		return loadedRow(name, v)
	}
	row := Row{Subject: name, Effective: string(outcome)}
	because(&row, v)
	switch outcome {
	case fact.VerdictLoaded, fact.VerdictBuiltin, fact.VerdictLoadable:
		row.Status = Fail
		for _, remedy := range v.Remedies {
			row.Remedies = append(row.Remedies, remedy.Text)
		}
	case fact.VerdictBlocked, fact.VerdictAbsent:
		row.Status = Pass
	default:
		row.Status = Unknown
	}
	return row
}

// because enters the reason that decided a verdict.
func because(row *Row, v *lkm.Verdict) {
	reason := fact.Reason{Text: "no source knows the name"}
	if len(v.Reasons) > 0 {
		reason = v.Reasons[0]
	}
	if v.Worst() == fact.VerdictUnknown {
		reason = unread(v, reason)
	}
	row.Because, row.File, row.Line = reason.Text, reason.File, reason.Line
}

// unread returns what made a verdict unknown.
func unread(v *lkm.Verdict, reason fact.Reason) fact.Reason {
	for _, p := range []*lkm.Prospect{v.Now, v.NextBoot} {
		if p == nil || p.Outcome != fact.VerdictUnknown {
			continue
		}
		for _, w := range p.Ways {
			if w.Blocked == "" && w.Because.Text != "" {
				return w.Because
			}
		}
		if p.Because.Text != "" {
			return p.Because
		}
	}
	return reason
}

// loadedRow is the row of a module that has to be loaded.
func loadedRow(name string, v *lkm.Verdict) Row {
	row := Row{Subject: name, Status: Unknown, Because: "an image runs no kernel: nothing is loaded"}
	if v.Now == nil {
		return row
	}
	row.Effective = string(v.Now.Outcome)
	switch v.Now.Outcome {
	case fact.VerdictLoaded, fact.VerdictBuiltin:
		row.Status, row.Because = Pass, "in the running kernel"
	case fact.VerdictLoadable, fact.VerdictBlocked, fact.VerdictAbsent:
		row.Status, row.Because = Fail, "not in the running kernel"
	default:
		row.Because = "the running kernel's modules are not known"
		because(&row, v)
	}
	return row
}

// states returns the states of the modules of a snapshot whose code is in the kernel, by folded name, without its
// suffix.
func (m *machine) states() map[string]lkm.State {
	if m.held != nil {
		return m.held
	}
	m.held = make(map[string]lkm.State)
	for i := range m.Snapshot.Modules {
		switch mod := &m.Snapshot.Modules[i]; mod.State {
		case lkm.StateLoaded, lkm.StateLoading, lkm.StateUnloading:
			m.held[m.bare(m.fold(mod.Name))] = lkm.StateLoaded
		case lkm.StateBuiltin:
			if at := m.bare(m.fold(mod.Name)); m.held[at] == "" {
				m.held[at] = lkm.StateBuiltin
			}
		}
	}
	return m.held
}

// namedInList is the answer of a snapshot, which only knows what was loaded.
func (m *machine) namedInList(ctx context.Context, r *Rule, name string) Row {
	_, err := m.snapshot(ctx, lkm.ScopeLoaded)
	row := Row{Subject: name, Status: Pass}
	if r.Kind == MustNotLoad {
		row.Status = Fail
	}
	switch state := m.states()[m.bare(m.fold(name))]; {
	case state == lkm.StateLoaded:
		row.Effective, row.Because = string(fact.VerdictLoaded), "in the list of loaded modules"
	case state == lkm.StateBuiltin:
		row.Effective, row.Because = string(fact.VerdictBuiltin), "in the list of what is compiled in"
	default:
		row.Status, row.Because = Unknown, oneLine(errNoFiles)
	}
	switch {
	case row.Status != Unknown:
	case err != nil:
		row.Because = oneLine(err)
	case r.Kind == MustBeLoaded:
		row.Because = "not in the list of loaded modules; whether it is compiled in is not known"
	}
	if r.Check != "" {
		row.Text, row.TextBecause = Unknown, oneLine(errNoFiles)
	}
	return row
}
