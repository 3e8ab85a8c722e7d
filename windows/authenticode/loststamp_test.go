// SPDX-License-Identifier: Apache-2.0

package authenticode

import (
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"testing"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/sign"
)

var stampEKU = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 8}

// token makes a token of RFC 3161 for a signature. The certificates come with it.
func (a *testAuthority) token(t *testing.T, signature []byte, at time.Time, certs ...*testAuthority) []byte {
	t.Helper()
	type imprint struct {
		Algorithm pkix.AlgorithmIdentifier
		Digest    []byte
	}
	info := der(t, struct {
		Version int
		Policy  asn1.ObjectIdentifier
		Imprint imprint
		Serial  int
		Time    time.Time `asn1:"generalized"`
	}{1, asn1.ObjectIdentifier{1, 2, 3}, imprint{pkix.AlgorithmIdentifier{Algorithm: sha256OID},
		sign.Sum(crypto.SHA256, signature)}, 7, at.UTC().Truncate(time.Second)})
	return a.signAs(t, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 1, 4}, der(t, info), certs...)
}

// damaged is a certificate with data after its end, which no reader takes.
func (a *testAuthority) damaged(t *testing.T) *testAuthority {
	t.Helper()
	raw := append(append([]byte(nil), a.cert.Raw...), 0)
	copy(raw, der(t, asn1.RawValue{Tag: 16, IsCompound: true, Bytes: raw[4:]}))
	return &testAuthority{&x509.Certificate{Raw: raw}, a.key}
}

// A certificate of a token that cannot be read leaves it open whether the token proves its time: what an expired signer
// signed is then not known to be untrusted. One that did not come along leaves nothing open.
func TestLostStampCertificate(t *testing.T) {
	root := (*testAuthority)(nil).issue(t, "Test Root", true)
	builtIn(t, root, "")
	leaf := root.issue(t, "Leaf", false, inboxEKU, codingEKU)
	middle := root.issue(t, "Stamps", true)
	stamp := middle.issue(t, "Stamp", false, stampEKU)
	signature, now := []byte("signature"), time.Now()
	for name, tt := range map[string]struct {
		certs  []*testAuthority
		of     string // the signature that is stamped
		stamp  fact.SignatureStatus
		status fact.SignatureStatus
	}{
		"whole": {[]*testAuthority{stamp, middle}, "signature", fact.SignatureValid, fact.SignatureValid},
		"its issuer cannot be read": {[]*testAuthority{stamp, middle.damaged(t)}, "signature",
			fact.SignatureUnchecked, fact.SignatureUnchecked},
		"its issuer did not come": {[]*testAuthority{stamp}, "signature", fact.SignatureUntrusted,
			fact.SignatureUntrusted},
		"its own cannot be read": {[]*testAuthority{stamp.damaged(t), middle}, "signature",
			fact.SignatureUnchecked, fact.SignatureUnchecked},
		"its own did not come": {[]*testAuthority{middle}, "signature", fact.SignatureUnchecked,
			fact.SignatureUntrusted},
		"of another signature": {[]*testAuthority{stamp, middle.damaged(t)}, "another", fact.SignatureInvalid,
			fact.SignatureUntrusted},
	} {
		r := sign.NewReader(stamp.token(t, []byte(tt.of), now, tt.certs...))
		value, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		pool := signCertificates(t, leaf)
		signer := &sign.Signer{RawIssuer: pool[0].RawIssuer, Serial: pool[0].Serial, Signature: signature,
			Unsigned: []sign.Attribute{{OID: sign.OIDMicrosoftTimestamp, Values: []sign.Value{value}}}}
		v, s := &Verifier{Now: now.Add(48 * time.Hour)}, Signature{}
		v.judge(&s, &sign.SignedData{Certificates: pool}, signer, nil)
		if len(s.Timestamps) != 1 || s.Timestamps[0].Status != tt.stamp || s.Status != tt.status ||
			(s.Reason == "") != (tt.status == fact.SignatureValid) {
			t.Errorf("%s: %s (%s), %+v", name, s.Status, s.Reason, s.Timestamps)
		}
	}
	lost := errors.New("lost")
	if _, unsure := new(Verifier).timestamp(sign.Timestamp{Err: sign.ErrNoCertificate, Lost: lost}); unsure != nil {
		t.Errorf("a timestamp without a time is one that may count: %v", unsure)
	}
}
