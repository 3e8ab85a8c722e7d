// SPDX-License-Identifier: Apache-2.0

package audit_test

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/fleet/audit"
	"github.com/kernelext/kernelext/internal/testing/kotest"
	"github.com/kernelext/kernelext/internal/testing/linuxtest"
	"github.com/kernelext/kernelext/linux"
	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/lkm/lkmtest"
)

var today = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

// A kernel is what a made-up root has of modules: those with a file, each with its directory below kernel/ and what it
// needs, and those that are compiled in.
type kernel struct {
	files   map[string][]string // name → directory, needs
	builtin map[string]string   // name → directory
}

// usual is the kernel of most tests: cramfs and usb_storage are modules, uas needs usb_storage, squashfs is compiled
// in.
func usual() kernel {
	return kernel{map[string][]string{"cramfs": {"fs/cramfs"}, "usb-storage": {"drivers/usb/storage"},
		"uas": {"drivers/usb/storage", "usb-storage"}}, map[string]string{"squashfs": "fs/squashfs"}}
}

// root is a made-up image with that kernel and more files; which replace its own.
func (k kernel) root(more map[string]string) fstest.MapFS {
	const dir = "lib/modules/6.1.0/"
	texts := map[string]string{
		"etc/os-release": "ID=debian\n", "etc/passwd": "root:x:0:0::/root:/bin/sh\n",
		dir + "modules.alias": "", dir + "modules.symbols": "", dir + "modules.softdep": "",
		dir + "modules.builtin.alias": "", "boot/config-6.1.0": "CONFIG_MODULES=y\n# CONFIG_MODULE_SIG is not set\n",
	}
	under := func(name string) string { return strings.ReplaceAll(name, "-", "_") }
	path := func(name string) string { return "kernel/" + k.files[name][0] + "/" + name + ".ko" }
	dep, builtin := make(map[string][]string), make(map[string][]string)
	for name, about := range k.files {
		line := path(name) + ":"
		for _, need := range about[1:] {
			line += " " + path(need)
		}
		dep[under(name)] = []string{line}
		texts[dir+"modules.dep"] += line + "\n"
		texts[dir+"modules.order"] += path(name) + "\n"
		texts[dir+path(name)] = string(kotest.LinuxModule("name="+under(name), "license=GPL",
			"vermagic=6.1.0 SMP preempt mod_unload modversions ", "intree=Y"))
	}
	for name, about := range k.builtin {
		builtin[under(name)] = []string{""}
		texts[dir+"modules.builtin"] += "kernel/" + about + "/" + name + ".ko\n"
		texts[dir+"modules.builtin.modinfo"] += under(name) + ".file=" + about + "/" + name + "\x00"
	}
	texts[dir+"modules.dep.bin"] = string(linuxtest.Index(dep))
	texts[dir+"modules.builtin.bin"] = string(linuxtest.Index(builtin))
	for _, name := range []string{"alias", "symbols", "builtin.alias"} {
		texts[dir+"modules."+name+".bin"] = string(linuxtest.Index(nil))
	}
	for name, text := range more {
		texts[name] = text
	}
	return linuxtest.Files(texts)
}

// root is a made-up image with the usual kernel.
func root(more map[string]string) fstest.MapFS { return usual().root(more) }

// image opens a root.
func image(t *testing.T, fsys fs.FS) audit.Target {
	t.Helper()
	sys, err := lkm.OpenImage(fsys, lkm.Options{OS: lkm.Linux})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sys.Close() })
	return audit.Target{Name: "image", System: sys, Files: fsys, Image: true}
}

func run(t *testing.T, o audit.Options, targets []audit.Target, rules ...*audit.Rules) *audit.Report {
	t.Helper()
	if o.Today.IsZero() {
		o.Today = today
	}
	r, err := audit.Run(context.Background(), targets, rules, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// notLoad are rules that modules must not load, checked as a benchmark does.
func notLoad(check audit.Check, names ...string) *audit.Rules {
	r := new(audit.Rules)
	for _, name := range names {
		r.Rules = append(r.Rules, audit.Rule{ID: name, Kind: audit.MustNotLoad, Modules: []string{name}, Check: check})
	}
	return r
}

// rowOf returns the one row about a subject.
func rowOf(t *testing.T, r *audit.Report, subject string) audit.Row {
	t.Helper()
	var found []audit.Row
	for _, row := range r.Rows {
		if row.Subject == subject {
			found = append(found, row)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d rows about %q: %+v", len(found), subject, r.Rows)
	}
	return found[0]
}

// The two answers of a benchmark's rule, in the situations that people reported as wrong.
func TestTwoAnswers(t *testing.T) {
	const conf = "etc/modprobe.d/a.conf"
	for _, c := range []struct {
		name, conf, module string
		check              audit.Check
		text, status       audit.Status
		effective          string
	}{
		{"nothing", "", "cramfs", audit.CheckCIS, audit.Fail, audit.Fail, "loadable"},
		{"both lines", "install cramfs /bin/false\nblacklist cramfs\n", "cramfs", audit.CheckCIS, audit.Pass,
			audit.Pass,
			"blocked"},
		{"both lines, oval", "install cramfs /bin/false\nblacklist cramfs\n", "cramfs", audit.CheckOVAL, audit.Pass,
			audit.Pass, "blocked"},
		{"absent", "", "freevxfs", audit.CheckCIS, audit.Pass, audit.Pass, "absent"},
		{"absent, no such CIS rule", "", "vxfs", audit.CheckCIS, audit.Fail, audit.Pass, "absent"},
		{"an absent module fails the text, oval", "", "freevxfs", audit.CheckOVAL, audit.Fail, audit.Pass, "absent"},
		{"built in", "", "squashfs", audit.CheckCIS, audit.Pass, audit.Fail, "builtin"},
		{"built in passes the text, oval", "install squashfs /bin/false\nblacklist squashfs\n", "squashfs",
			audit.CheckOVAL, audit.Pass, audit.Fail, "builtin"},
		{"blacklist alone", "blacklist cramfs\n", "cramfs", audit.CheckCIS, audit.Fail, audit.Fail, "loadable"},
		{"install alone", "install cramfs /bin/true\n", "cramfs", audit.CheckCIS, audit.Fail, audit.Pass, "blocked"},
		{"/usr/bin/false", "install cramfs /usr/bin/false\nblacklist cramfs\n", "cramfs", audit.CheckCIS, audit.Fail,
			audit.Pass, "blocked"},
		{"dash and underscore", "install usb_storage /bin/false\nblacklist usb_storage\n", "usb-storage",
			audit.CheckCIS,
			audit.Pass, audit.Pass, "blocked"},
		{"dash and underscore, oval", "install usb_storage /bin/false\nblacklist usb_storage\n", "usb-storage",
			audit.CheckOVAL, audit.Fail, audit.Pass, "blocked"},
		{"a dependency is loaded first", "install uas /bin/false\nblacklist uas\n", "uas", audit.CheckCIS, audit.Pass,
			audit.Pass, "blocked"},
		{"only a dependency is stopped", "install usb_storage /bin/false\nblacklist uas\n", "uas", audit.CheckCIS,
			audit.Pass, audit.Pass, "blocked"},
		{"a comment after the line, oval", "install cramfs /bin/false # why\nblacklist cramfs\n", "cramfs",
			audit.CheckOVAL, audit.Fail, audit.Pass, "blocked"},
		{"an earlier line counts",
			"install cramfs /sbin/modprobe --ignore-install cramfs\ninstall cramfs /bin/false\nblacklist cramfs\n",
			"cramfs",
			audit.CheckOVAL, audit.Pass, audit.Fail, "loadable"},
		{"an earlier line counts, for modprobe",
			"install cramfs /sbin/modprobe -i cramfs\ninstall cramfs /bin/false\nblacklist cramfs\n", "cramfs",
			audit.CheckCIS, audit.Fail, audit.Fail, "loadable"},
		{"an earlier line counts, not in showconfig",
			"install cramfs /sbin/modprobe -i cramfs\ninstall cramfs /bin/false\nblacklist cramfs\n", "cramfs",
			audit.CheckShowConfig, audit.Pass, audit.Fail, "loadable"},
		{"/usr/bin/false in showconfig", "install cramfs /usr/bin/false\nblacklist cramfs\n", "cramfs",
			audit.CheckShowConfig, audit.Pass, audit.Pass, "blocked"},
		{"/usr/bin/false, /bin alone", "install cramfs /usr/bin/false\nblacklist cramfs\n", "cramfs",
			audit.CheckShowConfigBin, audit.Fail, audit.Pass, "blocked"},
		{"/bin/true and more", "install cramfs /bin/true; insmod /opt/x\nblacklist cramfs\n", "cramfs",
			audit.CheckShowConfigBin, audit.Pass, audit.Unknown, "unknown"},
		{"/bin/falsey", "install cramfs /bin/falsey\nblacklist cramfs\n", "cramfs",
			audit.CheckShowConfig, audit.Fail, audit.Pass, "blocked"},
		{"dashes in showconfig", "install usb-storage /bin/false\nblacklist usb-storage\n", "usb-storage",
			audit.CheckShowConfig, audit.Pass, audit.Pass, "blocked"},
		{"a longer name", "install cramfs_x /bin/false\nblacklist cramfs_x\n", "cramfs", audit.CheckShowConfig,
			audit.Fail, audit.Fail, "loadable"},
		{"a word of another line", "options x install cramfs /bin/false\nblacklist cramfs\n", "cramfs",
			audit.CheckShowConfig, audit.Pass, audit.Fail, "loadable"},
	} {
		t.Run(c.name, func(t *testing.T) {
			target := image(t, root(map[string]string{conf: c.conf}))
			row := rowOf(t, run(t, audit.Options{}, []audit.Target{target}, notLoad(c.check, c.module)), c.module)
			if row.Text != c.text || row.Status != c.status || row.Effective != c.effective {
				t.Errorf("text %s, status %s, effective %s; want %s, %s, %s: %+v", row.Text, row.Status, row.Effective,
					c.text, c.status, c.effective, row)
			}
		})
	}
}

// Lines in modules-load.d, which modprobe never reads, satisfy the OVAL definition and stop nothing.
func TestModulesLoad(t *testing.T) {
	fsys := root(map[string]string{"etc/modules-load.d/x.conf": "install cramfs /bin/false\nblacklist cramfs\n"})
	row := rowOf(t, run(t, audit.Options{}, []audit.Target{image(t, fsys)}, notLoad(audit.CheckOVAL, "cramfs")),
		"cramfs")
	if row.Text != audit.Pass || row.Status != audit.Fail {
		t.Errorf("%+v", row)
	}
}

// What could not be read is unknown and says what it was; it never passes.
func TestUnread(t *testing.T) {
	both := map[string]string{"etc/modprobe.d/a.conf": "install cramfs /bin/false\nblacklist cramfs\n"}
	for _, part := range []string{"modprobe.d", "modules.dep", "modules.builtin"} {
		fsys := linuxtest.Refusing(root(both), part, fs.ErrPermission)
		r := run(t, audit.Options{}, []audit.Target{image(t, fsys)}, notLoad(audit.CheckOVAL, "cramfs", "freevxfs"))
		for _, row := range r.Rows {
			if row.Status == audit.Pass {
				t.Errorf("%s refused: %+v", part, row)
			}
			if row.Status == audit.Unknown && row.Because == "" {
				t.Errorf("%s refused: no reason: %+v", part, row)
			}
		}
		if part == "modprobe.d" && r.Rows[0].Text != audit.Unknown {
			t.Errorf("%s refused: text %s", part, r.Rows[0].Text)
		}
	}
	target := image(t, root(both))
	target.Files = nil
	r := run(t, audit.Options{}, []audit.Target{target}, notLoad(audit.CheckOVAL, "cramfs"))
	if r.Rows[0].Text != audit.Unknown || r.Rows[0].Status != audit.Pass {
		t.Errorf("no files: %+v", r.Rows[0])
	}
}

// A link that leads nowhere is ignored by modprobe too: nothing is unknown for it, and it is no reason for what is.
func TestIgnoredLink(t *testing.T) {
	fsys := root(map[string]string{"etc/modprobe.d/z.conf": "install cramfs /bin/false\nblacklist cramfs\n"})
	fsys["etc/modprobe.d/a.conf"] = linuxtest.Link("/etc/alternatives/gone")
	rules := notLoad(audit.CheckShowConfig, "cramfs", "usb-storage")
	rows := run(t, audit.Options{}, []audit.Target{image(t, fsys)}, rules).Rows
	for i, want := range []audit.Status{audit.Pass, audit.Fail} {
		if row := rows[i]; row.Text != want || row.Status != want {
			t.Errorf("%s: %+v", want, row)
		}
	}
	fsys["etc/modprobe.d/b.conf"] = &fstest.MapFile{Mode: fs.ModeNamedPipe}
	row := run(t, audit.Options{}, []audit.Target{image(t, fsys)}, rules).Rows[0]
	if row.Status != audit.Unknown || !strings.Contains(row.Because, "b.conf") {
		t.Errorf("a pipe: %+v", row)
	}
}

// snapshot is a made-up snapshot whose list was read whole.
func snapshot(modules ...lkm.Module) *lkm.Snapshot {
	return &lkm.Snapshot{OS: lkm.Linux, Release: "6.1.0", Modules: modules,
		Sources: []lkm.Source{{Name: linux.SourceModules, Outcome: lkm.OutcomeOK}}}
}

func module(name string) lkm.Module {
	return lkm.Module{ID: "linux_module:" + name, Kind: "linux_module", Name: name, State: lkm.StateLoaded,
		Linux: &linux.Module{Taints: []string{}}}
}

// statuses are the rows in short: rule subject status.
func statuses(r *audit.Report) string {
	var all []string
	for _, row := range r.Rows {
		all = append(all, strings.TrimSpace(row.Rule+" "+row.Subject)+" "+string(row.Status))
	}
	return strings.Join(all, ", ")
}

// Each kind of rule over modules: what fails, what is unknown, what passes.
func TestKindsOfModules(t *testing.T) {
	with := func(f func(m *lkm.Module)) lkm.Module {
		m := module("a")
		f(&m)
		return m
	}
	sign := func(s fact.Signature) lkm.Module { return with(func(m *lkm.Module) { m.Signature = s }) }
	origin := func(c lkm.OriginClass) lkm.Module { return with(func(m *lkm.Module) { m.Origin.Class = c }) }
	disk := func(d fact.Match) lkm.Module { return with(func(m *lkm.Module) { m.OnDisk.Match = d }) }
	taint := func(l []string) lkm.Module { return with(func(m *lkm.Module) { m.Linux.Taints = l }) }
	fails, passes, unknown := "r a fail", "r pass", "r unknown"
	for _, c := range []struct {
		rule audit.Rule
		m    lkm.Module
		want string
	}{
		{audit.Rule{Kind: audit.Allow, Modules: []string{"b", "a"}}, module("a"), passes},
		{audit.Rule{Kind: audit.Allow, Modules: []string{"b"}}, module("a"), fails},
		{audit.Rule{Kind: audit.Allow, Modules: []string{"usb-*"}}, module("usb_storage"), passes},
		{audit.Rule{Kind: audit.Deny, Modules: []string{"[a-c]"}}, module("a"), fails},
		{audit.Rule{Kind: audit.Deny, Modules: []string{"b"}}, module("a"), passes},
		{audit.Rule{Kind: audit.ThirdParty}, origin(lkm.OriginOS), passes},
		{audit.Rule{Kind: audit.ThirdParty}, origin(lkm.OriginThirdParty), fails},
		{audit.Rule{Kind: audit.ThirdParty}, origin(""), unknown},
		{audit.Rule{Kind: audit.ThirdParty}, origin("elsewhere"), unknown},
		{audit.Rule{Kind: audit.Unsigned}, sign(fact.Signature{}), unknown},
		{audit.Rule{Kind: audit.Unsigned}, sign(fact.Signature{Evidence: fact.EvidenceTaintE}), fails},
		{audit.Rule{Kind: audit.Unsigned}, sign(fact.Signature{Status: fact.SignatureNone}), fails},
		{audit.Rule{Kind: audit.Unsigned}, sign(fact.Signature{Status: fact.SignatureInvalid}), fails},
		{audit.Rule{Kind: audit.Unsigned}, sign(fact.Signature{Status: fact.SignatureUnchecked}), passes},
		{audit.Rule{Kind: audit.UnknownSigner}, sign(fact.Signature{Status: fact.SignatureUnchecked}), unknown},
		{audit.Rule{Kind: audit.UnknownSigner}, sign(fact.Signature{Status: fact.SignatureUntrusted}), fails},
		{audit.Rule{Kind: audit.UnknownSigner}, sign(fact.Signature{Status: fact.SignatureValid, Signer: "D"}), passes},
		{audit.Rule{Kind: audit.UnknownSigner, Signers: []string{"D*"}},
			sign(fact.Signature{Status: fact.SignatureValid, Signer: "D/b"}), passes},
		{audit.Rule{Kind: audit.UnknownSigner, Signers: []string{"E"}},
			sign(fact.Signature{Status: fact.SignatureValid, Signer: "D"}), fails},
		{audit.Rule{Kind: audit.Tainted}, taint([]string{"O"}), fails},
		{audit.Rule{Kind: audit.Tainted, Taints: []string{"P"}}, taint([]string{"O"}), passes},
		{audit.Rule{Kind: audit.Tainted}, taint(nil), unknown},
		{audit.Rule{Kind: audit.DiskMemory}, disk(fact.MatchSame), passes},
		{audit.Rule{Kind: audit.DiskMemory}, disk(fact.MatchDifferent), fails},
		{audit.Rule{Kind: audit.DiskMemory}, disk(fact.MatchAbsent), fails},
		{audit.Rule{Kind: audit.DiskMemory}, disk(""), unknown},
		{audit.Rule{Kind: audit.BlockListed}, module("a"), "r unknown, r unknown"},
		{audit.Rule{Kind: audit.BlockListed, OS: []lkm.OS{lkm.Windows}}, module("a"), "target unknown"},
		{audit.Rule{Kind: audit.MustBeLoaded, Modules: []string{"a"}}, module("a"), "r a pass"},
		{audit.Rule{Kind: audit.MustBeLoaded, Modules: []string{"b"}}, module("a"), "r b unknown"},
		{audit.Rule{Kind: audit.MustNotLoad, Modules: []string{"u-s"}}, module("u_s"), "r u-s fail"},
		{audit.Rule{Kind: audit.MustNotLoad, Modules: []string{"b"}}, module("a"), "r b unknown"},
		{audit.Rule{Kind: audit.Discrepancies}, module("a"), unknown},
		{audit.Rule{Kind: audit.PolicyFact, Fact: "loading", Values: []string{"none"}}, module("a"),
			"r loading unknown"},
		{audit.Rule{Kind: audit.Unsigned, Scope: lkm.ScopeInstalled}, module("a"), unknown},
		{audit.Rule{Kind: "of_a_later_version"}, module("a"), unknown},
	} {
		c.rule.ID = "r"
		target := []audit.Target{{Name: "h", Snapshot: snapshot(c.m)}}
		r := run(t, audit.Options{}, target, &audit.Rules{Rules: []audit.Rule{c.rule}})
		if got := statuses(r); got != c.want {
			t.Errorf("%s %v: %s, want %s", c.rule.Kind, c.rule, got, c.want)
		}
	}
}

// A list that was not read whole never passes, whatever it shows.
func TestPartialList(t *testing.T) {
	snap := snapshot(module("a"))
	snap.Sources[0].Outcome, snap.Sources[0].Code = lkm.OutcomePartial, lkm.CodePermission
	for _, kind := range []audit.Kind{audit.Deny, audit.Tainted, audit.ThirdParty} {
		rules := &audit.Rules{Rules: []audit.Rule{{ID: "r", Kind: kind, Modules: []string{"zfs"}}}}
		r := run(t, audit.Options{}, []audit.Target{{Snapshot: snap}}, rules)
		if r.Worst() != audit.Unknown || r.Counts.Pass > 0 {
			t.Errorf("%s: %s", kind, statuses(r))
		}
	}
}

// A policy's facts: right, wrong, not read, not there.
func TestPolicy(t *testing.T) {
	snap := snapshot()
	snap.Policy = &lkm.Policy{Loading: lkm.LoadingSigned, Facts: []lkm.PolicyFact{
		{Name: "modules_disabled", Value: "1"},
		{Name: "lockdown", Unknown: true, Code: lkm.CodePermission},
		{Name: "sig_enforce", Unset: true},
		{Name: "kexec", Code: lkm.CodePermission},
	}}
	rule := func(fact string, values ...string) audit.Rule {
		return audit.Rule{ID: "r", Kind: audit.PolicyFact, Fact: fact, Values: values}
	}
	for _, c := range []struct {
		rule audit.Rule
		want string
	}{
		{rule("modules_disabled", "0", "1"), "r modules_disabled pass"},
		{rule("modules_disabled", "0"), "r modules_disabled fail"},
		{rule("lockdown", "integrity", ""), "r lockdown unknown"},
		{rule("sig_enforce", "Y"), "r sig_enforce fail"},
		{rule("sig_enforce", ""), "r sig_enforce pass"},
		{rule("kexec", ""), "r kexec unknown"},
		{rule("nosuch", "1"), "r nosuch unknown"},
		{rule("loading", "signed", "none"), "r loading pass"},
		{rule("loading", "none"), "r loading fail"},
	} {
		r := run(t, audit.Options{}, []audit.Target{{Snapshot: snap}}, &audit.Rules{Rules: []audit.Rule{c.rule}})
		if got := statuses(r); got != c.want {
			t.Errorf("%v: %s, want %s", c.rule, got, c.want)
		}
	}
}

// An exception excuses the findings that it names until its last day has passed, and no unknown row.
func TestExceptions(t *testing.T) {
	third := module("nvidia")
	third.Origin.Class = lkm.OriginThirdParty
	target := []audit.Target{{Name: "db1", Snapshot: snapshot(third, module("nvme"))}}
	for _, c := range []struct {
		e    audit.Exception
		want string
	}{
		{audit.Exception{Rule: "r", Subject: "nvidia", Expires: "2026-11-29"}, "r nvidia excepted, r unknown"},
		{audit.Exception{Rule: "r", Expires: "2026-11-30"}, "r nvidia excepted, r unknown"},
		{audit.Exception{Rule: "*", Subject: "nv*", Host: "db?", Expires: "2026-11-30"},
			"r nvidia excepted, r unknown"},
		{audit.Exception{Rule: "r", Subject: "nvidia", Expires: "2026-11-28"}, "r nvidia fail, r unknown"},
		{audit.Exception{Rule: "r", Subject: "nvidia", Expires: "never"}, "r nvidia fail, r unknown"},
		{audit.Exception{Rule: "r", Subject: "nvidia", Host: "web", Expires: "2026-11-30"}, "r nvidia fail, r unknown"},
		{audit.Exception{Rule: "q", Expires: "2026-11-28"}, "r nvidia fail, r unknown, q fail"},
		{audit.Exception{Rule: "q", Host: "db*", Expires: "2026-11-28"}, "r nvidia fail, r unknown, q fail"},
		{audit.Exception{Rule: "q", Host: "web", Expires: "2026-11-28"}, "r nvidia fail, r unknown"},
	} {
		rules := &audit.Rules{Rules: []audit.Rule{{ID: "r", Kind: audit.ThirdParty}},
			Exceptions: []audit.Exception{c.e}}
		r := run(t, audit.Options{}, target, rules)
		if got := statuses(r); got != c.want {
			t.Errorf("%+v: %s, want %s", c.e, got, c.want)
		}
	}
	rules := &audit.Rules{Rules: []audit.Rule{{ID: "r", Kind: audit.ThirdParty}},
		Exceptions: []audit.Exception{{Rule: "r", Expires: "2099-01-01"}}}
	r, err := audit.Run(context.Background(), target, []*audit.Rules{rules}, audit.Options{})
	if err != nil || r.Worst() != audit.Fail {
		t.Errorf("without a day: %v, %s", err, r.Worst())
	}
}

// A baseline: what came, went, changed and was lost from sight.
func TestBaseline(t *testing.T) {
	changed, same := module("changed"), module("same")
	changed.Version = "2"
	old := snapshot(module("changed"), module("gone"), same)
	r := run(t, audit.Options{Baseline: old}, []audit.Target{{Snapshot: snapshot(changed, module("new"), same)}})
	want := "baseline new fail, baseline gone fail, baseline changed fail"
	if got := statuses(r); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if r = run(t, audit.Options{Baseline: old}, []audit.Target{{Snapshot: old}}); statuses(r) != "baseline pass" {
		t.Errorf("the same: %s", statuses(r))
	}
	lost := snapshot()
	lost.Sources[0].Outcome = lkm.OutcomeDenied
	if r = run(t, audit.Options{Baseline: old}, []audit.Target{{Snapshot: lost}}); r.Worst() != audit.Unknown {
		t.Errorf("lost: %s", statuses(r))
	}
	upgraded := snapshot(old.Modules...)
	upgraded.Release = "6.12.0"
	r = run(t, audit.Options{Baseline: old}, []audit.Target{{Snapshot: upgraded}})
	if got := statuses(r); got != "baseline kernel release fail" {
		t.Errorf("another kernel: %s", got)
	}
	image := *old
	image.Live = lkm.No
	if r = run(t, audit.Options{Baseline: &image}, []audit.Target{{Snapshot: old}}); statuses(r) != "baseline unknown" {
		t.Errorf("of an image: %s", statuses(r))
	}
	other := snapshot()
	other.OS = lkm.FreeBSD
	if r = run(t, audit.Options{Baseline: old}, []audit.Target{{Snapshot: other}}); r.Worst() != audit.Unknown {
		t.Errorf("another system: %s", statuses(r))
	}
}

// A machine that rules ask more of differs from no baseline for that. Of snapshots with other details only names are
// compared.
func TestBaselineOfOtherDetail(t *testing.T) {
	for _, name := range lkmtest.Names() {
		recorded, err := lkmtest.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		open := func(detail lkm.Detail) (*lkm.System, *lkm.Snapshot) {
			sys, err := lkm.OpenMachine(recorded.Header().OS, recorded, lkm.Options{Detail: detail})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { sys.Close() })
			snap, err := sys.Snapshot(t.Context())
			if err != nil {
				return sys, nil
			}
			return sys, snap
		}
		compared, old := open(0)
		if old == nil {
			continue
		}
		sys, more := open(lkm.DetailFiles | lkm.DetailSignatures)
		o := audit.Options{Baseline: old}
		r := run(t, o, []audit.Target{{Name: name, System: sys, Compared: compared}})
		if got := statuses(r); got != "baseline pass" {
			t.Errorf("%s: %s: %+v", name, got, r.Rows)
		}
		for _, target := range []audit.Target{{System: sys}, {Snapshot: more}} {
			r := run(t, o, []audit.Target{target})
			if got := statuses(r); got != "baseline unknown" && got != "baseline pass" {
				t.Errorf("%s: %s", name, got)
			}
		}
	}
	old, now := snapshot(module("gone"), module("kept")), snapshot(module("new"), module("kept"))
	now.Modules[1].Version, now.Detail = "2", lkm.DetailFiles
	r := run(t, audit.Options{Baseline: old}, []audit.Target{{Snapshot: now}})
	if got := statuses(r); got != "baseline new fail, baseline gone fail, baseline unknown" ||
		!strings.HasSuffix(r.Rows[2].Because, "the baseline has the details none, this has files") {
		t.Errorf("%s: %+v", got, r.Rows)
	}
}

// The first rules of a machine let it pass on the same day but for what is unknown.
func TestFirst(t *testing.T) {
	target := image(t, root(nil))
	rules, _, err := audit.First(context.Background(), target, today)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(rules)
	if err != nil {
		t.Fatal(err)
	}
	if rules, err = audit.Read("first", text); err != nil {
		t.Fatal(err)
	}
	if r := run(t, audit.Options{}, []audit.Target{target}, rules); r.Counts.Fail > 0 {
		t.Errorf("%s", statuses(r))
	}
	late := audit.Options{Today: today.AddDate(0, 0, 91)}
	if r := run(t, late, []audit.Target{target}, rules); len(rules.Exceptions) > 0 && r.Counts.Fail == 0 {
		t.Error("the exceptions never end")
	}
}

// An audit that was called off is not a report.
func TestCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := audit.Run(ctx, []audit.Target{{Snapshot: snapshot()}}, []*audit.Rules{notLoad("", "a")}, audit.Options{})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// A target that could not be read has one unknown row, whatever the rules; an exception does not excuse it.
func TestUnreadTarget(t *testing.T) {
	rules := &audit.Rules{Rules: []audit.Rule{{ID: "r", Kind: audit.Deny, Modules: []string{"x"}}},
		Exceptions: []audit.Exception{{Rule: "*", Expires: "2099-01-01"}}}
	targets := []audit.Target{{Name: "a", Err: errors.New("closed\nhere")}, {Name: "b", Snapshot: snapshot()}}
	r := run(t, audit.Options{Baseline: snapshot()}, targets, rules)
	if got, want := statuses(r), "target unknown, r pass, baseline pass"; got != want || r.Worst() != audit.Unknown {
		t.Errorf("%s, want %s", got, want)
	}
	if row := r.Rows[0]; row.Target != "a" || row.Kind != audit.TargetKind || row.Because != "closed; here" {
		t.Errorf("%+v", row)
	}
	if i := r.Targets[0]; i.From != "unread" || i.Rows != 1 || i.OS != "" || i.Name != "a" {
		t.Errorf("%+v", i)
	}
}
