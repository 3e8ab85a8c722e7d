// SPDX-License-Identifier: Apache-2.0

package sign

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/certtest"
)

type party struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func issue(t testing.TB, name string, ca bool, issuer *party, ekus ...asn1.ObjectIdentifier) *party {
	t.Helper()
	key := certtest.Key(t)
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name, Organization: []string{`Ket, "Inc."`}}, IsCA: ca,
		NotBefore: time.Date(2015, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2035, 1, 1, 0, 0, 0, 0, time.UTC),
		BasicConstraintsValid: true, UnknownExtKeyUsage: ekus,
	}
	if issuer == nil {
		return &party{certtest.Issue(t, tmpl, key, nil, nil), key}
	}
	return &party{certtest.Issue(t, tmpl, key, issuer.cert, issuer.key), key}
}

func der(t testing.TB, v any) []byte {
	t.Helper()
	b, err := asn1.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func wrap(t testing.TB, class, tag int, b []byte) asn1.RawValue {
	return asn1.RawValue{FullBytes: der(t, asn1.RawValue{Class: class, Tag: tag, IsCompound: true, Bytes: b})}
}

var (
	oidDataValue = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	oidCodeSign  = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 3}
	sha256Alg    = pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}}
	ecdsaWith256 = pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}}
	inTime       = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
)

// pkcs7 makes a SignedData over content, with or without it inside.
func pkcs7(t testing.TB, p *party, certs []*party, content []byte, attached bool) []byte {
	t.Helper()
	type attribute struct {
		Type   asn1.ObjectIdentifier
		Values asn1.RawValue
	}
	attrs := append(der(t, attribute{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 3},
		wrap(t, 0, 17, der(t, oidDataValue))}),
		der(t, attribute{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 4},
			wrap(t, 0, 17, der(t, Sum(crypto.SHA256, content)))})...)
	attrs = append(attrs,
		der(t, attribute{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 5}, wrap(t, 0, 17, der(t, inTime))})...)
	set := wrap(t, 0, 17, attrs)
	sig, err := ecdsa.SignASN1(rand.Reader, p.key, Sum(crypto.SHA256, set.FullBytes))
	if err != nil {
		t.Fatal(err)
	}
	type id struct {
		Issuer asn1.RawValue
		Serial *big.Int
	}
	signer := der(t, struct {
		Version   int
		ID        id
		Digest    pkix.AlgorithmIdentifier
		Attrs     asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature []byte
	}{1, id{asn1.RawValue{FullBytes: p.cert.RawIssuer}, p.cert.SerialNumber}, sha256Alg, wrap(t, 2, 0, attrs),
		ecdsaWith256, sig})
	var raw []byte
	for _, c := range certs {
		raw = append(raw, c.cert.Raw...)
	}
	encap := der(t, struct{ Type asn1.ObjectIdentifier }{oidDataValue})
	if attached {
		encap = der(t, struct {
			Type asn1.ObjectIdentifier
			Data asn1.RawValue
		}{oidDataValue, wrap(t, 2, 0, der(t, content))})
	}
	body := der(t, struct {
		Version    int
		Algorithms asn1.RawValue
		Content    asn1.RawValue
		Certs      asn1.RawValue
		Signers    asn1.RawValue
	}{1, wrap(t, 0, 17, der(t, sha256Alg)), asn1.RawValue{FullBytes: encap}, wrap(t, 2, 0, raw),
		wrap(t, 0, 17, signer)})
	return der(t, struct {
		Type asn1.ObjectIdentifier
		Data asn1.RawValue
	}{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}, wrap(t, 2, 0, body)})
}

func TestSignedData(t *testing.T) {
	root := issue(t, "Root", true, nil)
	leaf := issue(t, "Leaf", false, root, oidCodeSign)
	content := []byte("what was signed")
	for _, attached := range []bool{true, false} {
		sd, err := ParseContentInfo(append(pkcs7(t, leaf, []*party{root, leaf}, content, attached), 0, 0, 0))
		if err != nil {
			t.Fatal(err)
		}
		s := sd.Signers[0]
		digest := func(b []byte) func(crypto.Hash) ([]byte, error) {
			return func(h crypto.Hash) ([]byte, error) { return Sum(h, b), nil }
		}
		cert := s.Certificate(sd.Certificates)
		if cert == nil || cert.Subject.CommonName() != "Leaf" || !s.SigningTime().Equal(inTime) {
			t.Fatalf("signer %v, time %v", cert, s.SigningTime())
		}
		if err := s.Check(cert, OIDData, digest(content)); err != nil {
			t.Errorf("check: %v", err)
		}
		if err := s.Check(cert, OIDData, digest([]byte("something else"))); !errors.Is(err, ErrMismatch) {
			t.Errorf("of another content: %v", err)
		}
		if err := s.Check(cert, OIDTSTInfo, digest(content)); !errors.Is(err, ErrMismatch) {
			t.Errorf("of another type: %v", err)
		}
		other, _ := ParseCertificate(root.cert.Raw)
		if err := s.Check(other, OIDData, digest(content)); !errors.Is(err, ErrMismatch) {
			t.Errorf("by another key: %v", err)
		}
		if err := s.Check(nil, OIDData, digest(content)); !errors.Is(err, ErrNoCertificate) {
			t.Errorf("without a certificate: %v", err)
		}
		if err := sd.CheckContent(s); (err == nil) != attached {
			t.Errorf("attached %v: %v", attached, err)
		}
	}
}

// TestDataBehind puts a byte after what each level of a message holds: nothing covers it.
func TestDataBehind(t *testing.T) {
	p := issue(t, "signer", false, nil)
	message := pkcs7(t, p, []*party{p}, []byte("content"), true)
	inner := func(b []byte) (v asn1.RawValue, rest []byte) {
		rest, err := asn1.Unmarshal(b, &v)
		if err != nil {
			t.Fatal(err)
		}
		return v, rest
	}
	outer, _ := inner(message)
	oid, rest := inner(outer.Bytes)
	explicit, _ := inner(rest)
	signed, _ := inner(explicit.Bytes)
	build := func(behindOuter, behindExplicit, behindSigned []byte) []byte {
		body := wrap(t, 0, 16, append(bytes.Clone(signed.Bytes), behindSigned...)).FullBytes
		body = wrap(t, 2, 0, append(body, behindExplicit...)).FullBytes
		return wrap(t, 0, 16, append(append(bytes.Clone(oid.FullBytes), body...), behindOuter...)).FullBytes
	}
	if _, err := ParseContentInfo(build(nil, nil, nil)); err != nil {
		t.Fatal(err)
	}
	for i, b := range [][]byte{build([]byte{0}, nil, nil), build(nil, []byte{0}, nil), build(nil, nil, []byte{5, 0})} {
		if _, err := ParseContentInfo(b); !errors.Is(err, fact.ErrMalformed) {
			t.Errorf("level %d: %v", i, err)
		}
	}
}

func TestCertificate(t *testing.T) {
	root := issue(t, "Root", true, nil)
	leaf := issue(t, "Leaf", false, root, oidCodeSign)
	c, err := ParseCertificate(leaf.cert.Raw)
	if err != nil {
		t.Fatal(err)
	}
	r, err := ParseCertificate(root.cert.Raw)
	if err != nil {
		t.Fatal(err)
	}
	if c.Subject.String() != `CN=Leaf, O=Ket\, "Inc."` && c.Subject.String() != `CN=Leaf, O=Ket\, \"Inc.\"` {
		t.Errorf("subject %s", c.Subject)
	}
	if c.CheckIssuedBy(r) != nil || c.IsSelfSigned() || !r.IsSelfSigned() || !r.IsCA || c.IsCA || !c.HasConstraints {
		t.Errorf("leaf %+v", c)
	}
	if !c.Allows(EKUCodeSigning) || c.Allows(EKUTimeStamping) || !r.Allows(EKUTimeStamping) || !c.Has(EKUCodeSigning) ||
		r.Has(EKUCodeSigning) {
		t.Errorf("usages %v, %v", c.EKUs, r.EKUs)
	}
	if tbs, alg := c.TBSHash(); alg != "sha256" || len(tbs) != 64 {
		t.Errorf("tbs %s %s", tbs, alg)
	}
	if !bytes.Equal(c.AuthorityKeyID, r.SubjectKeyID) || c.NotBefore != leaf.cert.NotBefore ||
		c.SerialHex() != leaf.cert.SerialNumber.Text(16) && c.SerialHex() != "0"+leaf.cert.SerialNumber.Text(16) {
		t.Errorf("serial %s, want %x", c.SerialHex(), leaf.cert.SerialNumber)
	}
	bad := bytes.Clone(leaf.cert.Raw)
	bad[len(bad)-1] ^= 1
	if x, err := ParseCertificate(bad); err == nil && x.CheckIssuedBy(r) == nil {
		t.Error("a changed signature is good")
	}
}

func TestBuildChain(t *testing.T) {
	root := issue(t, "Root", true, nil)
	ca := issue(t, "CA", true, root)
	leaf := issue(t, "Leaf", false, ca, oidCodeSign)
	notCA := issue(t, "Not a CA", false, root)
	under := issue(t, "Under", false, notCA, oidCodeSign)
	keys := func(ps ...*party) *Roots {
		s := fact.KeySet{Name: "keys"}
		for _, p := range ps {
			s.Certificates = append(s.Certificates, p.cert)
		}
		r := NewRoots([]fact.KeySet{s})
		var report fact.Report
		if r.Report(&report, "keys", ""); report.Problems != nil {
			t.Fatal(report.Problems)
		}
		return r
	}
	pool := func(ps ...*party) []*Certificate {
		var out []*Certificate
		for _, p := range ps {
			c, err := ParseCertificate(p.cert.Raw)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, c)
		}
		return out
	}
	for _, c := range []struct {
		name    string
		leaf    *party
		pool    []*Certificate
		roots   *Roots
		at      time.Time
		usage   string
		trusted bool
		length  int
		text    string
	}{
		{"root given", leaf, pool(ca), keys(root), inTime, EKUCodeSigning, true, 3, ""},
		{"root given and present", leaf, pool(root, ca, leaf), keys(root), inTime, EKUCodeSigning, true, 3, ""},
		{"CA given", leaf, pool(ca), keys(ca), inTime, EKUCodeSigning, true, 2, ""},
		{"leaf given", leaf, nil, keys(leaf), time.Time{}, EKUCodeSigning, true, 1, ""},
		{"other root", leaf, pool(ca, root), keys(notCA), inTime, EKUCodeSigning, false, 3, "not among the given keys"},
		{"nobody trusted", leaf, pool(ca), nil, inTime, EKUCodeSigning, false, 2, "not among the given keys"},
		{"CA missing", leaf, nil, keys(root), inTime, EKUCodeSigning, false, 1, "not among the given keys"},
		{"too late", leaf, pool(ca), keys(root), inTime.AddDate(20, 0, 0), EKUCodeSigning, false, 3, "valid from"},
		{"other purpose", leaf, pool(ca), keys(root), inTime, EKUTimeStamping, false, 3, "purpose"},
		{"issued by no CA", under, pool(notCA), keys(root), inTime, EKUCodeSigning, false, 3, "may not issue"},
	} {
		start, err := ParseCertificate(c.leaf.cert.Raw)
		if err != nil {
			t.Fatal(err)
		}
		chain := BuildChain(start, ChainQuery{Pool: c.pool, Roots: c.roots, At: c.at, Usage: c.usage})
		if chain.Trusted != c.trusted || len(chain.Certificates) != c.length || (chain.Err == nil) != c.trusted {
			t.Errorf("%s: trusted %v by %d certificates, %v", c.name, chain.Trusted, len(chain.Certificates), chain.Err)
		} else if c.text != "" && !strings.Contains(chain.Err.Error(), c.text) {
			t.Errorf("%s: %v", c.name, chain.Err)
		}
	}
}

// Certificates that issue each other in a ring, and many of one name, cost bounded work.
func TestBuildChainBounded(t *testing.T) {
	leaf := issue(t, "Same", true, nil)
	c, err := ParseCertificate(leaf.cert.Raw)
	if err != nil {
		t.Fatal(err)
	}
	var pool []*Certificate
	for range maxCerts {
		x, err := ParseCertificate(issue(t, "Same", true, nil).cert.Raw)
		if err != nil {
			t.Fatal(err)
		}
		x.SubjectKeyID, x.AuthorityKeyID = nil, nil
		pool = append(pool, x)
	}
	c.AuthorityKeyID = nil
	b := chainBuilder{q: ChainQuery{Pool: pool, At: inTime}, tries: maxTries}
	b.walk([]*Certificate{c})
	if b.tries != 0 || b.best.Trusted {
		t.Errorf("%d tries left, best %+v", b.tries, b.best)
	}
}

func TestDER(t *testing.T) {
	for name, b := range map[string][]byte{
		"empty": {}, "a tag alone": {0x30}, "too long": {0x30, 0x05, 1},
		"length of lengths": {0x30, 0x85, 1, 1, 1, 1, 1}, "huge": {0x30, 0x84, 0xff, 0xff, 0xff, 0xff},
		"indefinite without an end": {0x30, 0x80, 0x02, 0x01, 0x01}, "indefinite primitive": {0x04, 0x80, 0, 0},
		"endless tag": {0x3f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
	} {
		r := NewReader(b)
		if v, err := r.Next(); err == nil {
			t.Errorf("%s: %+v", name, v)
		}
	}
	deep := bytes.Repeat([]byte{0x30, 0x80}, 1000)
	deep = append(deep, make([]byte, 2000)...)
	r := NewReader(deep)
	if _, err := r.Next(); err == nil {
		t.Error("a thousand levels are read")
	}
	r = NewReader([]byte{0x24, 0x80, 0x04, 0x01, 'a', 0x04, 0x02, 'b', 'c', 0, 0, 0xff})
	v, err := r.Next()
	if s, _ := OctetString(v); err != nil || string(s) != "abc" || len(r.Rest()) != 1 {
		t.Errorf("%q, %v", s, err)
	}
	for oid, b := range map[string][]byte{"1.2.840.113549": {6, 6, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d},
		"2.5.29.37": {6, 3, 0x55, 0x1d, 0x25}, "2.999": {6, 2, 0x88, 0x37}, "": {6, 1, 0x88}} {
		r := NewReader(b)
		if v, _ := r.Next(); OID(v) != oid {
			t.Errorf("%x: %s", b, OID(v))
		}
	}
	for text, want := range map[string]string{"490101000000Z": "2049-01-01", "500101000000Z": "1950-01-01",
		"260101000000+0100": "2025-12-31", "2601010000Z": "2026-01-01"} {
		got, err := Time(Value{Tag: TagUTCTime, Body: []byte(text)})
		if err != nil || got.Format("2006-01-02") != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
}

func FuzzContentInfo(f *testing.F) {
	root := issue(f, "Root", true, nil)
	leaf := issue(f, "Leaf", false, root, oidCodeSign)
	f.Add(pkcs7(f, leaf, []*party{root, leaf}, []byte("content"), true))
	f.Add(pkcs7(f, leaf, nil, []byte("content"), false))
	set := []fact.KeySet{{Name: "keys", Certificates: []*x509.Certificate{root.cert}}}
	roots := NewRoots(set)
	f.Fuzz(func(t *testing.T, b []byte) {
		sd, err := ParseContentInfo(b)
		if (err == nil) == (sd == nil) {
			t.Fatalf("value %v and error %v", sd, err)
		}
		if err != nil {
			return
		}
		if len(sd.Certificates) > maxCerts || len(sd.Signers) > maxSigners {
			t.Fatalf("%d certificates, %d signers", len(sd.Certificates), len(sd.Signers))
		}
		for _, s := range sd.Signers {
			_ = sd.CheckContent(s)
			_ = s.Timestamps(sd.Certificates)
			if c := s.Certificate(sd.Certificates); c != nil {
				BuildChain(c, ChainQuery{Pool: sd.Certificates, Roots: roots, At: inTime, Usage: EKUCodeSigning})
			}
		}
	})
}

func FuzzCertificate(f *testing.F) {
	f.Add(issue(f, "Root", true, nil, oidCodeSign).cert.Raw)
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseCertificate(b)
		if (err == nil) == (c == nil) {
			t.Fatalf("value %v and error %v", c, err)
		}
		if err != nil {
			return
		}
		_ = c.Subject.String()
		_, _ = c.TBSHash()
		_ = c.IsSelfSigned()
		if len(c.EKUs) > maxEKUs || len(c.Subject) > maxRDNs {
			t.Fatalf("%d usages, %d parts of a name", len(c.EKUs), len(c.Subject))
		}
	})
}
