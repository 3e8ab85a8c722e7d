// SPDX-License-Identifier: Apache-2.0

package sign

import (
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
)

var (
	oidStamping  = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 8}
	oidTST       = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 1, 4}
	oidTokenMS   = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 3, 3, 1}
	oidCounter   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 6}
	oidDigestAtt = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 4}
	oidTypeAtt   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 3}
	oidTimeAtt   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 5}
)

type attributeValue struct {
	Type   asn1.ObjectIdentifier
	Values asn1.RawValue
}

func attributeOf(t testing.TB, oid asn1.ObjectIdentifier, value []byte) []byte {
	return der(t, attributeValue{oid, wrap(t, 0, 17, value)})
}

// A signing describes a SignerInfo to make.
type signing struct {
	by       *party
	typ      asn1.ObjectIdentifier // content type attribute; nil to leave it out
	content  []byte                // what is digested
	at       time.Time             // signing time attribute; zero to leave it out
	bare     bool                  // without signed attributes
	unsigned []byte                // unsigned attributes
}

// signerInfo makes a SignerInfo and returns it with its signature.
func signerInfo(t testing.TB, s signing) (info, sig []byte) {
	t.Helper()
	var attrs []byte
	if s.typ != nil {
		attrs = append(attrs, attributeOf(t, oidTypeAtt, der(t, s.typ))...)
	}
	attrs = append(attrs, attributeOf(t, oidDigestAtt, der(t, Sum(crypto.SHA256, s.content)))...)
	if !s.at.IsZero() {
		attrs = append(attrs, attributeOf(t, oidTimeAtt, der(t, s.at))...)
	}
	signed := wrap(t, 0, 17, attrs).FullBytes
	if s.bare {
		signed = s.content
	}
	sig, err := ecdsa.SignASN1(rand.Reader, s.by.key, Sum(crypto.SHA256, signed))
	if err != nil {
		t.Fatal(err)
	}
	body := append(der(t, 1), der(t, struct {
		Issuer asn1.RawValue
		Serial *big.Int
	}{asn1.RawValue{FullBytes: s.by.cert.RawIssuer}, s.by.cert.SerialNumber})...)
	body = append(body, der(t, sha256Alg)...)
	if !s.bare {
		body = append(body, wrap(t, 2, 0, attrs).FullBytes...)
	}
	body = append(append(body, der(t, ecdsaWith256)...), der(t, sig)...)
	if s.unsigned != nil {
		body = append(body, wrap(t, 2, 1, s.unsigned).FullBytes...)
	}
	return wrap(t, 0, 16, body).FullBytes, sig
}

// contentInfo wraps a SignerInfo with its content and certificates.
func contentInfo(t testing.TB, typ asn1.ObjectIdentifier, content, info []byte, certs ...*party) []byte {
	t.Helper()
	var raw []byte
	for _, c := range certs {
		raw = append(raw, c.cert.Raw...)
	}
	body := append(der(t, 3), wrap(t, 0, 17, der(t, sha256Alg)).FullBytes...)
	body = append(body, der(t, struct {
		Type asn1.ObjectIdentifier
		Data asn1.RawValue
	}{typ, wrap(t, 2, 0, der(t, content))})...)
	body = append(append(body, wrap(t, 2, 0, raw).FullBytes...), wrap(t, 0, 17, info).FullBytes...)
	return der(t, struct {
		Type asn1.ObjectIdentifier
		Data asn1.RawValue
	}{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}, wrap(t, 2, 0, wrap(t, 0, 16, body).FullBytes)})
}

// tstInfo is what a time stamping authority signs.
func tstInfo(t testing.TB, imprint []byte, at time.Time) []byte {
	type messageImprint struct {
		Algorithm pkix.AlgorithmIdentifier
		Digest    []byte
	}
	return der(t, struct {
		Version int
		Policy  asn1.ObjectIdentifier
		Imprint messageImprint
		Serial  int
		Time    time.Time `asn1:"generalized"`
	}{1, asn1.ObjectIdentifier{1, 2, 3}, messageImprint{sha256Alg, Sum(crypto.SHA256, imprint)}, 7, at})
}

func TestTimestamps(t *testing.T) {
	root := issue(t, "Root", true, nil)
	leaf := issue(t, "Leaf", false, root, oidCodeSign)
	tsaRoot := issue(t, "Time Root", true, nil)
	tsa := issue(t, "Time", false, tsaRoot, oidStamping)
	at := time.Date(2020, 2, 3, 4, 5, 6, 0, time.UTC)
	// The signature that is stamped is made first; its unsigned attributes come later.
	code := signing{by: leaf, typ: oidDataValue, content: []byte("code")}
	token := func(imprint []byte) []byte {
		content := tstInfo(t, imprint, at)
		info, _ := signerInfo(t, signing{by: tsa, typ: oidTST, content: content})
		return contentInfo(t, oidTST, content, info, tsa, tsaRoot)
	}
	for _, c := range []struct {
		name  string
		attr  func(sig []byte) []byte
		kind  string
		err   error
		wrong string // of the attribute itself
	}{
		{name: "token", kind: TimestampRFC3161,
			attr: func(sig []byte) []byte { return attributeOf(t, oidTokenMS, token(sig)) }},
		{name: "token of another signature", kind: TimestampRFC3161, err: ErrMismatch,
			attr: func([]byte) []byte { return attributeOf(t, oidTokenMS, token([]byte("other"))) }},
		{name: "token whose time was changed", kind: TimestampRFC3161, err: ErrMismatch, attr: func(sig []byte) []byte {
			return attributeOf(t, oidTokenMS, []byte(strings.Replace(string(token(sig)), "20200203", "20100203", 1)))
		}},
		{name: "token without attributes", kind: TimestampRFC3161, err: ErrMismatch, attr: func(sig []byte) []byte {
			content := tstInfo(t, sig, at)
			info, _ := signerInfo(t, signing{by: tsa, content: content, bare: true})
			return attributeOf(t, oidTokenMS, contentInfo(t, oidTST, content, info, tsa))
		}},
		{name: "token without its content type", kind: TimestampRFC3161, err: ErrMismatch,
			attr: func(sig []byte) []byte {
				content := tstInfo(t, sig, at)
				info, _ := signerInfo(t, signing{by: tsa, content: content})
				return attributeOf(t, oidTokenMS, contentInfo(t, oidTST, content, info, tsa))
			}},
		{name: "token without a certificate", kind: TimestampRFC3161, err: ErrNoCertificate,
			attr: func(sig []byte) []byte {
				content := tstInfo(t, sig, at)
				info, _ := signerInfo(t, signing{by: tsa, typ: oidTST, content: content})
				return attributeOf(t, oidTokenMS, contentInfo(t, oidTST, content, info))
			}},
		{name: "no token", wrong: "timestamp", attr: func([]byte) []byte {
			info, _ := signerInfo(t, signing{by: tsa, typ: oidDataValue, content: []byte("x")})
			return attributeOf(t, oidTokenMS, contentInfo(t, oidDataValue, []byte("x"), info, tsa))
		}},
		{name: "countersignature", kind: TimestampCounter, attr: func(sig []byte) []byte {
			info, _ := signerInfo(t, signing{by: tsa, typ: oidDataValue, content: sig, at: at})
			return attributeOf(t, oidCounter, info)
		}},
		{name: "countersignature of another signature", kind: TimestampCounter, err: ErrMismatch,
			attr: func([]byte) []byte {
				info, _ := signerInfo(t, signing{by: tsa, typ: oidDataValue, content: []byte("other"), at: at})
				return attributeOf(t, oidCounter, info)
			}},
		{name: "countersignature without a time", wrong: "signing time", attr: func(sig []byte) []byte {
			info, _ := signerInfo(t, signing{by: tsa, typ: oidDataValue, content: sig})
			return attributeOf(t, oidCounter, info)
		}},
	} {
		_, sig := signerInfo(t, code)
		// The same signature again, stamped: ECDSA makes another one each time, so it is put in.
		info := stamped(t, code, sig, c.attr(sig))
		sd, err := ParseContentInfo(contentInfo(t, oidDataValue, code.content, info, leaf, tsa))
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if err := sd.CheckContent(sd.Signers[0]); err != nil {
			t.Errorf("%s: the signature itself: %v", c.name, err)
		}
		list := sd.Signers[0].Timestamps(sd.Certificates)
		if len(list) != 1 {
			t.Fatalf("%s: %+v", c.name, list)
		}
		got := list[0]
		if c.wrong != "" {
			if got.Kind != TimestampUnknown || !errors.Is(got.Err, fact.ErrMalformed) ||
				!strings.Contains(got.Err.Error(), c.wrong) {
				t.Errorf("%s: %+v", c.name, got)
			}
			continue
		}
		if got.Kind != c.kind || !errors.Is(got.Err, c.err) || (got.Err == nil) != (c.err == nil) ||
			got.Err == nil && !got.Time.Equal(at) {
			t.Errorf("%s: %s at %s, %v", c.name, got.Kind, got.Time, got.Err)
		}
		if (got.Certificate == nil) != (c.err == ErrNoCertificate) {
			t.Errorf("%s: certificate %+v", c.name, got.Certificate)
		}
	}
}

// stamped makes the SignerInfo again with a signature that exists and unsigned attributes.
func stamped(t testing.TB, s signing, sig, unsigned []byte) []byte {
	t.Helper()
	s.unsigned = unsigned
	info, fresh := signerInfo(t, s)
	r := NewReader(info)
	seq, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	var body []byte
	for in := seq.Reader(); !in.Empty(); {
		v, err := in.Next()
		if err != nil {
			t.Fatal(err)
		}
		if v.Is(TagOctetString) && string(v.Body) == string(fresh) {
			body = append(body, der(t, sig)...)
			continue
		}
		body = append(body, v.Full...)
	}
	return wrap(t, 0, 16, body).FullBytes
}

// A signature over attributes does not pass for one over a content that is those attributes.
func TestAttributesAreNoContent(t *testing.T) {
	leaf := issue(t, "Leaf", false, nil, oidCodeSign)
	for _, typ := range []asn1.ObjectIdentifier{oidTST, oidDataValue} {
		content := []byte("content")
		info, _ := signerInfo(t, signing{by: leaf, content: content, bare: true})
		sd, err := ParseContentInfo(contentInfo(t, typ, content, info, leaf))
		if err != nil {
			t.Fatal(err)
		}
		if err := sd.CheckContent(sd.Signers[0]); (err == nil) != typ.Equal(oidDataValue) {
			t.Errorf("%v: %v", typ, err)
		}
	}
}

// An authority may be limited in what it issues: no certificates at all, or no authorities.
func TestChainConstraints(t *testing.T) {
	limited := func(c *Certificate, noSign bool, length int) *Certificate {
		c.NoCertSign, c.MaxPathLen = noSign, length
		return c
	}
	parse := func(p *party) *Certificate {
		c, err := ParseCertificate(p.cert.Raw)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	root := issue(t, "Root", true, nil)
	ca := issue(t, "CA", true, root)
	sub := issue(t, "Sub", true, ca)
	leaf := issue(t, "Leaf", false, sub, oidCodeSign)
	for _, c := range []struct {
		name                   string
		noSign                 bool
		rootLen, caLen, subLen int
		trusted                bool
		text                   string
	}{
		{name: "no limits", rootLen: -1, caLen: -1, subLen: -1, trusted: true},
		{name: "exact limits", rootLen: 2, caLen: 1, subLen: 0, trusted: true},
		{name: "authority below one that allows none", rootLen: -1, caLen: 0, subLen: -1, text: "allows 0 authorities"},
		{name: "root allows one", rootLen: 1, caLen: -1, subLen: -1, text: "allows 1 authorities"},
		{name: "key for other purposes", noSign: true, rootLen: -1, caLen: -1, subLen: -1, text: "may not issue"},
	} {
		roots := &Roots{sets: []rootSet{{name: "keys", certs: []*Certificate{limited(parse(root), false, c.rootLen)}}}}
		pool := []*Certificate{limited(parse(ca), c.noSign, c.caLen), limited(parse(sub), false, c.subLen)}
		chain := BuildChain(parse(leaf), ChainQuery{Pool: pool, Roots: roots, At: inTime, Usage: EKUCodeSigning})
		if chain.Trusted != c.trusted || !c.trusted && !strings.Contains(chain.Err.Error(), c.text) {
			t.Errorf("%s: trusted %v, %v", c.name, chain.Trusted, chain.Err)
		}
	}
}

func TestParseConstraints(t *testing.T) {
	for _, c := range []struct {
		length, want int
		usage        x509.KeyUsage
		noSign       bool
	}{{3, 3, x509.KeyUsageCertSign, false}, {-1, -1, x509.KeyUsageDigitalSignature, true},
		{0, 0, x509.KeyUsageCertSign | x509.KeyUsageDecipherOnly, false}, {-1, -1, 0, false}} {
		p := issue(t, "CA", true, nil)
		tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true,
			MaxPathLen: c.length, MaxPathLenZero: c.length == 0, KeyUsage: c.usage}
		raw, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, p.key.Public(), p.key)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseCertificate(raw)
		if err != nil || got.MaxPathLen != c.want || got.NoCertSign != c.noSign {
			t.Errorf("%+v: path %d, no signing %v, %v", c, got.MaxPathLen, got.NoCertSign, err)
		}
	}
}
