// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/fakedarwin"
	"github.com/kernelext/kernelext/internal/testing/texts"
)

func kextPolicyDB() []byte {
	w := fakedarwin.NewSQLite()
	w.Table("kext_policy", fakedarwin.PolicySQL, []any{"VBG97UB4TA", "com.objective-see.lulu", 1, "Objective-See, LLC",
		1}, []any{"", "com.rugarciap.DisableTurboBoost", 1, "Legacy Developer: Rugarciap", 8},
		[]any{"ABCDE12345", "com.vendor.driver", 0, strings.Repeat("long name ", 300), nil})
	w.Table("kext_policy_mdm", fakedarwin.MDMSQL, []any{"MANAGED123", nil, 1, "payload"})
	w.Table("kext_load_history_v3", fakedarwin.HistorySQL,
		[]any{"/Library/Extensions/X.kext", "VBG97UB4TA", "com.x", "boot", "2020-01-01 00:00:00",
			"2020-01-02 00:00:00", 53, nil})
	return w.Bytes()
}

func TestKextPolicy(t *testing.T) {
	p, err := ParseKextPolicy(kextPolicyDB())
	if err != nil || len(p.Problems) != 0 || len(p.Approvals) != 4 || len(p.History) != 1 {
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
		if a, ok := p.Approved(tt.team, tt.id); ok != tt.ok || a.Allowed != tt.want {
			t.Errorf("%s %s: %+v, %v", tt.team, tt.id, a, ok)
		}
	}
}

// TestSQLiteAsSQLite compares with the database engine itself, on databases with several levels,
// long rows, deleted rows and other page sizes and encodings.
func TestSQLiteAsSQLite(t *testing.T) {
	tool, err := exec.LookPath("sqlite3")
	if err != nil {
		t.Skip("sqlite3 is not installed (Debian package sqlite3)")
	}
	for _, pragma := range []string{"page_size=512", "page_size=4096", "page_size=65536", "encoding='UTF-16le'",
		"encoding='UTF-16be'", "auto_vacuum=1"} {
		name := filepath.Join(t.TempDir(), "db")
		script := "PRAGMA " + pragma + ";" + fakedarwin.PolicySQL + ";" + fakedarwin.MDMSQL + ";" +
			fakedarwin.HistorySQL + `;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<3000) INSERT INTO kext_policy SELECT 'TEAM'||i, ` +
			`'com.é.'||i, i%2, printf('%.*c', i%700*3, 'x'), i*1000003 FROM n;
DELETE FROM kext_policy WHERE flags % 7 = 0; INSERT INTO kext_policy_mdm VALUES('a',NULL,1,'-5');
SELECT team_id,bundle_id,allowed,length(developer_name),flags FROM kext_policy;`
		cmd := exec.Command(tool, name)
		cmd.Stdin = strings.NewReader(script)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		p, err := ParseKextPolicy(data)
		if err != nil || len(p.Problems) != 0 {
			t.Fatalf("%s: %v, %v", pragma, err, p.Problems)
		}
		var got strings.Builder
		for _, a := range p.Approvals {
			if !a.Managed {
				fmt.Fprintf(&got, "%s|%s|%d|%d|%s\n", a.TeamID, a.BundleID, map[fact.Tri]int{fact.Yes: 1}[a.Allowed],
					len(a.Developer), a.Flags)
			}
		}
		if got.String() != string(out) {
			t.Errorf("%s: rows differ", pragma)
		}
	}
}

func TestHostileSQLite(t *testing.T) {
	good := kextPolicyDB()
	for name, change := range map[string]func(b []byte){
		"magic": func(b []byte) { b[0] = 'X' }, "page size": func(b []byte) { b[16], b[17] = 0, 3 },
		"reserved": func(b []byte) { b[20] = 255; b[16] = 2; b[17] = 0 },
		"encoding": func(b []byte) { b[59] = 9 }, "page type": func(b []byte) { b[100] = 7 },
		"cells":       func(b []byte) { b[103], b[104] = 0xff, 0xff },
		"cell offset": func(b []byte) { b[108], b[109] = 0xff, 0xff },
	} {
		b := bytes.Clone(good)
		change(b)
		if p, err := ParseKextPolicy(b); err == nil && len(p.Problems) == 0 {
			t.Errorf("%s: %+v", name, p)
		}
	}
	if _, err := ParseKextPolicy(nil); !errors.Is(err, fact.ErrMalformed) {
		t.Error(err)
	}
	w := fakedarwin.NewSQLite()
	w.Table("other", "CREATE TABLE other (a TEXT)", []any{"x"})
	if p, err := ParseKextPolicy(w.Bytes()); err != nil || len(p.Problems) != 3 {
		t.Errorf("other tables: %+v, %v", p, err)
	}
}

func FuzzSQLite(f *testing.F) {
	f.Add(kextPolicyDB())
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParseKextPolicy(b)
		if err != nil && len(p.Approvals) > 0 {
			t.Fatal("value and error")
		}
		total := 0
		for _, a := range p.Approvals {
			total += len(a.TeamID) + len(a.BundleID) + len(a.Developer)
		}
		if total > 40*len(b)+10*maxCellBytes {
			t.Fatalf("%d bytes of rows from %d", total, len(b))
		}
	})
}

// Below testdata: a profile with other payloads too, and a database with two versions of one system
// extension.
const (
	profileText = "profile.plist"
	sysextText  = "sysext.plist"
)

func TestManagedPolicy(t *testing.T) {
	p, err := ParseManagedPolicy("x.mobileconfig", []byte(texts.Read(t, profileText)))
	if err != nil || p.UserOverrides != fact.No || !p.Allows("TEAM123456", "any") ||
		!p.Allows("VENDOR1234", "com.vendor.driver") || p.Allows("VENDOR1234", "com.vendor.other") ||
		p.Allows("", "any") {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := ParseManagedPolicy("x",
		[]byte(`<plist><dict><key>PayloadContent</key><array/></dict></plist>`)); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestSystemExtensionsDB(t *testing.T) {
	db, err := ParseSystemExtensions([]byte(texts.Read(t, sysextText)))
	if err != nil || len(db.Extensions) != 2 || len(db.Policies) != 2 || len(db.Problems) != 1 ||
		db.DeveloperMode != fact.No {
		t.Fatalf("%+v, %v", db, err)
	}
	e := db.Extensions[1]
	want := SystemExtension{BundleID: "com.v.d", TeamID: "T", Version: "2", ShortVersion: "2.0",
		State: "activated_enabled", Categories: []string{"driver_extension"},
		OriginPath: "/Applications/X.app", StagedPath: "/Library/SystemExtensions/U/com.v.d.dext",
		CDHashes: []string{"abcd"}}
	if !reflect.DeepEqual(e, want) || !e.Driver() || newest(db.Extensions[0], e) <= 0 {
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
	r := ReadRules(context.Background(), files, "20.4.0", call)
	if r.Major != 20 || r.CSR != 0x201 || r.NeedsApproval() != fact.No || r.NeedsSignature() != fact.No ||
		r.NeedsCollection() != fact.Yes {
		t.Errorf("%+v", r)
	}
	p := r.Policy()
	if p.Loading != fact.LoadingAny || len(p.Facts) != 7 || p.Facts[0].Value != "0x00000201 = UNTRUSTED_KEXTS, "+
		"UNAPPROVED_KEXTS" || p.Facts[1].Code != fact.CodeUnsupported ||
		p.Facts[4].Value != "3 allowed, 1 not" || p.Facts[5].Effect == "" || p.Facts[6].Value != "no" {
		t.Errorf("%+v", p)
	}
	answers[OpCSRConfig] = "0x00000000\n"
	if p := ReadRules(context.Background(), fstest.MapFS{}, "20.4.0", call).Policy(); p.Loading != fact.LoadingSigned ||
		p.Facts[4].Code != fact.CodeAbsent {
		t.Errorf("%+v", p)
	}
	if p := ReadRules(context.Background(), fstest.MapFS{}, "", nil).Policy(); p.Loading != "" {
		t.Errorf("an image decides: %+v", p)
	}
	delete(answers, OpCSRConfig)
	answers[OpNVRAM] = `<plist><dict><key>csr-active-config</key><data>AQAAAA==</data>` +
		`<key>94b73556-2197-4702-82a8-3e1337dafbfb:AppleSecureBootPolicy</key><data>Ag==</data></dict></plist>`
	r = ReadRules(context.Background(), fstest.MapFS{}, "19.6.0", call)
	if r.CSR != 1 || r.CSRErr != nil || r.CSRSource != SourceNVRAM || r.Policy().Facts[1].Value != "full" {
		t.Errorf("from nvram: %+v", r)
	}
}

func TestInstalledMajor(t *testing.T) {
	for version, want := range map[string]int{"10.15.7": 19, "11.3": 20, "15.4.1": 24, "26.0": 25, "27.1": 26,
		"": 0, "x": 0, "18.0": 0} {
		files := fstest.MapFS{
			versionFile: {Data: []byte(`<plist><dict><key>ProductVersion</key><string>` + version +
				`</string></dict></plist>`)}}
		if got := ReadRules(context.Background(), files, "", nil).Major; got != want {
			t.Errorf("%s: %d, want %d", version, got, want)
		}
	}
	if r := ReadRules(context.Background(), fstest.MapFS{}, "", nil); r.Major != 0 {
		t.Errorf("%+v", r)
	}
}

func TestCheck(t *testing.T) {
	bundle := &Bundle{Path: "/Library/Extensions/D.kext", ExecutablePath: "/x", BundleInfo: BundleInfo{Version: "2"}}
	team := &CodeSignature{Present: fact.Yes, TeamID: "VBG97UB4TA"}
	denied := &CodeSignature{Present: fact.Yes, TeamID: "ABCDE12345"}
	unsigned := &CodeSignature{Present: fact.No}
	policy, _ := ParseKextPolicy(kextPolicyDB())
	rules := func(major int, csr uint32) *Rules {
		return &Rules{Major: major, CSR: csr, KextPolicy: policy, ManagedErr: fs.ErrNotExist,
			BootErr: errImage, NVRAMErr: errImage}
	}
	noDB := rules(20, 0)
	noDB.KextPolicy, noDB.KextPolicyErr = KextPolicy{}, fs.ErrPermission
	full := rules(20, 0)
	full.BootErr, full.Boot = nil, BootPolicy{SecureBoot: "Full Security", OtherKexts: fact.No}
	boot := []Membership{{Path: "/a.kc", Kind: KindBoot}}
	for name, tt := range map[string]struct {
		s         Subject
		r         *Rules
		now, next fact.VerdictOutcome
		word      string
	}{
		"loaded and linked": {Subject{Kext: &Kext{BundleID: "a", Collections: boot}, Loaded: fact.Yes},
			rules(20, 0), fact.VerdictLoaded, fact.VerdictLoadable, "loaded"},
		"loaded, file gone": {Subject{Kext: &Kext{BundleID: "a"}, Loaded: fact.Yes}, rules(20, 0),
			fact.VerdictLoaded, fact.VerdictUnknown, "loaded"},
		"kernel's own": {Subject{Kext: &Kext{BundleID: "com.apple.kpi.bsd", Pseudo: PseudoKPI},
			Loaded: fact.Yes}, rules(20, 0), fact.VerdictLoaded, fact.VerdictLoaded, "loaded"},
		"linked": {Subject{Kext: &Kext{BundleID: "a", Collections: boot}}, rules(20, 0),
			fact.VerdictLoadable, fact.VerdictLoadable, "linked"},
		"stale": {
			Subject{Kext: &Kext{BundleID: "com.objective-see.lulu", Bundle: bundle, CodeSignature: team,
				Collections: []Membership{{Stale: fact.Yes}}}}, rules(20, 0), fact.VerdictBlocked,
			fact.VerdictLoadable, "needs reboot"},
		"approved, 11": {
			Subject{Kext: &Kext{BundleID: "com.objective-see.lulu", Bundle: bundle, CodeSignature: team}}, rules(20, 0),
			fact.VerdictBlocked, fact.VerdictLoadable, "needs reboot"},
		"approved, 10.15": {
			Subject{Kext: &Kext{BundleID: "com.objective-see.lulu", Bundle: bundle, CodeSignature: team}}, rules(19, 0),
			fact.VerdictLoadable, fact.VerdictLoadable, "loadable"},
		"denied": {
			Subject{Kext: &Kext{BundleID: "com.vendor.driver", Bundle: bundle, CodeSignature: denied}}, rules(20, 0),
			fact.VerdictBlocked, fact.VerdictBlocked, "needs approval"},
		"never asked, 10.14": {Subject{Kext: &Kext{BundleID: "com.new", Bundle: bundle, CodeSignature: denied}},
			rules(18, 0), fact.VerdictBlocked, fact.VerdictBlocked, "needs approval"},
		"10.12 asks nobody": {Subject{Kext: &Kext{BundleID: "com.new", Bundle: bundle, CodeSignature: denied}},
			rules(16, 0), fact.VerdictLoadable, fact.VerdictLoadable, "loadable"},
		"unsigned": {Subject{Kext: &Kext{BundleID: "com.new", Bundle: bundle, CodeSignature: unsigned}},
			rules(19, 0), fact.VerdictBlocked, fact.VerdictBlocked, "blocked"},
		"unsigned, SIP off": {Subject{Kext: &Kext{BundleID: "com.new", Bundle: bundle, CodeSignature: unsigned}},
			rules(19, 0x201), fact.VerdictLoadable, fact.VerdictLoadable, "loadable"},
		"policy not readable": {Subject{Kext: &Kext{BundleID: "com.new", Bundle: bundle, CodeSignature: team}},
			noDB, fact.VerdictBlocked, fact.VerdictUnknown, "approval unknown"},
		"full security": {
			Subject{Kext: &Kext{BundleID: "com.objective-see.lulu", Bundle: bundle, CodeSignature: team}}, full,
			fact.VerdictBlocked, fact.VerdictBlocked, "blocked"},
		"system extension": {
			Subject{Kext: &Kext{BundleID: "com.d", PackageType: "DEXT",
				SystemExtension: &SystemExtension{State: "activated_enabled"}}}, rules(20, 0), fact.VerdictBlocked,
			fact.VerdictBlocked, "activated_enabled"},
		"codeless": {
			Subject{Kext: &Kext{BundleID: "com.c", Bundle: &Bundle{BundleInfo: BundleInfo{Codeless: fact.Yes}}}},
			rules(20, 0), fact.VerdictBlocked, fact.VerdictBlocked, "no code"},
		"release not known": {
			Subject{Kext: &Kext{BundleID: "com.objective-see.lulu", Bundle: bundle, CodeSignature: team}}, rules(0, 0),
			fact.VerdictUnknown, fact.VerdictUnknown, ""},
		"Apple's, in no collection": {Subject{Kext: &Kext{BundleID: "com.apple.x", Bundle: bundle}, Apple: true},
			rules(19, 0), fact.VerdictLoadable, fact.VerdictLoadable, "loadable"},
	} {
		v := Check(tt.s, tt.r)
		if v.Now == nil || v.NextBoot == nil || v.Now.Outcome != tt.now || v.NextBoot.Outcome != tt.next ||
			v.Word != tt.word {
			t.Errorf("%s: %+v %+v %q, want %s %s %q; %v", name, v.Now, v.NextBoot, v.Word, tt.now,
				tt.next, tt.word, v.Reasons)
		}
	}
}

func TestDevices(t *testing.T) {
	p := func(provider string, match ...Match) Personality {
		return Personality{ProviderClass: provider, Match: match}
	}
	pci := p("IOPCIDevice", Match{"IOPCIMatch", []string{"0x15338086 0x15340000&0xffff0000"}})
	class := p("IOPCIDevice", Match{"IOPCIClassMatch", []string{"0x02000000&0xffff0000"}})
	name := p("IOPCIDevice", Match{"IONameMatch", []string{"pci8086,1533"}})
	usb := p("IOUSBHostDevice", Match{"idProduct", []string{"4660"}}, Match{"idVendor", []string{"1452"}})
	mask := p("IOUSBDevice", Match{"idProduct", []string{"0x1200"}}, Match{"idProductMask", []string{"0xff00"}},
		Match{"idVendor", []string{"1452"}})
	acpi := p("IOACPIPlatformDevice", Match{"IONameMatch", []string{"PNP0C0A", "ACPI0003"}})
	odd := p("IOPCIDevice", Match{"IOPCIMatch", []string{"0x15338086"}}, Match{"IOPropertyMatch", []string{"x=1"}})
	none := p("IOResources")
	for query, want := range map[string][]*Personality{
		"pci:v00008086d00001533sv00008086sd00000001bc02sc00i00": {&pci, &class, &name},
		"pci:v0000FFFFd00001534sv*sd*bc01sc06i01":               {&pci},
		"IOPCIMatch=0x15338086":                                 {&pci},
		"IOProviderClass=IOPCIDevice,IONameMatch=pci8086,1533":  {&name},
		"usb:v05ACp1234d0100dc00dsc00dp00ic08isc06ip50in00":     {&usb, &mask},
		"idVendor=1452,idProduct=0x1234":                        {&usb, &mask},
		"acpi:PNP0C0A:":                                         {&acpi},
		"pci:v00001234d00005678sv*sd*bc*sc*i*":                  nil,
	} {
		d, err := ParseDevice(query)
		if err != nil {
			t.Errorf("%s: %v", query, err)
			continue
		}
		for n, one := range []*Personality{&pci, &class, &name, &usb, &mask, &acpi, &odd, &none} {
			wanted := false
			for _, w := range want {
				wanted = wanted || w == one
			}
			if d.Matches(one) != wanted {
				t.Errorf("%s: personality %d: %v, want %v", query, n, !wanted, wanted)
			}
		}
	}
	for _, query := range []string{"", "hello", "pci:v1", "usb:x", "pci:v0000808Gd00001533sv*sd*bc02sc00i00",
		"idVendor=x", "a,b=1"} {
		if _, err := ParseDevice(query); !errors.Is(err, fact.ErrMalformed) {
			t.Errorf("%q: %v", query, err)
		}
	}
	info := &BundleInfo{
		Personalities: []Personality{{ProviderClass: "IOPCIDevice", ProbeScore: fact.CountOf(-5), Match: pci.Match},
			{ProviderClass: "IOPCIDevice", ProbeScore: fact.CountOf(-9), Match: pci.Match}}}
	d, _ := ParseDevice("IOPCIMatch=0x15338086")
	if score, ok := d.Score(info); !ok || score != -5 {
		t.Errorf("score %d, %v", score, ok)
	}
}

func FuzzDevice(f *testing.F) {
	f.Add("pci:v00008086d00001533sv00008086sd00000001bc02sc00i00")
	f.Add("usb:v05ACp1234d0100dc00dsc00dp00ic08isc06ip50in00")
	f.Add("IONameMatch=pci8086,1533,idVendor=5")
	f.Fuzz(func(t *testing.T, query string) {
		d, err := ParseDevice(query)
		if err != nil && d.Numbers != nil {
			t.Fatal("value and error")
		}
		if len(d.Names)+len(d.Numbers) > len(query)+10 {
			t.Fatal("more properties than bytes")
		}
	})
}
