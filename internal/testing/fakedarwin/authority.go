// SPDX-License-Identifier: Apache-2.0

package fakedarwin

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"time"
)

// The marks on certificates of Apple's programs.
const (
	MarkDeveloperIDCA = "1.2.840.113635.100.6.2.6"
	MarkDeveloperID   = "1.2.840.113635.100.6.1.13"
	MarkKext          = "1.2.840.113635.100.6.1.18"
	MarkAppStore      = "1.2.840.113635.100.6.1.9"
	MarkDevelopment   = "1.2.840.113635.100.6.1.12"
	MarkPlatform      = "1.2.840.113635.100.6.22"
)

// An Authority is a made-up root in Apple's place.
type Authority struct {
	// Root is the root's certificate.
	Root *x509.Certificate

	key ed25519.PrivateKey
}

// NewAuthority makes a root, the same for the same name.
func NewAuthority(name string) *Authority {
	a := &Authority{key: keyOf("root " + name)}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name,
		Organization: []string{"Apple Inc."}}, NotBefore: year(2006), NotAfter: year(2035), IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	a.Root = issue(template, template, a.key.Public(), a.key)
	return a
}

func keyOf(seed string) ed25519.PrivateKey {
	sum := sha256.Sum256([]byte(seed))
	return ed25519.NewKeyFromSeed(sum[:])
}

func year(y int) time.Time { return time.Date(y, 1, 1, 0, 0, 0, 0, time.UTC) }

// A Certificate says what an authority certifies.
type Certificate struct {
	// Name is the leaf's, Team its unit.
	Name, Team string
	// Marks are extensions of the leaf, critical ones, and CAMarks those of the authority between.
	Marks, CAMarks []string
	// CA and CAOrganization name the authority between; "" is "Developer ID Certification Authority" of "Apple Inc.".
	CA, CAOrganization string
	// From and Until are the leaf's time; zero is 2020 to 2040.
	From, Until time.Time
	// CAUntil is the end of the authority between; zero is 2040.
	CAUntil time.Time
	// NoIssuer makes the authority between no authority, and NoCode the leaf no certificate for code.
	NoIssuer, NoCode bool
	// SignedAt is the time that the signer states; zero leaves it out.
	SignedAt time.Time
	// StampedAt is the time of a timestamp; zero leaves it out. StampedBy is its root, nil for the same.
	StampedAt time.Time
	StampedBy *Authority
	// StampSpoiled makes a timestamp over other bytes, StampNoPurpose one by a certificate that is not for timestamps.
	StampSpoiled, StampNoPurpose bool
	// Agility are further signed attributes, encoded.
	Agility func(directory []byte) [][]byte
}

// Sign returns the function that signs code directories with the certificate.
func (a *Authority) Sign(c Certificate) func(directory []byte) []byte {
	ca, caKey := a.between(c)
	key := keyOf("leaf " + c.Name + c.Team)
	template := &x509.Certificate{SerialNumber: big.NewInt(7),
		Subject:   pkix.Name{CommonName: c.Name, OrganizationalUnit: units(c.Team)},
		NotBefore: or(c.From, 2020), NotAfter: or(c.Until, 2040), ExtraExtensions: marks(c.Marks)}
	if !c.NoCode {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
	} else {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection}
	}
	leaf := issue(template, ca, key.Public(), caKey)
	return func(directory []byte) []byte {
		s := signed{certs: []*x509.Certificate{ca, a.Root, leaf}, key: key, content: directory, at: c.SignedAt}
		if c.Agility != nil {
			s.attributes = c.Agility(directory)
		}
		if !c.StampedAt.IsZero() {
			by := a
			if c.StampedBy != nil {
				by = c.StampedBy
			}
			s.stamp = func(signature []byte) []byte { return by.timestamp(c, signature) }
		}
		return s.bytes()
	}
}

// between issues the authority between root and leaf.
func (a *Authority) between(c Certificate) (*x509.Certificate, ed25519.PrivateKey) {
	name, organization := c.CA, c.CAOrganization
	if name == "" {
		name = "Developer ID Certification Authority"
	}
	if organization == "" {
		organization = "Apple Inc."
	}
	key := keyOf("ca " + name)
	template := &x509.Certificate{SerialNumber: big.NewInt(5), Subject: pkix.Name{CommonName: name,
		Organization: []string{organization}}, NotBefore: year(2012), NotAfter: or(c.CAUntil, 2040),
		IsCA: !c.NoIssuer, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		ExtraExtensions: marks(c.CAMarks)}
	return issue(template, a.Root, key.Public(), a.key), key
}

func or(t time.Time, y int) time.Time {
	if t.IsZero() {
		return year(y)
	}
	return t
}

func units(team string) []string {
	if team == "" {
		return nil
	}
	return []string{team}
}

// marks are extensions without a value, which Apple makes critical.
func marks(ids []string) []pkix.Extension {
	var all []pkix.Extension
	for _, id := range ids {
		oid, err := x509.ParseOID(id)
		if err != nil {
			panic(err)
		}
		var numbers asn1.ObjectIdentifier
		if _, err := asn1.Unmarshal(append([]byte{6, byte(len(must(oid.MarshalBinary())))},
			must(oid.MarshalBinary())...), &numbers); err != nil {
			panic(err)
		}
		all = append(all, pkix.Extension{Id: numbers, Critical: true, Value: []byte{5, 0}})
	}
	return all
}

// Developer makes a certificate of its own, and the function that signs a code directory with it. Both are the
// same for the same name and team.
func Developer(name, team string) (*x509.Certificate, func([]byte) []byte) {
	key := keyOf(name + team)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: name, OrganizationalUnit: []string{team}},
		NotBefore: year(2020), NotAfter: year(2040), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
	}
	cert := issue(template, template, key.Public(), key)
	return cert, func(directory []byte) []byte {
		return signed{certs: []*x509.Certificate{cert}, key: key, content: directory,
			at: time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)}.bytes()
	}
}

func issue(template, parent *x509.Certificate, public any, key ed25519.PrivateKey) *x509.Certificate {
	der := must(x509.CreateCertificate(rand.Reader, template, parent, public, key))
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return cert
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

func wrap(tag byte, body ...[]byte) []byte {
	return must(asn1.Marshal(asn1.RawValue{Class: int(tag >> 6), Tag: int(tag & 0x1f), IsCompound: tag&0x20 != 0,
		Bytes: bytes.Join(body, nil)}))
}

func oid(s ...int) []byte { return must(asn1.Marshal(asn1.ObjectIdentifier(s))) }

// Attribute is a CMS attribute with one value.
func Attribute(id []int, value []byte) []byte { return wrap(0x30, oid(id...), wrap(0x31, value)) }

// AgilityList is the attribute that lists code directories as a property list of truncated digests.
func AgilityList(digests ...[]byte) []byte {
	text := `<plist version="1.0"><dict><key>cdhashes</key><array>`
	for _, d := range digests {
		text += `<data>` + base64Of(d[:20]) + `</data>`
	}
	return Attribute([]int{1, 2, 840, 113635, 100, 9, 1}, wrap(0x04, []byte(text+`</array></dict></plist>`)))
}

// AgilityDigest is the attribute that lists a code directory by its SHA-256.
func AgilityDigest(digest []byte) []byte {
	return Attribute([]int{1, 2, 840, 113635, 100, 9, 2},
		wrap(0x30, oid(2, 16, 840, 1, 101, 3, 4, 2, 1), wrap(0x04, digest)))
}

// A signed is SignedData of one signer, whose certificate is the last.
type signed struct {
	certs      []*x509.Certificate
	key        ed25519.PrivateKey
	content    []byte
	kind       []int // of an attached content; nil for detached data
	at         time.Time
	attributes [][]byte
	stamp      func(signature []byte) []byte
}

func (s signed) bytes() []byte {
	kind := oid(1, 2, 840, 113549, 1, 7, 1)
	inner := wrap(0x30, kind)
	if s.kind != nil {
		kind = oid(s.kind...)
		inner = wrap(0x30, kind, wrap(0xa0, wrap(0x04, s.content)))
	}
	sha := wrap(0x30, oid(2, 16, 840, 1, 101, 3, 4, 2, 1))
	sum := sha256.Sum256(s.content)
	list := [][]byte{Attribute([]int{1, 2, 840, 113549, 1, 9, 3}, kind)}
	if !s.at.IsZero() {
		list = append(list, Attribute([]int{1, 2, 840, 113549, 1, 9, 5}, must(asn1.Marshal(s.at.UTC()))))
	}
	list = append(append(list, Attribute([]int{1, 2, 840, 113549, 1, 9, 4}, wrap(0x04, sum[:]))), s.attributes...)
	attributes := bytes.Join(list, nil)
	signature := ed25519.Sign(s.key, wrap(0x31, attributes))
	leaf := s.certs[len(s.certs)-1]
	parts := [][]byte{must(asn1.Marshal(1)), wrap(0x30, leaf.RawIssuer, must(asn1.Marshal(leaf.SerialNumber))),
		sha, wrap(0xa0, attributes), wrap(0x30, oid(1, 3, 101, 112)), wrap(0x04, signature)}
	if s.stamp != nil {
		parts = append(parts, wrap(0xa1, Attribute([]int{1, 2, 840, 113549, 1, 9, 16, 2, 14}, s.stamp(signature))))
	}
	var certs []byte
	for _, c := range s.certs {
		certs = append(certs, c.Raw...)
	}
	data := wrap(0x30, must(asn1.Marshal(1)), wrap(0x31, sha), inner, wrap(0xa0, certs),
		wrap(0x31, wrap(0x30, parts...)))
	return wrap(0x30, oid(1, 2, 840, 113549, 1, 7, 2), wrap(0xa0, data))
}

// timestamp makes a token of RFC 3161 over a signature.
func (a *Authority) timestamp(c Certificate, signature []byte) []byte {
	key := keyOf("timestamps")
	template := &x509.Certificate{SerialNumber: big.NewInt(9), Subject: pkix.Name{CommonName: "Timestamps"},
		NotBefore: year(2012), NotAfter: year(2040)}
	usage := wrap(0x30, oid(1, 3, 6, 1, 5, 5, 7, 3, 8))
	if c.StampNoPurpose {
		usage = wrap(0x30, oid(1, 3, 6, 1, 5, 5, 7, 3, 3))
	}
	template.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: usage}}
	cert := issue(template, a.Root, key.Public(), a.key)
	sum := sha256.Sum256(signature)
	if c.StampSpoiled {
		sum[0] ^= 1
	}
	info := wrap(0x30, must(asn1.Marshal(1)), oid(1, 2, 3), wrap(0x30, wrap(0x30, oid(2, 16, 840, 1, 101, 3, 4, 2, 1)),
		wrap(0x04, sum[:])), must(asn1.Marshal(77)),
		wrap(0x18, []byte(c.StampedAt.UTC().Format("20060102150405Z"))))
	return signed{certs: []*x509.Certificate{a.Root, cert}, key: key, content: info,
		kind: []int{1, 2, 840, 113549, 1, 9, 16, 1, 4}}.bytes()
}
