// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"strings"
	"testing"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/policytest"
	"github.com/kernelext/kernelext/windows/sipolicy"
)

// groupsXML and groupsCompiled are one policy in both forms.
const groupsXML = `<SiPolicy><FileRules>
<Deny ID="rule 0" FileName="everywhere.sys"/><Deny ID="rule 1" FileName="test.sys"/>
<Deny ID="rule 2" FileName="testsigning.sys"/><Deny ID="rule 3" FileName="inherited.sys"/>
<Deny ID="rule 4" FileName="except.sys"/><Allow ID="rule 5" FileName="spared.sys"/>
<FileAttrib ID="rule 6" FileName="*" MinimumFileVersion="2.0.0.0"/>
<Deny ID="rule 7" FileName="max.sys" MaximumFileVersion="3.0.0.0"/></FileRules>
<Signers><Signer ID="signer 0" Name="P"><CertRoot Type="TBS" Value="` + tbsCA +
	`"/><CertPublisher Value="P"/></Signer><Signer ID="signer 1" Name="A"><CertRoot Type="TBS" Value="` + tbsCA +
	`"/><CertPublisher Value="A"/><FileAttribRef RuleID="rule 6"/></Signer></Signers>
<SigningScenarios><SigningScenario ID="S0" Value="131" InheritedScenarios="S2,S9"><ProductSigners>
<AllowedSigners><AllowedSigner SignerId="signer 1"><ExceptDenyRule DenyRuleID="rule 4"/></AllowedSigner>
</AllowedSigners>
<DeniedSigners><DeniedSigner SignerId="signer 0"/></DeniedSigners><FileRulesRef><FileRuleRef RuleID="rule 0"/>
<FileRuleRef RuleID="rule 7"/></FileRulesRef></ProductSigners><TestSigners><FileRulesRef>
<FileRuleRef RuleID="rule 1"/></FileRulesRef></TestSigners><TestSigningSigners><DeniedSigners>
<DeniedSigner SignerId="signer 0"><ExceptAllowRule AllowRuleID="rule 5"/></DeniedSigner></DeniedSigners>
<FileRulesRef><FileRuleRef RuleID="rule 0"/><FileRuleRef RuleID="rule 2"/></FileRulesRef></TestSigningSigners>
</SigningScenario><SigningScenario ID="S1" Value="12" InheritedScenarios="S0"><ProductSigners/></SigningScenario>
<SigningScenario ID="S2" Value="12" InheritedScenarios="S0"><ProductSigners><FileRulesRef>
<FileRuleRef RuleID="rule 3"/></FileRulesRef></ProductSigners></SigningScenario></SigningScenarios></SiPolicy>`

func groupsCompiled(t *testing.T) *sipolicy.Policy {
	deny := func(name string) sipolicy.FileRule {
		return sipolicy.FileRule{Kind: sipolicy.Deny, FileName: name, Minimum: sipolicy.AnyVersion}
	}
	limited := deny("max.sys")
	limited.Maximum = 3 << 48
	return &sipolicy.Policy{Format: 7,
		Rules: []sipolicy.FileRule{deny("everywhere.sys"), deny("test.sys"), deny("testsigning.sys"),
			deny("inherited.sys"), deny("except.sys"), {Kind: sipolicy.Allow, FileName: "spared.sys"},
			{Kind: sipolicy.Attrib, FileName: "*", Minimum: 2 << 48}, limited},
		Signers: []sipolicy.Signer{{Root: unhex(t, tbsCA), Publisher: "P"},
			{Root: unhex(t, tbsCA), Publisher: "A", Attribs: []int{6}}},
		Scenarios: []sipolicy.Scenario{
			{Value: sipolicy.ScenarioDrivers, Inherited: []int{2},
				Product: sipolicy.Group{Rules: []int{0, 7}, Denied: []sipolicy.SignerRef{{Signer: 0}},
					Allowed: []sipolicy.SignerRef{{Signer: 1, Except: []int{4}}}},
				Test: sipolicy.Group{Rules: []int{1}},
				TestSigning: sipolicy.Group{Rules: []int{0, 2},
					Denied: []sipolicy.SignerRef{{Signer: 0, Except: []int{5}}}}},
			{Value: 12, Inherited: []int{0}},
			{Value: 12, Inherited: []int{0}, Product: sipolicy.Group{Rules: []int{3}}},
		}}
}

// Each group of a scenario counts by itself, in both forms of a policy.
func TestPolicyGroups(t *testing.T) {
	for form, raw := range map[string][]byte{
		"XML": []byte(groupsXML), "compiled": policytest.Compile(groupsCompiled(t))} {
		var r fact.Report
		l, err := ParseBlockList(raw, &r)
		if err != nil || len(r.Problems) > 0 {
			t.Fatal(form, err, r.Problems)
		}
		for _, c := range []struct{ name, file, version, signer, want string }{
			{"everywhere", "everywhere.sys", "", "", "rule 0 strong "},
			{"test systems", "test.sys", "", "", "rule 1 weak test"},
			{"test signing", "testsigning.sys", "", "", "rule 2 weak test_signing"},
			{"taken over", "inherited.sys", "", "", "rule 3 strong "},
			{"an exception of test signing", "spared.sys", "", "P", "signer 0 strong "},
			{"allowed from its version on", "except.sys", "2.0.0.1", "A", "rule 4 strong "},
			{"at its version", "except.sys", "2.0.0.0", "A", "rule 4 strong "},
			{"below its version", "except.sys", "1.9.9.9", "A", "rule 4 weak inactive"},
			{"a maximum alone", "max.sys", "3.0.0.0", "", "rule 7 strong "},
			{"above it", "max.sys", "3.0.0.1", "", ""},
		} {
			e := BlockEvidence{Version: versionOf(c.file, c.version)}
			if c.signer != "" {
				e.Signatures = signedBy(c.signer, "", fact.Yes)
			}
			var got []string
			for _, m := range l.Match(e) {
				more := m.Group
				if m.Inactive {
					more += "inactive"
				}
				got = append(got, m.Rule+" "+string(m.Strength)+" "+more)
			}
			if strings.Join(got, "; ") != c.want {
				t.Errorf("%s, %s: %q, want %q", form, c.name, got, c.want)
			}
		}
	}
}

// What only test systems count stops nothing for sure, and with test signing off what needs it does not count.
func TestTestGroupAnswer(t *testing.T) {
	list := &systemList{BlockList: &BlockList{Name: "L"}}
	path := []fact.Evidence{{Fact: factPath}}
	for name, tt := range map[string]struct {
		match       BlockMatch
		testSigning string
		want        fact.Tri
	}{
		"test":                 {BlockMatch{Group: GroupTest}, "no", ""},
		"test signing off":     {BlockMatch{Group: GroupTestSigning}, "no", fact.No},
		"test signing on":      {BlockMatch{Group: GroupTestSigning}, "yes", ""},
		"test signing unknown": {BlockMatch{Group: GroupTestSigning}, "", ""},
		"a path":               {BlockMatch{Strength: StrengthWeak, Evidence: path}, "", ""},
		"every system":         {BlockMatch{Strength: StrengthStrong}, "", fact.Yes},
	} {
		c := &checker{image: true, kernel: noKeys(),
			policy: &fact.Policy{Facts: []fact.PolicyFact{{Name: PolicyTestSign, Value: tt.testSigning}}}}
		a := c.listed(list, &tt.match)
		if a.Blocked() != tt.want || a.Because().Text == "" {
			t.Errorf("%s: %+v", name, a)
		}
	}
}
