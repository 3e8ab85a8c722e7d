// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/fakedarwin"
	"github.com/kernelext/kernelext/internal/testing/sqlitetest"
	"github.com/kernelext/kernelext/internal/testing/texts"
)

func kextPolicyDB() []byte {
	return fakedarwin.KextPolicyOf([][]any{
		{"VBG97UB4TA", "com.objective-see.lulu", 1, "Objective-See, LLC", 1},
		{"", "com.rugarciap.DisableTurboBoost", 1, "Legacy Developer: Rugarciap", 8},
		{"ABCDE12345", "com.vendor.driver", 0, strings.Repeat("long name ", 300), nil}},
		[][]any{{"MANAGED123", nil, 1, "payload"}},
		[][]any{{"/Library/Extensions/X.kext", "VBG97UB4TA", "com.x", "boot", "2020-01-01 00:00:00",
			"2020-01-02 00:00:00", 53, nil}})
}

// parseKextPolicy decodes a database without a log.
func parseKextPolicy(data []byte, r *fact.Report) (kextPolicy, error) {
	return readKextPolicy(fstest.MapFS{kextPolicyFile: {Data: data}}, r)
}

func TestKextPolicy(t *testing.T) {
	var r fact.Report
	p, err := parseKextPolicy(kextPolicyDB(), &r)
	if err != nil || len(r.Problems) != 0 || len(p.Approvals) != 4 || len(p.History) != 1 {
		t.Fatalf("%+v, %v", p, err)
	}
	if a := p.Approvals[0]; a != (Approval{TeamID: "VBG97UB4TA", BundleID: "com.objective-see.lulu", Allowed: fact.Yes,
		Developer: "Objective-See, LLC", Flags: fact.CountOf(1)}) {
		t.Errorf("%+v", a)
	}
	if a := p.Approvals[2]; a.Allowed != fact.No || a.Developer != strings.Repeat("long name ", 300) ||
		a.Flags.String() != "?" {
		t.Errorf("%+v", a)
	}
	if h := p.History[0]; h.Path != "/Library/Extensions/X.kext" || h.Flags.String() != "53" ||
		h.LastSeen != "2020-01-02 00:00:00" || h.CDHash != "" {
		t.Errorf("%+v", h)
	}
	for _, tt := range []struct {
		team, id string
		want     fact.Tri
		ok       bool
	}{{"VBG97UB4TA", "com.objective-see.lulu", fact.Yes, true}, {"ABCDE12345", "com.vendor.driver", fact.No, true},
		{"MANAGED123", "com.any", fact.Yes, true}, {"X", "com.none", "", false},
		{"OTHER12345", "com.objective-see.lulu", "", false}} {
		if a, ok := p.approved(tt.team, tt.id); ok != tt.ok || a.Allowed != tt.want {
			t.Errorf("%s %s: %+v, %v", tt.team, tt.id, a, ok)
		}
	}
}

// TestKextPolicyLog reads the database with its log: a new decision, a revoked one, a log that ends early.
func TestKextPolicyLog(t *testing.T) {
	before := fakedarwin.KextPolicy([]any{"TEAM123456", "com.example.a", 1, "Example", 1})
	after := fakedarwin.KextPolicy([]any{"TEAM123456", "com.example.a", 0, "Example", 1},
		[]any{"TEAM123456", "com.example.b", 1, "Example", 1})
	log := sqlitetest.WAL(before, after, fakedarwin.KextPolicyPage)
	for name, tt := range map[string]struct {
		log  []byte
		want string
	}{
		"without": {nil, "1 allowed, 0 not"}, "whole": {log, "1 allowed, 1 not"},
		"cut off": {log[:len(log)-1], "1 allowed, 0 not"}, "empty": {[]byte{}, "1 allowed, 0 not"},
	} {
		files := fstest.MapFS{kextPolicyFile: {Data: before}}
		if tt.log != nil {
			files[kextPolicyFile+"-wal"] = &fstest.MapFile{Data: tt.log}
		}
		r := readRules(context.Background(), files, "20.4.0", nil, nil)
		if f := factOf(r.policy(), "kext_approvals"); f.Value != tt.want || f.Code != "" {
			t.Errorf("%s: %+v", name, f)
		}
		approved := r.approved("TEAM123456", "com.example.b").Blocked() == fact.No
		if approved != (name == "whole") || r.approved("TEAM123456", "com.example.a").Blocked() == fact.No == approved {
			t.Errorf("%s: com.example.b %v", name, approved)
		}
	}
	// A log, or a table, that cannot be read makes what is not listed unknown.
	files := fstest.MapFS{kextPolicyFile: {Data: before}, kextPolicyFile + "-wal": {Mode: fs.ModeDir}}
	r := readRules(context.Background(), files, "20.4.0", nil, nil)
	if f := factOf(r.policy(), "kext_approvals"); f.Code == "" || r.approved("T", "com.example.a").Blocked() != "" {
		t.Errorf("a log that cannot be read: %+v", f)
	}
	files = fstest.MapFS{kextPolicyFile: {Data: sqlitetest.Build(4096,
		sqlitetest.Table{Name: "kext_policy", SQL: fakedarwin.PolicySQL})}}
	r = readRules(context.Background(), files, "20.4.0", nil, nil)
	a := r.approved("T", "com.example.a")
	if a.Blocked() != "" || !strings.Contains(a.Because().Text, "kext_policy_mdm") {
		t.Errorf("no table of a management server: %+v", a)
	}
}

// factOf returns a fact of a policy by its name.
func factOf(p *fact.Policy, name string) fact.PolicyFact {
	for _, f := range p.Facts {
		if f.Name == name {
			return f
		}
	}
	return fact.PolicyFact{}
}

// TestNamedFacts lists what is approved and by whom.
func TestNamedFacts(t *testing.T) {
	files := fstest.MapFS{kextPolicyFile: {Data: kextPolicyDB()},
		profileFile:       {Data: []byte(texts.Read(t, profileText))},
		sysExtFile:        {Data: []byte(texts.Read(t, sysextText))},
		sysextProfileFile: {Data: []byte(texts.Read(t, "sysextprofile.plist"))}}
	r := readRules(context.Background(), files, "20.4.0", nil, nil)
	for name, want := range map[string]string{
		"approved_kexts": "com.objective-see.lulu (VBG97UB4TA), com.rugarciap.DisableTurboBoost, all of MANAGED123",
		"denied_kexts":   "com.vendor.driver (ABCDE12345)", "managed_teams": "TEAM123456",
		"managed_kext_list": "com.vendor.driver (VENDOR1234)",
	} {
		if f := factOf(r.policy(), name); f.Value != want {
			t.Errorf("%s: %+v", name, f)
		}
	}
	f := factOf(r.policy(), "managed_system_extensions")
	if f.Effect != "users may approve no others" || f.Source != SourceProfiles {
		t.Errorf("%+v", f)
	}
	p := r.managedExtensions
	if !p.allows("SYSTEAM123", "com.any") || !p.allows("SYSVENDOR1", "com.vendor.ext") ||
		p.allows("SYSVENDOR1", "com.vendor.other") || p.allows("", "com.vendor.ext") ||
		len(p.Types["SYSVENDOR1"]) != 1 || len(p.NonRemovable["SYSVENDOR1"]) != 1 {
		t.Errorf("%+v", p)
	}
	if got := shorten(make([]string, 103)); !strings.HasSuffix(got, "and 3 more") {
		t.Error(got)
	}
	// A profile that cannot be read leaves the fact unknown.
	files[sysextProfileFile].Data = []byte("bplist00")
	delete(files, sysExtFile)
	r = readRules(context.Background(), files, "20.4.0", nil, nil)
	if f := factOf(r.policy(), "managed_system_extensions"); f.Code != fact.CodeMalformed || f.Value != "" {
		t.Errorf("%+v", f)
	}
}

// Below testdata: a profile with other payloads too, and a database with two versions of one system
// extension.
const (
	profileText = "profile.plist"
	sysextText  = "sysext.plist"
)

func TestManagedPolicy(t *testing.T) {
	p, err := parseManagedPolicy("x.mobileconfig", []byte(texts.Read(t, profileText)), new(fact.Report))
	if err != nil || p.UserOverrides != fact.No || !p.allows("TEAM123456", "any") ||
		!p.allows("VENDOR1234", "com.vendor.driver") || p.allows("VENDOR1234", "com.vendor.other") ||
		p.allows("", "any") {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := parseManagedPolicy("x", []byte(`<plist><dict><key>PayloadContent</key><array/></dict></plist>`),
		new(fact.Report)); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestSystemExtensionsDB(t *testing.T) {
	var r fact.Report
	db, err := parseSystemExtensions([]byte(texts.Read(t, sysextText)), &r)
	if err != nil || len(db.Extensions) != 2 || len(db.Policies) != 2 || len(r.Problems) != 1 ||
		db.DeveloperMode != fact.No {
		t.Fatalf("%+v, %v", db, err)
	}
	e := db.Extensions[1]
	want := SystemExtension{BundleID: "com.v.d", TeamID: "T", Version: "2", ShortVersion: "2.0",
		State: "activated_enabled", Categories: []string{"driver_extension"},
		OriginPath: "/Applications/X.app", StagedPath: "/Library/SystemExtensions/U/com.v.d.dext",
		CDHashes: []string{"abcd"}}
	if !reflect.DeepEqual(e, want) || newest(db.Extensions[0], e) <= 0 {
		t.Errorf("%+v", e)
	}
}

func TestReadRules(t *testing.T) {
	answers := map[string]string{OpCSRConfig: "0x00000201\n"}
	call := func(_ context.Context, op string, _ ...string) ([]byte, error) {
		if a, ok := answers[op]; ok {
			return []byte(a), nil
		}
		return nil, fmt.Errorf("call %s: %w", op, errors.ErrUnsupported)
	}
	files := fstest.MapFS{kextPolicyFile: {Data: kextPolicyDB()},
		profileFile: {Data: []byte(texts.Read(t, profileText))},
		sysExtFile:  {Data: []byte(texts.Read(t, sysextText))}}
	read := func(files fstest.MapFS, release string, call fact.Call) *rules {
		return readRules(context.Background(), files, release, nil, call)
	}
	r := read(files, "20.4.0", call)
	if r.major != 20 || *r.csr != 0x201 || r.needsApproval() != fact.No || r.needsSignature() != fact.No ||
		r.needsCollection() != fact.Yes {
		t.Errorf("%+v", r)
	}
	p := r.policy()
	if p.Loading != fact.LoadingAny || len(p.Facts) != 13 || p.Facts[0].Value != "0x00000201 = UNTRUSTED_KEXTS, "+
		"UNAPPROVED_KEXTS" || p.Facts[1].Code != fact.CodeUnsupported ||
		p.Facts[4].Value != "3 allowed, 1 not" || p.Facts[5].Effect == "" || p.Facts[6].Value != "no" {
		t.Errorf("%+v", p)
	}
	answers[OpCSRConfig] = "0x00000000\n"
	if p := read(fstest.MapFS{}, "20.4.0", call).policy(); p.Loading != fact.LoadingSigned ||
		p.Facts[4].Code != fact.CodeAbsent {
		t.Errorf("%+v", p)
	}
	if p := read(fstest.MapFS{}, "", nil).policy(); p.Loading != "" {
		t.Errorf("an image decides: %+v", p)
	}
	delete(answers, OpCSRConfig)
	answers[OpNVRAM] = `<plist><dict><key>csr-active-config</key><data>AQAAAA==</data>` +
		`<key>94b73556-2197-4702-82a8-3e1337dafbfb:AppleSecureBootPolicy</key><data>Ag==</data></dict></plist>`
	r = read(fstest.MapFS{}, "19.6.0", call)
	if r.csr == nil || *r.csr != 1 || r.csrSource != SourceNVRAM || r.policy().Facts[1].Value != "full" {
		t.Errorf("from nvram: %+v", r)
	}
	answers[OpNVRAM] = `<plist><dict><key>csr-active-config</key><data>AQAA</data></dict></plist>`
	r = read(fstest.MapFS{}, "19.6.0", call)
	var report fact.Report
	r.addLosses(&report)
	if r.csr != nil || r.code(SourceCSR) != fact.CodeUnsupported || len(report.Problems) != 1 ||
		report.Problems[0].Source != SourceNVRAM {
		t.Errorf("a variable that is invalid: %+v, %+v", r, report)
	}
}

func TestInstalledMajor(t *testing.T) {
	for version, want := range map[string]int{"10.15.7": 19, "11.3": 20, "15.4.1": 24, "26.0": 25, "27.1": 26,
		"": 0, "x": 0, "18.0": 0} {
		files := fstest.MapFS{
			versionFile: {Data: []byte(`<plist><dict><key>ProductVersion</key><string>` + version +
				`</string></dict></plist>`)}}
		if got := readRules(context.Background(), files, "", nil, nil).major; got != want {
			t.Errorf("%s: %d, want %d", version, got, want)
		}
	}
	if r := readRules(context.Background(), fstest.MapFS{}, "", nil, nil); r.major != 0 || r.code(SourceMachine) == "" {
		t.Errorf("%+v", r)
	}
}

func FuzzDevice(f *testing.F) {
	f.Add("pci:v00008086d00001533sv00008086sd00000001bc02sc00i00")
	f.Add("usb:v05ACp1234d0100dc00dsc00dp00ic08isc06ip50in00")
	f.Add("IONameMatch=pci8086,1533,idVendor=5")
	f.Fuzz(func(t *testing.T, query string) {
		d, err := parseDevice(query)
		if err != nil && d.Numbers != nil {
			t.Fatal("value and error")
		}
		if len(d.Names)+len(d.Numbers) > len(query)+13 {
			t.Fatal("more properties than bytes")
		}
	})
}
