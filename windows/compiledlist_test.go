// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/policytest"
	"github.com/kernelext/kernelext/windows/authenticode"
	"github.com/kernelext/kernelext/windows/pe"
	"github.com/kernelext/kernelext/windows/sipolicy"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// twin is policyText's rules and more, compiled.
func twin(t *testing.T) *sipolicy.Policy {
	t.Helper()
	return &sipolicy.Policy{
		Format: 7, Options: sipolicy.OptionAudit, Version: 10<<48 | 1<<16 | 2,
		EKUs: []string{ekuWHQL},
		Rules: []sipolicy.FileRule{
			0: {Kind: sipolicy.Deny, Hash: unhex(t, hashA), Minimum: sipolicy.AnyVersion},
			1: {Kind: sipolicy.Deny, FileName: "vuln.sys ", Minimum: 1 << 48, Maximum: 2 << 48},
			2: {Kind: sipolicy.Deny, FileName: "any.sys", Minimum: sipolicy.AnyVersion},
			3: {Kind: sipolicy.Deny, FileName: "up.sys", Minimum: 4<<48 | 21<<32},
			4: {Kind: sipolicy.Attrib, FileName: "vendor.sys", Minimum: 2 << 48},
			5: {Kind: sipolicy.Deny, FileDescription: "Old Driver", ProductName: "P", Minimum: sipolicy.AnyVersion},
			6: {Kind: sipolicy.Deny, FilePath: `%WINDIR%\Temp\*`, Minimum: sipolicy.AnyVersion},
			7: {Kind: sipolicy.Deny, FileName: "unreferenced.sys", Minimum: sipolicy.AnyVersion},
			8: {Kind: sipolicy.Allow, FileName: "*"},
			9: {Kind: sipolicy.Deny, FileName: "except.sys", Minimum: sipolicy.AnyVersion},
		},
		Signers: []sipolicy.Signer{
			0: {Root: unhex(t, tbsCA), Publisher: "Leaked, Inc."},
			1: {Root: unhex(t, tbsCA), OEMID: "Vendor GmbH", EKUs: []int{0}, Attribs: []int{4}},
			2: {Root: unhex(t, tbsCA), Publisher: "Allowed Ltd."},
			3: {WellKnown: 99, ByNumber: true},
			4: {Root: unhex(t, tbsCA), Publisher: "Late", SignTimeAfter: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)},
		},
		Scenarios: []sipolicy.Scenario{{Value: sipolicy.ScenarioDrivers, Product: sipolicy.Group{
			Rules:   []int{0, 1, 2, 3, 5, 6, 8},
			Denied:  []sipolicy.SignerRef{{Signer: 0}, {Signer: 1}, {Signer: 3}, {Signer: 4}},
			Allowed: []sipolicy.SignerRef{{Signer: 2, Except: []int{9}}},
		}}},
		Settings: []sipolicy.Setting{{Provider: "PolicyInfo", Key: "Information", Name: "Name",
			Type: sipolicy.SettingText, Text: "Twin"}},
	}
}

func TestCompiledList(t *testing.T) {
	var r fact.Report
	raw := policytest.Compile(twin(t))
	l, err := ParseBlockList(policytest.Sign(raw, true), &r)
	if err != nil || l.Name != "Twin" || l.Version != "10.0.1.2" || l.Rules != 11 || len(r.Problems) != 1 {
		t.Fatalf("%+v, %v, %v", l, err, r.Problems)
	}
	described := func(description, product string) *pe.Version {
		return &pe.Version{File: "1.0.0.0", Languages: []pe.VersionLanguage{{Strings: []pe.VersionString{
			{Name: "FileDescription", Value: description}, {Name: "ProductName", Value: product}}}}}
	}
	for name, c := range map[string]struct {
		e    BlockEvidence
		want string
	}{
		"a digest, whichever": {BlockEvidence{Hashes: &pe.Hashes{FirstPageSHA256: hashA}},
			"rule 0 hash strong firstPageSha256 audit"},
		"in the range": {BlockEvidence{Version: versionOf("vuln.sys ", "1.5.0.0")},
			"rule 1 file strong OriginalFilename fileVersion audit"},
		"in the range, without the rule's blank": {BlockEvidence{Version: versionOf("vuln.sys", "1.5.0.0")},
			"rule 1 file weak OriginalFilename blanks fileVersion audit"},
		"above it": {BlockEvidence{Version: versionOf("vuln.sys ", "2.0.0.1")}, ""},
		"any version": {BlockEvidence{Version: versionOf("any.sys", "")},
			"rule 2 file strong OriginalFilename audit"},
		"up to": {BlockEvidence{Version: versionOf("up.sys", "4.21.0.0")},
			"rule 3 file strong OriginalFilename fileVersion audit"},
		"beyond": {BlockEvidence{Version: versionOf("up.sys", "4.21.0.1")}, ""},
		"description, product": {BlockEvidence{Version: described("old driver", "p")},
			"rule 5 file strong FileDescription ProductName audit"},
		"one of the two": {BlockEvidence{Version: described("Old Driver", "q")}, ""},
		"a path":         {BlockEvidence{Path: `D:\Windows\Temp\x\y.sys`}, "rule 6 file weak path audit"},
		"another path":   {BlockEvidence{Path: `C:\Windows\y.sys`}, ""},
		"defined alone": {BlockEvidence{Version: versionOf("unreferenced.sys", "")},
			"rule 7 file weak OriginalFilename inactive audit"},
		"a publisher": {BlockEvidence{Signatures: signedBy("Leaked, Inc.", "", fact.Yes)},
			"signer 0 signer strong tbsHash publisher audit"},
		"a vendor": {BlockEvidence{Signatures: signedBy("Microsoft", "Vendor GmbH", fact.Yes, ekuWHQL),
			Version: versionOf("vendor.sys", "1.9.0.0")},
			"signer 1 signer strong tbsHash programName OriginalFilename fileVersion audit"},
		"an allowed signer": {BlockEvidence{Signatures: signedBy("Allowed Ltd.", "", fact.Yes)}, ""},
		"allowed, but for this": {BlockEvidence{Signatures: signedBy("Allowed Ltd.", "", fact.Yes),
			Version: versionOf("except.sys", "")},
			"rule 9 file strong OriginalFilename exceptDenyRule audit"},
		"signed by nobody": {BlockEvidence{Signatures: []authenticode.Signature{}, Version: versionOf("except.sys",
			"")},
			"rule 9 file weak OriginalFilename inactive audit"},
		"signed by who is not known": {BlockEvidence{Version: versionOf("except.sys", "")},
			"rule 9 file weak OriginalFilename anySigner audit"},
	} {
		if got := describe(l.Match(c.e)); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// A policy of a newer format is compared, and says that something of it was not read.
func TestCompiledListNewer(t *testing.T) {
	p := twin(t)
	p.Format, p.Signers = 8, nil
	p.Scenarios[0].Product.Denied, p.Scenarios[0].Product.Allowed = nil, nil
	p.Format = 10
	var r fact.Report
	l, err := ParseBlockList(policytest.Compile(p), &r)
	if err != nil || len(r.Problems) != 1 || r.Problems[0].Code != fact.CodeUnsupported ||
		r.Problems[0].Field != "format" {
		t.Fatalf("%+v, %v, %v", l, err, r.Problems)
	}
	if got := describe(l.Match(BlockEvidence{Hashes: &pe.Hashes{SHA256: hashA}})); !strings.HasPrefix(got, "rule 0") {
		t.Errorf("%q", got)
	}
}

// The same rule in XML and compiled hits the same drivers.
func TestTwins(t *testing.T) {
	xml := kernelPolicy(`<Deny ID="D0" FileName="x.sys" MinimumFileVersion="65535.65535.65535.65535"/>`+
		`<Deny ID="D1" FileDescription="d" FilePath="%OSDRIVE%\a\*.sys"/>`+
		`<Deny ID="D2" FileName="up.sys" MinimumFileVersion="1.0.0.0"/>`, `<Signer ID="R" Name="R"><CertRoot `+
		`Type="Wellknown" Value="06"/><CertPublisher Value="P"/></Signer>`,
		`<AllowedSigners><AllowedSigner SignerId="R">`+
			`<ExceptDenyRule DenyRuleID="D2"/></AllowedSigner></AllowedSigners>`+
			`<FileRulesRef><FileRuleRef RuleID="D0"/><FileRuleRef RuleID="D1"/></FileRulesRef>`)
	p := &sipolicy.Policy{
		Format: 7, Rules: []sipolicy.FileRule{
			{Kind: sipolicy.Deny, FileName: "x.sys", Minimum: sipolicy.AnyVersion},
			{Kind: sipolicy.Deny, FileDescription: "d", FilePath: `%OSDRIVE%\a\*.sys`, Minimum: sipolicy.AnyVersion},
			{Kind: sipolicy.Deny, FileName: "up.sys", Minimum: 1 << 48},
		},
		Signers: []sipolicy.Signer{{WellKnown: 6, ByNumber: true, Publisher: "P"}},
		Scenarios: []sipolicy.Scenario{{Value: sipolicy.ScenarioDrivers, Product: sipolicy.Group{Rules: []int{0, 1},
			Allowed: []sipolicy.SignerRef{{Signer: 0, Except: []int{2}}}}}},
	}
	var r fact.Report
	a, errA := ParseBlockList([]byte(xml), &r)
	b, errB := ParseBlockList(policytest.Compile(p), &r)
	if errA != nil || errB != nil || len(r.Problems) > 0 || a.Rules != b.Rules {
		t.Fatalf("%v, %v, %v; %d and %d rules", errA, errB, r.Problems, a.Rules, b.Rules)
	}
	described := &pe.Version{File: "1.0.0.0", Languages: []pe.VersionLanguage{{Strings: []pe.VersionString{
		{Name: "FileDescription", Value: "D"}}}}}
	for name, e := range map[string]BlockEvidence{
		"no version":   {Version: versionOf("x.sys", "")},
		"a version":    {Version: versionOf("x.sys", "9.9.9.9")},
		"path":         {Version: described, Path: `C:\a\b.sys`},
		"another path": {Version: described, Path: `C:\b\b.sys`},
		"no path":      {Version: described},
		"up to":        {Version: versionOf("up.sys", "1.0.0.0"), Signatures: signedBy("P", "", fact.Yes)},
		"nothing":      {},
	} {
		x, y := a.Match(e), b.Match(e)
		if len(x) != len(y) || len(x) > 0 && (x[0].Kind != y[0].Kind || x[0].Strength != y[0].Strength ||
			x[0].Inactive != y[0].Inactive || len(x[0].Evidence) != len(y[0].Evidence)) {
			t.Errorf("%s: XML %+v, compiled %+v", name, x, y)
		}
	}
}

// Every form of LOLDrivers' list names the same driver.
func TestLOLDriversForms(t *testing.T) {
	one := `{"Id":"e","Tags":["old.sys"],"Category":"c","KnownVulnerableSamples":[{"SHA256":"` + hashA +
		`","LoadsDespiteHVCI":"TRUE"}]}`
	csv := "Id,Author,Category,KnownVulnerableSamples_MD5,KnownVulnerableSamples_SHA256,Verified,Tags\n" +
		"e,\"a, b\",c,,\"" + hashB + ", " + strings.ToUpper(hashA) + "\",TRUE,\"old.sys, x.sys\"\n"
	for name, c := range map[string]struct {
		text     string
		rules    int
		problems int
		despite  fact.Tri
	}{
		"a list": {"[" + one + "]", 1, 0, fact.Yes}, "one entry": {one, 1, 0, fact.Yes},
		"one a line":         {one + "\n" + one + "\n", 2, 0, fact.Yes},
		"a list and another": {"[" + one + "]\n[" + one + "]", 2, 0, fact.Yes},
		"a list, then text":  {"[" + one + "] and more", 1, 1, fact.Yes},
		"csv":                {csv, 2, 0, ""}, "csv with a row cut": {csv + "f", 2, 1, ""},
		"csv without an id": {csv + ",x,y,,,,\n", 2, 1, ""},
	} {
		var r fact.Report
		l, err := ParseBlockList([]byte(c.text), &r)
		if err != nil || l.Rules != c.rules || len(r.Problems) != c.problems {
			t.Errorf("%s: %+v, %v, %v", name, l, err, r.Problems)
			continue
		}
		m := l.Match(BlockEvidence{Hashes: &pe.Hashes{SHA256: hashA}})
		if len(m) == 0 || m[0].Name != "old.sys" || m[0].Category != "c" || m[0].LoadsDespiteHVCI != c.despite {
			t.Errorf("%s: %+v", name, m)
		}
	}
}

func TestWildcard(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"", "", true}, {"*", "", true}, {"*", "abc", true}, {"a*c", "abc", true}, {"a*c", "ab", false}, {"a**", "a",
			true},
		{"*b*", "abc", true}, {"b", "abc", false}, {"*.sys", `c:\x.sys`, true},
		{"a?c", "abc", true}, {"a?c", "ac", false}, {"?", "", false}, {"*?", "", false}, {"*?", "a", true},
		{"?.sys", "é.sys", true}, {"*?c", "xyc", true}, {"a?", "abc", false},
		{strings.Repeat("*a", 200), strings.Repeat("a", 10_000) + "b", false},
	} {
		if got := wildcard(c.pattern, c.text); got != c.want {
			t.Errorf("%.20q %.20q: %v", c.pattern, c.text, got)
		}
	}
}
