// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/kernelext/kernelext/lkm"
)

// A Target is one machine to compare with rules: a System, a Snapshot that was taken before, or why there is neither.
type Target struct {
	// Name is the machine's name in rows and exceptions.
	Name string
	// System is the machine: live, an image, or a recording. nil if there is only Snapshot.
	System *lkm.System
	// Compared is the machine again, opened with the Detail of Options.Baseline, for the comparison with it; nil is
	// System.
	Compared *lkm.System
	// Image is set if System is an image, which runs no kernel.
	Image bool
	// Files is the machine's root, for what a benchmark's own check reads; nil is unknown. It may be the Machine of
	// System.
	Files fs.FS
	// Snapshot is a snapshot instead of a System. Rules that need the machine's files are unknown.
	Snapshot *lkm.Snapshot
	// Err is why the machine could not be read: instead of a System and a Snapshot. Its only row is unknown.
	Err error
	// Mark is called with each snapshot before drivers are looked up in a block list, to enter what a list of the
	// caller's says of them. nil leaves what the machine's own lists say. It returns why drivers may be missing.
	Mark func(*lkm.Snapshot) error
	// Undecided reports whether the list of Mark asks for something that is not known of a driver whose file was read:
	// a digest, or who signed it. nil: a driver is decided if all its digests and its signers are known.
	Undecided func(*lkm.Module) bool
}

// Options say how to audit.
type Options struct {
	// Today is the day that exceptions are compared with; the zero time lets each exception expire.
	Today time.Time
	// Baseline is what the machines are compared with beside the rules; nil for nothing.
	Baseline *lkm.Snapshot
}

// Run compares machines with sets of rules. The error is that of ctx; what could not be read of a machine is an
// unknown row.
func Run(ctx context.Context, targets []Target, sets []*Rules, o Options) (*Report, error) {
	report := &Report{Producer: lkm.Producer, Rules: []RuleSet{}, Targets: []TargetInfo{}, Rows: []Row{}}
	for _, s := range sets {
		report.Rules = append(report.Rules, RuleSet{Name: s.Name, Title: s.Title, Version: s.Version,
			Rules: len(s.Rules)})
	}
	used := make(map[Exception]bool)
	exceptions := make(map[lkm.OS][]*exceptionIndex)
	for i := range targets {
		m := &machine{Target: &targets[i], snaps: make(map[lkm.Scope]taken)}
		m.answer(ctx, sets, o.Baseline)
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("audit: %w", err)
		}
		os := m.system()
		if exceptions[os] == nil {
			for _, s := range sets {
				exceptions[os] = append(exceptions[os], newExceptionIndex(os, s.Exceptions))
			}
		}
		for _, x := range exceptions[os] {
			x.excuse(m.rows, o.Today, used)
		}
		report.Targets = append(report.Targets, m.info())
		report.Rows = append(report.Rows, m.rows...)
	}
	for _, s := range sets {
		report.Rows = append(report.Rows, stale(s.Exceptions, report.Targets, o.Today, used)...)
	}
	report.count()
	return report, nil
}

// TargetRule is the id of the row of a machine that has no other: it could not be read, or no rule is for its system.
const TargetRule = "target"

// answer makes the rows of a machine. There is at least one.
func (m *machine) answer(ctx context.Context, sets []*Rules, baseline *lkm.Snapshot) {
	r := &Rule{ID: TargetRule, Kind: TargetKind, Title: "the machine is compared with rules"}
	if m.Err != nil {
		m.unknown(r, "", m.Err)
		return
	}
	for _, s := range sets {
		for j := range s.Rules {
			m.rule(ctx, &s.Rules[j])
		}
	}
	m.baseline(ctx, baseline)
	if len(m.rows) == 0 {
		name := string(m.system())
		if name == "" {
			name = "a system that is not recognized"
		}
		m.unknown(r, "", fmt.Errorf("no rule is for %s", name))
	}
}

// A machine is a target with what was read of it.
type machine struct {
	*Target
	snaps map[lkm.Scope]taken
	conf  *config
	held  map[string]lkm.State // by folded name without its suffix; nil until it is asked for
	rows  []Row
	// release is the kernel release of what was read.
	release string
}

// taken is a snapshot, or why it could not be taken.
type taken struct {
	snap *lkm.Snapshot
	err  error
}

// system returns the machine's operating system.
func (m *machine) system() lkm.OS {
	switch {
	case m.System != nil:
		return m.System.OS()
	case m.Snapshot != nil:
		return m.Snapshot.OS
	}
	return "" // it could not be read
}

func (m *machine) info() TargetInfo {
	if m.Err != nil {
		return TargetInfo{Name: m.Name, From: "unread", Rows: len(m.rows)}
	}
	t := TargetInfo{Name: m.Name, OS: m.system(), Release: m.release, From: "live", Rows: len(m.rows)}
	switch {
	case m.System == nil:
		t.From, t.Release = "snapshot", m.Snapshot.Release
	case m.Image:
		t.From = "image"
	}
	return t
}

// errNoFiles is why a snapshot cannot answer.
var errNoFiles = errors.New("a snapshot has no files to check: audit the machine, its image or a tape of it")

// snapshot returns the modules of a scope.
func (m *machine) snapshot(ctx context.Context, scope lkm.Scope) (*lkm.Snapshot, error) {
	if t, ok := m.snaps[scope]; ok {
		return t.snap, t.err
	}
	var t taken
	switch {
	case m.System != nil && scope == lkm.ScopeLoaded:
		t.snap, t.err = loaded(ctx, m.System)
	case m.System != nil:
		t.snap, t.err = m.System.SnapshotOf(ctx, scope)
	case scope == lkm.ScopeLoaded:
		t.snap = inKernel(m.Snapshot)
	case m.Snapshot.Live == lkm.No:
		t.snap = m.Snapshot
	default:
		t.err = errNoFiles
	}
	if t.err == nil {
		state := lkm.StateLoaded
		if scope == lkm.ScopeInstalled {
			state = lkm.StateInstalled
		}
		m.release = t.snap.Release
		t.err = t.snap.ListErr(state)
	}
	m.snaps[scope] = t
	return t.snap, t.err
}

// loaded returns the modules in the kernel of a machine.
func loaded(ctx context.Context, sys *lkm.System) (*lkm.Snapshot, error) {
	snap, err := sys.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	return inKernel(snap), nil
}

// inKernel returns the snapshot without the modules that are only compiled in or on disk, which lkm list --all and the
// list of illumos have too.
func inKernel(s *lkm.Snapshot) *lkm.Snapshot {
	out := func(mod lkm.Module) bool {
		return mod.State == lkm.StateBuiltin || mod.State == lkm.StateInstalled || mod.State == lkm.StateStaged
	}
	if !slices.ContainsFunc(s.Modules, out) {
		return s
	}
	loaded := *s
	loaded.Modules = slices.DeleteFunc(slices.Clone(s.Modules), out)
	return &loaded
}

// scope returns which modules a rule is about.
func (m *machine) scope(r *Rule) lkm.Scope {
	switch {
	case r.Scope != "":
		return r.Scope
	case m.Image, m.Snapshot != nil && m.Snapshot.Live == lkm.No:
		return lkm.ScopeInstalled
	}
	return lkm.ScopeLoaded
}

// rule answers one rule.
func (m *machine) rule(ctx context.Context, r *Rule) {
	if len(r.OS) > 0 && !slices.Contains(r.OS, m.system()) {
		return
	}
	switch r.Kind {
	case MustNotLoad, MustBeLoaded:
		for _, name := range r.Modules {
			m.named(ctx, r, name)
		}
	case Discrepancies:
		m.discrepancies(ctx, r)
	case PolicyFact:
		m.policy(ctx, r)
	case Tainted, DiskMemory:
		m.each(ctx, r, lkm.ScopeLoaded)
	default:
		m.each(ctx, r, m.scope(r))
	}
}

// add adds a row of a rule, with what the rule says of itself.
func (m *machine) add(r *Rule, row Row) {
	row.Target, row.Rule, row.Kind, row.Title = m.Name, r.ID, r.Kind, r.Title
	row.Severity, row.References = r.severity(), r.References
	m.rows = append(m.rows, row)
}

// unknown adds a row about what was not read.
func (m *machine) unknown(r *Rule, subject string, err error) {
	m.add(r, Row{Subject: subject, Status: Unknown, Because: oneLine(err)})
}

func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
