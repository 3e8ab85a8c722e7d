// SPDX-License-Identifier: Apache-2.0

package authenticode

import (
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"math/big"
	"testing"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/sign"
	"github.com/kernelext/kernelext/internal/testing/bomb"
	"github.com/kernelext/kernelext/internal/testing/certtest"
)

// disallowedList makes a list as Windows Update has it, made up and without a signer.
func disallowedList(t testing.TB, usage, algorithm asn1.ObjectIdentifier, ids ...[]byte) []byte {
	t.Helper()
	type entry struct{ ID []byte }
	type algorithmID struct{ Algorithm asn1.ObjectIdentifier }
	entries := []entry{}
	for _, id := range ids {
		entries = append(entries, entry{id})
	}
	der := func(v any) []byte {
		b, err := asn1.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	list := der(struct {
		Usage     []asn1.ObjectIdentifier
		Name      []byte
		Number    int
		Made      time.Time `asn1:"utc"`
		Algorithm algorithmID
		Entries   []entry
	}{[]asn1.ObjectIdentifier{usage}, []byte("DisallowedCert_AutoUpdate_1"), 7, time.Unix(1e9, 0).UTC(),
		algorithmID{algorithm}, entries})
	trustList := asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 10, 1}
	data := der(struct {
		Version int
		Digests []algorithmID `asn1:"set"`
		Content struct {
			Type    asn1.ObjectIdentifier
			Content asn1.RawValue
		}
		Signers []algorithmID `asn1:"set"`
	}{Version: 1, Content: struct {
		Type    asn1.ObjectIdentifier
		Content asn1.RawValue
	}{trustList, asn1.RawValue{Class: 2, Tag: 0, IsCompound: true, Bytes: list}}})
	return der(struct {
		Type    asn1.ObjectIdentifier
		Content asn1.RawValue
	}{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2},
		asn1.RawValue{Class: 2, Tag: 0, IsCompound: true, Bytes: data}})
}

var (
	listUsage = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 10, 3, 30}
	listHash  = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 10, 11, 15}
	sha1OID   = asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}
	sha256OID = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
)

// TestDisallow: a list names a certificate by its signed part, by its key or as a whole; whatever is not understood of
// it makes no signature valid.
func TestDisallow(t *testing.T) {
	key := certtest.Key(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "A"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(4e9, 0)}
	raw := certtest.Issue(t, template, key, nil, nil).Raw
	parsed, err := sign.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	certs := new(memo).certificates([]*sign.Certificate{parsed})
	own, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	var spki struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(own.RawSubjectPublicKeyInfo, &spki); err != nil {
		t.Fatal(err)
	}
	byKey, byPart := sign.Sum(crypto.MD5, spki.Key.Bytes), sign.Sum(crypto.SHA256, own.RawTBSCertificate)
	whole, other := sign.Sum(crypto.SHA1, raw), make([]byte, 16)
	good := disallowedList(t, listUsage, listHash, other, byPart)
	for name, tt := range map[string]struct {
		list          []byte
		barred, doubt bool
	}{
		"by its key":           {disallowedList(t, listUsage, listHash, other, byKey), true, false},
		"by its signed part":   {good, true, false},
		"as a whole":           {disallowedList(t, listUsage, sha1OID, whole), true, false},
		"another":              {disallowedList(t, listUsage, listHash, other), false, false},
		"empty":                {disallowedList(t, listUsage, listHash), false, false},
		"for another use":      {disallowedList(t, sha1OID, listHash, byKey), false, true},
		"an unknown algorithm": {disallowedList(t, listUsage, asn1.ObjectIdentifier{1, 2, 3}, byKey), false, true},
		"a short entry":        {disallowedList(t, listUsage, listHash, byKey[:15]), false, true},
		"not of the algorithm": {disallowedList(t, listUsage, sha1OID, byKey), false, true},
		"no list":              {[]byte("no list"), false, true},
		"cut off":              {good[:len(good)-9], false, true},
	} {
		var r fact.Report
		s := NewStores(nil, nil, &r)
		s.Disallow(tt.list, "list", &r)
		if barred := s.notAllowed(certs) != nil; barred != tt.barred {
			t.Errorf("%s: barred %v", name, barred)
		}
		if doubt := s.undecided(nil, certs) != nil; doubt != tt.doubt || (len(r.Problems) > 0) != tt.doubt {
			t.Errorf("%s: in doubt %v, %v", name, doubt, r.Problems)
		}
	}
	var r fact.Report
	s := NewStores(nil, nil, &r)
	s.Disallow(disallowedList(t, listUsage, listHash, other), "list", &r)
	if s.undecided(nil, []Certificate{{Subject: "B", ThumbprintSHA1: hex.EncodeToString(whole)}}) == nil {
		t.Error("a certificate without digests is not in the list")
	}
}

func FuzzDisallow(f *testing.F) {
	f.Add(disallowedList(f, listUsage, listHash, make([]byte, 16), make([]byte, 32)))
	for _, seed := range bomb.Seeds(bomb.Disallowed) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, list []byte) {
		r := fact.Report{Budget: fact.NewBudget(0)}
		s := NewStores(nil, nil, &r)
		if s.Disallow(list, "list", &r); len(r.Problems) > 0 != (s.unread != nil) {
			t.Errorf("%v, %v", r.Problems, s.unread)
		}
	})
}
