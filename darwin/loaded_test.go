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
	list, err := ParseLoadedInfo(data)
	if err != nil || len(list.Kexts) != 4 || len(list.Problems) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	bsd, driver, dext, odd := list.Kexts[0], list.Kexts[1], list.Kexts[2], list.Kexts[3]
	address := int64(-551890460672)
	if bsd.Address != fact.Address(address) || bsd.UUID != "30313233-3435-3637-3839-616263646566" ||
		bsd.Refs.String() != "115" || bsd.Interface != fact.Yes || bsd.Links == nil || len(bsd.Links) != 0 ||
		len(bsd.Problems) != 0 {
		t.Errorf("%+v", bsd)
	}
	if driver.Address != 0 || driver.Collection != "Auxiliary" || !slices.Equal(driver.Links, []int64{1, 7}) ||
		driver.Architecture != "arm64e" || driver.ExecutablePath != "" {
		t.Errorf("%+v", driver)
	}
	if dext.Address != 0 {
		t.Errorf("a made-up address is kept: %+v", dext)
	}
	if odd.BundleID != "com.vendor.odd" || odd.UUID != "" || odd.Tag.String() != "?" ||
		!slices.Equal(odd.Links, []int64{1}) || len(odd.Problems) != 6 {
		t.Errorf("%+v", odd)
	}
	k := KextOf(&driver, Tags(list.Kexts))
	if got := fmt.Sprint(k.LinkedAgainst); got != "[{1 com.apple.kpi.bsd} {7 }]" || k.VersionValid != fact.No ||
		k.Pseudo != "" {
		t.Errorf("%s, %+v", got, k)
	}
	if k := KextOf(&bsd, nil); k.Pseudo != PseudoKPI || k.VersionValid != fact.Yes {
		t.Errorf("%+v", k)
	}
	twice := []Loaded{{BundleID: "a", Tag: fact.CountOf(3)}, {BundleID: "b", Tag: fact.CountOf(3)}}
	if tags := Tags(twice); len(tags) != 0 {
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
	list, err := ParseLoadedInfo(out)
	if err != nil || len(list.Kexts) != 2 || list.Kexts[0].Address != 0 || list.Kexts[0].Version != "1" ||
		list.Kexts[1].Tag.String() != "2" {
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
	if strings.Contains(got, "ffff") || len(ParseKextstat(got).Kexts) != 2 ||
		!strings.Contains(got, "    2    8 0                  0") {
		t.Errorf("%s", got)
	}
	nvram, _ := plist.Marshal(map[string]any{"csr-active-config": []byte{1, 2, 0, 0}, "serial": "X123",
		"boot-args": "secret=1 amfi=0x80 -x"}, plist.XMLFormat)
	out = Redact(OpNVRAM, nvram)
	v, err := ParseNVRAM(out)
	if err != nil || v.CSR == nil || *v.CSR != 0x201 || strings.Join(v.BootArgs, " ") != "amfi=0x80 -x" ||
		strings.Contains(string(out), "X123") || strings.Contains(string(out), "secret") {
		t.Errorf("%q, %+v, %v", out, v, err)
	}
	bridge := []byte(texts.Read(t, "bridge.plist"))
	out = Redact(OpBridge, bridge)
	p, err := ParseBootPolicy(out)
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
	if got := CSRText(0x80000203); got != "0x80000203 = UNTRUSTED_KEXTS, UNRESTRICTED_FS, UNAPPROVED_KEXTS, bit 31" {
		t.Error(got)
	}
	if CSRText(0) != "0x00000000" {
		t.Error(CSRText(0))
	}
	for text, want := range map[string]uint32{"0x00000000\n": 0, "0x7f": 0x7f} {
		if v, err := ParseCSR([]byte(text)); err != nil || v != want {
			t.Errorf("%q: %#x, %v", text, v, err)
		}
	}
	for _, text := range []string{"", "7f", "0x1ffffffff", "enabled"} {
		if _, err := ParseCSR([]byte(text)); err == nil {
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
		"Apple by name only": {Kext{BundleID: "com.apple.driver.X"}, ""},
		"Apple by name, ad hoc": {Kext{BundleID: "com.apple.driver.X", CodeSignature: adhoc},
			fact.OriginThirdParty},
		"Apple by name, of a vendor": {Kext{BundleID: "com.apple.driver.X", CodeSignature: team},
			fact.OriginThirdParty},
		"Apple by platform":        {Kext{BundleID: "com.apple.driver.X", CodeSignature: platform}, fact.OriginOS},
		"platform of another name": {Kext{BundleID: "com.vendor.X", CodeSignature: platform}, fact.OriginThirdParty},
		"system collection":        {Kext{BundleID: "com.apple.driver.X", Collection: "System"}, fact.OriginOS},
		"auxiliary collection": {Kext{BundleID: "com.apple.driver.X", Collection: "Auxiliary"},
			fact.OriginThirdParty},
		"interface": {Kext{BundleID: "com.apple.kpi.bsd", Pseudo: PseudoKPI}, fact.OriginOS},
		"vendor":    {Kext{BundleID: "com.vendor.X"}, fact.OriginThirdParty},
	} {
		if o := OriginOf(&tt.k, "", SourceKextManager); o.Class != tt.want || len(o.Evidence) == 0 {
			t.Errorf("%s: %+v, want %q", name, o, tt.want)
		}
	}
}

func FuzzLoadedInfo(f *testing.F) {
	f.Add(loadedInfo(f,
		map[string]any{"a.b": info{"OSBundleLoadTag": 1, "OSBundleDependencies": []int{1},
			"OSBundleUUID": []byte("x")}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := ParseLoadedInfo(data)
		if err != nil && len(list.Kexts) > 0 {
			t.Fatal("value and error")
		}
		if len(list.Kexts) > len(data) {
			t.Fatal("more kexts than bytes")
		}
		Redact(OpLoadedKextInfo, data)
		Redact(OpNVRAM, data)
		Redact(OpBridge, data)
		if db, err := ParseSystemExtensions(data); err != nil && len(db.Extensions) > 0 {
			t.Fatal("value and error")
		}
		if p, err := ParseManagedPolicy("fuzz", data); err != nil && len(p.Kexts) > 0 {
			t.Fatal("value and error")
		}
	})
}
