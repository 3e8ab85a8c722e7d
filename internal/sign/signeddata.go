// SPDX-License-Identifier: Apache-2.0

package sign

import (
	"bytes"
	"cmp"
	"crypto"
	"fmt"
	"time"

	"github.com/kernelext/kernelext/internal/hashing"
)

// Object identifiers of PKCS#7 and PKCS#9.
const (
	OIDData          = "1.2.840.113549.1.7.1"
	OIDSignedData    = "1.2.840.113549.1.7.2"
	OIDContentType   = "1.2.840.113549.1.9.3"
	OIDMessageDigest = "1.2.840.113549.1.9.4"
	OIDSigningTime   = "1.2.840.113549.1.9.5"
	OIDCounterSign   = "1.2.840.113549.1.9.6"
	OIDTSTInfo       = "1.2.840.113549.1.9.16.1.4"
)

// A SignedData is the content of a PKCS#7 signature.
type SignedData struct {
	// ContentType says what Content is, as a dotted object identifier.
	ContentType string
	// Content is the signed value whole, with its tag; nil when the signature is detached.
	Content []byte
	// Covered are the bytes that the digests cover when the signature is not detached: Content
	// without its tag and length.
	Covered []byte
	// Certificates are those that came with it, in their order.
	Certificates []*Certificate
	// Signers are who signed; a real one has exactly one.
	Signers []*Signer

	certErr error // why the first of the certificates that are left out could not be read
}

// A Signer is a SignerInfo.
type Signer struct {
	RawIssuer []byte    // the issuer of the signer's certificate; nil when named by key
	Serial    []byte    // the serial number of the signer's certificate
	KeyID     []byte    // the key identifier of the signer's certificate; nil when named by issuer
	Digest    Algorithm // the digest algorithm
	Algorithm Algorithm // the signature algorithm
	Signature []byte    // the signature
	Signed    []Attribute
	Unsigned  []Attribute

	rawSigned []byte // the signed attributes as they were encoded, with their [0] tag
}

// An Attribute is a PKCS#9 attribute.
type Attribute struct {
	OID    string
	Values []Value
}

// ParseContentInfo reads a ContentInfo that holds SignedData. Bytes after it are not looked at:
// signatures are stored with padding.
func ParseContentInfo(b []byte) (*SignedData, error) {
	v, _, err := parseValue(b)
	if err != nil {
		return nil, bad("contentInfo", "%v", err)
	}
	if !v.Is(TagSequence) {
		return nil, bad("contentInfo", "tag %d class %d", v.Tag, v.Class)
	}
	r := v.Reader()
	oid, err := r.Expect(TagOID, "contentType")
	if err != nil {
		return nil, err
	}
	if id := OID(oid); id != OIDSignedData {
		return nil, bad("contentType", "%s is not signed data", id)
	}
	content, ok := r.Optional(0)
	if !ok {
		return nil, bad("contentInfo", "no content")
	}
	in := content.Reader()
	seq, err := in.Expect(TagSequence, "signedData")
	if err != nil {
		return nil, err
	}
	if !r.Empty() || !in.Empty() {
		return nil, bad("contentInfo", "data after the signed data")
	}
	return parseSignedData(seq.Reader())
}

func parseSignedData(r Reader) (*SignedData, error) {
	sd := &SignedData{}
	if _, err := r.Expect(TagInteger, "version"); err != nil {
		return nil, err
	}
	if _, err := r.Expect(TagSet, "digestAlgorithms"); err != nil {
		return nil, err
	}
	encap, err := r.Expect(TagSequence, "encapContentInfo")
	if err != nil {
		return nil, err
	}
	if err := sd.parseContent(encap.Reader()); err != nil {
		return nil, err
	}
	if certs, ok := r.Optional(0); ok {
		sd.parseCertificates(certs.Reader())
	}
	r.Optional(1) // revocation lists: not looked at
	signers, err := r.Expect(TagSet, "signerInfos")
	if err != nil {
		return nil, err
	}
	for in := signers.Reader(); !in.Empty(); {
		if len(sd.Signers) == maxSigners {
			return nil, bad("signerInfos", "more than %d", maxSigners)
		}
		v, err := in.Next()
		if err != nil {
			return nil, bad("signerInfo", "%v", err)
		}
		s, err := ParseSigner(v)
		if err != nil {
			return nil, err
		}
		sd.Signers = append(sd.Signers, s)
	}
	if !r.Empty() {
		return nil, bad("signedData", "data after the signers")
	}
	return sd, nil
}

func (sd *SignedData) parseContent(r Reader) error {
	oid, err := r.Expect(TagOID, "eContentType")
	if err != nil {
		return err
	}
	sd.ContentType = OID(oid)
	content, ok := r.Optional(0)
	if !ok {
		return nil
	}
	in := content.Reader()
	v, err := in.Next()
	if err != nil {
		return bad("eContent", "%v", err)
	}
	if !in.Empty() || !r.Empty() {
		return bad("eContent", "data after the content")
	}
	sd.Content, sd.Covered = v.Full, v.Body
	if v.Is(TagOctetString) {
		if sd.Covered, err = OctetString(v); err != nil {
			return err
		}
	}
	return nil
}

// parseCertificates keeps what can be read; one certificate that cannot costs only itself.
func (sd *SignedData) parseCertificates(r Reader) {
	for !r.Empty() {
		v, err := r.Next()
		if err != nil {
			sd.certErr = cmp.Or(sd.certErr, bad("certificates", "%v", err))
			return
		}
		if !v.Is(TagSequence) {
			continue // an attribute certificate or another form
		}
		if len(sd.Certificates) == maxCerts {
			sd.certErr = cmp.Or(sd.certErr, bad("certificates", "more than %d", maxCerts))
			return
		}
		c, err := parseCertificate(v)
		if err != nil {
			sd.certErr = cmp.Or(sd.certErr, err)
			continue
		}
		sd.Certificates = append(sd.Certificates, c)
	}
}

// CertificatesErr returns why the first certificate that Certificates lacks could not be read; nil if none is missing.
func (sd *SignedData) CertificatesErr() error { return sd.certErr }

// ParseSigner reads a SignerInfo, also that of a countersignature.
func ParseSigner(v Value) (*Signer, error) {
	if !v.Is(TagSequence) {
		return nil, bad("signerInfo", "tag %d", v.Tag)
	}
	s := &Signer{}
	r := v.Reader()
	if _, err := r.Expect(TagInteger, "signerInfo.version"); err != nil {
		return nil, err
	}
	if err := s.parseID(&r); err != nil {
		return nil, err
	}
	alg, err := r.Expect(TagSequence, "digestAlgorithm")
	if err != nil {
		return nil, err
	}
	if s.Digest, err = ParseAlgorithm(alg); err != nil {
		return nil, err
	}
	if v, ok := r.Optional(0); ok {
		s.rawSigned = v.Full
		if s.Signed, err = parseAttributes(v.Reader()); err != nil {
			return nil, err
		}
	}
	if alg, err = r.Expect(TagSequence, "signatureAlgorithm"); err != nil {
		return nil, err
	}
	if s.Algorithm, err = ParseAlgorithm(alg); err != nil {
		return nil, err
	}
	sig, err := r.Expect(TagOctetString, "signature")
	if err != nil {
		return nil, err
	}
	if s.Signature, err = OctetString(sig); err != nil {
		return nil, err
	}
	if v, ok := r.Optional(1); ok {
		if s.Unsigned, err = parseAttributes(v.Reader()); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *Signer) parseID(r *Reader) error {
	if v, ok := r.Optional(0); ok {
		s.KeyID = v.Body
		return nil
	}
	id, err := r.Expect(TagSequence, "issuerAndSerialNumber")
	if err != nil {
		return err
	}
	in := id.Reader()
	name, err := in.Expect(TagSequence, "issuer")
	if err != nil {
		return err
	}
	serial, err := in.Expect(TagInteger, "serialNumber")
	if err != nil {
		return err
	}
	s.RawIssuer, s.Serial = name.Full, serial.Body
	return nil
}

func parseAttributes(r Reader) ([]Attribute, error) {
	var list []Attribute
	for !r.Empty() {
		if len(list) == maxAttributes {
			return nil, bad("attributes", "more than %d", maxAttributes)
		}
		seq, err := r.Expect(TagSequence, "attribute")
		if err != nil {
			return nil, err
		}
		in := seq.Reader()
		oid, err := in.Expect(TagOID, "attribute")
		if err != nil {
			return nil, err
		}
		set, err := in.Expect(TagSet, "attribute")
		if err != nil {
			return nil, err
		}
		a := Attribute{OID: OID(oid)}
		for vr := set.Reader(); !vr.Empty(); {
			v, err := vr.Next()
			if err != nil {
				return nil, bad("attribute", "%v", err)
			}
			if len(a.Values) == maxAttributes {
				return nil, bad("attribute", "more than %d values", maxAttributes)
			}
			a.Values = append(a.Values, v)
		}
		list = append(list, a)
	}
	return list, nil
}

// Attribute returns the first value of the named attribute of list; false if the list has no such attribute.
func attribute(list []Attribute, oid string) (Value, bool) {
	for _, a := range list {
		if a.OID == oid && len(a.Values) > 0 {
			return a.Values[0], true
		}
	}
	return Value{}, false
}

// SignedAttribute returns the first value of a signed attribute; false if it is missing.
func (s *Signer) SignedAttribute(oid string) (Value, bool) { return attribute(s.Signed, oid) }

// UnsignedAttributes returns all values of an unsigned attribute.
func (s *Signer) UnsignedAttributes(oid string) []Value {
	var out []Value
	for _, a := range s.Unsigned {
		if a.OID == oid {
			out = append(out, a.Values...)
		}
	}
	return out
}

// SigningTime returns the time that the signer states, which nobody vouches for; zero when it
// states none.
func (s *Signer) SigningTime() time.Time {
	v, ok := s.SignedAttribute(OIDSigningTime)
	if !ok {
		return time.Time{}
	}
	t, err := Time(v)
	if err != nil {
		return time.Time{}
	}
	return t
}

// Certificate returns the signer's certificate among certs; nil when it is not there.
func (s *Signer) Certificate(certs []*Certificate) *Certificate {
	for _, c := range certs {
		if s.KeyID != nil {
			if bytes.Equal(c.SubjectKeyID, s.KeyID) {
				return c
			}
			continue
		}
		if bytes.Equal(c.Serial, s.Serial) && bytes.Equal(c.RawIssuer, s.RawIssuer) {
			return c
		}
	}
	return nil
}

// Check says whether the signer's key signed a content, whose digest is asked for in the signer's
// algorithm: nil, or an error that matches ErrMismatch, ErrAlgorithm or ErrNoCertificate. contentType is what the
// signed attributes must name; "" for any. It judges neither the certificate nor its time. cert is the signer's
// certificate.
func (s *Signer) Check(cert *Certificate, contentType string, digest func(crypto.Hash) ([]byte, error)) error {
	if cert == nil {
		return ErrNoCertificate
	}
	hash := s.Digest.Digest()
	if !hashing.Usable(hash) {
		return fmt.Errorf("%w: digest %s", ErrAlgorithm, s.Digest.OID)
	}
	key, err := cert.PublicKey()
	if err != nil {
		return err
	}
	sum, err := digest(hash)
	if err != nil {
		return err
	}
	if s.rawSigned == nil {
		// Only plain data may be signed without attributes: else a signature over attributes could
		// pass for one over a content that looks like them.
		if contentType != "" && contentType != OIDData {
			return fmt.Errorf("%w: content type %s without signed attributes", ErrMismatch, contentType)
		}
		return verify(key, s.Algorithm, hash, sum, s.Signature)
	}
	if err := s.checkSignedAttributes(contentType, sum); err != nil {
		return err
	}
	// The signature covers the attributes as a SET OF; they are stored with the tag [0].
	message := append([]byte{0x31}, s.rawSigned[1:]...)
	if schemes.Get()[s.Algorithm.OID].kind == kindEd25519 {
		return verifyMessage(key, s.Algorithm, message, s.Signature, Sum)
	}
	return verify(key, s.Algorithm, hash, Sum(hash, message), s.Signature)
}

func (s *Signer) checkSignedAttributes(contentType string, sum []byte) error {
	md, ok := s.SignedAttribute(OIDMessageDigest)
	if !ok || !md.Is(TagOctetString) {
		return fmt.Errorf("%w: signed attributes without a message digest", ErrMismatch)
	}
	if !bytes.Equal(md.Body, sum) {
		return fmt.Errorf("%w: message digest differs", ErrMismatch)
	}
	ct, ok := s.SignedAttribute(OIDContentType)
	if contentType == "" || !ok && contentType == OIDData {
		return nil
	}
	if id := OID(ct); id != contentType {
		return fmt.Errorf("%w: content type %s, signed as %s", ErrMismatch, contentType, id)
	}
	return nil
}

// CheckContent is Check over the content that came with the signature.
func (sd *SignedData) CheckContent(s *Signer) error {
	if sd.Content == nil {
		return fmt.Errorf("%w: no content", ErrMismatch)
	}
	return s.Check(s.Certificate(sd.Certificates), sd.ContentType, func(h crypto.Hash) ([]byte, error) {
		return Sum(h, sd.Covered), nil
	})
}
