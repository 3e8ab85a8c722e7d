// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509/pkix"
	"encoding/asn1"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/windows/authenticode"
	"github.com/kernelext/kernelext/windows/pe"
)

// A catalog is made in Go and signed by osslsigncode.
func unsignedCatalog(t testing.TB, digests ...[]byte) []byte {
	t.Helper()
	type attribute struct {
		Type   asn1.ObjectIdentifier
		Values asn1.RawValue
	}
	type member struct {
		ID         []byte
		Attributes asn1.RawValue
	}
	marshal := func(v any, params ...string) []byte {
		b, err := asn1.MarshalWithParams(v, strings.Join(params, ","))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	set := func(content []byte) asn1.RawValue {
		return asn1.RawValue{FullBytes: marshal(asn1.RawValue{Tag: 17, IsCompound: true, Bytes: content})}
	}
	sha256 := pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1},
		Parameters: asn1.NullRawValue}
	sha1 := pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26},
		Parameters: asn1.NullRawValue}
	var members []member
	for _, d := range digests {
		type digestInfo struct {
			Algorithm pkix.AlgorithmIdentifier
			Digest    []byte
		}
		type data struct {
			Type  asn1.ObjectIdentifier
			Value asn1.RawValue
		}
		algorithm := sha256
		if len(d) == 20 {
			algorithm = sha1
		}
		indirect := marshal(struct {
			Data   data
			Digest digestInfo
		}{data{asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 2, 1, 15}, asn1.RawValue{FullBytes: []byte{0x30, 0x00}}},
			digestInfo{algorithm, d}})
		members = append(members,
			member{d, set(marshal(attribute{asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 2, 1, 4}, set(indirect)}))})
	}
	ctl := marshal(struct {
		Usage   []asn1.ObjectIdentifier
		ID      []byte
		Made    time.Time `asn1:"utc"`
		Alg     pkix.AlgorithmIdentifier
		Members []member
	}{
		[]asn1.ObjectIdentifier{{1, 3, 6, 1, 4, 1, 311, 12, 1, 1}}, []byte("kernelext test 1"), now.UTC(),
		pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 12, 1, 3},
			Parameters: asn1.NullRawValue}, members,
	})
	explicit := func(b []byte) asn1.RawValue {
		return asn1.RawValue{Class: 2, Tag: 0, IsCompound: true, Bytes: b}
	}
	type content struct {
		Type asn1.ObjectIdentifier
		Data asn1.RawValue
	}
	signed := marshal(struct {
		Version    int
		Algorithms asn1.RawValue
		Content    content
		Signers    asn1.RawValue
	}{1, set(marshal(sha256)), content{asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 10, 1}, explicit(ctl)}, set(nil)})
	return marshal(content{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}, explicit(signed)})
}

func TestCatalogs(t *testing.T) {
	f := newSigning(t)
	leaf := issue(t, certificateOf{name: "Windows", ekus: []asn1.ObjectIdentifier{oidCodeSigning, oidInbox}}, f.ca)
	keys := keysOf("test", f.root)
	odd := append(testDriver(), 1, 2, 3) // a length that is not a multiple of eight
	p, err := pe.Parse(f.driver, new(fact.Report))
	if err != nil {
		t.Fatal(err)
	}
	q, err := pe.Parse(odd, new(fact.Report))
	if err != nil {
		t.Fatal(err)
	}
	cat := f.sign(t, "k.cat", unsignedCatalog(t, p.Authentihash(crypto.SHA256), q.Authentihash(crypto.SHA256)), leaf,
		[]*party{f.ca}, "-h", "sha256")
	index := func(b []byte) *authenticode.Catalogs {
		return authenticode.NewCatalogs(fstest.MapFS{"CatRoot/oem1.cat": {Data: b}, "CatRoot/readme.txt": {}},
			"CatRoot")
	}
	for name, image := range map[string][]byte{"even": f.driver, "odd": odd} {
		list := verify(t, image, keys, index(cat))
		if len(list) != 1 {
			t.Fatalf("%s: %d signatures", name, len(list))
		}
		s := list[0]
		if s.Source != fact.SignatureCatalog || s.Catalog != "CatRoot/oem1.cat" || s.Status != fact.SignatureValid ||
			s.Class != fact.ClassInbox {
			t.Errorf("%s: %s %s %s %s (%s)", name, s.Source, s.Catalog, s.Status, s.Class, s.Reason)
		}
	}
	old := f.sign(t, "o.cat", unsignedCatalog(t, p.Authentihash(crypto.SHA1)), leaf, []*party{f.ca}, "-h", "sha256")
	if list := verify(t, f.driver, keys, index(old)); len(list) != 1 || list[0].Status != fact.SignatureValid ||
		list[0].HashAlgorithm != "sha1" {
		t.Errorf("by SHA-1: %+v", list)
	}
	whole := sha256.Sum256(f.driver)
	flat := f.sign(t, "f.cat", unsignedCatalog(t, whole[:]), leaf, []*party{f.ca}, "-h", "sha256")
	if list := verify(t, f.driver, keys, index(flat)); len(list) != 1 || list[0].Status != fact.SignatureUntrusted {
		t.Errorf("by the whole file's digest: %+v", list)
	}
	// The digest of the whole file is asked for only where nothing else signs the file.
	if list := verify(t, f.driver, keys, index(flat), index(cat)); len(list) != 1 ||
		list[0].Status != fact.SignatureValid {
		t.Errorf("by the whole file's digest, and by a second folder: %+v", list)
	}
	// A load that was cut short is not made up for behind the caller's back, and can be made again.
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	late := index(cat)
	var cut, again, nonsense fact.Report
	if n, err := late.Load(stopped, &cut); n != 0 || err != nil || len(cut.Problems) == 0 {
		t.Errorf("stopped: %d catalogs, %v, %v", n, err, cut.Problems)
	}
	if list := verify(t, f.driver, keys, late); len(list) != 0 {
		t.Errorf("stopped: %+v", list)
	}
	if n, err := late.Load(t.Context(), &again); n != 1 || err != nil || len(again.Problems) != 0 {
		t.Errorf("again: %d catalogs, %v, %v", n, err, again.Problems)
	}
	if list := verify(t, f.driver, nil, index(cat)); len(list) != 1 || list[0].Status != fact.SignatureUntrusted {
		t.Errorf("without keys: %+v", list)
	}
	other := bytes.Clone(f.driver)
	other[0x500] ^= 1
	if list := verify(t, other, keys, index(cat)); len(list) != 0 {
		t.Errorf("a changed driver is in the catalog: %+v", list)
	}
	// A catalog into which a digest was written is no longer signed.
	r, err := pe.Parse(other, new(fact.Report))
	if err != nil {
		t.Fatal(err)
	}
	forged := bytes.ReplaceAll(cat, p.Authentihash(crypto.SHA256), r.Authentihash(crypto.SHA256))
	if list := verify(t, other, keys, index(forged)); len(list) != 1 || list[0].Status != fact.SignatureInvalid {
		t.Errorf("a forged catalog: %+v", list)
	}
	v := authenticode.NewVerifier(keys, now, []*authenticode.Catalogs{index([]byte("no catalog"))}, new(fact.Report))
	if n, err := v.Catalogs[0].Load(t.Context(), &nonsense); n != 0 || err != nil || len(nonsense.Problems) != 1 ||
		v.Complete() {
		t.Errorf("nonsense: %d catalogs, %v, %v", n, err, nonsense.Problems)
	}
}
