// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"howett.net/plist"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/texts"
)

// info is one kext in an answer of OpLoadedKextInfo.
type info map[string]any

// loadedInfo encodes an answer as the framework does.
func loadedInfo(tb testing.TB, kexts map[string]any) []byte {
	tb.Helper()
	b, err := plist.Marshal(kexts, plist.BinaryFormat)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func TestLoadedInfo(t *testing.T) {
	uuid := []byte("0123456789abcdef")
	data := loadedInfo(t, map[string]any{
		"com.apple.kpi.bsd": info{"CFBundleIdentifier": "com.apple.kpi.bsd", "CFBundleVersion": "19.6.0",
			"OSBundleCompatibleVersion": "8.0.0b1", "OSBundleLoadTag": 1,
			"OSBundleRetainCount": 115, "OSBundleLoadAddress": int64(-551890460672), "OSBundleLoadSize": 50016,
			"OSBundleWiredSize": 50016, "OSBundleUUID": uuid,
			"OSBundleIsInterface": true, "OSKernelResource": true, "OSBundlePrelinked": true, "OSBundleStarted": true,
			"CFBundlePackageType": "KEXT"},
		"com.vendor.driver": info{"CFBundleIdentifier": "com.vendor.driver", "CFBundleVersion": "Build 7",
			"OSBundleLoadTag": 250, "OSBundleRetainCount": 0, "OSBundleLoadAddress": 0,
			"OSBundleLoadSize": 0x18b0, "OSBundleWiredSize": 0x18b0,
			"OSBundlePath":         "/Library/StagedExtensions/Library/Extensions/Driver.kext",
			"OSBundleDependencies": []int{7, 1}, "_BundleCollectionType": "Auxiliary", "OSBundleCPUType": 0x0100000c,
			"OSBundleCPUSubtype": 2, "OSBundleExecutablePath": "com.vendor.driver"},
		"com.vendor.dext": info{"CFBundlePackageType": "DEXT", "OSBundleLoadAddress": 251, "OSBundleLoadSize": 1,
			"OSBundleLoadTag": 251},
		"com.vendor.odd": info{"OSBundleLoadTag": "x", "OSBundleUUID": []byte("short"), "OSBundleLoadAddress": true,
			"OSBundleDependencies": []any{1, "y"}, "CFBundleIdentifier": "com.other", "OSBundleRetainCount": -3},
		"com.vendor.text": "not a dictionary",
	})
	var r fact.Report
	list, err := parseLoadedInfo(data, &r)
	if err != nil || len(list) != 4 || len(r.Problems) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	bsd, driver, dext, odd := list[0], list[1], list[2], list[3]
	address := int64(-551890460672)
	if bsd.Address != fact.Address(address) || bsd.Own.UUID != "30313233-3435-3637-3839-616263646566" ||
		bsd.Refs.String() != "115" || bsd.Own.Interface != fact.Yes || bsd.Own.LinkedAgainst == nil ||
		len(bsd.Own.LinkedAgainst) != 0 || len(bsd.Problems) != 0 {
		t.Errorf("%+v", bsd)
	}
	if driver.Address != 0 || driver.Own.Collection != "Auxiliary" ||
		!slices.Equal(driver.Own.Architectures, []string{"arm64e"}) {
		t.Errorf("%+v", driver)
	}
	if dext.Address != 0 {
		t.Errorf("a made-up address is kept: %+v", dext)
	}
	if odd.Name != "com.vendor.odd" || odd.Own.UUID != "" || odd.Own.LoadTag.String() != "?" ||
		fmt.Sprint(odd.Own.LinkedAgainst) != "[{1 com.apple.kpi.bsd}]" || len(odd.Problems) != 6 {
		t.Errorf("%+v", odd)
	}
	finish(list, SourceKextManager)
	if got := fmt.Sprint(driver.Own.LinkedAgainst); got != "[{1 com.apple.kpi.bsd} {7 }]" ||
		driver.Own.VersionValid != fact.No || driver.Own.Pseudo != "" {
		t.Errorf("%s, %+v", got, driver.Own)
	}
	if bsd.Own.Pseudo != PseudoKPI || bsd.Own.VersionValid != fact.Yes {
		t.Errorf("%+v", bsd.Own)
	}
	twice := []Record{{Own: &Kext{BundleID: "a", LoadTag: fact.CountOf(3)}},
		{Own: &Kext{BundleID: "b", LoadTag: fact.CountOf(3)}}}
	if tags := tagsOf(twice); len(tags) != 0 {
		t.Errorf("a tag of two kexts has an owner: %v", tags)
	}
}

func TestRedact(t *testing.T) {
	data := loadedInfo(t, map[string]any{
		"a.b": info{"OSBundleLoadAddress": int64(-551890460672), "OSBundleExecLoadAddress": 5, "OSBundleLoadTag": 1,
			"CFBundleVersion": "1"},
		"c.d": info{"OSBundleLoadAddress": 0, "OSBundleLoadTag": 2},
	})
	out := Redact(OpLoadedKextInfo, data)
	list, err := parseLoadedInfo(out, new(fact.Report))
	if err != nil || len(list) != 2 || list[0].Address != 0 || list[0].Version != "1" ||
		list[1].Own.LoadTag.String() != "2" {
		t.Errorf("%+v, %v", list, err)
	}
	if again := Redact(OpLoadedKextInfo, out); &again[0] != &out[0] {
		t.Error("what is redacted changes again")
	}
	if Redact(OpLoadedKextInfo, []byte("junk")) != nil {
		t.Error("what does not decode is kept")
	}
	text := "Index Refs Address            Size\n    1   83 0xffffff7f80a46000 0x9d30     0x9d30     " +
		"com.apple.kpi.bsd (16.0.0) 369ECC5E-023D-41D5-94AA-125188F389B3\n" +
		"    2    8 0                  0          0          a.b (1) <>\n"
	got := string(Redact(OpKextstat, []byte(text)))
	if strings.Contains(got, "ffff") || ReadKextstat(got, new(fact.Report)).Rows != 2 ||
		!strings.Contains(got, "    2    8 0                  0") {
		t.Errorf("%s", got)
	}
	nvram, _ := plist.Marshal(map[string]any{"csr-active-config": []byte{1, 2, 0, 0}, "serial": "X123",
		"boot-args": "secret=1 amfi=0x80 -x"}, plist.XMLFormat)
	out = Redact(OpNVRAM, nvram)
	v, err := parseNVRAM(out, new(fact.Report))
	if err != nil || v.CSR == nil || *v.CSR != 0x201 || strings.Join(v.BootArgs, " ") != "amfi=0x80 -x" ||
		strings.Contains(string(out), "X123") || strings.Contains(string(out), "secret") {
		t.Errorf("%q, %+v, %v", out, v, err)
	}
	bridge := []byte(texts.Read(t, "bridge.plist"))
	out = Redact(OpBridge, bridge)
	p, err := parseBootPolicy(out, new(fact.Report))
	if err != nil || p.SecureBoot != "Full Security" || p.OtherKexts != fact.No ||
		strings.Contains(string(out), "X123") {
		t.Errorf("%q, %+v, %v", out, p, err)
	}
	if got := Redact("Library/SystemExtensions/db.plist", data); &got[0] != &data[0] {
		t.Error("a file that nothing is taken out of changes")
	}
	for _, op := range []string{OpLoadedKextInfo, OpKmutil, OpKextstat, OpNVRAM, OpBridge} {
		if !Redacts(op) {
			t.Errorf("Redacts(%s) is false", op)
		}
	}
}

func TestCSR(t *testing.T) {
	if got := csrText(0x80000203); got != "0x80000203 = UNTRUSTED_KEXTS, UNRESTRICTED_FS, UNAPPROVED_KEXTS, bit 31" {
		t.Error(got)
	}
	if csrText(0) != "0x00000000" {
		t.Error(csrText(0))
	}
	for text, want := range map[string]uint32{"0x00000000\n": 0, "0x7f": 0x7f} {
		if v, err := parseCSR([]byte(text)); err != nil || v != want {
			t.Errorf("%q: %#x, %v", text, v, err)
		}
	}
	for _, text := range []string{"", "7f", "0x1ffffffff", "enabled"} {
		if _, err := parseCSR([]byte(text)); err == nil {
			t.Errorf("%q is read", text)
		}
	}
}

func TestOrigin(t *testing.T) {
	platform := &CodeSignature{Present: fact.Yes, Platform: fact.CountOf(1)}
	team := &CodeSignature{Present: fact.Yes, TeamID: "ABCDE12345", Platform: fact.CountOf(0)}
	adhoc := &CodeSignature{Present: fact.Yes, AdHoc: fact.Yes}
	for name, tt := range map[string]struct {
		k    Kext
		want fact.OriginClass
	}{
		"Apple by name only":    {Kext{BundleID: "com.apple.driver.X"}, ""},
		"Apple by name, ad hoc": {Kext{BundleID: "com.apple.driver.X", CodeSignature: adhoc}, ""},
		"vendor, ad hoc":        {Kext{BundleID: "com.vendor.X", CodeSignature: adhoc}, fact.OriginThirdParty},
		"Apple by name, of a vendor": {Kext{BundleID: "com.apple.driver.X", CodeSignature: team},
			fact.OriginThirdParty},
		"Apple by platform":   {Kext{BundleID: "com.apple.driver.X", CodeSignature: platform}, ""},
		"Apple, not verified": {Kext{BundleID: "com.apple.driver.X", CodeSignature: anchored("", "", nil)}, ""},
		"Apple": {Kext{BundleID: "com.apple.driver.X",
			CodeSignature: anchored(fact.Yes, AppleKeySet, &Seal{Info: fact.Yes, checked: true})}, fact.OriginOS},
		"Apple, changed": {Kext{BundleID: "com.apple.driver.X",
			CodeSignature: anchored(fact.No, AppleKeySet, &Seal{Info: fact.Yes, checked: true})},
			fact.OriginThirdParty},
		"Apple, file added": {Kext{BundleID: "com.apple.driver.X", CodeSignature: anchored(fact.Yes, AppleKeySet,
			&Seal{Info: fact.Yes, Extra: []string{"x"}, checked: true})}, fact.OriginThirdParty},
		"Apple, seal not read": {Kext{BundleID: "com.apple.driver.X", CodeSignature: anchored(fact.Yes, AppleKeySet,
			&Seal{Info: fact.Yes})}, ""},
		"loaded from Apple's collection, changed on disk": {Kext{BundleID: "com.apple.driver.X", Collection: "Primary",
			CodeSignature: anchored(fact.No, AppleKeySet, nil)}, fact.OriginOS},
		"platform of another name": {Kext{BundleID: "com.vendor.X", CodeSignature: platform}, fact.OriginThirdParty},
		"system collection":        {Kext{BundleID: "com.apple.driver.X", Collection: "System"}, fact.OriginOS},
		"auxiliary collection": {Kext{BundleID: "com.apple.driver.X", Collection: "Auxiliary"},
			fact.OriginThirdParty},
		"interface": {Kext{BundleID: "com.apple.kpi.bsd", Pseudo: PseudoKPI}, fact.OriginOS},
		"vendor":    {Kext{BundleID: "com.vendor.X"}, fact.OriginThirdParty},
	} {
		if o := originOf(&tt.k, "", SourceKextManager); o.Class != tt.want || len(o.Evidence) == 0 {
			t.Errorf("%s: %+v, want %q", name, o, tt.want)
		}
	}
}

// anchored is a signature of Apple's.
func anchored(codeFits fact.Tri, keySet string, seal *Seal) *CodeSignature {
	return &CodeSignature{Present: fact.Yes, Anchor: AnchorApple, CodeFits: codeFits, SignatureFits: fact.Yes,
		keySet: keySet, keysGiven: true, Seal: seal}
}

func FuzzLoadedInfo(f *testing.F) {
	f.Add(loadedInfo(f,
		map[string]any{"a.b": info{"OSBundleLoadTag": 1, "OSBundleDependencies": []int{1},
			"OSBundleUUID": []byte("x")}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		var r fact.Report
		list, err := parseLoadedInfo(data, &r)
		if err != nil && len(list) > 0 {
			t.Fatal("value and error")
		}
		if len(list) > len(data) {
			t.Fatal("more kexts than bytes")
		}
		Redact(OpLoadedKextInfo, data)
		Redact(OpNVRAM, data)
		Redact(OpBridge, data)
		if db, err := parseSystemExtensions(data, &r); err != nil && len(db.Extensions) > 0 {
			t.Fatal("value and error")
		}
		if p, err := parseManagedPolicy("fuzz", data, &r); err != nil && len(p.Kexts) > 0 {
			t.Fatal("value and error")
		}
	})
}
