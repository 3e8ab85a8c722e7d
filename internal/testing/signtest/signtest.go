// SPDX-License-Identifier: Apache-2.0

// Package signtest signs made-up drivers, catalogs and policies for tests, by keys that it makes.
package signtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/bomb"
	"github.com/kernelext/kernelext/internal/testing/certtest"
	"github.com/kernelext/kernelext/windows/pe"
)

// A Signer signs with the key of Leaf, which Authority issued, which Root issued.
type Signer struct {
	Root, Authority, Leaf *x509.Certificate
	key                   *ecdsa.PrivateKey
}

// New returns a signer whose certificates have that name. The leaf allows code signing, and what ekus name.
func New(t testing.TB, name string, ekus ...asn1.ObjectIdentifier) Signer {
	t.Helper()
	certificate := func(c, parent *x509.Certificate, by *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
		key := certtest.Key(t)
		c.NotBefore, c.NotAfter, c.BasicConstraintsValid = time.Unix(1e9, 0), time.Unix(4e9, 0), true
		return certtest.Issue(t, c, key, parent, by), key
	}
	root, rootKey := certificate(&x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true,
		Subject: pkix.Name{CommonName: name + " Root"}}, nil, nil)
	authority, authorityKey := certificate(&x509.Certificate{SerialNumber: big.NewInt(2), IsCA: true,
		Subject: pkix.Name{CommonName: name + " CA"}}, root, rootKey)
	leaf, key := certificate(&x509.Certificate{SerialNumber: big.NewInt(3), Subject: pkix.Name{CommonName: name},
		ExtKeyUsage:        []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
		UnknownExtKeyUsage: ekus}, authority, authorityKey)
	return Signer{root, authority, leaf, key}
}

// KeySet returns the signer's root as a caller's keys.
func (s Signer) KeySet() fact.KeySet {
	return fact.KeySet{Name: "test", Certificates: []*x509.Certificate{s.Root}}
}

var (
	oidIndirect = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 2, 1, 4}
	oidPEImage  = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 2, 1, 15}
	oidList     = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 10, 1}
	oidPolicy   = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 79, 1}
	oidSHA256   = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
	oidECDSA    = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}
)

// Image returns the image with a signature of it.
func (s Signer) Image(t testing.TB, image []byte) []byte {
	t.Helper()
	for len(image)%8 != 0 {
		image = append(image, 0)
	}
	p, err := pe.Parse(image, new(fact.Report))
	if err != nil {
		t.Fatal(err)
	}
	return bomb.WithSignature(image, s.signed(t, oidIndirect, sequence(t, sequence(t, marshal(t, oidPEImage)),
		sequence(t, algorithm(t, oidSHA256), marshal(t, p.Authentihash(crypto.SHA256))))))
}

// Catalog returns a catalog of files with these digests.
func (s Signer) Catalog(t testing.TB, digests ...[]byte) []byte {
	t.Helper()
	var members []byte
	for _, d := range digests {
		members = append(members, sequence(t, marshal(t, d), set(t))...)
	}
	return s.signed(t, oidList, sequence(t,
		sequence(t, marshal(t, asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 12, 1, 1})), marshal(t, []byte("x")),
		marshal(t, time.Unix(1.7e9, 0).UTC()),
		algorithm(t, asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 12, 1, 3}), sequence(t, members)))
}

// Policy returns a compiled policy in a signature.
func (s Signer) Policy(t testing.TB, policy []byte) []byte {
	t.Helper()
	return s.signed(t, oidPolicy, marshal(t, policy))
}

// signed returns a PKCS#7 signature over a value.
func (s Signer) signed(t testing.TB, typ asn1.ObjectIdentifier, content []byte) []byte {
	t.Helper()
	var value asn1.RawValue
	if _, err := asn1.Unmarshal(content, &value); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(value.Bytes)
	attribute := func(id asn1.ObjectIdentifier, value []byte) []byte {
		return sequence(t, marshal(t, id), set(t, value))
	}
	attributes := slices.Concat(attribute(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 3}, marshal(t, typ)),
		attribute(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 4}, marshal(t, sum[:])))
	digest := sha256.Sum256(set(t, attributes))
	signature, err := ecdsa.SignASN1(rand.Reader, s.key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	info := sequence(t, marshal(t, 1), sequence(t, s.Leaf.RawIssuer, marshal(t, s.Leaf.SerialNumber)),
		algorithm(t, oidSHA256), explicit(t, attributes), algorithm(t, oidECDSA), marshal(t, signature))
	data := sequence(t, marshal(t, 1), set(t, algorithm(t, oidSHA256)),
		sequence(t, marshal(t, typ), explicit(t, content)), explicit(t, s.Leaf.Raw, s.Authority.Raw), set(t, info))
	return sequence(t, marshal(t, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}), explicit(t, data))
}

func marshal(t testing.TB, v any) []byte {
	t.Helper()
	b, err := asn1.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func constructed(t testing.TB, class, tag int, parts [][]byte) []byte {
	t.Helper()
	return marshal(t, asn1.RawValue{Class: class, Tag: tag, IsCompound: true, Bytes: slices.Concat(parts...)})
}

func sequence(t testing.TB, parts ...[]byte) []byte {
	t.Helper()
	return constructed(t, asn1.ClassUniversal, asn1.TagSequence, parts)
}

func set(t testing.TB, parts ...[]byte) []byte {
	t.Helper()
	return constructed(t, asn1.ClassUniversal, asn1.TagSet, parts)
}

func explicit(t testing.TB, parts ...[]byte) []byte {
	t.Helper()
	return constructed(t, asn1.ClassContextSpecific, 0, parts)
}

func algorithm(t testing.TB, id asn1.ObjectIdentifier) []byte {
	t.Helper()
	return sequence(t, marshal(t, id))
}
