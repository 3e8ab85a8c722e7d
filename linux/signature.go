// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"bytes"
	"crypto"
	_ "crypto/sha3" // kernels sign with SHA-3 too
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/sign"
)

// A ModuleSignature is the trailer of a signed module file, decoded. It says what the file claims;
// whether that holds is the Signature of the module.
type ModuleSignature struct {
	// IDType is the kind of trailer: pkcs7, or pgp and x509 of kernels before 4.3; a number for one
	// that is not known.
	IDType string `json:"idType"`
	// Signer is the common name of the issuer of the signer's certificate (pkcs7), or the name that
	// the trailer gives.
	Signer string `json:"signer,omitzero"`
	// KeyID names the signer's key as modinfo prints it ("sig_key"): the serial number of the
	// certificate, or its subject key identifier, in upper-case hexadecimal with colons.
	KeyID string `json:"keyId,omitzero"`
	// Hash is the digest algorithm, such as sha256 or sha3-512; a dotted object identifier for one
	// that is not known.
	Hash string `json:"hash,omitzero"`
	// Algorithm is the signature algorithm, such as rsa, ecdsa or ml-dsa-65; a dotted object
	// identifier for one that is not known.
	Algorithm string `json:"algorithm,omitzero"`
	// Size is the length in bytes of the signature block, without the trailer's own 40 bytes.
	Size int64 `json:"size"`
	// Value is the signature itself, which modinfo prints in hexadecimal; it is not in JSON.
	Value []byte `json:"-"`
}

// The trailer, from the end of the file: a mark of 28 bytes, before it 12 bytes that say what is
// before them.
const (
	signatureMark   = "~Module signature appended~\n"
	signatureHeader = 12
	maxSignature    = 1 << 20
)

// The kinds of trailer, as its third byte has them.
const (
	idPGP   = 0
	idX509  = 1
	idPKCS7 = 2
)

// Keys are the certificates that module signatures are verified against.
type Keys struct{ roots *sign.Roots }

// NewKeys makes Keys of a caller's sets. A certificate that cannot be used is left out, and an
// error for it is returned.
func NewKeys(sets []fact.KeySet) (*Keys, []error) {
	roots, errs := sign.NewRoots(sets)
	return &Keys{roots}, errs
}

// empty reports whether there is nothing to verify against.
func (k *Keys) empty() bool { return k == nil || k.roots.Empty() }

// ReadSignature decodes the trailer of a module file, which must be decompressed, and verifies it
// when keys are given. Without a trailer the status is none and the ModuleSignature nil. An error
// says why a signature that is there could not be decoded or verified; its status is unchecked
// then, never a guess.
func ReadSignature(module []byte, keys *Keys) (*ModuleSignature, fact.Signature, error) {
	content, ok := bytes.CutSuffix(module, []byte(signatureMark))
	if !ok {
		return nil, fact.Signature{Status: fact.SignatureNone}, nil
	}
	verdict := fact.Signature{Status: fact.SignatureUnchecked, Source: fact.SignatureEmbedded}
	if len(content) < signatureHeader {
		return nil, verdict, badSignature("file too short for a signature")
	}
	h := content[len(content)-signatureHeader:]
	content = content[:len(content)-signatureHeader]
	size := binary.BigEndian.Uint32(h[8:])
	sig := &ModuleSignature{IDType: idType(h[2]), Size: int64(size)}
	names := uint64(h[3]) + uint64(h[4])
	if uint64(size)+names > uint64(len(content)) || size > maxSignature {
		return sig, verdict, badSignature(fmt.Sprintf("signature of %d bytes in a file of %d", size, len(module)))
	}
	block := content[len(content)-int(size):]
	content = content[:len(content)-int(size)]
	if h[2] != idPKCS7 {
		sig.old(h, content)
		verdict.Signer, verdict.Hash = sig.Signer, sig.Hash
		return sig, verdict, unverified(keys, fmt.Errorf("signature of type %s is not verified: %w", sig.IDType, errors.ErrUnsupported))
	}
	if !bytes.Equal(h[:8], []byte{0, 0, idPKCS7, 0, 0, 0, 0, 0}) {
		return sig, verdict, badSignature("trailer of a PKCS#7 signature has fields that must be zero")
	}
	return verifyPKCS7(sig, verdict, block, content, keys)
}

func idType(b byte) string {
	switch b {
	case idPGP:
		return "pgp"
	case idX509:
		return "x509"
	case idPKCS7:
		return "pkcs7"
	}
	return strconv.Itoa(int(b))
}

// unverified keeps an error about verification only when it was asked for.
func unverified(keys *Keys, err error) error {
	if keys.empty() {
		return nil
	}
	return err
}

// old reads the names that trailers of kernels before 4.3 have before the signature block.
func (s *ModuleSignature) old(h, content []byte) {
	keyID := content[len(content)-int(h[4]):]
	content = content[:len(content)-int(h[4])]
	s.Signer = escape.UTF8(string(content[len(content)-int(h[3]):]))
	s.KeyID = colonHex(keyID)
	algorithms, hashes := [...]string{"dsa", "rsa"}, [...]string{"md4", "md5", "sha1", "rmd160", "sha256", "sha384", "sha512", "sha224"}
	if s.Algorithm = strconv.Itoa(int(h[0])); int(h[0]) < len(algorithms) {
		s.Algorithm = algorithms[h[0]]
	}
	if s.Hash = strconv.Itoa(int(h[1])); int(h[1]) < len(hashes) {
		s.Hash = hashes[h[1]]
	}
}

// verifyPKCS7 decodes the signature block, and checks it against the content that it signs.
func verifyPKCS7(sig *ModuleSignature, verdict fact.Signature, block, content []byte, keys *Keys) (*ModuleSignature, fact.Signature, error) {
	data, err := sign.ParseContentInfo(block)
	if err != nil {
		return sig, verdict, badSignature("PKCS#7: " + err.Error())
	}
	if len(data.Signers) == 0 {
		return sig, verdict, badSignature("PKCS#7: nobody signed")
	}
	sig.describe(data.Signers[0])
	verdict.Signer, verdict.Hash = sig.Signer, sig.Hash
	if keys.empty() {
		return sig, verdict, nil
	}
	if err := strictForm(block, data); err != nil {
		return sig, verdict, badSignature("PKCS#7: " + err.Error())
	}
	verdict.Status, verdict.KeySet, err = judge(data, content, keys)
	return sig, verdict, err
}

// describe fills in what a signer says.
func (s *ModuleSignature) describe(signer *sign.Signer) {
	if signer.KeyID != nil {
		s.KeyID = colonHex(signer.KeyID)
	} else {
		s.KeyID = colonHex(signer.Serial)
		s.Signer = escape.UTF8(issuerName(signer.RawIssuer))
	}
	s.Value = bytes.Clone(signer.Signature)
	s.Hash = hashName(signer.Digest.OID)
	s.Algorithm = algorithmName(signer.Algorithm.OID)
}

// issuerName returns the common name of a distinguished name.
func issuerName(raw []byte) string {
	r := sign.NewReader(raw)
	v, err := r.Next()
	if err != nil {
		return ""
	}
	name, err := sign.ParseName(v)
	if err != nil {
		return ""
	}
	return name.CommonName()
}

// judge says whether every signer's signature fits the content and leads to a given key, as the
// kernel asks for.
func judge(data *sign.SignedData, content []byte, keys *Keys) (status fact.SignatureStatus, keySet string, err error) {
	status = fact.SignatureValid
	for _, signer := range data.Signers {
		one, set, err := judgeSigner(data, signer, content, keys)
		if one != fact.SignatureValid {
			return one, "", err
		}
		keySet = set
	}
	return status, keySet, nil
}

func judgeSigner(data *sign.SignedData, signer *sign.Signer, content []byte, keys *Keys) (fact.SignatureStatus, string, error) {
	cert, set := keys.roots.Find(signer)
	if cert == nil {
		cert = signer.Certificate(data.Certificates)
	}
	if cert == nil {
		return fact.SignatureUnchecked, "", fmt.Errorf("key %s is not among the given keys", signerKey(signer))
	}
	err := signer.Check(cert, sign.OIDData, func(h crypto.Hash) ([]byte, error) { return sign.Sum(h, content), nil })
	switch {
	case errors.Is(err, sign.ErrMismatch):
		return fact.SignatureInvalid, "", nil
	case err != nil:
		return fact.SignatureUnchecked, "", err
	case set != "" && len(data.Certificates) == 0:
		return fact.SignatureValid, set, nil
	}
	return judgeChain(data, cert, keys)
}

// judgeChain follows the certificates that came with a signature that fits. The kernel does not ask
// whether they have expired, so neither does this. A certificate that is no part of the chain is
// covered by no signature, so nothing is valid beside one.
func judgeChain(data *sign.SignedData, cert *sign.Certificate, keys *Keys) (fact.SignatureStatus, string, error) {
	chain := sign.BuildChain(cert, sign.ChainQuery{Pool: data.Certificates, Roots: keys.roots, At: cert.NotBefore})
	if chain.KeySet == "" {
		return fact.SignatureUntrusted, "", nil
	}
	for _, c := range data.Certificates {
		used := false
		for _, link := range chain.Certificates {
			used = used || bytes.Equal(link.Raw, c.Raw)
		}
		if !used {
			return fact.SignatureUnchecked, "", badSignature("PKCS#7: holds a certificate that is no part of the chain")
		}
	}
	return fact.SignatureValid, chain.KeySet, nil
}

func signerKey(s *sign.Signer) string {
	if s.KeyID != nil {
		return colonHex(s.KeyID)
	}
	return colonHex(s.Serial)
}

// strictForm refuses a SignedData of which some bytes are neither checked nor signed, such as a
// wrong version number: whatever is called valid is valid to the last byte.
func strictForm(block []byte, data *sign.SignedData) error {
	if err := derOnly(block); err != nil {
		return err
	}
	if data.ContentType != sign.OIDData || data.Content != nil {
		return errors.New("signed content is inside the signature")
	}
	if len(data.CertificateErrors) > 0 {
		return data.CertificateErrors[0]
	}
	s, err := readForm(block)
	if err != nil {
		return err
	}
	highest := byte(1)
	for i, signer := range data.Signers {
		if len(signer.Unsigned) > 0 {
			return errors.New("signer has unsigned attributes")
		}
		version := byte(1)
		if signer.KeyID != nil {
			version = 3
		}
		if !bytes.Equal(s.signerVersions[i], []byte{version}) {
			return errors.New("signer's version does not fit its form")
		}
		highest = max(highest, version)
		for _, a := range []sign.Algorithm{signer.Digest, signer.Algorithm} {
			if p := a.Params; p.Full != nil && !(p.Is(tagNull) && len(p.Body) == 0) {
				return fmt.Errorf("parameters of algorithm %s", a.OID)
			}
		}
		if oid := signer.Algorithm.OID; strings.HasPrefix(oid, rsaArc) && oid != rsaEncryption {
			return fmt.Errorf("signature algorithm %s, where the kernel takes %s", oid, rsaEncryption)
		}
		if !bytes.Equal(s.digests, s.signerDigests[i]) {
			return errors.New("list of digest algorithms is not that of the signer")
		}
	}
	if s.version != highest {
		return errors.New("version does not fit the signers' form")
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

// A signedForm is the parts of a SignedData that say nothing of their own.
type signedForm struct {
	version        byte
	digests        []byte // what the set of digest algorithms holds
	signerVersions [][]byte
	signerDigests  [][]byte
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
	if attrs, ok := r.Optional(0); ok && attrs.Full[0] != contextConstructed {
		return errors.New("signed attributes")
	}
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

// colonHex writes bytes as modinfo does: 0A:1B:2C.
func colonHex(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	text := strings.ToUpper(hex.EncodeToString(b))
	var s strings.Builder
	s.Grow(len(text) + len(b))
	for i := 0; i < len(text); i += 2 {
		if i > 0 {
			s.WriteByte(':')
		}
		s.WriteString(text[i : i+2])
	}
	return s.String()
}

func badSignature(reason string) error {
	return &fact.ParseError{Field: "signature", Reason: reason}
}

// Digest and signature algorithms by object identifier, in the words of the kernel's
// documentation.
var (
	hashNames = map[string]string{
		"1.2.840.113549.2.4": "md4", "1.2.840.113549.2.5": "md5", "1.3.14.3.2.26": "sha1",
		"1.3.36.3.2.1": "rmd160", "1.2.156.10197.1.401": "sm3",
		"2.16.840.1.101.3.4.2.1": "sha256", "2.16.840.1.101.3.4.2.2": "sha384", "2.16.840.1.101.3.4.2.3": "sha512",
		"2.16.840.1.101.3.4.2.4": "sha224", "2.16.840.1.101.3.4.2.5": "sha512-224", "2.16.840.1.101.3.4.2.6": "sha512-256",
		"2.16.840.1.101.3.4.2.7": "sha3-224", "2.16.840.1.101.3.4.2.8": "sha3-256",
		"2.16.840.1.101.3.4.2.9": "sha3-384", "2.16.840.1.101.3.4.2.10": "sha3-512",
		"2.16.840.1.101.3.4.2.11": "shake128", "2.16.840.1.101.3.4.2.12": "shake256",
		"1.2.643.7.1.1.2.2": "streebog256", "1.2.643.7.1.1.2.3": "streebog512",
	}
	algorithmNames = map[string]string{
		"1.2.840.113549.1.1.10": "rsa-pss", "1.2.840.10045.2.1": "ecdsa",
		"1.2.643.7.1.1.1.1": "ecrdsa", "1.2.643.7.1.1.1.2": "ecrdsa", "1.2.156.10197.1.501": "sm2",
		"1.3.101.112": "ed25519", "1.3.101.113": "ed448",
		"2.16.840.1.101.3.4.3.17": "ml-dsa-44", "2.16.840.1.101.3.4.3.18": "ml-dsa-65", "2.16.840.1.101.3.4.3.19": "ml-dsa-87",
	}
	// algorithmArcs are families whose members name a digest too, which Hash already says.
	algorithmArcs = []struct{ prefix, name string }{
		{"1.2.840.113549.1.1.", "rsa"},
		{"1.2.840.10045.4.", "ecdsa"},
	}
)

func hashName(oid string) string {
	if name, ok := hashNames[oid]; ok {
		return name
	}
	return oid
}

func algorithmName(oid string) string {
	if name, ok := algorithmNames[oid]; ok {
		return name
	}
	for _, a := range algorithmArcs {
		if strings.HasPrefix(oid, a.prefix) {
			return a.name
		}
	}
	last, ok := strings.CutPrefix(oid, "2.16.840.1.101.3.4.3.")
	if n, err := strconv.Atoi(last); ok && err == nil {
		switch {
		case n >= 9 && n <= 12:
			return "ecdsa" // with SHA-3
		case n >= 13 && n <= 16:
			return "rsa" // with SHA-3
		case n >= 1 && n <= 8:
			return "dsa"
		}
	}
	return oid
}
