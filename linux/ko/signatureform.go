// SPDX-License-Identifier: Apache-2.0

package ko

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/internal/sign"
)

// strictForm refuses a SignedData that the kernel refuses, whoever signed it, and one of which some
// bytes are neither checked nor signed, such as a wrong version number: whatever is called valid is
// valid to the last byte, but for the signatures of others that come with it.
func strictForm(block []byte, data *sign.SignedData) error {
	if err := derOnly(block); err != nil {
		return err
	}
	if data.ContentType != sign.OIDData || data.Content != nil {
		return errors.New("signed content is inside the signature")
	}
	if err := data.CertificatesErr(); err != nil {
		return err
	}
	s, err := readForm(block)
	if err != nil {
		return err
	}
	for i, signer := range data.Signers {
		if err := strictSigner(signer, s.attributes[i]); err != nil {
			return err
		}
		if s.attributes[i] != s.attributes[0] {
			return errors.New("some signers have signed attributes and some have none")
		}
		version := byte(1)
		if signer.KeyID != nil {
			version = 3
		}
		if !bytes.Equal(s.signerVersions[i], []byte{version}) || s.version != version {
			return errors.New("version does not fit the signer's form")
		}
	}
	return s.sameDigests()
}

// strictSigner refuses what the kernel refuses of a signer. Signed attributes are for ML-DSA, and
// for kernels that were built to take them.
func strictSigner(signer *sign.Signer, attributes bool) error {
	oid := signer.Algorithm.OID
	switch {
	case len(signer.Unsigned) > 0:
		return errors.New("signer has unsigned attributes")
	case strings.HasPrefix(oid, rsaArc) && oid != rsaEncryption:
		return fmt.Errorf("signature algorithm %s, where the kernel takes %s", oid, rsaEncryption)
	case !slices.Contains(kernelAlgorithms, oid):
		return fmt.Errorf("signature algorithm %s, which the kernel does not know", oid)
	case attributes && !strings.HasPrefix(algorithmName(oid), "ml-dsa-"):
		return errors.New("signer has signed attributes, which the kernel does not take for a module")
	}
	for _, a := range []sign.Algorithm{signer.Digest, signer.Algorithm} {
		if p := a.Params; p.Full != nil && !(p.Is(tagNull) && len(p.Body) == 0) {
			return fmt.Errorf("parameters of algorithm %s", a.OID)
		}
	}
	return nil
}

// sameDigests refuses a list of digest algorithms that is not, each once, those of the signers.
func (f *signedForm) sameDigests() error {
	want := make(map[string]bool)
	for _, d := range f.signerDigests {
		want[string(d)] = true
	}
	for r := sign.NewReader(f.digests); !r.Empty(); {
		v, err := r.Next()
		if err != nil || !want[string(v.Full)] {
			return errors.New("list of digest algorithms is not that of the signers")
		}
		delete(want, string(v.Full))
	}
	if len(want) > 0 {
		return errors.New("list of digest algorithms is not that of the signers")
	}
	return nil
}

// Identifiers as they must be written: NULL, and [0] around values and by itself.
const (
	tagNull            = 5
	contextConstructed = 0xa0
	contextPrimitive   = 0x80
)

// RSA is named without the digest, which has a field of its own.
const (
	rsaArc        = "1.2.840.113549.1.1."
	rsaEncryption = rsaArc + "1"
)

// kernelAlgorithms are the signature algorithms whose identifiers some kernel knows. Whether it can
// compute them is another question: one that it cannot is passed over, one that it does not know
// spoils the whole.
var kernelAlgorithms = []string{
	rsaEncryption,
	// ECDSA
	"1.2.840.10045.4.1", "1.2.840.10045.4.3.1", "1.2.840.10045.4.3.2", "1.2.840.10045.4.3.3", "1.2.840.10045.4.3.4",
	"2.16.840.1.101.3.4.3.10", "2.16.840.1.101.3.4.3.11", "2.16.840.1.101.3.4.3.12", // ECDSA with SHA-3
	"1.2.643.7.1.1.1.1", "1.2.643.7.1.1.1.2", // EC-RDSA
	"1.2.156.10197.1.501",                                                           // SM2
	"2.16.840.1.101.3.4.3.17", "2.16.840.1.101.3.4.3.18", "2.16.840.1.101.3.4.3.19", // ML-DSA
}

// A signedForm is the parts of a SignedData that say nothing of their own.
type signedForm struct {
	version        byte
	digests        []byte // what the set of digest algorithms holds
	signerVersions [][]byte
	signerDigests  [][]byte
	attributes     []bool // whether a signer has signed ones
}

func readForm(block []byte) (f signedForm, err error) {
	top := sign.NewReader(block)
	info, err := top.Expect(sign.TagSequence, "contentInfo")
	if err != nil {
		return f, err
	}
	r := info.Reader()
	if _, err = r.Expect(sign.TagOID, "contentType"); err != nil {
		return f, err
	}
	explicit, ok := r.Optional(0)
	if !ok || explicit.Full[0] != contextConstructed {
		return f, errors.New("no content")
	}
	in := explicit.Reader()
	seq, err := in.Expect(sign.TagSequence, "signedData")
	if err != nil {
		return f, err
	}
	if !top.Empty() || !r.Empty() || !in.Empty() {
		return f, errors.New("bytes after the signature")
	}
	err = f.readSigned(seq.Reader())
	return f, err
}

func (f *signedForm) readSigned(r sign.Reader) error {
	version, err := r.Expect(sign.TagInteger, "version")
	if err != nil || len(version.Body) != 1 {
		return errors.New("version")
	}
	f.version = version.Body[0]
	set, err := r.Expect(sign.TagSet, "digestAlgorithms")
	if err != nil {
		return err
	}
	f.digests = set.Body
	encap, err := r.Expect(sign.TagSequence, "encapContentInfo")
	if err != nil {
		return err
	}
	inner := encap.Reader()
	if _, err := inner.Next(); err != nil || !inner.Empty() {
		return errors.New("signed content is inside the signature")
	}
	if certs, ok := r.Optional(0); ok && certs.Full[0] != contextConstructed {
		return errors.New("certificates")
	}
	signers, err := r.Expect(sign.TagSet, "signerInfos")
	if err != nil || !r.Empty() {
		return errors.New("something else than certificates and signers")
	}
	for in := signers.Reader(); !in.Empty(); {
		if err := f.readSigner(&in); err != nil {
			return err
		}
	}
	return nil
}

func (f *signedForm) readSigner(in *sign.Reader) error {
	v, err := in.Expect(sign.TagSequence, "signerInfo")
	if err != nil {
		return err
	}
	r := v.Reader()
	version, err := r.Expect(sign.TagInteger, "version")
	if err != nil {
		return err
	}
	if id, err := r.Next(); err != nil || id.IsContext(0) && id.Full[0] != contextPrimitive {
		return errors.New("signer's name")
	}
	digest, err := r.Expect(sign.TagSequence, "digestAlgorithm")
	if err != nil {
		return err
	}
	f.signerVersions = append(f.signerVersions, version.Body)
	f.signerDigests = append(f.signerDigests, digest.Full)
	attrs, ok := r.Optional(0)
	if ok && attrs.Full[0] != contextConstructed {
		return errors.New("signed attributes")
	}
	f.attributes = append(f.attributes, ok)
	if _, err := r.Expect(sign.TagSequence, "signatureAlgorithm"); err != nil {
		return err
	}
	if _, err := r.Expect(sign.TagOctetString, "signature"); err != nil {
		return err
	}
	if !r.Empty() {
		return errors.New("something after the signer's signature")
	}
	return nil
}

// derOnly refuses lengths that are indefinite or longer than they need to be.
func derOnly(b []byte) error {
	// Constructed values are entered in place: their contents follow their headers anyway.
	for len(b) > 0 {
		if len(b) < 2 || b[0]&0x1f == 0x1f {
			return errors.New("not DER")
		}
		if number := b[0] & 0x1f; b[0]&0xc0 == 0 && (number == 16 || number == 17) != (b[0]&0x20 != 0) {
			return errors.New("not DER") // sequences and sets are constructed, nothing else is
		}
		n, head := int(b[1]), 2
		if n >= 0x80 {
			size := n & 0x7f
			if size == 0 || size > 4 || len(b) < 2+size {
				return errors.New("not DER")
			}
			n = 0
			for _, c := range b[2 : 2+size] {
				n = n<<8 | int(c)
			}
			if n < 0x80 || b[2] == 0 {
				return errors.New("not DER")
			}
			head += size
		}
		if n > len(b)-head {
			return errors.New("not DER")
		}
		if b[0]&0x20 != 0 {
			b = b[head:]
		} else {
			b = b[head+n:]
		}
	}
	return nil
}
