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
		var r fact.Report
		p, err := parseKextPolicy(data, &r)
		if err != nil || len(r.Problems) != 0 {
			t.Fatalf("%s: %v, %v", pragma, err, r.Problems)
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
		var r fact.Report
		if p, err := parseKextPolicy(b, &r); err == nil && len(r.Problems) == 0 {
			t.Errorf("%s: %+v", name, p)
		}
	}
	if _, err := parseKextPolicy(nil, new(fact.Report)); !errors.Is(err, fact.ErrMalformed) {
		t.Error(err)
	}
	w := fakedarwin.NewSQLite()
	w.Table("other", "CREATE TABLE other (a TEXT)", []any{"x"})
	var r fact.Report
	if p, err := parseKextPolicy(w.Bytes(), &r); err != nil || len(r.Problems) != 3 {
		t.Errorf("other tables: %+v, %v", p, err)
	}
}

func FuzzSQLite(f *testing.F) {
	f.Add(kextPolicyDB())
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parseKextPolicy(b, new(fact.Report))
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
	if p.Loading != fact.LoadingAny || len(p.Facts) != 7 || p.Facts[0].Value != "0x00000201 = UNTRUSTED_KEXTS, "+
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
		t.Errorf("a variable that makes no sense: %+v, %+v", r, report)
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
