// SPDX-License-Identifier: Apache-2.0

package audit_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/fleet/audit"
	"github.com/kernelext/kernelext/internal/testing/fakewindows"
	"github.com/kernelext/kernelext/linux"
	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/windows"
)

// everything is the snapshot of lkm list --all: what is compiled in and on disk is not what was loaded.
func everything(modules ...lkm.Module) *lkm.Snapshot {
	builtin, installed := module("denied"), module("denied_too")
	builtin.State, installed.State, installed.Linux = lkm.StateBuiltin, lkm.StateInstalled, &linux.Module{}
	s := snapshot(append(modules, builtin, installed)...)
	s.Live = lkm.Yes
	return s
}

// Rules about loaded modules are not about what else a snapshot has.
func TestSnapshotOfAll(t *testing.T) {
	rules := &audit.Rules{Rules: []audit.Rule{
		{ID: "deny", Kind: audit.Deny, Modules: []string{"denied*"}},
		{ID: "allow", Kind: audit.Allow, Modules: []string{"same"}},
		{ID: "taint", Kind: audit.Tainted},
		{ID: "builtin", Kind: audit.MustNotLoad, Modules: []string{"denied"}},
	}}
	all := everything(module("same"))
	r := run(t, audit.Options{Baseline: snapshot(module("same"))}, []audit.Target{{Snapshot: all}}, rules)
	want := "deny pass, allow pass, taint pass, builtin denied fail, baseline pass"
	if got := statuses(r); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if row := rowOf(t, r, "denied"); row.Effective != string(fact.VerdictBuiltin) {
		t.Errorf("%+v", row)
	}
	r = run(t, audit.Options{Baseline: all}, []audit.Target{{Snapshot: snapshot(module("same"))}})
	if got := statuses(r); got != "baseline pass" {
		t.Errorf("as the baseline: %s", got)
	}
}

// The snapshot of an image answers what it holds: what is installed.
func TestSnapshotOfImage(t *testing.T) {
	m := module("denied")
	m.State = lkm.StateInstalled
	s := snapshot(m)
	s.Live, s.Sources[0].Name = lkm.No, linux.SourceTree
	rules := &audit.Rules{Rules: []audit.Rule{{ID: "deny", Kind: audit.Deny, Modules: []string{"denied"}}}}
	if got := statuses(run(t, audit.Options{}, []audit.Target{{Snapshot: s}}, rules)); got != "deny denied fail" {
		t.Error(got)
	}
	s.Modules = nil
	if got := statuses(run(t, audit.Options{}, []audit.Target{{Snapshot: s}}, rules)); got != "deny pass" {
		t.Error(got)
	}
	s.Sources[0].Outcome = lkm.OutcomePartial
	if got := statuses(run(t, audit.Options{}, []audit.Target{{Snapshot: s}}, rules)); got != "deny unknown" {
		t.Error(got)
	}
}

// What a baseline that was not read whole lacks may have been there: nothing is found that comes of that.
func TestBaselineInPart(t *testing.T) {
	for _, outcome := range []lkm.Outcome{lkm.OutcomePartial, lkm.OutcomeDenied, lkm.OutcomeSkipped} {
		old := snapshot(module("gone"))
		old.Sources[0].Outcome = outcome
		r := run(t, audit.Options{Baseline: old}, []audit.Target{{Snapshot: snapshot(module("new"))}})
		if got := statuses(r); got != "baseline gone fail, baseline unknown" ||
			!strings.Contains(r.Rows[1].Because, "modules that are not in it, 1, may have been there") {
			t.Errorf("%s: %s: %+v", outcome, got, r.Rows)
		}
	}
}

// Sources contradict each other or not only where they were read.
func TestDiscrepanciesUnread(t *testing.T) {
	rules := &audit.Rules{Rules: []audit.Rule{{ID: "agree", Kind: audit.Discrepancies}}}
	for _, call := range []string{windows.OpServices, windows.OpServiceKeys, windows.OpPaths} {
		m := fakewindows.Windows11(false)
		m.Deny[call] = true
		sys, err := lkm.OpenMachine(lkm.Windows, m, lkm.Options{})
		if err != nil {
			t.Fatal(err)
		}
		r := run(t, audit.Options{}, []audit.Target{{System: sys}}, rules)
		unread := func(row audit.Row) bool {
			return row.Status == audit.Unknown && strings.HasPrefix(row.Because, "not compared: ")
		}
		if !slices.ContainsFunc(r.Rows, unread) {
			t.Errorf("without %s: %+v", call, r.Rows)
		}
		sys.Close()
	}
}

// A name in a rule is compared as the system compares names, with its file's suffix or without; one that no module of
// the system can have is no pass.
func TestNamesOfSystems(t *testing.T) {
	for _, c := range []struct {
		os            lkm.OS
		module        string
		pattern       string
		deny, allowed audit.Status
	}{
		{lkm.Windows, "FLTMGR.SYS", "fltmgr.sys", audit.Fail, audit.Pass},
		{lkm.Windows, "fltmgr.sys", "FltMgr", audit.Fail, audit.Pass},
		{lkm.Windows, "fltmgr.sys", "FLT*", audit.Fail, audit.Pass},
		{lkm.Windows, "fltmgr.sys", "*mgr", audit.Fail, audit.Fail},
		{lkm.Windows, "fltmgr.sys", "flt", audit.Pass, audit.Fail},
		{lkm.FreeBSD, "zfs.ko", "zfs", audit.Fail, audit.Pass},
		{lkm.FreeBSD, "zfs.ko", "zfs.ko", audit.Fail, audit.Pass},
		{lkm.FreeBSD, "zfs.ko", "*fs", audit.Fail, audit.Fail},
		{lkm.FreeBSD, "zfs.ko", "ZFS", audit.Pass, audit.Fail},
		{lkm.Linux, "usb_storage", "usb-storage", audit.Fail, audit.Pass},
		{lkm.Linux, "usb_storage", "usb-st[a-p]rage", audit.Fail, audit.Pass},
		{lkm.Linux, "usb_storage", `usb\-st[n\-o]rage`, audit.Fail, audit.Pass},
		{lkm.Linux, "udf", "udf.ko", audit.Unknown, audit.Fail},
		{lkm.Linux, "udf", "*.ko.xz", audit.Unknown, audit.Fail},
		{lkm.Linux, "udf", "udf.ko*", audit.Unknown, audit.Fail},
		{lkm.Linux, "udf", "kernel/fs/udf/udf", audit.Unknown, audit.Fail},
		{lkm.Linux, "udf", "udf.sys", audit.Pass, audit.Fail},
		{lkm.NetBSD, "udf", "udf.kmod", audit.Unknown, audit.Fail},
		{lkm.Darwin, "com.a", "com.A", audit.Pass, audit.Fail},
		{lkm.Darwin, "com.a", "A.kext", audit.Unknown, audit.Fail},
		{lkm.Darwin, "com.a.kext", "com.a.kext", audit.Fail, audit.Pass},
		{lkm.Darwin, "com.a", "com.b.kext", audit.Pass, audit.Fail},
		{lkm.Windows, "a.sys", "C:/Windows/System32/drivers/a.sys", audit.Unknown, audit.Fail},
	} {
		m := lkm.Module{ID: c.module, Name: c.module, State: lkm.StateLoaded}
		s := &lkm.Snapshot{OS: c.os, Modules: []lkm.Module{m}, Live: lkm.Yes}
		for _, name := range []string{linux.SourceModules, "system_modules", "kldstat", "kmutil", "modctl"} {
			s.Sources = append(s.Sources, lkm.Source{Name: name, Outcome: lkm.OutcomeOK})
		}
		for kind, want := range map[audit.Kind]audit.Status{audit.Deny: c.deny, audit.Allow: c.allowed} {
			rules := &audit.Rules{Rules: []audit.Rule{{ID: "a", Kind: kind, Modules: []string{c.pattern}}}}
			if r := run(t, audit.Options{}, []audit.Target{{Snapshot: s}}, rules); r.Worst() != want {
				t.Errorf("%s %s of %s: %+v, want %s", kind, c.pattern, c.module, r.Rows, want)
			}
		}
	}
	rules := notLoad("", "cramfs.ko", "cramfs.ko.zst", "fs/cramfs")
	for _, row := range run(t, audit.Options{}, []audit.Target{image(t, root(nil))}, rules).Rows {
		if row.Status != audit.Unknown || !strings.Contains(row.Because, ": no module of linux has") {
			t.Errorf("%+v", row)
		}
	}
	alias := run(t, audit.Options{}, []audit.Target{image(t, root(nil))}, notLoad("", "devname:net/none"))
	if got := alias.Worst(); got != audit.Pass {
		t.Errorf("an alias: %s, %+v", got, alias.Rows)
	}
}

// A name that allows nothing keeps no rule of what is allowed from its answer.
func TestAllowedFileNames(t *testing.T) {
	rules := &audit.Rules{Rules: []audit.Rule{{ID: "a", Kind: audit.Allow, Modules: []string{"zfs", "zfs.ko"}}}}
	targets := []audit.Target{{Snapshot: snapshot(module("zfs"))}}
	if got := statuses(run(t, audit.Options{}, targets, rules)); got != "a pass" {
		t.Error(got)
	}
}
