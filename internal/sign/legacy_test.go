// SPDX-License-Identifier: Apache-2.0

package sign

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"testing"
	"time"
)

// bareSigner makes SignerInfos as the old time stamping services did: RSA and SHA-1.
type bareSigner struct {
	key  *rsa.PrivateKey
	cert *Certificate
	raw  *x509.Certificate
}

func newBareSigner(t *testing.T) *bareSigner {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(9), Subject: pkix.Name{CommonName: "Stamper"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1e9, 0)}
	raw, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	s := &bareSigner{key: key}
	if s.raw, err = x509.ParseCertificate(raw); err != nil {
		t.Fatal(err)
	}
	if s.cert, err = ParseCertificate(raw); err != nil {
		t.Fatal(err)
	}
	return s
}

// A padding makes the block that RSA signs of a message.
type padding func(t *testing.T, key *rsa.PrivateKey, h crypto.Hash, message []byte) []byte

func padded(strip crypto.Hash, cut int) padding {
	return func(t *testing.T, key *rsa.PrivateKey, h crypto.Hash, message []byte) []byte {
		sum := Sum(h, message)
		sig, err := rsa.SignPKCS1v15(nil, key, strip, sum[:len(sum)-cut])
		if err != nil {
			t.Fatal(err)
		}
		return sig
	}
}

// info makes the SignerInfo of a countersignature of content.
func (s *bareSigner) info(t *testing.T, h crypto.Hash, pad padding, content []byte) []byte {
	t.Helper()
	oid := map[crypto.Hash]asn1.ObjectIdentifier{crypto.SHA1: {1, 3, 14, 3, 2, 26},
		crypto.SHA256: {2, 16, 840, 1, 101, 3, 4, 2, 1}}[h]
	attrs := attributeOf(t, oidDigestAtt, der(t, Sum(h, content)))
	attrs = append(attrs, attributeOf(t, oidTimeAtt, der(t, time.Unix(5e8, 0).UTC()))...)
	sig := pad(t, s.key, h, wrap(t, 0, 17, attrs).FullBytes)
	body := append(der(t, 1), der(t, struct {
		Issuer asn1.RawValue
		Serial *big.Int
	}{asn1.RawValue{FullBytes: s.raw.RawIssuer}, s.raw.SerialNumber})...)
	body = append(body, der(t, pkix.AlgorithmIdentifier{Algorithm: oid})...)
	body = append(body, wrap(t, 2, 0, attrs).FullBytes...)
	body = append(body, der(t, pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1,
		1}})...)
	return wrap(t, 0, 16, append(body, der(t, sig)...)).FullBytes
}

// A countersignature may be over the bare SHA-1 digest, whole and exactly; nothing else may.
func TestBareDigest(t *testing.T) {
	s := newBareSigner(t)
	content := []byte("the signature that is stamped")
	flipped := func(t *testing.T, key *rsa.PrivateKey, h crypto.Hash, message []byte) []byte {
		sig := padded(0, 0)(t, key, h, message)
		sig[100] ^= 1
		return sig
	}
	other := func(t *testing.T, key *rsa.PrivateKey, h crypto.Hash, message []byte) []byte {
		return padded(0, 0)(t, key, h, append(message, 'x'))
	}
	for name, tt := range map[string]struct {
		hash    crypto.Hash
		pad     padding
		content string
		ok      bool
		bare    bool
	}{
		"with DigestInfo":          {crypto.SHA1, padded(crypto.SHA1, 0), string(content), true, false},
		"bare":                     {crypto.SHA1, padded(0, 0), string(content), true, true},
		"bare, changed":            {crypto.SHA1, flipped, string(content), false, false},
		"bare of other attributes": {crypto.SHA1, other, string(content), false, false},
		"bare, 19 bytes":           {crypto.SHA1, padded(0, 1), string(content), false, false},
		"bare of another content":  {crypto.SHA1, padded(0, 0), "another", false, false},
		"bare SHA-256":             {crypto.SHA256, padded(0, 0), string(content), false, false},
		"SHA-256 with DigestInfo":  {crypto.SHA256, padded(crypto.SHA256, 0), string(content), true, false},
	} {
		v, _, err := parseValue(s.info(t, tt.hash, tt.pad, content))
		if err != nil {
			t.Fatal(name, err)
		}
		stamped := &Signer{Signature: []byte(tt.content), Unsigned: []Attribute{{OIDCounterSign, []Value{v}}}}
		list := stamped.Timestamps([]*Certificate{s.cert})
		if len(list) != 1 || (list[0].Err == nil) != tt.ok || list[0].Bare != tt.bare {
			t.Errorf("%s: %+v", name, list)
		}
		// The code's own signature is never taken so.
		c, err := ParseSigner(v)
		if err != nil {
			t.Fatal(name, err)
		}
		err = c.Check(s.cert, "", func(h crypto.Hash) ([]byte, error) { return Sum(h, []byte(tt.content)), nil })
		if (err == nil) != (tt.ok && !tt.bare) {
			t.Errorf("%s as a signature of its own: %v", name, err)
		}
	}
}
