// SPDX-License-Identifier: Apache-2.0

package sign

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/kernelext/kernelext/internal/hashing"
)

// Extended key usages that any kernel's loader asks about.
const (
	EKUAny          = "2.5.29.37.0"
	EKUCodeSigning  = "1.3.6.1.5.5.7.3.3"
	EKUTimeStamping = "1.3.6.1.5.5.7.3.8"
)

// A Certificate is an X.509 certificate, read leniently: what crypto/x509 refuses over form
// (a negative serial number, an odd name) is kept.
type Certificate struct {
	Raw        []byte    // the certificate
	RawTBS     []byte    // its signed part
	RawIssuer  []byte    // the issuer's name
	RawSubject []byte    // the holder's name
	RawSPKI    []byte    // the public key with its algorithm
	Serial     []byte    // the serial number's contents, big-endian two's complement
	Issuer     Name      // who issued it
	Subject    Name      // who holds it
	NotBefore  time.Time // UTC
	NotAfter   time.Time // UTC

	// SignatureAlgorithm and Signature are the issuer's over RawTBS.
	SignatureAlgorithm Algorithm
	Signature          []byte

	// EKUs are the extended key usages, dotted; nil when the extension is absent, which allows all.
	EKUs []string
	// IsCA is basicConstraints' cA; false when the extension is absent.
	IsCA bool
	// HasConstraints says that basicConstraints is present; version 1 certificates have none.
	HasConstraints bool
	// MaxPathLen is how many intermediate authorities may be below this one; -1 if the certificate does not say.
	MaxPathLen int
	// NoCertSign says that keyUsage is present and does not allow the key to sign certificates.
	NoCertSign bool
	// NoSigning says that keyUsage is present and lets the key sign neither data nor promises: neither
	// digitalSignature nor nonRepudiation.
	NoSigning bool
	// Unknown are the critical extensions that nothing here acts on, dotted: who does not know one must refuse the
	// certificate (RFC 5280, 4.2).
	Unknown []string
	// SubjectKeyID and AuthorityKeyID are the key identifiers; nil when absent.
	SubjectKeyID   []byte
	AuthorityKeyID []byte

	extensionErr error           // an extension that is invalid, and so restricts in a way that nobody knows
	alternative  []Value         // the names of subjectAltName
	constraints  nameConstraints // of the names below an authority
	policies     policies

	sums    sync.Map // of the signed part, by crypto.Hash: many authorities may be tried
	keyOnce sync.Once
	key     crypto.PublicKey
	keyErr  error
}

// ParseCertificate reads a certificate in DER.
func ParseCertificate(b []byte) (*Certificate, error) {
	v, _, err := parseValue(b)
	if err != nil {
		return nil, bad("certificate", "%v", err)
	}
	return parseCertificate(v)
}

func parseCertificate(v Value) (*Certificate, error) {
	if !v.Is(TagSequence) {
		return nil, bad("certificate", "tag %d", v.Tag)
	}
	c := &Certificate{Raw: v.Full, MaxPathLen: -1}
	r := v.Reader()
	tbs, err := r.Expect(TagSequence, "tbsCertificate")
	if err != nil {
		return nil, err
	}
	alg, err := r.Expect(TagSequence, "signatureAlgorithm")
	if err != nil {
		return nil, err
	}
	if c.SignatureAlgorithm, err = ParseAlgorithm(alg); err != nil {
		return nil, err
	}
	sig, err := r.Expect(TagBitString, "signatureValue")
	if err != nil {
		return nil, err
	}
	if len(sig.Body) < 1 || sig.Body[0] != 0 {
		return nil, bad("signatureValue", "bit string with unused bits")
	}
	if !r.Empty() {
		return nil, bad("certificate", "data after the signature")
	}
	for _, part := range []Value{v, tbs, alg, sig} { // no signature covers how these are encoded
		if !part.isShortest() {
			return nil, bad("certificate", "a length that is not in its shortest form")
		}
	}
	c.Signature, c.RawTBS = sig.Body[1:], tbs.Full
	if err := c.parseTBS(tbs, alg); err != nil {
		return nil, err
	}
	return c, nil
}

// parseTBS reads the signed part; alg is the signature algorithm outside of it.
func (c *Certificate) parseTBS(tbs, alg Value) error {
	r := tbs.Reader()
	if err := c.parseSerial(&r, alg); err != nil {
		return err
	}
	issuer, err := r.Expect(TagSequence, "issuer")
	if err != nil {
		return err
	}
	if c.Issuer, err = ParseName(issuer); err != nil {
		return err
	}
	validity, err := r.Expect(TagSequence, "validity")
	if err != nil {
		return err
	}
	if err = c.parseValidity(validity.Reader()); err != nil {
		return err
	}
	subject, err := r.Expect(TagSequence, "subject")
	if err != nil {
		return err
	}
	if c.Subject, err = ParseName(subject); err != nil {
		return err
	}
	spki, err := r.Expect(TagSequence, "subjectPublicKeyInfo")
	if err != nil {
		return err
	}
	c.RawIssuer, c.RawSubject, c.RawSPKI = issuer.Full, subject.Full, spki.Full
	r.Optional(1)
	r.Optional(2)
	if ext, ok := r.Optional(3); ok {
		return c.parseExtensions(ext.Reader())
	}
	return nil
}

// parseSerial reads what precedes the names. The version is passed over: the fields that follow show what it allows.
func (c *Certificate) parseSerial(r *Reader, alg Value) error {
	r.Optional(0)
	serial, err := r.Expect(TagInteger, "serialNumber")
	if err != nil {
		return err
	}
	if len(serial.Body) > 64 {
		return bad("serialNumber", "%d bytes", len(serial.Body))
	}
	c.Serial = serial.Body
	signed, err := r.Expect(TagSequence, "signature")
	if err != nil {
		return err
	}
	if !bytes.Equal(signed.Full, alg.Full) {
		return bad("signatureAlgorithm", "not the one that was signed")
	}
	return nil
}

func (c *Certificate) parseValidity(r Reader) error {
	for _, t := range []*time.Time{&c.NotBefore, &c.NotAfter} {
		v, err := r.Next()
		if err != nil {
			return bad("validity", "%v", err)
		}
		if *t, err = Time(v); err != nil {
			return err
		}
	}
	return nil
}

// PublicKey returns the holder's key.
func (c *Certificate) PublicKey() (crypto.PublicKey, error) {
	c.keyOnce.Do(func() {
		c.key, c.keyErr = x509.ParsePKIXPublicKey(c.RawSPKI)
		if c.keyErr != nil {
			c.keyErr = fmt.Errorf("%w: %v", ErrAlgorithm, c.keyErr)
		}
	})
	return c.key, c.keyErr
}

// CheckIssuedBy says whether parent's key signed c: nil, ErrMismatch or ErrAlgorithm. It judges
// neither time nor purpose.
func (c *Certificate) CheckIssuedBy(parent *Certificate) error {
	if !bytes.Equal(c.RawIssuer, parent.RawSubject) {
		return fmt.Errorf("%w: issuer %q", ErrMismatch, c.Issuer.Short())
	}
	key, err := parent.PublicKey()
	if err != nil {
		return err
	}
	return c.CheckSignedBy(key)
}

// CheckSignedBy says whether key signed c: nil, ErrMismatch or ErrAlgorithm.
func (c *Certificate) CheckSignedBy(key crypto.PublicKey) error {
	return verifyMessage(key, c.SignatureAlgorithm, c.RawTBS, c.Signature, c.sum)
}

// sum returns the digest of the signed part, which message is.
func (c *Certificate) sum(h crypto.Hash, message []byte) []byte {
	if kept, ok := c.sums.Load(h); ok {
		return kept.([]byte)
	}
	b := Sum(h, message)
	c.sums.Store(h, b)
	return b
}

// IsSelfIssued reports whether holder and issuer have one name.
func (c *Certificate) IsSelfIssued() bool { return bytes.Equal(c.RawIssuer, c.RawSubject) }

// IsSelfSigned reports whether the certificate is signed by its own key.
func (c *Certificate) IsSelfSigned() bool { return c.IsSelfIssued() && c.CheckIssuedBy(c) == nil }

// ValidAt reports whether t is within the certificate's time.
func (c *Certificate) ValidAt(t time.Time) bool {
	return !t.Before(c.NotBefore) && !t.After(c.NotAfter)
}

// Allows reports whether the certificate may serve the purpose: it names it or any purpose, or
// names no purpose at all.
func (c *Certificate) Allows(eku string) bool {
	if c.EKUs == nil {
		return true
	}
	for _, e := range c.EKUs {
		if e == eku || e == EKUAny {
			return true
		}
	}
	return false
}

// Has reports whether the certificate names the purpose.
func (c *Certificate) Has(eku string) bool {
	for _, e := range c.EKUs {
		if e == eku {
			return true
		}
	}
	return false
}

// SerialHex returns the serial number in lower-case hexadecimal, without leading zero bytes.
func (c *Certificate) SerialHex() string {
	b := c.Serial
	for len(b) > 1 && b[0] == 0 {
		b = b[1:]
	}
	return hex.EncodeToString(b)
}

// Thumbprint returns the digest of the whole certificate in lower-case hexadecimal.
func (c *Certificate) Thumbprint(h crypto.Hash) string { return hex.EncodeToString(Sum(h, c.Raw)) }

// TBSHash returns the digest of the signed part in lower-case hexadecimal, made with the digest
// of the certificate's own signature, which is how block lists name certificates, and the name of
// that digest; both are empty when it is not known.
func (c *Certificate) TBSHash() (digest, algorithm string) {
	h := c.SignatureAlgorithm.Digest()
	if !hashing.Usable(h) {
		return "", ""
	}
	return strings.ToLower(hex.EncodeToString(c.sum(h, c.RawTBS))), HashName(h)
}

var errNoIssuer = errors.New("no certificate of the issuer")
