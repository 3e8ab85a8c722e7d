// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/bomb"
	"github.com/kernelext/kernelext/internal/utf16text"
	"github.com/kernelext/kernelext/windows/authenticode"
	"github.com/kernelext/kernelext/windows/pe"
)

const (
	hashA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	hashB = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	tbsCA = "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
)

// policyText is a small policy of our own in the form of Microsoft's.
var policyText = `<?xml version="1.0" encoding="utf-8"?>
<SiPolicy xmlns="urn:schemas-microsoft-com:sipolicy"><VersionEx>10.0.1.2</VersionEx>
<Rules><Rule><Option>Enabled:Unsigned System Integrity Policy</Option></Rule></Rules>
<EKUs><EKU ID="ID_EKU_WHQL" Value="010A2B0601040182370A0305" FriendlyName=""/></EKUs>
<FileRules>
 <Allow ID="ID_ALLOW_ALL_1" FriendlyName="" FileName="*"/>
 <Deny ID="ID_DENY_HASH" FriendlyName="bad.sys Hash Sha256" Hash="` + strings.ToUpper(hashA) + `"/>
 <Deny ID="ID_DENY_PAGE" FriendlyName="bad.sys Hash Page Sha1" Hash="` + strings.ToUpper(hashB) + `"/>
 <Deny ID="ID_DENY_OLD" FriendlyName="old" Hash="` + strings.Repeat("0D", 32) + `"/>
 <Deny ID="ID_DENY_NAME" FriendlyName="" FileName="vuln.sys" MinimumFileVersion="1.0.0.0" MaximumFileVersion="2.0.0.0"/>
 <Deny ID="ID_DENY_ANY" FriendlyName="" FileName="任意.sys"/>
 <Deny ID="ID_DENY_BROKEN" FriendlyName="" FileName="x.sys" MaximumFileVersion="1.x"/>
 <FileAttrib ID="ID_FA_VENDOR" FriendlyName="" FileName="vendor.sys" MaximumFileVersion="3.1.65535.65535"/>
</FileRules>
<Signers>
 <Signer ID="ID_SIGNER_LEAKED" Name="Leaked"><CertRoot Type="TBS" Value="` + strings.ToUpper(tbsCA) +
	`"/><CertPublisher Value="Leaked, Inc."/></Signer>
 <Signer ID="ID_SIGNER_OEM" Name="Oem"><CertRoot Type="TBS" Value="` + tbsCA +
	`"/><CertEKU ID="ID_EKU_WHQL"/><CertOemID Value="Vendor GmbH"/><FileAttribRef RuleID="ID_FA_VENDOR"/></Signer>
 <Signer ID="ID_SIGNER_USER" Name="User mode only"><CertRoot Type="TBS" Value="` + tbsCA +
	`"/><CertPublisher Value="User Soft"/></Signer>
</Signers>
<SigningScenarios>
 <SigningScenario Value="131" ID="S1"><ProductSigners><DeniedSigners><DeniedSigner SignerId="ID_SIGNER_LEAKED"/>` +
	`<DeniedSigner SignerId="ID_SIGNER_OEM"/></DeniedSigners>
  <FileRulesRef><FileRuleRef RuleID="ID_ALLOW_ALL_1"/><FileRuleRef RuleID="ID_DENY_HASH"/>` +
	`<FileRuleRef RuleID="ID_DENY_PAGE"/><FileRuleRef RuleID="ID_DENY_NAME"/>` +
	`<FileRuleRef RuleID="ID_DENY_ANY"/></FileRulesRef></ProductSigners></SigningScenario>
 <SigningScenario Value="12" ID="S2"><ProductSigners><DeniedSigners>` +
	`<DeniedSigner SignerId="ID_SIGNER_USER"/></DeniedSigners><FileRulesRef>` +
	`<FileRuleRef RuleID="ID_DENY_OLD"/></FileRulesRef></ProductSigners></SigningScenario>
</SigningScenarios>
<Settings><Setting Provider="PolicyInfo" Key="Information" ValueName="Name"><Value>` +
	`<String>Test Policy</String></Value></Setting></Settings>
</SiPolicy>`

func versionOf(name, version string) *pe.Version {
	return &pe.Version{File: version,
		Languages: []pe.VersionLanguage{
			{Language: "0409", Strings: []pe.VersionString{{Name: "OriginalFilename", Value: name}}}}}
}

// ekuWHQL is the extended key usage of the hardware program.
const ekuWHQL = "1.3.6.1.4.1.311.10.3.5"

func signedBy(leaf, programme string, fits fact.Tri, ekus ...string) []authenticode.Signature {
	return []authenticode.Signature{
		{Fits: fits, ProgramName: programme,
			Certificates: []authenticode.Certificate{{CommonName: leaf, EKUs: ekus, TBSHash: "1"},
				{CommonName: "CA", TBSHash: tbsCA}}}}
}

func TestSiPolicy(t *testing.T) {
	for name, text := range map[string][]byte{"utf-8": []byte("\xef\xbb\xbf" + policyText),
		"utf-16": append([]byte{0xff, 0xfe}, utf16text.Encode(policyText)...)} {
		var r fact.Report
		l, err := ParseBlockList(text, &r)
		if err != nil {
			t.Fatal(name, err)
		}
		if l.Name != "Test Policy" || l.Version != "10.0.1.2" || l.Rules != 8 || len(r.Problems) != 1 {
			t.Errorf("%s: %q %q, %d rules, %v", name, l.Name, l.Version, l.Rules, r.Problems)
		}
		for _, c := range []struct {
			name string
			e    BlockEvidence
			want string
		}{
			{"authentihash", BlockEvidence{Hashes: &pe.Hashes{AuthentihashSHA256: hashA}},
				"ID_DENY_HASH hash strong authentihashSha256"},
			{"flat digest", BlockEvidence{Hashes: &pe.Hashes{SHA256: hashA}}, "ID_DENY_HASH hash strong sha256"},
			{"first page", BlockEvidence{Hashes: &pe.Hashes{FirstPageSHA1: hashB}},
				"ID_DENY_PAGE hash strong firstPageSha1"},
			{"a rule of user mode", BlockEvidence{Hashes: &pe.Hashes{SHA256: strings.Repeat("0d", 32)}},
				"ID_DENY_OLD hash weak sha256 inactive"},
			{"lowest version", BlockEvidence{Version: versionOf("VULN.sys", "1.0.0.0")},
				"ID_DENY_NAME file strong OriginalFilename fileVersion"},
			{"highest version", BlockEvidence{Version: versionOf("vuln.sys", "2.0.0.0")},
				"ID_DENY_NAME file strong OriginalFilename fileVersion"},
			{"above", BlockEvidence{Version: versionOf("vuln.sys", "2.0.0.1")}, ""},
			{"below", BlockEvidence{Version: versionOf("vuln.sys", "0.9.9.9")}, ""},
			{"no version", BlockEvidence{Version: versionOf("vuln.sys", "")},
				"ID_DENY_NAME file weak OriginalFilename anyVersion"},
			{"renamed on disk", BlockEvidence{Name: "vuln.sys", Version: versionOf("other.sys", "1.5.0.0")}, ""},
			{"any script, any version", BlockEvidence{Version: versionOf("任意.sys", "")},
				"ID_DENY_ANY file strong OriginalFilename"},
			{"publisher", BlockEvidence{Signatures: signedBy("Leaked, Inc.", "", fact.Yes)},
				"ID_SIGNER_LEAKED signer strong tbsHash publisher"},
			{"other publisher", BlockEvidence{Signatures: signedBy("Honest, Inc.", "", fact.Yes)}, ""},
			{"a signature that does not fit", BlockEvidence{Signatures: signedBy("Leaked, Inc.", "", fact.No)}, ""},
			{"program and file",
				BlockEvidence{Signatures: signedBy("Microsoft", "Vendor GmbH", fact.Yes, ekuWHQL),
					Version: versionOf("vendor.sys", "3.1.0.0")},
				"ID_SIGNER_OEM signer strong tbsHash programName OriginalFilename fileVersion"},
			{"program, newer file",
				BlockEvidence{Signatures: signedBy("Microsoft", "Vendor GmbH", fact.Yes, ekuWHQL),
					Version: versionOf("vendor.sys", "3.2.0.0")}, ""},
			{"program, other usage", BlockEvidence{Signatures: signedBy("Microsoft", "Vendor GmbH", fact.Yes),
				Version: versionOf("vendor.sys", "3.1.0.0")}, ""},
			{"a signer of user mode", BlockEvidence{Signatures: signedBy("User Soft", "", fact.Yes)},
				"ID_SIGNER_USER signer weak tbsHash publisher inactive"},
			{"nothing known", BlockEvidence{}, ""},
		} {
			if got := describe(l.Match(c.e)); got != c.want {
				t.Errorf("%s: %q, want %q", c.name, got, c.want)
			}
		}
	}
}

func describe(list []BlockMatch) string {
	var out []string
	for _, m := range list {
		s := fmt.Sprintf("%s %s %s", m.Rule, m.Kind, m.Strength)
		for _, e := range m.Evidence {
			s += " " + e.Fact
		}
		if m.Inactive {
			s += " inactive"
		}
		if m.Audit {
			s += " audit"
		}
		out = append(out, s)
	}
	return strings.Join(out, "; ")
}

const lolText = `[
 {"Id":"e1","Tags":["vuln.sys"],"Category":"vulnerable driver","Verified":"TRUE","Commands":{},` +
	`"KnownVulnerableSamples":[
  {"Filename":"vuln.sys","MD5":"-","SHA1":"","SHA256":"` + hashA + `","Authentihash":{"MD5":"","SHA1":"","SHA256":"` +
	tbsCA +
	`"},"OriginalFilename":"vuln.sys","FileVersion":"1.2.3.4","Imphash":"0123456789abcdef0123456789abcdef",` +
	`"Signatures":{}},
  {"Filename":"","MD5":"00112233445566778899aabbccddeeff","Authentihash":"","Signatures":[]}]},
 {"Id":"e2","Tags":"single","KnownVulnerableSamples":[{"SHA256":"` + hashA + `"},{"Filename":7}]},
 {"Id":"e3","KnownVulnerableSamples":"none"},
 {"KnownVulnerableSamples":[]}, 5
]`

func TestLOLDrivers(t *testing.T) {
	var r fact.Report
	l, err := ParseBlockList([]byte(lolText), &r)
	if err != nil || l.Name != "LOLDrivers" || l.Rules != 3 || len(r.Problems) != 4 {
		t.Fatalf("%+v, %v", l, err)
	}
	for _, c := range []struct {
		name string
		e    BlockEvidence
		want string
	}{
		{"two entries of one digest", BlockEvidence{Hashes: &pe.Hashes{SHA256: hashA}},
			"e1 sample strong sha256; e2 sample strong sha256"},
		{"authentihash in its field", BlockEvidence{Hashes: &pe.Hashes{AuthentihashSHA256: tbsCA}},
			"e1 sample strong authentihashSha256"},
		{"authentihash in the file's field", BlockEvidence{Hashes: &pe.Hashes{AuthentihashSHA256: hashA}},
			"e1 sample strong authentihashSha256; e2 sample strong authentihashSha256"},
		{"MD5", BlockEvidence{Hashes: &pe.Hashes{MD5: "00112233445566778899aabbccddeeff"}}, "e1 sample weak md5"},
		{"imphash", BlockEvidence{PE: &pe.File{Imphash: "0123456789abcdef0123456789abcdef"}}, "e1 sample hint imphash"},
		{"imphash of a capture", BlockEvidence{PE: &pe.File{},
			Hashes: &pe.Hashes{Imphash: "0123456789ABCDEF0123456789abcdef"}}, "e1 sample hint imphash"},
		{"name and version", BlockEvidence{Version: versionOf("Vuln.SYS", "1.2.3.4")},
			"e1 sample hint OriginalFilename fileVersion"},
		{"name alone", BlockEvidence{Version: versionOf("vuln.sys", "9.9.9.9")}, ""},
		{"empty digests", BlockEvidence{Hashes: &pe.Hashes{}}, ""},
	} {
		if got := describe(l.Match(c.e)); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// What cannot be compared is reported, and is no rule. An empty digest is how the list says that it is not known.
func TestLOLDriversUnusable(t *testing.T) {
	const good = `"SHA256":"` + hashA + `"`
	sample := func(fields string) string {
		return `[{"Id":"e","KnownVulnerableSamples":[{` + fields + `}]}]`
	}
	const header = "Id,KnownVulnerableSamples_MD5,KnownVulnerableSamples_SHA256\n"
	for text, want := range map[string]struct{ rules, problems int }{
		sample(good + `,"MD5":"","SHA1":"-","Authentihash":{"MD5":"","SHA1":null},"Imphash":""`): {1, 0},
		sample(good + `,"Authentihash":""`):                                 {1, 0},
		sample(good + `,"MD5":"zz"`):                                        {1, 1},
		sample(good + `,"SHA1":7,"Imphash":"abc"`):                          {1, 2},
		sample(good + `,"Authentihash":"zz"`):                               {1, 1},
		sample(good + `,"Authentihash":{"SHA256":["` + hashB + `"]}`):       {1, 1},
		sample(`"SHA256":"` + hashA[1:] + `"`):                              {0, 2},
		sample(`"SHA256":"x` + hashA[1:] + `"`):                             {0, 2},
		sample(``):                                                          {0, 1},
		sample(`"Authentihash":{"MD5":"0123456789abcdef0123456789abcdef"}`): {0, 1},
		sample(`"Filename":"a.sys"`):                                        {0, 1},
		sample(`"OriginalFilename":"a.sys"`):                                {0, 1},
		sample(`"OriginalFilename":"a.sys","FileVersion":"1.0"`):            {1, 0},
		sample(`"Imphash":"0123456789abcdef0123456789abcdef"`):              {1, 0},
		`[{"Id":"e","KnownVulnerableSamples":[]}]`:                          {0, 1},
		`[{"Id":"e","KnownVulnerableSamples":null}]`:                        {0, 1},
		header + "e,," + hashA + "\n":                                       {1, 0},
		header + "e,zz," + hashA + "\n":                                     {1, 1},
		header + "e,-,\"" + hashA + ", , " + hashB[1:] + "\"\n":             {1, 1},
		header + "e,,\n":                                                    {0, 1},
	} {
		var r fact.Report
		l, err := ParseBlockList([]byte(text), &r)
		if err != nil || l.Rules != want.rules || len(r.Problems) != want.problems {
			t.Errorf("%s: %+v, %v, %v", text, l, err, r.Problems)
		}
	}
}

func TestBlockListNonsense(t *testing.T) {
	for _, text := range []string{"", "x", "[]", "[{}]", "<a/>", "<SiPolicy>", "<SiPolicy/>",
		strings.Repeat("<SiPolicy>", 40), "<SiPolicy></SiPolicy></SiPolicy>",
		"<SiPolicy><Signer><Signer></Signer></Signer></SiPolicy>", "<SiPolicy><Signer></SiPolicy></Signer>"} {
		if l, err := ParseBlockList([]byte(text), new(fact.Report)); err == nil || l != nil {
			t.Errorf("%.20q: %+v, %v", text, l, err)
		}
	}
}

func FuzzBlockList(f *testing.F) {
	f.Add([]byte(policyText))
	f.Add([]byte(lolText))
	for _, seed := range bomb.Seeds(bomb.BlockList) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var r fact.Report
		l, err := ParseBlockList(b, &r)
		if (err == nil) == (l == nil) {
			t.Fatalf("value %v and error %v", l, err)
		}
		if err != nil {
			return
		}
		if l.Rules > len(b) || len(r.Problems) > 100 {
			t.Fatalf("%d rules and %d problems of %d bytes", l.Rules, len(r.Problems), len(b))
		}
		l.Match(BlockEvidence{Hashes: &pe.Hashes{SHA256: hashA}, Version: versionOf("vuln.sys", "1.5.0.0"),
			PE: &pe.File{Imphash: "x"}, Signatures: signedBy("a", "b", fact.Yes)})
	})
}

// The code integrity options have one word each.
func TestCodeIntegrity(t *testing.T) {
	for bits, want := range map[codeIntegrity][]string{
		0: {}, 1: {"enabled"}, 0x403: {"enabled", "test_sign", "hvci"}, 0x8001: {"enabled", "whql_audit"},
		0x10000: {"0x10000"},
	} {
		if got := bits.Words(); !slices.Equal(got, want) {
			t.Errorf("%#x: %v", uint32(bits), got)
		}
	}
	for bits, want := range map[codeIntegrity]fact.Loading{0: fact.LoadingAny, 1: fact.LoadingSigned,
		3:     fact.LoadingAny,
		0x401: fact.LoadingSigned} {
		if got := bits.Loading(); got != want {
			t.Errorf("%#x: %s", uint32(bits), got)
		}
	}
	if c, err := parseCodeIntegrity([]byte{8, 0, 0, 0, 1, 4, 0, 0}); err != nil || c != 0x401 || c.HVCI() != "yes" ||
		c.TestSign() != "no" || c.WHQL() != "no" {
		t.Errorf("%#x, %v", uint32(c), err)
	}
	if _, err := parseCodeIntegrity([]byte{4, 0, 0, 0, 1, 0, 0, 0}); err == nil {
		t.Error("a length of 4: no error")
	}
}

// kernelPolicy makes a policy whose parts the test names.
func kernelPolicy(rules, signers, scenario string) string {
	return `<SiPolicy xmlns="urn:schemas-microsoft-com:sipolicy" FriendlyName="Own"><FileRules>` + rules +
		`</FileRules><Signers>` + signers +
		`</Signers><SigningScenarios><SigningScenario Value="131"><ProductSigners>` + scenario +
		`</ProductSigners></SigningScenario></SigningScenarios></SiPolicy>`
}

// A rule that denies and has a minimum alone denies what is up to it.
func TestSiPolicyMinimumAlone(t *testing.T) {
	var r fact.Report
	l, err := ParseBlockList([]byte(kernelPolicy(
		`<Deny ID="D_ALL" FileName="all.sys " MinimumFileVersion="65535.65535.65535.65535"/>`+
			`<Deny ID="D_UP" FileName="up.sys" MinimumFileVersion="4.21.0.0"/>
<Deny ID="D_MAX" FileName="max.sys" MaximumFileVersion="4.21.0.0"/>`+
			`<FileAttrib ID="A" FileName="vendor.sys" MinimumFileVersion="2.0.0.0"/>`,
		`<Signer ID="S" Name="S"><CertRoot Type="TBS" Value="`+tbsCA+`"/><FileAttribRef RuleID="A"/></Signer>`,
		`<DeniedSigners><DeniedSigner SignerId="S"/></DeniedSigners><FileRulesRef><FileRuleRef RuleID="D_ALL"/>`+
			`<FileRuleRef RuleID="D_UP"/><FileRuleRef RuleID="D_MAX"/></FileRulesRef>`)), &r)
	if err != nil || l.Name != "Own" || l.Rules != 4 || len(r.Problems) > 0 {
		t.Fatalf("%+v, %v", l, err)
	}
	for _, c := range []struct{ file, version, want string }{
		{"all.sys", "10.0.26100.1", "D_ALL"}, {"all.sys", "0.0.0.0", "D_ALL"},
		{"up.sys", "4.20.9.9", "D_UP"}, {"up.sys", "4.21.0.0", "D_UP"}, {"up.sys", "4.22.0.0", ""},
		{"max.sys", "4.21.0.0", "D_MAX"}, {"max.sys", "4.21.0.1", ""},
		{"vendor.sys", "2.0.0.0", "S"}, {"vendor.sys", "1.0.0.0", "S"}, {"vendor.sys", "2.0.0.1", ""},
	} {
		got := ""
		if list := l.Match(BlockEvidence{Version: versionOf(c.file, c.version),
			Signatures: signedBy("x", "", fact.Yes)}); len(list) > 0 {
			got = list[0].Rule
		}
		if got != c.want {
			t.Errorf("%s %s: %q, want %q", c.file, c.version, got, c.want)
		}
	}
}

// What a signer is denied for beside its certificates: its issuer, the time, exceptions.
func TestSiPolicySigners(t *testing.T) {
	signer := func(id, attrs, parts string) string {
		return `<Signer ID="` + id + `" Name="` + id + `"` + attrs + `><CertRoot Type="TBS" Value="` + tbsCA +
			`"/>` + parts + `</Signer>`
	}
	var r fact.Report
	l, err := ParseBlockList([]byte(kernelPolicy(
		`<Allow ID="ID_ALLOW_FIXED" FileName="fixed.sys" MinimumFileVersion="3.0.0.0"/><Allow `+
			`ID="ID_ALLOW_HASH" Hash="`+hashA+`"/><Allow ID="ID_ALLOW_PATH" FilePath="C:\p\*"/>`,
		signer("ISSUER", "", `<CertIssuer Value="CA"/><CertPublisher Value="i"/>`)+
			signer("OTHER", "", `<CertIssuer Value="Another CA"/><CertPublisher Value="i"/>`)+
			signer("LATE", ` SignTimeAfter="2020-01-01T00:00:00Z"`, `<CertPublisher Value="l"/>`)+
			signer("BROKEN", ` SignTimeAfter="soon"`, ``)+
			signer("EXCEPT", "", `<CertPublisher Value="e"/>`)+`<Signer ID="WELL" Name="w"><CertRoot `+
			`Type="Wellknown" Value="09"/></Signer>`,
		`<DeniedSigners><DeniedSigner SignerId="ISSUER"/><DeniedSigner SignerId="OTHER"/>`+
			`<DeniedSigner SignerId="LATE"/><DeniedSigner SignerId="WELL"/>
<DeniedSigner SignerId="EXCEPT"><ExceptAllowRule AllowRuleID="ID_ALLOW_FIXED"/>`+
			`<ExceptAllowRule AllowRuleID="ID_ALLOW_PATH"/><ExceptAllowRule AllowRuleID="ID_ALLOW_HASH"/>`+
			`</DeniedSigner></DeniedSigners>`)), &r)
	if err != nil || l.Rules != 4 || len(r.Problems) != 2 {
		t.Fatalf("%+v, %v", l, err)
	}
	at := func(year int, list []authenticode.Signature) []authenticode.Signature {
		list[0].SignedAt = time.Date(year, 6, 1, 0, 0, 0, 0, time.UTC)
		list[0].Timestamps = []authenticode.Timestamp{{Time: list[0].SignedAt, Status: fact.SignatureValid}}
		return list
	}
	unproved := func(list []authenticode.Signature) []authenticode.Signature {
		list[0].Timestamps[0].Status = fact.SignatureUntrusted
		return list
	}
	for _, c := range []struct {
		name string
		e    BlockEvidence
		want string
	}{
		{"issuer", BlockEvidence{Signatures: signedBy("i", "", fact.Yes)}, "ISSUER signer strong tbsHash publisher"},
		{"signed later", BlockEvidence{Signatures: at(2021, signedBy("l", "", fact.Yes))},
			"LATE signer strong tbsHash publisher"},
		{"signed before", BlockEvidence{Signatures: at(2019, signedBy("l", "", fact.Yes))}, ""},
		{"signed before, by nobody's word", BlockEvidence{Signatures: unproved(at(2019, signedBy("l", "", fact.Yes)))},
			"LATE signer weak tbsHash publisher signTime"},
		{"not stamped", BlockEvidence{Signatures: signedBy("l", "", fact.Yes)}, "LATE signer strong tbsHash publisher"},
		{"no exception",
			BlockEvidence{Version: versionOf("fixed.sys", "2.9.0.0"), Signatures: signedBy("e", "", fact.Yes)},
			"EXCEPT signer strong tbsHash publisher"},
		{"excepted by version",
			BlockEvidence{Version: versionOf("fixed.sys", "3.0.0.0"), Signatures: signedBy("e", "", fact.Yes)}, ""},
		{"excepted by a path, which may not count",
			BlockEvidence{Path: `C:\p\e.sys`, Signatures: signedBy("e", "", fact.Yes)},
			"EXCEPT signer weak tbsHash publisher exempt"},
		{"excepted by digest, and by a path",
			BlockEvidence{Path: `C:\p\e.sys`, Hashes: &pe.Hashes{AuthentihashSHA256: hashA},
				Signatures: signedBy("e", "", fact.Yes)}, ""},
		{"excepted by digest",
			BlockEvidence{Hashes: &pe.Hashes{AuthentihashSHA256: hashA}, Signatures: signedBy("e", "", fact.Yes)}, ""},
	} {
		if got := describe(l.Match(c.e)); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// References count in any place, and only in the kernel's scenario.
func TestSiPolicyReferencesFirst(t *testing.T) {
	text := `<SiPolicy><SigningScenarios><SigningScenario Value="131"><ProductSigners><FileRulesRef>` +
		`<FileRuleRef RuleID="D"/></FileRulesRef></ProductSigners></SigningScenario></SigningScenarios>
<FileRules><Deny ID="D" Hash="` + hashA + `"/></FileRules></SiPolicy>`
	l, err := ParseBlockList([]byte(text), new(fact.Report))
	if err != nil || describe(l.Match(BlockEvidence{Hashes: &pe.Hashes{SHA256: hashA}})) != "D hash strong sha256" {
		t.Errorf("%+v, %v", l, err)
	}
}

// An entity is never expanded, and what is not a list says what it is.
func TestBlockListRefuses(t *testing.T) {
	bomb := `<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><SiPolicy><VersionEx>&b;` +
		`</VersionEx><FileRules><Deny ID="D" Hash="` + hashA + `"/></FileRules></SiPolicy>`
	compiled := append([]byte{8, 0, 0, 0, 0x0e, 0x37, 0x44, 0xa2, 0xc9, 0x44, 0x06, 0x4c, 0xb5, 0x51, 0xf6, 0x01, 0x6e,
		0x56, 0x30, 0x76}, make([]byte, 40)...)
	for text, want := range map[string]string{bomb: "entity", string(compiled): "neither",
		"\x30\x82\x10\x00": "neither", "Id,Name\n": "neither"} {
		l, err := ParseBlockList([]byte(text), new(fact.Report))
		if l != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.30q: %+v, %v", text, l, err)
		}
	}
	for name, b := range map[string][]byte{"utf-16": append([]byte{0xff, 0xfe}, utf16text.Encode(lolText)...),
		"utf-16 without a mark": utf16text.Encode(lolText)} {
		if l, err := ParseBlockList(b, new(fact.Report)); err != nil || l.Name != "LOLDrivers" {
			t.Errorf("%s: %v", name, err)
		}
	}
}
