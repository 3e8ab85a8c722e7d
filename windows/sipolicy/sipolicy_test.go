// SPDX-License-Identifier: Apache-2.0

package sipolicy_test

import (
	"encoding/binary"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/kernelext/kernelext/internal/testing/policytest"
	"github.com/kernelext/kernelext/windows/sipolicy"
)

// sample is a policy that has something in every field.
func sample(format uint32) *sipolicy.Policy {
	p := &sipolicy.Policy{
		Format: format, TypeID: "a244370e-44c9-4c06-b551-f6016e563076", PlatformID: policytest.Platform,
		Options: 0x80000000 | sipolicy.OptionAudit, Version: 10<<48 | 29545<<16 | 1, HVCI: 2,
		EKUs: []string{"1.3.6.1.4.1.311.10.3.5", "1.3.6.1.4.1.311.61.4.1"},
		Rules: []sipolicy.FileRule{
			{Kind: sipolicy.Deny, Minimum: sipolicy.AnyVersion, Hash: []byte{1, 2, 3, 4, 5}},
			{Kind: sipolicy.Deny, FileName: "старый.sys", Minimum: 1 << 48},
			{Kind: sipolicy.Allow, FileName: "*"},
			{Kind: sipolicy.Attrib, FileName: "odd.sys", Minimum: 7},
		},
		Signers: []sipolicy.Signer{
			{Root: make([]byte, 32), EKUs: []int{0, 1}, Issuer: "I", Publisher: "P", OEMID: "Vendor Ltd.",
				Attribs: []int{3}},
			{WellKnown: 6, ByNumber: true},
		},
		UpdateSigners: []int{1}, CISigners: []int{0},
		Scenarios: []sipolicy.Scenario{
			{Value: sipolicy.ScenarioDrivers, MinimumHash: 0x800c, Product: sipolicy.Group{Rules: []int{0, 1},
				Allowed: []sipolicy.SignerRef{{Signer: 1, Except: []int{1}}},
				Denied:  []sipolicy.SignerRef{{Signer: 0, Except: []int{2}}}}, Test: sipolicy.Group{Rules: []int{2}}},
			{Value: 12, Inherited: []int{0}, MinimumHash: 0x800c},
		},
		Settings: []sipolicy.Setting{
			{Provider: "PolicyInfo", Key: "Information", Name: "Name", Type: sipolicy.SettingText, Text: "A list"},
			{Provider: "a", Type: sipolicy.SettingBool, Number: 1}, {Name: "b", Type: sipolicy.SettingBytes,
				Bytes: []byte{9}},
			{Key: "c", Type: sipolicy.SettingNumber, Number: 77},
		},
	}
	if format >= 3 {
		p.Rules[1].Maximum, p.Rules[1].AppIDs = 2<<48, []string{"x.exe", ""}
		p.Signers[0].SignTimeAfter = time.Date(2021, 7, 1, 0, 0, 0, 0, time.UTC)
	}
	if format >= 4 {
		p.Rules[1].InternalName, p.Rules[1].FileDescription, p.Rules[1].ProductName = "in", "desc", "product"
	}
	if format >= 5 {
		p.Rules[2].PackageFamilyName, p.Rules[2].PackageVersion = "App_1", 5
	}
	if format >= 6 {
		p.ID, p.BaseID = "d2bda982-ccf6-4344-ac5b-0b44427b6816", "2a5a0136-0000-1111-2222-333344445555"
		p.SupplementalSigners = []int{0, 1}
	}
	if format >= 7 {
		p.Rules[0].FilePath = `%OSDRIVE%\old\*`
	}
	return p
}

func TestRoundTrip(t *testing.T) {
	for format := uint32(1); format <= 8; format++ {
		want := sample(format)
		raw := policytest.Compile(want)
		for name, b := range map[string][]byte{
			"bare": raw, "signed": policytest.Sign(raw, false), "nested": policytest.Sign(raw, true)} {
			got, err := sipolicy.Parse(b, nil)
			if err != nil || !sipolicy.Is(b) {
				t.Fatalf("format %d, %s: %v, %v", format, name, err, sipolicy.Is(b))
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("format %d, %s:\n got %+v\nwant %+v", format, name, got, want)
			}
		}
	}
	if p := sample(7); p.Name() != "A list" || !p.Audit() {
		t.Errorf("%q, audit %v", p.Name(), p.Audit())
	}
}

// Of a newer format what comes before its own blocks is read, and what follows is counted.
func TestNewerFormat(t *testing.T) {
	for _, format := range []uint32{9, 11, 40} {
		p := sample(8)
		p.Format = format
		got, err := sipolicy.Parse(policytest.Compile(p), nil)
		if err != nil {
			t.Fatal(format, err)
		}
		if got.Unread == 0 || !reflect.DeepEqual(got.Rules, p.Rules) || got.ID != p.ID {
			t.Errorf("format %d: %d bytes unread, %+v", format, got.Unread, got)
		}
	}
}

// A policy that is cut off anywhere gives an error, and so does one byte more.
func TestTruncated(t *testing.T) {
	raw := policytest.Compile(sample(8))
	for n := range raw {
		if _, err := sipolicy.Parse(raw[:n], nil); err == nil {
			t.Fatalf("%d of %d bytes are read", n, len(raw))
		}
	}
	if _, err := sipolicy.Parse(append(raw, 0), nil); err == nil {
		t.Error("a byte too many is read")
	}
}

// Each word is in turn made huge: the answer is an error or a policy, and never more things than the file has bytes.
func TestHostileCounts(t *testing.T) {
	raw := policytest.Compile(sample(8))
	for at := 0; at+4 <= len(raw); at++ {
		for _, n := range []uint32{0xffffffff, 0x7fffffff, 0x10000, 1 << 20} {
			b := append([]byte(nil), raw...)
			binary.LittleEndian.PutUint32(b[at:], n)
			p, err := sipolicy.Parse(b, nil)
			if (err == nil) != (p != nil) {
				t.Fatalf("%#x at %d: %v, %v", n, at, p, err)
			}
			if p != nil && size(p) > len(b) {
				t.Fatalf("%#x at %d: %d things of %d bytes", n, at, size(p), len(b))
			}
		}
	}
}

func size(p *sipolicy.Policy) int {
	n := len(p.EKUs) + len(p.Rules) + len(p.Signers) + len(p.Settings)
	for _, s := range p.Scenarios {
		for _, g := range s.Groups() {
			n += len(g.Allowed) + len(g.Denied) + len(g.Rules)
		}
	}
	return n
}

func TestIs(t *testing.T) {
	raw := policytest.Compile(sample(7))
	for name, b := range map[string][]byte{"empty": nil, "XML": []byte("<SiPolicy>"), "JSON": []byte("[]"),
		"another DER": {0x30, 0x03, 2, 1, 1}, "another platform": append(append([]byte(nil), raw[:20]...),
			raw[21:]...)} {
		if sipolicy.Is(b) {
			t.Errorf("%s is a policy", name)
		}
		if _, err := sipolicy.Parse(b, nil); err == nil {
			t.Errorf("%s is read", name)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, format := range []uint32{1, 7, 8, 9} {
		p := sample(min(format, 8))
		p.Format = format
		f.Add(policytest.Compile(p))
	}
	f.Add(policytest.Sign(policytest.Compile(sample(7)), true))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := sipolicy.Parse(b, nil)
		if (err == nil) == (p == nil) {
			t.Fatalf("%v, %v", p, err)
		}
		if p != nil && size(p) > len(b) {
			t.Fatalf("%d things of %d bytes", size(p), len(b))
		}
	})
}

func ExampleParse() {
	p, err := sipolicy.Parse(policytest.Compile(&sipolicy.Policy{
		Format: 7, Rules: []sipolicy.FileRule{{Kind: sipolicy.Deny, FileName: "old.sys"}},
		Scenarios: []sipolicy.Scenario{{Value: sipolicy.ScenarioDrivers, Product: sipolicy.Group{Rules: []int{0}}}},
	}), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, i := range p.Scenarios[0].Product.Rules {
		fmt.Println("drivers: denied", p.Rules[i].FileName, "audit:", p.Audit())
	}
	// Output: drivers: denied old.sys audit: false
}
