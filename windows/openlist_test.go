// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"errors"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/petest"
	"github.com/kernelext/kernelext/internal/testing/policytest"
	"github.com/kernelext/kernelext/windows/authenticode"
	"github.com/kernelext/kernelext/windows/pe"
	"github.com/kernelext/kernelext/windows/sipolicy"
)

// kernelScenario is the scenario of drivers with one group.
func kernelScenario(g sipolicy.Group) []sipolicy.Scenario {
	return []sipolicy.Scenario{{Value: sipolicy.ScenarioDrivers, Product: g}}
}

// What of a policy is not compared, or not known of a driver, leaves open whether the policy denies it: for a rule that
// names it, and where none does.
func TestOpenPolicy(t *testing.T) {
	deny := sipolicy.FileRule{Kind: sipolicy.Deny, FileName: "x.sys", Minimum: sipolicy.AnyVersion}
	apps, family := deny, deny
	apps.AppIDs, family.PackageFamilyName = []string{"app"}, "family"
	ranged := sipolicy.FileRule{Kind: sipolicy.Deny, FileName: "x.sys", Minimum: 1 << 48, Maximum: 2 << 48}
	narrow := sipolicy.FileRule{Kind: sipolicy.Attrib, FileName: "y.sys"}
	rules := func(list ...sipolicy.FileRule) sipolicy.Policy {
		return sipolicy.Policy{Format: 7, Rules: list, Scenarios: kernelScenario(sipolicy.Group{Rules: []int{0}})}
	}
	denied := func(s sipolicy.Signer, list ...sipolicy.FileRule) sipolicy.Policy {
		return sipolicy.Policy{Format: 7, Rules: list, EKUs: []string{""}, Signers: []sipolicy.Signer{s},
			Scenarios: kernelScenario(sipolicy.Group{Denied: []sipolicy.SignerRef{{Signer: 0}}})}
	}
	except := func(s sipolicy.Signer) sipolicy.Policy {
		return sipolicy.Policy{Format: 7, Rules: []sipolicy.FileRule{deny, narrow}, Signers: []sipolicy.Signer{s},
			Scenarios: kernelScenario(sipolicy.Group{Allowed: []sipolicy.SignerRef{{Signer: 0, Except: []int{0}}}})}
	}
	with := func(p sipolicy.Policy, format, options uint32) sipolicy.Policy {
		p.Format, p.Options = format, options
		return p
	}
	root := unhex(t, tbsCA)
	const passes = "passes" // a rule names it, and does not count
	for name, tt := range map[string]struct {
		policy  sipolicy.Policy
		version string   // of x.sys; empty for a resource without a number
		problem string   // the field of one of the driver's
		unread  bool     // catalogs
		signed  []string // by whom; nil if that was not read
		want    string   // yes, open, passes, or empty if nothing applies
		says    string
	}{
		"a rule":                 {policy: rules(deny), version: "1.0.0.0", signed: []string{}, want: "yes"},
		"another rule":           {policy: rules(narrow), signed: []string{}},
		"for an app":             {policy: rules(apps), signed: []string{}, want: "open", says: "certain apps"},
		"for a packaged app":     {policy: rules(family), signed: []string{}, want: "open", says: "certain apps"},
		"no number of a version": {policy: rules(ranged), signed: []string{}, want: "open", says: "no number"},
		"in the range":           {policy: rules(ranged), version: "1.5.0.0", signed: []string{}, want: "yes"},
		"beyond it":              {policy: rules(ranged), version: "3.0.0.0", signed: []string{}},
		"a version not read":     {policy: rules(narrow), problem: "version", want: "open", says: "version of x.sys"},
		"an import not read":     {policy: rules(narrow), problem: "imports"},
		"a newer format": {policy: with(rules(narrow), 10, 0), signed: []string{}, want: "open",
			says: "newer"},
		"named, a newer format":    {policy: with(rules(deny), 10, 0), signed: []string{}, want: "yes"},
		"a newer one that reports": {policy: with(rules(narrow), 10, sipolicy.OptionAudit), signed: []string{}},
		"a signer, a newer format": {policy: with(denied(sipolicy.Signer{Root: root}), 10, 0), signed: []string{"a"},
			want: "open", says: "exceptions of a signer"},
		"a signer": {policy: denied(sipolicy.Signer{Root: root}), signed: []string{"a"}, want: "yes"},
		"a signer by an unknown root": {policy: denied(sipolicy.Signer{ByNumber: true, WellKnown: 9}),
			signed: []string{}, want: "open", says: "signer 0"},
		"that signer, of another file": {policy: denied(sipolicy.Signer{ByNumber: true, WellKnown: 9,
			Attribs: []int{0}}, narrow), signed: []string{}},
		"a signer of an invalid purpose": {policy: denied(sipolicy.Signer{Root: root, EKUs: []int{0}}),
			signed: []string{}, want: "open", says: "signer 0"},
		"audit on failure": {policy: with(rules(deny), 7, sipolicy.OptionBootAudit), signed: []string{}, want: "open",
			says: "only reports once"},
		"but for this, who signed is unknown": {policy: except(sipolicy.Signer{Root: root}), want: "open",
			says: "some signer"},
		"but for this, nobody signed": {policy: except(sipolicy.Signer{Root: root}), signed: []string{}, want: passes},
		"but for this, catalogs missing": {policy: except(sipolicy.Signer{Root: root}), signed: []string{},
			unread: true, want: "open", says: "not all catalogs"},
		"but for this, signed": {policy: except(sipolicy.Signer{Root: root}), signed: []string{"a"}, want: "yes"},
		"but for this, of another file": {policy: except(sipolicy.Signer{Root: root, Attribs: []int{1}}),
			want: passes},
		"but for this, an unknown root": {policy: except(sipolicy.Signer{ByNumber: true, WellKnown: 9}),
			signed: []string{}, want: "open", says: "some signer"},
	} {
		l, err := ParseBlockList(policytest.Compile(&tt.policy), new(fact.Report))
		if err != nil {
			t.Fatal(name, err)
		}
		e := &entry{Name: "x.sys", Path: `C:\x.sys`, catalogsUnread: tt.unread,
			Driver: &Driver{PE: &pe.File{}, Version: versionOf("x.sys", tt.version)}}
		if tt.signed != nil {
			e.Driver.Signatures = []authenticode.Signature{}
		}
		for _, by := range tt.signed {
			e.Driver.Signatures = append(e.Driver.Signatures, signedBy(by, "", fact.Yes)...)
		}
		if tt.problem != "" {
			e.Problems = []fact.Problem{{Source: SourceFile, Field: tt.problem}}
		}
		c := &checker{image: true, kernel: noKeys(), lists: []systemList{{BlockList: l, file: "F"}},
			policy: &fact.Policy{}}
		a := c.blockList(e)
		got := map[fact.Tri]string{fact.Yes: "yes", fact.No: passes, "": "open"}[a.Blocked()]
		if !a.Applies() {
			got = ""
		}
		if got != tt.want || !strings.Contains(a.Because().Text, tt.says) {
			t.Errorf("%s: %q because %q", name, got, a.Because().Text)
		}
	}
}

// A policy that could not be read may deny any driver, unless it is the list that comes with Windows, switched off.
func TestUnreadPolicy(t *testing.T) {
	off := &fact.Policy{Facts: []fact.PolicyFact{{Name: PolicyHVCI, Value: "no"},
		{Name: PolicyHVCIConfig, Value: "0"}, {Name: PolicyBlockList, Value: "0"}}}
	e := &entry{Name: "x.sys", Driver: &Driver{PE: &pe.File{}}}
	for name, tt := range map[string]struct {
		list    unreadList
		applies bool
	}{
		"one":                         {unreadList{"F", false, errors.New("why")}, true},
		"Windows' list, switched off": {unreadList{"F", true, errors.New("why")}, false},
	} {
		c := &checker{kernel: noKeys(), policy: off,
			unreadLists: []unreadList{tt.list}}
		a := c.blockList(e)
		if a.Applies() != tt.applies || tt.applies &&
			(a.Blocked() != "" || a.Because().File != "F" || !strings.Contains(a.Because().Text, "why")) {
			t.Errorf("%s: %q because %+v", name, a.Blocked(), a.Because())
		}
	}
}

// What a policy says in XML it says compiled: no bound where the number is 0, apps, signers that cannot be compared,
// audit after a failed boot, a supplement.
func TestTwinsOfWhatIsOpen(t *testing.T) {
	text := strings.Replace(kernelPolicy(`<FileAttrib ID="rule 0" FileName="any.sys" MinimumFileVersion="0.0.0.0"/>`+
		`<Deny ID="rule 1" FileName="x.sys" MinimumFileVersion="3.0.0.0" MaximumFileVersion="0.0.0.0"/>`+
		`<Deny ID="rule 2" FileName="app.sys" AppIDs="app"/>`+
		`<Deny ID="rule 3" FileName="except.sys"/>`,
		`<Signer ID="signer 0"><CertRoot Type="TBS" Value="`+tbsCA+`"/><FileAttribRef RuleID="rule 0"/></Signer>`+
			`<Signer ID="signer 1"><CertRoot Type="Wellknown" Value="09"/></Signer>`+
			`<Signer ID="signer 2"><CertRoot Type="Wellknown" Value="0A"/></Signer>`,
		`<AllowedSigners><AllowedSigner SignerId="signer 2"><ExceptDenyRule DenyRuleID="rule 3"/></AllowedSigner>`+
			`</AllowedSigners><DeniedSigners><DeniedSigner SignerId="signer 0"/><DeniedSigner SignerId="signer 1"/>`+
			`</DeniedSigners><FileRulesRef><FileRuleRef RuleID="rule 1"/>`+
			`<FileRuleRef RuleID="rule 2"/></FileRulesRef>`),
		"<FileRules>", "<Rules><Rule><Option>Enabled:Boot Audit on Failure</Option></Rule></Rules><FileRules>", 1)
	byType := strings.Replace(text, "<SiPolicy ", `<SiPolicy PolicyType="Supplemental Policy" `, 1)
	byID := strings.Replace(text, "<Rules>", "<BasePolicyID>{1}</BasePolicyID><PolicyID>{2}</PolicyID><Rules>", 1)
	anyOf := func(name string) sipolicy.FileRule {
		return sipolicy.FileRule{Kind: sipolicy.Deny, FileName: name, Minimum: sipolicy.AnyVersion}
	}
	app := anyOf("app.sys")
	app.AppIDs = []string{"app"}
	p := &sipolicy.Policy{Format: 7, ID: policyTestID, BaseID: strings.Replace(policyTestID, "1", "2", 1),
		Options: sipolicy.OptionBootAudit,
		Rules: []sipolicy.FileRule{{Kind: sipolicy.Attrib, FileName: "any.sys"},
			{Kind: sipolicy.Deny, FileName: "x.sys", Minimum: 3 << 48}, app, anyOf("except.sys")},
		Signers: []sipolicy.Signer{{Root: unhex(t, tbsCA), Attribs: []int{0}}, {ByNumber: true, WellKnown: 9},
			{ByNumber: true, WellKnown: 10}},
		Scenarios: kernelScenario(sipolicy.Group{Rules: []int{1, 2},
			Allowed: []sipolicy.SignerRef{{Signer: 2, Except: []int{3}}},
			Denied:  []sipolicy.SignerRef{{Signer: 0}, {Signer: 1}}})}
	for form, raw := range map[string][]byte{"XML": []byte(byType), "XML by id": []byte(byID),
		"compiled": policytest.Compile(p)} {
		var r fact.Report
		l, err := ParseBlockList(raw, &r)
		if err != nil || len(r.Problems) != 1 || r.Problems[0].Subject != "signer 1" {
			t.Fatal(form, err, r.Problems)
		}
		if !l.policy.failing || !l.policy.extends {
			t.Errorf("%s: %+v", form, l.policy)
		}
		for _, c := range []struct{ file, version, want string }{
			{"any.sys", "9.0.0.0", "signer 0 signer weak tbsHash OriginalFilename supplement"},
			{"x.sys", "2.0.0.0", "rule 1 file weak OriginalFilename fileVersion supplement"}, {"x.sys", "3.0.0.1", ""},
			{"app.sys", "1.0.0.0", "rule 2 file weak OriginalFilename apps supplement"},
			{"except.sys", "1.0.0.0", "rule 3 file weak OriginalFilename anySigner supplement"},
		} {
			got := describe(l.Match(BlockEvidence{Version: versionOf(c.file, c.version),
				Signatures: signedBy("x", "", fact.Yes)}))
			if got != c.want {
				t.Errorf("%s, %s %s: %q, want %q", form, c.file, c.version, got, c.want)
			}
		}
	}
}

const policyTestID = "11111111-1111-1111-1111-111111111111"

// The switch of the list that comes with Windows counts from the next boot: what the list denies is blocked then, and
// until then only where the hypervisor checks code.
func TestSwitchOfBuiltInList(t *testing.T) {
	p := &siPolicy{}
	rule := &policyRule{id: "R", fields: []ruleField{{"FileName", "OriginalFilename", "x.sys"}}}
	rule.refer(groupProduct)
	p.files = []*policyRule{rule}
	lists := []systemList{{BlockList: &BlockList{Name: "L", policy: p}, file: "F", builtIn: true}}
	for name, tt := range map[string]struct {
		hvci, wanted, list string
		now, next          fact.VerdictOutcome
	}{
		"on":             {"no", "0", "1", fact.VerdictUnknown, fact.VerdictBlocked},
		"off":            {"no", "0", "0", fact.VerdictUnknown, fact.VerdictLoadable},
		"not set":        {"no", "0", "", fact.VerdictUnknown, fact.VerdictUnknown},
		"the hypervisor": {"yes", "1", "0", fact.VerdictBlocked, fact.VerdictBlocked},
	} {
		c := &checker{kernel: noKeys(), registry: true, folders: true,
			inventory: &inventory{}, lists: lists,
			policy: &fact.Policy{Facts: []fact.PolicyFact{{Name: PolicyCodeIntegrity, Value: "enabled"},
				{Name: PolicyDebugger, Value: "no"}, {Name: PolicyHVCI, Value: tt.hvci},
				{Name: PolicyHVCIConfig, Value: tt.wanted}, {Name: PolicyBlockList, Value: tt.list}}}}
		e := &entry{Key: "x.sys", Name: "x.sys", Path: `C:\x.sys`, Driver: &Driver{PE: &pe.File{},
			Version: versionOf("x.sys", "1.0.0.0"), Signatures: []authenticode.Signature{},
			Services: []Service{{Name: "x", Start: "demand"}}}}
		v := c.verdict(e)
		if v.Now.Outcome != tt.now || v.NextBoot.Outcome != tt.next {
			t.Errorf("%s: now %+v, then %+v", name, v.Now, v.NextBoot)
		}
		if tt.list != "" && tt.now == fact.VerdictUnknown && !strings.Contains(v.Now.Because.Text, "next boot") {
			t.Errorf("%s: because %s", name, v.Now.Because.Text)
		}
		if len(v.Remedies) > 1 {
			t.Errorf("%s: %+v", name, v.Remedies)
		}
	}
}

// Where catalogs were not read, a signature that does not fit, or that no key vouches for, is not known to be the best.
func TestBetterByCatalog(t *testing.T) {
	for status, want := range map[fact.SignatureStatus]error{"": errNoCatalog, fact.SignatureValid: nil,
		fact.SignatureUntrusted: errNoBetter, fact.SignatureInvalid: errOtherCatalog, fact.SignatureUnchecked: nil} {
		p, err := pe.Parse(petest.Sample().Build(), new(fact.Report))
		if err != nil {
			t.Fatal(err)
		}
		f := &File{PE: p}
		if status != "" {
			f.Signatures = []authenticode.Signature{{Status: status}}
		}
		e := newEntry("x.sys", "x.sys", `C:\x.sys`)
		e.setFile(f, new(authenticode.Verifier))
		said := ""
		for _, p := range e.Problems {
			if p.Field == "signature" {
				said = p.Text
			}
		}
		if want == nil && said != "" || want != nil && said != want.Error() {
			t.Errorf("%s: %q", status, said)
		}
	}
}

// What `policy` says of a policy is what `check` makes of it: a supplement, and audit after a failed boot.
func TestPolicyEffect(t *testing.T) {
	base := strings.Replace(policyTestID, "1", "2", 1)
	for says, p := range map[string]sipolicy.Policy{
		"denies by 1 rule(s)":                      {ID: policyTestID, BaseID: policyTestID},
		"supplements {" + base + "} and so can":    {ID: policyTestID, BaseID: base},
		"only reports once a driver that the boot": {Options: sipolicy.OptionBootAudit},
	} {
		p.Format = 7
		p.Rules = []sipolicy.FileRule{{Kind: sipolicy.Deny, FileName: "x.sys", Minimum: sipolicy.AnyVersion}}
		p.Scenarios = kernelScenario(sipolicy.Group{Rules: []int{0}})
		text, err := policyPath{}.effect(policytest.Compile(&p), nil)
		if err != nil || !strings.Contains(text, says) || strings.Contains(text, "so can") != (p.BaseID == base) {
			t.Errorf("%q, %v; want %q", text, err, says)
		}
	}
}
