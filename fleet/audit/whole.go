// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/lkm"
)

// kindUnchecked is the kind of the entry that says which views could not be compared: linux.KindUnchecked, the same in
// every kernel.
const kindUnchecked = "unchecked"

// discrepancies answers whether sources contradict each other.
func (m *machine) discrepancies(ctx context.Context, r *Rule) {
	if m.System == nil {
		m.unknown(r, "", errNoFiles)
		return
	}
	found, err := m.System.Discrepancies(ctx)
	if err != nil {
		m.unknown(r, "", err)
		return
	}
	grades := r.Grades
	if len(grades) == 0 {
		grades = []fact.Grade{fact.GradeWeak, fact.GradeStrong}
	}
	clean := true
	for _, d := range found {
		switch {
		case d.Kind == kindUnchecked:
			if text := unchecked(d); text != "" {
				clean = false
				m.add(r, Row{Status: Unknown, Because: "not compared: " + text})
			}
		case slices.Contains(grades, d.Grade):
			clean = false
			m.add(r, Row{Subject: d.Name, Status: Fail, Effective: string(d.Grade), Because: discrepancyText(d)})
		}
	}
	if clean {
		m.add(r, Row{Status: Pass, Because: "no source contradicts another"})
	}
}

// unchecked names the views that were not compared. One that the system or this library does not have is no gap: it is
// unsupported. One that is absent may be there: a debugfs that is not mounted, a package database that was not found.
func unchecked(d lkm.Discrepancy) string {
	var texts []string
	for _, e := range d.Evidence {
		if fact.Code(e.Fact) != fact.CodeUnsupported {
			texts = append(texts, strings.TrimSpace(e.Source+" "+e.Fact))
		}
	}
	if len(d.Evidence) == 0 { // no reason is no excuse
		texts = slices.Sorted(maps.Keys(d.Views))
	}
	return strings.Join(texts, ", ")
}

func discrepancyText(d lkm.Discrepancy) string {
	texts := []string{d.Kind}
	for _, e := range d.Evidence {
		texts = append(texts, strings.TrimSpace(e.Fact+" "+e.Value))
	}
	return strings.Join(texts, "; ")
}

// factLoading is the name under which a rule asks for a policy's conclusion.
const factLoading = "loading"

// policy answers whether the system enforces what a rule asks.
func (m *machine) policy(ctx context.Context, r *Rule) {
	p, err := m.readPolicy(ctx)
	if err != nil {
		m.unknown(r, r.Fact, err)
		return
	}
	if r.Fact == factLoading {
		m.loading(r, p)
		return
	}
	asked := false
	for _, f := range p.Facts {
		if f.Name != r.Fact {
			continue
		}
		asked = true
		row := Row{Subject: r.Fact, Effective: f.Value, Because: f.Effect, File: f.File, Line: f.Line, Status: Fail}
		switch {
		case slices.Contains(r.Values, f.Value) && !f.Unknown && (f.Value != "" || read(f)):
			row.Status = Pass
		case f.Unknown || !read(f):
			row.Status = Unknown
			if row.Because == "" {
				row.Because = "not read: " + string(f.Code)
			}
		case f.Value == "":
			row.Because = strings.TrimPrefix(row.Because+", not set", ", ")
		}
		m.add(r, row)
	}
	if !asked {
		m.unknown(r, r.Fact, fmt.Errorf("%s has no policy fact %q", m.system(), r.Fact))
	}
}

// read reports whether a fact was looked at: it has its value, or is known not to be set.
func read(f lkm.PolicyFact) bool { return f.Code == "" || f.Code == fact.CodeAbsent }

func (m *machine) readPolicy(ctx context.Context) (*lkm.Policy, error) {
	switch {
	case m.System != nil:
		return m.System.Policy(ctx)
	case m.Snapshot.Policy == nil:
		return nil, errors.New("the snapshot was taken without --detail policy")
	}
	return m.Snapshot.Policy, nil
}

// loading answers a rule about the conclusion of a policy.
func (m *machine) loading(r *Rule, p *lkm.Policy) {
	row := Row{Subject: factLoading, Effective: string(p.Loading), Status: Fail}
	switch {
	case p.Loading == "":
		row.Status = Unknown
		if err := p.Err(); err != nil {
			row.Because = oneLine(err)
		}
	case slices.Contains(r.Values, string(p.Loading)):
		row.Status = Pass
	default:
		row.Because = "wanted: " + strings.Join(r.Values, " or ")
	}
	m.add(r, row)
}

// BaselineRule is the id of the rows that a baseline gives.
const BaselineRule = "baseline"

// subjectRelease is the subject of the row that says that the kernel is not that of the baseline.
const subjectRelease = "kernel release"

// baseline compares what is loaded with an older snapshot.
func (m *machine) baseline(ctx context.Context, old *lkm.Snapshot) {
	if old == nil {
		return
	}
	r := &Rule{ID: BaselineRule, Kind: Baseline, Title: "as in the baseline", Severity: Medium}
	now, err := m.compared(ctx)
	if now == nil {
		m.unknown(r, "", err)
		return
	}
	if old.OS != now.OS {
		m.unknown(r, "", fmt.Errorf("the baseline is of %s, not of %s", old.OS, now.OS))
		return
	}
	if old.Live == lkm.No {
		m.unknown(r, "", errors.New("the baseline is of an image, whose modules were not loaded"))
		return
	}
	other := old.Release != "" && now.Release != "" && old.Release != now.Release
	if other {
		m.add(r, Row{Subject: subjectRelease, Status: Fail, Effective: "changed",
			Because: "the baseline is of kernel " + old.Release + ", this is " + now.Release})
	}
	d := lkm.Diff(inKernel(old), now)
	if part := old.ListErr(lkm.StateLoaded); part != nil { // what is not in it may have been there
		err = errors.Join(err, fmt.Errorf("the baseline was not read whole: %w", part))
		if n := len(d.Added); n > 0 {
			err = fmt.Errorf("%w: modules that are not in it, %d, may have been there", err, n)
		}
		d.Added = nil
	}
	if text := otherDetail(old, now); text != "" && withoutRecords(d) {
		err = errors.Join(err, errors.New(text))
	}
	for i := range d.Added {
		m.add(r, Row{Subject: d.Added[i].Name, Status: Fail, Effective: "added", File: d.Added[i].Path,
			Because: "not in the baseline"})
	}
	for i := range d.Removed {
		m.add(r, Row{Subject: d.Removed[i].Name, Status: Fail, Effective: "removed", Because: "only in the baseline"})
	}
	for _, c := range d.Changed {
		m.add(r, Row{Subject: nameOf(c), Status: Fail, Effective: "changed",
			Because: "differs from the baseline in " + strings.Join(c.Fields, ", ")})
	}
	for _, c := range d.Unobserved {
		m.add(r, Row{Subject: nameOf(c), Status: Unknown, Because: "a source that the baseline has was not read"})
	}
	switch {
	case err != nil:
		m.unknown(r, "", err)
	case d.IsEmpty() && !other:
		m.add(r, Row{Status: Pass, Because: fmt.Sprintf("%d loaded modules", len(now.Modules))})
	}
}

// compared returns what is compared with a baseline.
func (m *machine) compared(ctx context.Context) (*lkm.Snapshot, error) {
	if m.Compared == nil {
		return m.snapshot(ctx, lkm.ScopeLoaded)
	}
	now, err := loaded(ctx, m.Compared)
	if err == nil {
		err = now.ListErr(lkm.StateLoaded)
	}
	return now, err
}

// otherDetail says that two snapshots were not read alike, if so: their records then differ without a change. No
// record has a policy.
func otherDetail(old, now *lkm.Snapshot) string {
	if (old.Detail^now.Detail)&^lkm.DetailPolicy == 0 {
		return ""
	}
	name := func(s *lkm.Snapshot) string { return cmp.Or(s.Detail.String(), "none") }
	return fmt.Sprintf("only names are compared: the baseline has the details %s, this has %s", name(old), name(now))
}

// withoutRecords takes out of a difference what is about modules of both snapshots. It reports whether there was some.
func withoutRecords(d *lkm.Delta) bool {
	before := len(d.Changed) + len(d.Unobserved)
	d.Changed = nil
	d.Unobserved = slices.DeleteFunc(d.Unobserved, func(c lkm.Change) bool { return c.After != nil })
	return len(d.Unobserved) < before
}

// nameOf returns the name of a changed module.
func nameOf(c lkm.Change) string {
	for _, m := range []*lkm.Module{c.After, c.Before} {
		if m != nil {
			return m.Name
		}
	}
	return c.ID
}
