// SPDX-License-Identifier: Apache-2.0

package ko

import (
	"bytes"
	"cmp"
	"crypto"
	_ "crypto/sha3" // kernels sign with SHA-3 too
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/lazy"
	"github.com/kernelext/kernelext/internal/sign"
)

// A Signature is the trailer of a signed module file, decoded. It says what the file claims;
// whether that holds is the Signature of the module.
type Signature struct {
	// IDType is the kind of trailer: pkcs7, or pgp and x509 of kernels before 4.3; a number for one
	// that is not known.
	IDType string `json:"idType"`
	// Signer is the common name of the issuer of the signer's certificate (pkcs7), the first if it
	// has several, or the name that the trailer gives. Of several signers it and the fields below are
	// the first's, as in modinfo.
	Signer string `json:"signer,omitzero"`
	// KeyID names the signer's key as modinfo prints it ("sig_key"): the serial number of the
	// certificate without leading zeros, or its subject key identifier, in upper-case hexadecimal with
	// colons.
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

// readSignature decodes the trailer of a module file, which must be decompressed, and verifies it
// when keys are given. Without a trailer the status is SignatureNone and the Signature nil. With several signers the
// kernel's rule applies: no signature that can be checked may be wrong, and one must lead to a given key. A signature
// in a form that the kernel refuses is not valid. An error says why a signature that is there could not be decoded or
// verified; its status is unchecked then, never a guess.
func readSignature(module []byte, keys *Keys, item *fact.Item) (*Signature, Verdict, error) {
	content, ok := bytes.CutSuffix(module, []byte(signatureMark))
	if !ok {
		return nil, Verdict{Signature: fact.Signature{Status: fact.SignatureNone}}, nil
	}
	verdict := Verdict{Signature: fact.Signature{Status: fact.SignatureUnchecked, Source: fact.SignatureEmbedded}}
	if len(content) < signatureHeader {
		return nil, verdict, badSignature("file too short for a signature")
	}
	h := content[len(content)-signatureHeader:]
	content = content[:len(content)-signatureHeader]
	size := binary.BigEndian.Uint32(h[8:])
	sig := &Signature{IDType: idType(h[2]), Size: int64(size)}
	names := uint64(h[3]) + uint64(h[4])
	if uint64(size)+names > uint64(len(content)) || size > maxSignature {
		return sig, verdict, badSignature(fmt.Sprintf("signature of %d bytes in a file of %d", size, len(module)))
	}
	block := content[len(content)-int(size):]
	content = content[:len(content)-int(size)]
	if h[2] != idPKCS7 {
		if h[2] == idPGP || h[2] == idX509 {
			sig.old(h, content)
			verdict.Signer, verdict.Hash = sig.Signer, sig.Hash
		}
		return sig, verdict,
			unverified(keys, fmt.Errorf("signature of type %s is not verified: %w", sig.IDType, errors.ErrUnsupported))
	}
	if !bytes.Equal(h[:8], []byte{0, 0, idPKCS7, 0, 0, 0, 0, 0}) {
		return sig, verdict, badSignature("trailer of a PKCS#7 signature has fields that must be zero")
	}
	return verifyPKCS7(sig, verdict, block, content, keys, item)
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
	if keys.Empty() {
		return nil
	}
	return err
}

// old reads the names that trailers of kernels before 4.3 have before the signature block.
func (s *Signature) old(h, content []byte) {
	keyID := content[len(content)-int(h[4]):]
	content = content[:len(content)-int(h[4])]
	s.Signer = escape.UTF8(string(content[len(content)-int(h[3]):]))
	s.KeyID = colonHex(keyID)
	algorithms, hashes := [...]string{"dsa", "rsa"},
		[...]string{"md4", "md5", "sha1", "rmd160", "sha256", "sha384", "sha512", "sha224"}
	if s.Algorithm = strconv.Itoa(int(h[0])); int(h[0]) < len(algorithms) {
		s.Algorithm = algorithms[h[0]]
	}
	if s.Hash = strconv.Itoa(int(h[1])); int(h[1]) < len(hashes) {
		s.Hash = hashes[h[1]]
	}
}

// verifyPKCS7 decodes the signature block, and checks it against the content that it signs.
func verifyPKCS7(
	sig *Signature, verdict Verdict, block, content []byte, keys *Keys, item *fact.Item,
) (*Signature, Verdict, error) {
	data, err := sign.ParseContentInfo(block)
	if err != nil {
		return sig, verdict, badSignature("PKCS#7: " + err.Error())
	}
	if len(data.Signers) == 0 {
		return sig, verdict, badSignature("PKCS#7: nobody signed")
	}
	sig.describe(data.Signers[0])
	verdict.Signer, verdict.Hash = sig.Signer, sig.Hash
	if keys.Empty() {
		return sig, verdict, nil
	}
	if err := strictForm(block, data); err != nil {
		return sig, verdict, badSignature("PKCS#7: " + err.Error())
	}
	j := judge(data, content, keys, item)
	verdict.Status, verdict.Proof = j.status, j.proof
	if j.status == fact.SignatureValid {
		verdict.KeySet = j.proof.Set
	}
	verdict.Signer, verdict.Hash = signerName(j.signer), hashName(j.signer.Digest.OID)
	return sig, verdict, j.err
}

// describe fills in what a signer says.
func (s *Signature) describe(signer *sign.Signer) {
	s.Signer, s.KeyID = signerName(signer), signerKey(signer)
	s.Value = bytes.Clone(signer.Signature)
	s.Hash = hashName(signer.Digest.OID)
	s.Algorithm = algorithmName(signer.Algorithm.OID)
}

// signerName returns the first common name of the issuer of a signer's certificate; "" when the
// signer is named by key.
func signerName(signer *sign.Signer) string {
	r := sign.NewReader(signer.RawIssuer)
	v, err := r.Next()
	if err != nil {
		return ""
	}
	name, err := sign.ParseName(v)
	if err != nil {
		return ""
	}
	return escape.UTF8(name.FirstCommonName())
}

// A signerVerdict is what is known of one signer's signature, or of all.
type signerVerdict struct {
	status fact.SignatureStatus
	signer *sign.Signer
	proof  Proof
	err    error // why it is no more than that
	used   []*sign.Certificate
}

// judge says what the signers' verdicts come to, as the kernel does (pkcs7_verify and
// pkcs7_validate_trust): one signature that does not fit is one too many; of the others one that
// leads to a given key is enough, and those that nobody can check are passed over. One that is revoked
// spoils all.
func judge(data *sign.SignedData, content []byte, keys *Keys, item *fact.Item) signerVerdict {
	var best signerVerdict
	var used []*sign.Certificate
	for i, signer := range data.Signers {
		j := judgeSigner(data, signer, content, keys, item)
		if j.status == fact.SignatureInvalid {
			return j
		}
		used = append(used, j.used...)
		if i == 0 || signatureRank(j.status) > signatureRank(best.status) {
			best = j
		}
	}
	if best.status == fact.SignatureValid && !covers(used, data.Certificates) {
		return signerVerdict{status: fact.SignatureUnchecked, signer: best.signer,
			err: badSignature("PKCS#7: holds a certificate that is not part of the chain")}
	}
	return best
}

func signatureRank(s fact.SignatureStatus) int {
	return slices.Index([]fact.SignatureStatus{fact.SignatureUnchecked, fact.SignatureUntrusted, fact.SignatureValid},
		s)
}

// covers reports whether each certificate that came with a signature is one of those that were used.
// One that is not part of a chain is covered by no signature, so nothing is valid beside it.
func covers(used, came []*sign.Certificate) bool {
	for _, c := range came {
		if !slices.ContainsFunc(used, func(u *sign.Certificate) bool { return bytes.Equal(u.Raw, c.Raw) }) {
			return false
		}
	}
	return true
}

// judgeSigner checks one signature, and follows the certificates that came with it. The kernel does
// not ask whether they have expired, so neither does this.
func judgeSigner(
	data *sign.SignedData, signer *sign.Signer, content []byte, keys *Keys, item *fact.Item,
) signerVerdict {
	j := signerVerdict{status: fact.SignatureUnchecked, signer: signer}
	sums := make(map[crypto.Hash][]byte)
	sum := func(h crypto.Hash) ([]byte, error) {
		if sums[h] == nil {
			sums[h] = sign.Sum(h, content)
		}
		return sums[h], nil
	}
	if list := keys.revokedContent(signer, sum); list != "" {
		return j.revoke(list, RevokedContent, errRevokedContent)
	}
	cert, proof, err := keys.find(signer, sum)
	if j.proof = proof; cert == nil {
		if cert = signer.Certificate(data.Certificates); cert != nil {
			err = signer.Check(cert, sign.OIDData, sum)
		}
	}
	switch {
	case cert == nil:
		j.proof.NoKey = true
		j.err = fmt.Errorf("key %s is not among the known keys", signerKey(signer))
		return j
	case errors.Is(err, sign.ErrMismatch):
		j.status = fact.SignatureInvalid
		return j
	case err != nil:
		j.err = err
		return j
	}
	if err := item.Work(int64(len(content))); err != nil {
		j.err = err
		return j
	}
	chain := sign.BuildChain(cert, sign.ChainQuery{Pool: data.Certificates, Roots: keys.roots, Rules: sign.RulesLinux,
		Item: item})
	if errors.Is(chain.Err, fact.ErrTooLarge) || errors.Is(chain.Err, fact.ErrBudget) {
		j.err = chain.Err
		return j
	}
	j.used = chain.Certificates
	list, by, err := keys.revokedKey(chain.Certificates, data.Certificates, item)
	if list != "" {
		return j.revoke(list, by, errRevokedKey)
	}
	if err := cmp.Or(err, item.Work(0)); err != nil { // a list was not asked
		j.err = err
		return j
	}
	return j.anchored(chain, keys)
}

// anchored gives the verdict on a signature that fits, by where the chain of its certificate ends.
func (j signerVerdict) anchored(chain sign.Chain, keys *Keys) signerVerdict {
	proof := j.proof
	j.status = fact.SignatureUntrusted
	switch {
	case chain.KeySet != "":
		j.status, j.proof.Set = fact.SignatureValid, chain.KeySet
		if j.proof.Perhaps || proof.Set == "" {
			j.proof = Proof{Set: chain.KeySet, Origin: keys.roots.Origin(chain.KeySet)}
		}
		if keys.doubt != nil {
			j.status, j.proof.Unsure = fact.SignatureUnchecked, true
			j.err = fmt.Errorf("the signature fits, but whether its key is revoked is not known: %w", keys.doubt)
		}
	case !j.proof.Perhaps:
		j.proof.NoKey = true
	default:
		j.err = fmt.Errorf("it leads to %s, which the kernel may not ask", j.proof.Set)
	}
	return j
}

// revoke makes the verdict that of something revoked by a list.
func (j signerVerdict) revoke(list string, by RevokedBy, why error) signerVerdict {
	j.status, j.proof.Revoked, j.proof.RevokedBy = fact.SignatureInvalid, list, by
	j.err = fmt.Errorf("%w by %s", why, list)
	return j
}

// signerKey returns what names a signer's key, as modinfo prints it.
func signerKey(s *sign.Signer) string {
	if s.KeyID != nil {
		return colonHex(s.KeyID)
	}
	return colonHex(magnitude(s.Serial))
}

// magnitude returns the bytes of an INTEGER's absolute value, without leading zeros: a serial number
// whose first bit is set has one in its encoding.
func magnitude(integer []byte) []byte {
	n := new(big.Int).SetBytes(integer)
	if len(integer) > 0 && integer[0]&0x80 != 0 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(integer))))
	}
	return n.Bytes()
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

// hashNames are digest algorithms by object identifier, in the words of the kernel's documentation.
var hashNames = lazy.Value[map[string]string]{New: func() map[string]string {
	return map[string]string{
		"1.2.840.113549.2.4": "md4", "1.2.840.113549.2.5": "md5", "1.3.14.3.2.26": "sha1",
		"1.3.36.3.2.1": "rmd160", "1.2.156.10197.1.401": "sm3",
		"2.16.840.1.101.3.4.2.1": "sha256", "2.16.840.1.101.3.4.2.2": "sha384", "2.16.840.1.101.3.4.2.3": "sha512",
		"2.16.840.1.101.3.4.2.4": "sha224", "2.16.840.1.101.3.4.2.5": "sha512-224",
		"2.16.840.1.101.3.4.2.6": "sha512-256",
		"2.16.840.1.101.3.4.2.7": "sha3-224", "2.16.840.1.101.3.4.2.8": "sha3-256",
		"2.16.840.1.101.3.4.2.9": "sha3-384", "2.16.840.1.101.3.4.2.10": "sha3-512",
		"2.16.840.1.101.3.4.2.11": "shake128", "2.16.840.1.101.3.4.2.12": "shake256",
		"1.2.643.7.1.1.2.2": "streebog256", "1.2.643.7.1.1.2.3": "streebog512",
	}
}}

// algorithmNames are signature algorithms by object identifier, in the same words.
var algorithmNames = lazy.Value[map[string]string]{New: func() map[string]string {
	return map[string]string{
		"1.2.840.113549.1.1.10": "rsa-pss", "1.2.840.10045.2.1": "ecdsa",
		"1.2.643.7.1.1.1.1": "ecrdsa", "1.2.643.7.1.1.1.2": "ecrdsa", "1.2.156.10197.1.501": "sm2",
		"1.3.101.112": "ed25519", "1.3.101.113": "ed448",
		"2.16.840.1.101.3.4.3.17": "ml-dsa-44", "2.16.840.1.101.3.4.3.18": "ml-dsa-65",
		"2.16.840.1.101.3.4.3.19": "ml-dsa-87",
	}
}}

// algorithmArcs are families whose members name a digest too, which Hash already says.
var algorithmArcs = []struct{ prefix, name string }{
	{"1.2.840.113549.1.1.", "rsa"},
	{"1.2.840.10045.4.", "ecdsa"},
}

func hashName(oid string) string {
	if name, ok := hashNames.Get()[oid]; ok {
		return name
	}
	return oid
}

func algorithmName(oid string) string {
	if name, ok := algorithmNames.Get()[oid]; ok {
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
