// SPDX-License-Identifier: Apache-2.0

package windows_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/fakewindows"
	"github.com/kernelext/kernelext/internal/testing/policytest"
	"github.com/kernelext/kernelext/internal/testing/signtest"
	"github.com/kernelext/kernelext/windows"
	"github.com/kernelext/kernelext/windows/authenticode"
	"github.com/kernelext/kernelext/windows/pe"
	"github.com/kernelext/kernelext/windows/sipolicy"
)

// certificateTable returns the certificate table of an image.
func certificateTable(t *testing.T, image []byte) []byte {
	t.Helper()
	p, err := pe.Parse(image, new(fact.Report))
	if err != nil {
		t.Fatal(err)
	}
	table, err := p.CertificateTable()
	if err != nil || table == nil {
		t.Fatal(table, err)
	}
	return table
}

// withTable returns a signed image with another certificate table.
func withTable(image []byte, parts ...[]byte) []byte {
	le, table := binary.LittleEndian, slices.Concat(parts...)
	entry := int(le.Uint32(image[0x3c:])) + 24 + 112 + 8*4 // of the certificate table in the data directory
	out := slices.Concat(image[:le.Uint32(image[entry:])], table)
	le.PutUint32(out[entry+4:], uint32(len(table)))
	return out
}

// tableEntry is an entry of a certificate table, with the bytes that pad it.
func tableEntry(revision, kind uint16, body []byte, padding byte) []byte {
	le := binary.LittleEndian
	b := le.AppendUint32(nil, uint32(8+len(body)))
	b = append(le.AppendUint16(le.AppendUint16(b, revision), kind), body...)
	for len(b)%8 != 0 {
		b = append(b, padding)
	}
	return b
}

// denyingSigner is a policy that denies what a signer's authority issued.
func denyingSigner(s signtest.Signer) []byte {
	root := sha256.Sum256(s.Authority.RawTBSCertificate)
	return policytest.Compile(&sipolicy.Policy{Format: 7, Options: sipolicy.OptionUnsigned,
		Signers: []sipolicy.Signer{{Root: root[:]}}, Scenarios: []sipolicy.Scenario{{Value: sipolicy.ScenarioDrivers,
			Product: sipolicy.Group{Denied: []sipolicy.SignerRef{{Signer: 0}}}}}})
}

// What was not read of a certificate table may hold the denied signer: not all signers are known then.
func TestUnreadTable(t *testing.T) {
	vendor, denied := signtest.New(t, "Vendor"), signtest.New(t, "Denied")
	image := denied.Image(t, sample("x"))
	first := certificateTable(t, vendor.Image(t, sample("x")))
	second := certificateTable(t, image)
	inside := append(slices.Clone(first[8:]), 0) // its length is no multiple of eight
	huge := slices.Clone(first)
	huge[3] = 0xff
	list, err := windows.ParseBlockList(denyingSigner(denied), new(fact.Report))
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		file  []byte
		known bool
		hits  string
	}{
		"the denied one":        {image, true, "strong"},
		"another":               {withTable(image, first), true, ""},
		"both":                  {withTable(image, first, second), true, "weak"},
		"zeros between":         {withTable(image, tableEntry(0x200, 2, inside, 0), second), true, "weak"},
		"data between":          {withTable(image, tableEntry(0x200, 2, inside, 0xcc), second), false, ""},
		"a certificate first":   {withTable(image, tableEntry(0x200, 1, []byte("certificate"), 0), second), false, ""},
		"another form first":    {withTable(image, tableEntry(0x300, 2, []byte("signature"), 0), second), false, ""},
		"a certificate between": {withTable(image, first, tableEntry(0x200, 1, nil, 0), second), false, ""},
		"a certificate after":   {withTable(image, second, tableEntry(0x200, 1, nil, 0)), false, "weak"},
		"a huge entry":          {withTable(image, huge, second), false, ""},
		"a few bytes":           {withTable(image, first, []byte{1, 2, 3, 4}), false, ""},
		"too many":              {withTable(image, slices.Concat(slices.Repeat(first, 16), second)), false, ""},
		"cut":                   {image[:len(image)-16], false, ""},
		"cut to its code":       {image[:len(image)-len(second)], false, ""},
	} {
		f, err := windows.ParseFile(tt.file, windows.FileOptions{Verifier: &authenticode.Verifier{}}, new(fact.Report))
		if err != nil {
			t.Fatal(name, err)
		}
		var hits []string
		for _, m := range list.Match(windows.BlockEvidence{Signatures: f.Signatures}) {
			hits = append(hits, string(m.Strength))
		}
		known := (&windows.Driver{Signatures: f.Signatures}).SignersKnown()
		if known != tt.known || strings.Join(hits, " ") != tt.hits {
			t.Errorf("%s: all signers known: %v, hits %q; %+v", name, known, hits, f.Signatures)
		}
	}
}

// A policy that denies a signer blocks a driver for sure only if nothing else may carry it: not a signature that only
// this machine's stores, or data beside it, make invalid, nor one of catalogs beyond those that are looked at.
func TestDeniedBesideOthers(t *testing.T) {
	vendor, denied := signtest.New(t, "Vendor"), signtest.New(t, "Denied")
	plain := sample("hidden")
	by, other := denied.Image(t, bytes.Clone(plain)), vendor.Image(t, bytes.Clone(plain))
	unfit := bytes.Replace(other, []byte("hidden"), []byte("hiddem"), 1)
	beside := withTable(other, certificateTable(t, other), bytes.Repeat([]byte{0xcc}, 64))
	tail := withTable(other, tableEntry(0x200, 2, append(certificateTable(t, other)[8:], 0xcc), 0))
	kind := withTable(other, tableEntry(0x200, 1, []byte("certificate"), 0))
	of := func(s signtest.Signer, file []byte) []byte { return s.Catalog(t, authentihash(t, file)) }
	copies := func(c []byte, n int, last []byte) map[string][]byte {
		list := map[string][]byte{"z.cat": last}
		for i := range n {
			list[fmt.Sprintf("a%02d.cat", i)] = c
		}
		return list
	}
	one := func(c []byte) map[string][]byte { return copies(nil, 0, c) }
	none := one(vendor.Catalog(t, make([]byte, 32)))
	for name, tt := range map[string]struct {
		file     []byte
		catalogs map[string][]byte
		calls    map[string]string
		want     fact.VerdictOutcome
	}{
		"of the denied signer": {by, none, nil, fact.VerdictBlocked},
		"and a catalog":        {by, one(of(vendor, by)), nil, fact.VerdictUnknown},
		"and a catalog whose signer the machine bars": {by, one(of(vendor, by)), barring(vendor.Leaf.Raw),
			fact.VerdictUnknown},
		"in a catalog": {plain, one(of(denied, plain)), nil, fact.VerdictBlocked},
		"in a catalog, and a signature that does not fit": {unfit, one(of(denied, unfit)), nil,
			fact.VerdictBlocked},
		"in a catalog, and a signature that the machine bars": {other, one(of(denied, other)),
			barring(vendor.Leaf.Raw), fact.VerdictUnknown},
		"in a catalog, and data beside a signature": {beside, one(of(denied, beside)), nil, fact.VerdictUnknown},
		"in a catalog, and data after a signature":  {tail, one(of(denied, tail)), nil, fact.VerdictUnknown},
		"in a catalog, and a table that was not read": {kind, one(of(denied, kind)), nil,
			fact.VerdictUnknown},
		"in catalogs": {plain, copies(of(denied, plain), 20, of(denied, plain)), nil, fact.VerdictBlocked},
		"in catalogs before another's": {plain, copies(of(denied, plain), 8, of(vendor, plain)), nil,
			fact.VerdictUnknown},
		"in catalogs after another's": {plain, copies(of(vendor, plain), 8, of(denied, plain)), nil,
			fact.VerdictUnknown},
		"in many catalogs before another's": {plain, copies(of(denied, plain), 64, of(vendor, plain)), nil,
			fact.VerdictUnknown},
		"in many catalogs after another's": {plain, copies(of(vendor, plain), 64, of(denied, plain)), nil,
			fact.VerdictUnknown},
		"in another's catalogs": {plain, copies(of(vendor, plain), 20, of(vendor, plain)), nil,
			fact.VerdictLoadable},
	} {
		m := fakewindows.Windows11(false)
		add := func(name string, b []byte) { m.Files[name] = &fstest.MapFile{Data: b} }
		add("c:/windows/system32/drivers/hidden.sys", tt.file)
		add("c:/windows/system32/codeintegrity/sipolicy.p7b", denyingSigner(denied))
		for name, b := range tt.catalogs {
			add(strings.ToLower(catalogFolder)+"/"+name, b)
		}
		maps.Copy(m.Calls, tt.calls)
		k := windows.Open(m, fact.Options{Keys: []fact.KeySet{vendor.KeySet(), denied.KeySet()},
			Detail: fact.DetailSignatures})
		v, err := k.Check(context.Background(), "hidden.sys", new(fact.Report))
		if err != nil || len(v) != 1 || v[0].NextBoot.Outcome != tt.want || v[0].Now.Outcome != tt.want {
			t.Errorf("%s: %+v, %v", name, v, err)
		}
	}
}

// Where no signature can be valid, the signers of an ordinary driver in many catalogs are known all the same.
func TestManyCatalogsWithoutKeys(t *testing.T) {
	vendor, files := signtest.New(t, "Vendor"), fstest.MapFS{}
	file := sample("x")
	for i := range 20 {
		files[fmt.Sprintf("%02d.cat", i)] = &fstest.MapFile{Data: vendor.Catalog(t, authentihash(t, file))}
	}
	v := &authenticode.Verifier{Trust: fact.TrustCaller,
		Catalogs: []*authenticode.Catalogs{authenticode.NewCatalogs(files, ".")}}
	f, err := windows.ParseFile(file, windows.FileOptions{Verifier: v}, new(fact.Report))
	if err != nil || len(f.Signatures) != 20 || !authenticode.SignersKnown(f.Signatures) {
		t.Errorf("%+v, %v", f, err)
	}
}
