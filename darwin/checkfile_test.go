// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"context"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/fakedarwin"
)

// checked is the one verdict of a check.
func checked(t *testing.T, m fact.Machine, o fact.Options, query string) fact.Verdict {
	t.Helper()
	var r fact.Report
	v, err := Open(m, o).Check(context.Background(), query, &r)
	if err != nil || len(v) != 1 {
		t.Fatalf("%s: %d verdicts, %v", query, len(v), err)
	}
	return v[0]
}

// reasonOf returns the text of a verdict's reason; empty if it has none of the code.
func reasonOf(v *fact.Verdict, code string) string {
	for _, r := range v.Reasons {
		if r.Code == code {
			return r.Text
		}
	}
	return ""
}

// TestCheckSignatures verifies the bundle that it judges: a signature that the system refuses stops it.
func TestCheckSignatures(t *testing.T) {
	apple, _, keys := apples()
	developer := fakedarwin.Certificate{Name: "Developer ID Application: V (ABCDE12345)", Team: "ABCDE12345",
		Marks:   []string{fakedarwin.MarkDeveloperID, fakedarwin.MarkKext},
		CAMarks: []string{fakedarwin.MarkDeveloperIDCA}}
	noKext := developer
	noKext.Marks = noKext.Marks[:1]
	software := fakedarwin.Certificate{Name: "Software Signing", CA: "Apple Code Signing Certification Authority"}
	const dir = "Library/Extensions/Other.kext"
	for name, tt := range map[string]struct {
		cert   fakedarwin.Certificate
		id     string
		change func(fstest.MapFS)
		code   string // of the reason that decides
		says   string
	}{
		"not for kexts": {noKext, "com.vendor.other", nil, ReasonSignature, "not for kexts"},
		"a developer's, with an id of Apple's": {developer, "com.apple.other", nil, ReasonSignature,
			"Apple did not sign it"},
		"for development": {fakedarwin.Certificate{Name: "Mac Developer: V", Team: "ABCDE12345",
			Marks: []string{fakedarwin.MarkDevelopment}}, "com.vendor.other", nil, ReasonSignature, "not for kexts"},
		"changed": {developer, "com.vendor.other", func(f fstest.MapFS) {
			f[dir+"/Contents/Resources/a.txt"].Data = []byte("x")
		}, ReasonSignature, "changed: Resources/a.txt"},
		"changed code of Apple's": {software, "com.apple.other", func(f fstest.MapFS) {
			f[dir+"/Contents/MacOS/Driver"].Data[4096+3000] ^= 1
		}, ReasonSignature, "the code was changed"},
		"good, not approved": {developer, "com.vendor.other", nil, ReasonNotApproved, "not approved"},
		"Apple's":            {software, "com.apple.other", nil, ReasonInstalled, "installed"},
	} {
		m := fakedarwin.Intel().Machine()
		team := tt.cert.Team
		files := fakedarwin.BundleFiles(dir, tt.id, &fakedarwin.Signer{Identifier: tt.id, Team: team,
			CMS: apple.Sign(tt.cert)})
		for path, f := range files {
			m.MapFS[path] = f
		}
		if tt.change != nil {
			tt.change(m.MapFS)
		}
		v := checked(t, m, fact.Options{Keys: keys}, tt.id)
		if !strings.Contains(reasonOf(&v, tt.code), tt.says) {
			t.Errorf("%s: %+v", name, v.Reasons)
		}
		want := fact.VerdictBlocked
		if name == "Apple's" {
			want = fact.VerdictLoadable
		}
		if v.NextBoot.Outcome != want {
			t.Errorf("%s: %s, %+v", name, v.NextBoot.Outcome, v.Reasons)
		}
		for _, p := range v.Problems {
			if strings.Contains(p.Subject, "Broken.kext") {
				t.Errorf("%s: a broken bundle that it cannot be: %v", name, p)
			}
		}
	}
}

// TestCheckAccess has bundles that others than root may write: the running system refuses them, an image only says so.
func TestCheckAccess(t *testing.T) {
	apple, _, keys := apples()
	cms := apple.Sign(fakedarwin.Certificate{Name: "Developer ID Application: V (ABCDE12345)", Team: "ABCDE12345",
		Marks:   []string{fakedarwin.MarkDeveloperID, fakedarwin.MarkKext},
		CAMarks: []string{fakedarwin.MarkDeveloperIDCA}})
	for _, image := range []bool{false, true} {
		m := fakedarwin.Intel().Machine()
		const dir = "Library/Extensions/Other.kext"
		for path, f := range fakedarwin.BundleFiles(dir, "com.vendor.driver2",
			&fakedarwin.Signer{Identifier: "com.vendor.driver2", Team: "ABCDE12345", CMS: cms}) {
			m.MapFS[path] = f
		}
		m.MapFS[dir] = &fstest.MapFile{Mode: fs.ModeDir | 0o777}
		v := checked(t, m, fact.Options{Keys: keys, Image: image}, "com.vendor.driver2")
		if text := reasonOf(&v, ReasonAccess); !strings.Contains(text, "others than root") {
			t.Errorf("image %v: %+v", image, v.Reasons)
		}
		if leads := v.Reasons[0].Code == ReasonAccess; leads == image {
			t.Errorf("image %v: %+v", image, v.Reasons)
		}
	}
	for _, tt := range []struct {
		bundle Bundle
		stops  bool
	}{
		{Bundle{Owner: "0:0", Mode: "-rwxr-xr-x"}, false}, {Bundle{Owner: "501:20", Mode: "-rwxr-xr-x"}, true},
		{Bundle{Owner: "0:80", Mode: "-rwxr-xr-x"}, true}, {Bundle{Mode: "-rwxrwxr-x"}, true},
		{Bundle{Mode: "-rwxr-xrwx"}, true}, {Bundle{Mode: "-r-xr-xr-x"}, false}, {Bundle{}, false},
	} {
		j := judge{kext: &Kext{Bundle: &tt.bundle}, live: true}
		if a := j.access(); (a.Blocked() == fact.Yes) != tt.stops {
			t.Errorf("%s %s: %+v", tt.bundle.Owner, tt.bundle.Mode, a)
		}
	}
}

// TestCheckFile judges a bundle by its path, wherever it is; and what is not a bundle is absent.
func TestCheckFile(t *testing.T) {
	files := fakedarwin.BundleFiles("Users/me/Driver.kext", "com.vendor.driver", nil)
	image := fakedarwin.Intel().Machine()
	image.MapFS = files
	v := checked(t, image, fact.Options{Image: true}, "/Users/me/Driver.kext")
	if v.Module != "macos_kext:com.vendor.driver" || v.Now != nil || v.NextBoot.Outcome != fact.VerdictUnknown ||
		reasonOf(&v, ReasonInstalled) == "" || reasonOf(&v, ReasonNoSignature) == "" {
		t.Errorf("%+v", v)
	}
	if v := checked(t, image, fact.Options{Image: true}, "/Users/me/None.kext"); v.Module != "" {
		t.Errorf("%+v", v)
	}
	files["Users/me/Driver.kext/Contents/Info.plist"].Data = []byte("bplist00")
	if v := checked(t, image, fact.Options{Image: true}, "/Users/me/Driver.kext"); v.Module != "" ||
		len(v.Problems) == 0 {
		t.Errorf("%+v", v)
	}
}

// TestSystemExtensionRecords distinguishes drivers from other extensions, and two versions of one extension, without a
// problem.
func TestSystemExtensionRecords(t *testing.T) {
	one := func(id, version, short, state, category, unique string) string {
		return `<dict><key>identifier</key><string>` + id + `</string><key>teamID</key><string>T</string>` +
			`<key>state</key><string>` + state + `</string><key>uniqueID</key><string>` + unique + `</string>` +
			`<key>categories</key><array><string>com.apple.system_extension.` + category + `</string></array>` +
			`<key>bundleVersion</key><dict><key>CFBundleVersion</key><string>` + version + `</string>` +
			`<key>CFBundleShortVersionString</key><string>` + short + `</string></dict></dict>`
	}
	db := `<plist><dict><key>extensions</key><array>` +
		one("com.v.net", "11", "1.0.3", "terminated_waiting_to_uninstall_on_reboot", "network_extension", "A") +
		one("com.v.net", "12", "1.0.4", "activated_enabled", "network_extension", "B") +
		one("com.v.usb", "7", "2.1", "activated_enabled", "driver_extension", "C") + `</array></dict></plist>`
	m := fakedarwin.Intel().Machine()
	m.MapFS = fstest.MapFS{sysExtFile: {Data: []byte(db)}, "Library/Extensions/x": {}}
	var r fact.Report
	got := map[string]string{}
	for m, err := range Open(m, fact.Options{Image: true}).Installed(context.Background(), &r) {
		if err != nil {
			t.Fatal(err)
		}
		if len(m.Problems) > 0 {
			t.Errorf("%s: %v", m.ID, m.Problems)
		}
		got[m.ID] = m.Version + " " + m.Own.SystemExtension.Version + " " + m.Own.SystemExtension.State
	}
	want := map[string]string{"macos_sysext:com.v.net": "1.0.4 12 activated_enabled",
		"macos_sysext:com.v.net#A": "1.0.3 11 terminated_waiting_to_uninstall_on_reboot",
		"macos_dext:com.v.usb":     "2.1 7 activated_enabled"}
	if len(got) != len(want) {
		t.Errorf("%q", got)
	}
	for id, text := range want {
		if got[id] != text {
			t.Errorf("%s: %q, want %q", id, got[id], text)
		}
	}
}

// TestReadFileOrder has the bundle that was asked for first, whatever its plug-ins are called.
func TestReadFileOrder(t *testing.T) {
	files := fakedarwin.BundleFiles("Z.kext", "com.vendor.zebra", nil)
	for _, id := range []string{"com.vendor.ape", "com.vendor.cat"} {
		for name, f := range fakedarwin.BundleFiles("Z.kext/Contents/PlugIns/"+id+".kext", id, nil) {
			files[name] = f
		}
	}
	list, ok, err := ReadFile(context.Background(), files, "Z.kext", nil, fact.Options{}, new(fact.Report))
	if err != nil || !ok || len(list) != 3 || list[0].Name != "com.vendor.zebra" || list[1].Name != "com.vendor.ape" ||
		list[2].Name != "com.vendor.cat" {
		t.Errorf("%+v, %v", list, err)
	}
}
