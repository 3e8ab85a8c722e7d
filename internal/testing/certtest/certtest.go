// SPDX-License-Identifier: Apache-2.0

// Package certtest makes keys and certificates for tests.
package certtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"testing"
)

// Key returns a new key of the curve P-256.
func Key(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Issue returns a certificate for the key, as the template says. The issuer signs it with the key by; without an issuer
// the key signs its own certificate.
func Issue(t testing.TB, template *x509.Certificate, key crypto.Signer, issuer *x509.Certificate,
	by crypto.Signer) *x509.Certificate {
	t.Helper()
	if issuer == nil {
		issuer, by = template, key
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, issuer, key.Public(), by)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
