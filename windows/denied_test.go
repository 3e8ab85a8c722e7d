// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/policytest"
	"github.com/kernelext/kernelext/windows/authenticode"
	"github.com/kernelext/kernelext/windows/pe"
	"github.com/kernelext/kernelext/windows/sipolicy"
)

// The name "*" is that of every file, also of one without a version resource: for a rule that denies, for what narrows
// a denied signer, and for an exception. A version is asked of those that have one.
func TestAnyFileName(t *testing.T) {
	rule := func(kind uint32, minimum, maximum uint64) sipolicy.FileRule {
		return sipolicy.FileRule{Kind: kind, FileName: "*", Minimum: minimum, Maximum: maximum}
	}
	all := rule(sipolicy.Deny, sipolicy.AnyVersion, 0)
	by := signedBy("P", "", fact.Yes)
	signer := func(attribs ...int) []sipolicy.Signer {
		return []sipolicy.Signer{{Root: unhex(t, tbsCA), Attribs: attribs}}
	}
	denied := func(except ...int) sipolicy.Group {
		return sipolicy.Group{Denied: []sipolicy.SignerRef{{Signer: 0, Except: except}}}
	}
	for name, tt := range map[string]struct {
		policy sipolicy.Policy
		e      BlockEvidence
		want   string
	}{
		"a rule": {sipolicy.Policy{Rules: []sipolicy.FileRule{all},
			Scenarios: []sipolicy.Scenario{{Product: sipolicy.Group{Rules: []int{0}}}}}, BlockEvidence{},
			"rule 0 file strong"},
		"a rule with a range": {sipolicy.Policy{Rules: []sipolicy.FileRule{rule(sipolicy.Deny, 1<<48, 2<<48)},
			Scenarios: []sipolicy.Scenario{{Product: sipolicy.Group{Rules: []int{0}}}}}, BlockEvidence{}, ""},
		"a signer": {sipolicy.Policy{Rules: []sipolicy.FileRule{rule(sipolicy.Attrib, 0, 0)}, Signers: signer(0),
			Scenarios: []sipolicy.Scenario{{Product: denied()}}}, BlockEvidence{Signatures: by},
			"signer 0 signer strong tbsHash"},
		"a signer's range": {sipolicy.Policy{Rules: []sipolicy.FileRule{rule(sipolicy.Attrib, 1<<48, 0)},
			Signers: signer(0), Scenarios: []sipolicy.Scenario{{Product: denied()}}},
			BlockEvidence{Signatures: by}, ""},
		"an exception": {sipolicy.Policy{Rules: []sipolicy.FileRule{rule(sipolicy.Allow, 0, 0)}, Signers: signer(),
			Scenarios: []sipolicy.Scenario{{Product: denied(0)}}}, BlockEvidence{Signatures: by}, ""},
	} {
		tt.policy.Format, tt.policy.Scenarios[0].Value = 7, sipolicy.ScenarioDrivers
		l, err := ParseBlockList(policytest.Compile(&tt.policy), new(fact.Report))
		if err != nil {
			t.Fatal(name, err)
		}
		if got := describe(l.Match(tt.e)); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

// A driver of several signatures is denied for sure only if each of them that may carry it is of a denied signer: where
// two catalogs contradict each other, it is not known which of them Windows takes.
func TestSeveralSignatures(t *testing.T) {
	l, err := ParseBlockList([]byte(kernelPolicy(`<Deny ID="D" FileName="x.sys"/>`,
		`<Signer ID="A" Name="A"><CertRoot Type="TBS" Value="`+tbsCA+`"/><CertPublisher Value="a"/></Signer>`+
			`<Signer ID="B" Name="B"><CertRoot Type="TBS" Value="`+tbsCA+`"/><CertPublisher Value="b"/></Signer>`+
			`<Signer ID="C" Name="C"><CertRoot Type="TBS" Value="`+tbsCA+`"/><CertPublisher Value="c"/></Signer>`,
		`<AllowedSigners><AllowedSigner SignerId="C"><ExceptDenyRule DenyRuleID="D"/></AllowedSigner>`+
			`</AllowedSigners><DeniedSigners><DeniedSigner SignerId="A"/><DeniedSigner SignerId="B"/>`+
			`</DeniedSigners>`)), new(fact.Report))
	if err != nil {
		t.Fatal(err)
	}
	of := func(name string, status fact.SignatureStatus, fits fact.Tri) authenticode.Signature {
		s := signedBy(name, "", fits)[0]
		s.Status = status
		return s
	}
	z := of("z", fact.SignatureValid, fact.Yes)
	a, b, c := of("a", fact.SignatureValid, fact.Yes), of("b", fact.SignatureUntrusted, fact.Yes),
		of("c", fact.SignatureValid, fact.Yes)
	for name, tt := range map[string]struct {
		list   []authenticode.Signature
		unread bool // a folder of catalogs
		want   fact.Tri
		rules  string
	}{
		"one":                    {[]authenticode.Signature{a}, false, fact.Yes, "A strong"},
		"both denied":            {[]authenticode.Signature{a, b}, false, fact.Yes, "A strong, B strong"},
		"another signer, too":    {[]authenticode.Signature{a, z}, false, "", "A weak"},
		"another that is unread": {[]authenticode.Signature{a, {Status: fact.SignatureUnchecked}}, false, "", "A weak"},
		"another that does not fit": {[]authenticode.Signature{a, of("z", fact.SignatureInvalid, fact.No)}, false,
			fact.Yes, "A strong"},
		"catalogs are missing":      {[]authenticode.Signature{a}, true, "", "A strong"},
		"allowed, but for this":     {[]authenticode.Signature{c}, false, fact.Yes, "D strong"},
		"and denied":                {[]authenticode.Signature{c, b}, false, "", "D weak, B weak"},
		"and by another":            {[]authenticode.Signature{c, of("z", "", "")}, false, "", "D weak"},
		"allowed, catalogs missing": {[]authenticode.Signature{c}, true, "", "D strong"},
	} {
		e := &entry{Name: "x.sys", Path: `C:\x.sys`, catalogsUnread: tt.unread,
			Driver: &Driver{PE: &pe.File{}, Signatures: tt.list}}
		if tt.list[0].Signer().CommonName == "c" {
			e.Driver.Version = versionOf("x.sys", "")
		}
		chk := &checker{image: true, kernel: noKeys(), lists: []systemList{{BlockList: l, file: "F"}},
			policy: &fact.Policy{}}
		answer := chk.blockList(e)
		var rules []string
		for _, m := range l.Match(e.Driver.Evidence(e.Name, e.Path)) {
			if !m.Inactive {
				rules = append(rules, m.Rule+" "+string(m.Strength))
			}
		}
		if answer.Blocked() != tt.want || strings.Join(rules, ", ") != tt.rules || answer.Because().Text == "" {
			t.Errorf("%s: %q because %s; %v", name, answer.Blocked(), answer.Because().Text, rules)
		}
	}
}

// A policy with a part that is not compared was not read whole, and a file that holds no policy says so, also where
// only what is incomplete is asked for.
func TestUncomparedPolicies(t *testing.T) {
	policy := func(root uint32) string {
		return string(policytest.Compile(&sipolicy.Policy{Format: 7,
			Signers: []sipolicy.Signer{{ByNumber: true, WellKnown: root}},
			Scenarios: []sipolicy.Scenario{{Value: sipolicy.ScenarioDrivers,
				Product: sipolicy.Group{Denied: []sipolicy.SignerRef{{Signer: 0}}}}}}))
	}
	for name, tt := range map[string]struct {
		text    string
		outcome fact.Outcome
		code    fact.Code // of the policy's fact
	}{
		"a known root":    {policy(6), fact.OutcomeOK, ""},
		"an unknown root": {policy(9), fact.OutcomePartial, ""},
		"cut off":         {policy(6)[:100], fact.OutcomePartial, fact.CodeMalformed},
	} {
		k := Open(policyFiles{MapFS: fstest.MapFS{
			"C:/Windows/System32/CodeIntegrity/SiPolicy.p7b": {Data: []byte(tt.text)}}},
			fact.Options{Image: true})
		var r fact.Report
		k.systemLists(context.Background(), &r)
		src, _ := r.Find(SourceCIFiles)
		if src.Outcome != tt.outcome {
			t.Errorf("%s: %+v, %v", name, src, r.Problems)
		}
		found := false
		for _, f := range k.readPolicy(context.Background(), nil).Facts {
			if f.Name != PolicyFile || !strings.HasSuffix(f.File, `\SiPolicy.p7b`) {
				continue
			}
			found = true
			if f.Code != tt.code || !strings.HasPrefix(f.Value, "sha256 ") {
				t.Errorf("%s: %+v", name, f)
			}
			p := fact.Policy{Loading: fact.LoadingSigned, Facts: []fact.PolicyFact{f}}
			if (p.Err() != nil) != (tt.code != "") {
				t.Errorf("%s: %v", name, p.Err())
			}
		}
		if !found {
			t.Errorf("%s: no fact", name)
		}
	}
}

// policyFiles is a machine of files, and answers to calls without arguments.
type policyFiles struct {
	fstest.MapFS
	calls map[string]string
}

func (m policyFiles) Lstat(name string) (fs.FileInfo, error) { return m.Stat(name) }
func (m policyFiles) ReadLink(string) (string, error)        { return "", fs.ErrInvalid }
func (m policyFiles) Call(_ context.Context, op string, _ ...string) ([]byte, error) {
	if text, ok := m.calls[op]; ok {
		return []byte(text), nil
	}
	return nil, errors.ErrUnsupported
}
