// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"context"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/fakedarwin"
)

// explained checks that what is unknown in a verdict has a reason that names what was not read.
func explained(t *testing.T, name string, v *fact.Verdict) {
	t.Helper()
	for _, p := range []*fact.Prospect{v.Now, v.NextBoot} {
		if p == nil {
			continue
		}
		for _, w := range p.Ways {
			if w.Blocked == "" && (w.Because.Code == "" || !strings.Contains(w.Because.Text, ": ")) {
				t.Errorf("%s: way %s is unknown because %+v", name, w.Way, w.Because)
			}
		}
		if p.Outcome == fact.VerdictUnknown && (p.Because.Code == "" || p.Because.Text == "") {
			t.Errorf("%s: unknown without a reason", name)
		}
		if p.Outcome == fact.VerdictUnknown && !slices.Contains(v.Reasons, p.Because) {
			t.Errorf("%s: %+v is not in %+v", name, p.Because, v.Reasons)
		}
	}
	if len(v.Reasons) == 0 {
		t.Errorf("%s: no reason", name)
	}
}

// leading are the codes of the reasons that lead the verdicts of TestCheck.
var leading = map[string]string{
	"loaded and linked": ReasonLoaded, "loaded, file gone": ReasonLoaded, "kernel's own": ReasonLoaded,
	"linked": ReasonCollection, "stale": ReasonApproved, "approved, 11": ReasonApproved,
	"approved, 10.15": ReasonApproved, "denied": ReasonNotApproved, "never asked, 10.14": ReasonNotApproved,
	"10.12 asks nobody": ReasonCSR, "unsigned": ReasonNoSignature, "unsigned, SIP off": ReasonCSR,
	"policy not readable": ReasonApprovalUnknown, "full security": ReasonBootSecurity,
	"Apple silicon, boot security not readable":               ReasonBootSecurity,
	"a Mac of an unknown kind, boot security not readable":    ReasonBootSecurity,
	"Apple silicon that does not say":                         ReasonBootSecurity,
	"Apple silicon, not approved, boot security not readable": ReasonNotApproved,
	"Intel, boot security not readable":                       ReasonApproved,
	"reduced security":                                        ReasonApproved,
	"in the auxiliary collection, full security":              ReasonBootSecurity,
	"in the auxiliary collection, boot security not readable": ReasonCollection,
	"system extension":                                        ReasonUserSpace,
	"codeless":                                                ReasonCodeless,
	"release not known":                                       ReasonRelease,
	"integrity not readable":                                  ReasonCSR, "Apple's, in no collection": ReasonInstalled,
}

func TestCheck(t *testing.T) {
	bundle := &Bundle{Path: "/Library/Extensions/D.kext", ExecutablePath: "/x", BundleInfo: BundleInfo{Version: "2"}}
	team := &CodeSignature{Present: fact.Yes, TeamID: "VBG97UB4TA"}
	denied := &CodeSignature{Present: fact.Yes, TeamID: "ABCDE12345"}
	unsigned := &CodeSignature{Present: fact.No}
	policy, err := parseKextPolicy(kextPolicyDB(), new(fact.Report))
	if err != nil {
		t.Fatal(err)
	}
	with := func(major int, csr uint32) *rules {
		return &rules{major: major, csr: &csr, approvals: &policy, silicon: fact.No}
	}
	noDB := with(20, 0)
	noDB.approvals = noted[kextPolicy](noDB, SourceKextPolicy, kextPolicy{}, fs.ErrPermission)
	noCSR := with(19, 0)
	noCSR.csr = noted[uint32](noCSR, SourceCSR, 0, fs.ErrPermission)
	noRelease := with(0, 0)
	noted(noRelease, SourceMachine, 0, fs.ErrPermission)
	full := with(20, 0)
	full.boot = &bootPolicy{SecureBoot: "Full Security", OtherKexts: fact.No}
	silent := with(20, 0)
	silent.silicon, silent.boot = fact.Yes, new(bootPolicy)
	open := with(20, 0)
	open.silicon, open.boot = fact.Yes, &bootPolicy{SecureBoot: "Reduced Security", OtherKexts: fact.Yes}
	noBoot := func(silicon fact.Tri) *rules {
		r := with(20, 0)
		r.silicon = silicon
		r.boot = noted[bootPolicy](r, SourceBootPolicy, bootPolicy{}, fs.ErrPermission)
		return r
	}
	auxiliary := []Membership{{Path: "/a.kc", Kind: KindAuxiliary}}
	boot := []Membership{{Path: "/a.kc", Kind: KindBoot}}
	for name, tt := range map[string]struct {
		j         judge
		r         *rules
		now, next fact.VerdictOutcome
		word      string
	}{
		"loaded and linked": {judge{kext: &Kext{BundleID: "a", Collections: boot}, loaded: fact.Yes},
			with(20, 0), fact.VerdictLoaded, fact.VerdictLoadable, "loaded"},
		"loaded, file gone": {judge{kext: &Kext{BundleID: "a"}, loaded: fact.Yes}, with(20, 0),
			fact.VerdictLoaded, fact.VerdictUnknown, "loaded"},
		"kernel's own": {judge{kext: &Kext{BundleID: "com.apple.kpi.bsd", Pseudo: PseudoKPI},
			loaded: fact.Yes}, with(20, 0), fact.VerdictLoaded, fact.VerdictLoaded, "loaded"},
		"linked": {judge{kext: &Kext{BundleID: "a", Collections: boot}}, with(20, 0),
			fact.VerdictLoadable, fact.VerdictLoadable, "linked"},
		"stale": {
			judge{kext: &Kext{BundleID: "com.objective-see.lulu", Bundle: bundle, CodeSignature: team,
				Collections: []Membership{{Stale: fact.Yes}}}}, with(20, 0), fact.VerdictBlocked,
			fact.VerdictLoadable, "needs reboot"},
		"approved, 11": {
			judge{kext: &Kext{BundleID: "com.objective-see.lulu", Bundle: bundle, CodeSignature: team}}, with(20, 0),
			fact.VerdictBlocked, fact.VerdictLoadable, "needs reboot"},
		"approved, 10.15": {
			judge{kext: &Kext{BundleID: "com.objective-see.lulu", Bundle: bundle, CodeSignature: team}}, with(19, 0),
			fact.VerdictLoadable, fact.VerdictLoadable, "loadable"},
		"denied": {
			judge{kext: &Kext{BundleID: "com.vendor.driver", Bundle: bundle, CodeSignature: denied}}, with(20, 0),
			fact.VerdictBlocked, fact.VerdictBlocked, "needs approval"},
		"never asked, 10.14": {judge{kext: &Kext{BundleID: "com.new", Bundle: bundle, CodeSignature: denied}},
			with(18, 0), fact.VerdictBlocked, fact.VerdictBlocked, "needs approval"},
		"10.12 asks nobody": {judge{kext: &Kext{BundleID: "com.new", Bundle: bundle, CodeSignature: denied}},
			with(16, 0), fact.VerdictLoadable, fact.VerdictLoadable, "loadable"},
		"unsigned": {judge{kext: &Kext{BundleID: "com.new", Bundle: bundle, CodeSignature: unsigned}},
			with(19, 0), fact.VerdictBlocked, fact.VerdictBlocked, "blocked"},
		"unsigned, SIP off": {judge{kext: &Kext{BundleID: "com.new", Bundle: bundle, CodeSignature: unsigned}},
			with(19, 0x201), fact.VerdictLoadable, fact.VerdictLoadable, "loadable"},
		"policy not readable": {judge{kext: &Kext{BundleID: "com.new", Bundle: bundle, CodeSignature: team}},
			noDB, fact.VerdictBlocked, fact.VerdictUnknown, "approval unknown"},
		"full security": {
			judge{kext: &Kext{BundleID: "com.objective-see.lulu", Bundle: bundle, CodeSignature: team}}, full,
			fact.VerdictBlocked, fact.VerdictBlocked, "blocked"},
		"Apple silicon, boot security not readable": {
			judge{kext: &Kext{BundleID: "com.objective-see.lulu", Bundle: bundle, CodeSignature: team}},
			noBoot(fact.Yes), fact.VerdictBlocked, fact.VerdictUnknown, "boot security unknown"},
		"a Mac of an unknown kind, boot security not readable": {
			judge{kext: &Kext{BundleID: "com.objective-see.lulu", Bundle: bundle, CodeSignature: team}},
			noBoot(""), fact.VerdictBlocked, fact.VerdictUnknown, "boot security unknown"},
		"Apple silicon that does not say": {
			judge{kext: &Kext{BundleID: "com.objective-see.lulu", Bundle: bundle, CodeSignature: team}},
			silent, fact.VerdictBlocked, fact.VerdictUnknown, "boot security unknown"},
		"Apple silicon, not approved, boot security not readable": {
			judge{kext: &Kext{BundleID: "com.vendor.driver", Bundle: bundle, CodeSignature: denied}},
			noBoot(fact.Yes), fact.VerdictBlocked, fact.VerdictBlocked, "needs approval"},
		"Intel, boot security not readable": {
			judge{kext: &Kext{BundleID: "com.objective-see.lulu", Bundle: bundle, CodeSignature: team}},
			noBoot(fact.No), fact.VerdictBlocked, fact.VerdictLoadable, "needs reboot"},
		"reduced security": {
			judge{kext: &Kext{BundleID: "com.objective-see.lulu", Bundle: bundle, CodeSignature: team}}, open,
			fact.VerdictBlocked, fact.VerdictLoadable, "needs reboot"},
		"in the auxiliary collection, full security": {
			judge{kext: &Kext{BundleID: "a", Collections: auxiliary}}, full, fact.VerdictBlocked,
			fact.VerdictBlocked, "blocked"},
		"in the auxiliary collection, boot security not readable": {
			judge{kext: &Kext{BundleID: "a", Collections: auxiliary}}, noBoot(fact.Yes), fact.VerdictLoadable,
			fact.VerdictLoadable, "linked"},
		"system extension": {
			judge{kext: &Kext{BundleID: "com.d", PackageType: "DEXT",
				SystemExtension: &SystemExtension{State: "activated_enabled"}}}, with(20, 0), fact.VerdictBlocked,
			fact.VerdictBlocked, "activated_enabled"},
		"codeless": {
			judge{kext: &Kext{BundleID: "com.c", Bundle: &Bundle{BundleInfo: BundleInfo{Codeless: fact.Yes}}}},
			with(20, 0), fact.VerdictBlocked, fact.VerdictBlocked, "no code"},
		"release not known": {
			judge{kext: &Kext{BundleID: "com.objective-see.lulu", Bundle: bundle, CodeSignature: team}}, noRelease,
			fact.VerdictUnknown, fact.VerdictUnknown, ""},
		"integrity not readable": {judge{kext: &Kext{BundleID: "com.new", Bundle: bundle, CodeSignature: denied}},
			noCSR, fact.VerdictUnknown, fact.VerdictUnknown, "needs approval"},
		"Apple's, in no collection": {judge{kext: &Kext{BundleID: "com.apple.x", Bundle: bundle}, apple: true},
			with(19, 0), fact.VerdictLoadable, fact.VerdictLoadable, "loadable"},
	} {
		tt.j.rules = tt.r
		v := tt.j.verdict()
		if v.Now == nil || v.NextBoot == nil || v.Now.Outcome != tt.now || v.NextBoot.Outcome != tt.next ||
			v.Word != tt.word {
			t.Errorf("%s: %+v %+v %q, want %s %s %q; %v", name, v.Now, v.NextBoot, v.Word, tt.now,
				tt.next, tt.word, v.Reasons)
			continue
		}
		v.LeadBy(tt.j.now, tt.j.next)
		explained(t, name, &v)
		if v.Reasons[0].Code != leading[name] {
			t.Errorf("%s: %+v, want %s first", name, v.Reasons, leading[name])
		}
	}
}

// A refusing machine refuses one input: a file's path, or a call's op.
type refusing struct {
	*fakedarwin.Machine
	input string
}

func (m refusing) Call(ctx context.Context, op string, args ...string) ([]byte, error) {
	if op == m.input {
		return nil, &fs.PathError{Op: "call", Path: op, Err: fs.ErrPermission}
	}
	return m.Machine.Call(ctx, op, args...)
}

func (m refusing) Open(name string) (fs.File, error) {
	if name == m.input {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return m.Machine.Open(name)
}

func (m refusing) ReadFile(name string) ([]byte, error) {
	if name == m.input {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return m.Machine.ReadFile(name)
}

func (m refusing) ReadDir(name string) ([]fs.DirEntry, error) {
	if name == m.input {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return m.Machine.ReadDir(name)
}

// TestCheckRefused refuses one input at a time: no outcome becomes blocked or absent by that, and what is unknown has a
// reason.
func TestCheckRefused(t *testing.T) {
	host := fakedarwin.Intel()
	inputs := append(host.Machine().Names(), "System/Library/Extensions", "Library/Extensions", OpUname, OpCSRConfig,
		OpLoadedKextInfo, "nothing")
	for _, query := range []string{"com.vendor.driver", "com.apple.driver.Made001", "com.vendor.usb", "com.nobody"} {
		whole := checkOne(t, host.Machine(), query)
		for _, input := range inputs {
			v := checkOne(t, refusing{host.Machine(), input}, query)
			name := query + " without " + input
			explained(t, name, &v)
			for i, p := range []*fact.Prospect{v.Now, v.NextBoot} {
				before := []*fact.Prospect{whole.Now, whole.NextBoot}[i].Outcome
				if p.Outcome != before && (p.Outcome == fact.VerdictBlocked || p.Outcome == fact.VerdictAbsent) {
					t.Errorf("%s: %s, was %s", name, p.Outcome, before)
				}
			}
		}
	}
}

func checkOne(t *testing.T, m fact.Machine, query string) fact.Verdict {
	t.Helper()
	verdicts, err := Open(m, fact.Options{}).Check(context.Background(), query, new(fact.Report))
	if err != nil || len(verdicts) != 1 {
		t.Fatalf("%s: %+v, %v", query, verdicts, err)
	}
	return verdicts[0]
}
