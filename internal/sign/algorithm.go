// SPDX-License-Identifier: Apache-2.0

package sign

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	_ "crypto/md5" // digests of old signatures are named and computed, never accepted
	"crypto/rsa"
	_ "crypto/sha1"
	_ "crypto/sha256"
	_ "crypto/sha512"
	"errors"
	"fmt"

	"github.com/kernelext/kernelext/internal/hashing"
	"github.com/kernelext/kernelext/internal/lazy"
	"github.com/kernelext/kernelext/internal/sentinel"
)

// Errors of a check. They say apart what does not fit from what could not be decided.
var (
	// ErrMismatch: the bytes are not those that were signed.
	ErrMismatch = errors.New("signature does not fit")
	// ErrAlgorithm: the algorithm is unknown, or not accepted by this library or by Go.
	ErrAlgorithm error = &sentinel.Error{Before: "signature algorithm", Cause: errors.ErrUnsupported}
	// ErrNoCertificate: the signer's certificate is not among those present.
	ErrNoCertificate = errors.New("signer's certificate is not present")
)

var digestOIDs = lazy.Value[map[string]crypto.Hash]{New: func() map[string]crypto.Hash {
	return map[string]crypto.Hash{
		"1.2.840.113549.2.5":      crypto.MD5,
		"1.3.14.3.2.26":           crypto.SHA1,
		"2.16.840.1.101.3.4.2.1":  crypto.SHA256,
		"2.16.840.1.101.3.4.2.2":  crypto.SHA384,
		"2.16.840.1.101.3.4.2.3":  crypto.SHA512,
		"2.16.840.1.101.3.4.2.4":  crypto.SHA224,
		"2.16.840.1.101.3.4.2.8":  crypto.SHA3_256,
		"2.16.840.1.101.3.4.2.9":  crypto.SHA3_384,
		"2.16.840.1.101.3.4.2.10": crypto.SHA3_512,
	}
}}

// HashName returns the usual short name of a digest algorithm, such as "sha256"; for one that is
// not known it returns "".
func HashName(h crypto.Hash) string {
	switch h {
	case crypto.MD5:
		return "md5"
	case crypto.SHA1:
		return "sha1"
	case crypto.SHA224:
		return "sha224"
	case crypto.SHA256:
		return "sha256"
	case crypto.SHA384:
		return "sha384"
	case crypto.SHA512:
		return "sha512"
	case crypto.SHA3_256:
		return "sha3-256"
	case crypto.SHA3_384:
		return "sha3-384"
	case crypto.SHA3_512:
		return "sha3-512"
	}
	return ""
}

// A scheme is how a signature is made: its digest and its kind of key.
type scheme struct {
	hash crypto.Hash // 0: given by the signer's digest algorithm
	kind int
}

const (
	kindUnknown = iota
	kindPKCS1
	kindPSS
	kindECDSA
	kindEd25519
)

var schemes = lazy.Value[map[string]scheme]{New: func() map[string]scheme {
	return map[string]scheme{
		"1.2.840.113549.1.1.1":    {0, kindPKCS1},
		"1.2.840.113549.1.1.4":    {crypto.MD5, kindPKCS1},
		"1.2.840.113549.1.1.5":    {crypto.SHA1, kindPKCS1},
		"1.3.14.3.2.29":           {crypto.SHA1, kindPKCS1},
		"1.2.840.113549.1.1.11":   {crypto.SHA256, kindPKCS1},
		"1.2.840.113549.1.1.12":   {crypto.SHA384, kindPKCS1},
		"1.2.840.113549.1.1.13":   {crypto.SHA512, kindPKCS1},
		"1.2.840.113549.1.1.14":   {crypto.SHA224, kindPKCS1},
		"1.2.840.113549.1.1.10":   {0, kindPSS},
		"1.2.840.10045.2.1":       {0, kindECDSA},
		"1.2.840.10045.4.1":       {crypto.SHA1, kindECDSA},
		"1.2.840.10045.4.3.1":     {crypto.SHA224, kindECDSA},
		"1.2.840.10045.4.3.2":     {crypto.SHA256, kindECDSA},
		"1.2.840.10045.4.3.3":     {crypto.SHA384, kindECDSA},
		"1.2.840.10045.4.3.4":     {crypto.SHA512, kindECDSA},
		"2.16.840.1.101.3.4.3.13": {crypto.SHA3_256, kindPKCS1},
		"2.16.840.1.101.3.4.3.14": {crypto.SHA3_256, kindPKCS1},
		"2.16.840.1.101.3.4.3.15": {crypto.SHA3_384, kindPKCS1},
		"2.16.840.1.101.3.4.3.16": {crypto.SHA3_512, kindPKCS1},
		"2.16.840.1.101.3.4.3.10": {crypto.SHA3_256, kindECDSA},
		"2.16.840.1.101.3.4.3.11": {crypto.SHA3_384, kindECDSA},
		"2.16.840.1.101.3.4.3.12": {crypto.SHA3_512, kindECDSA},
		"1.3.101.112":             {0, kindEd25519},
	}
}}

// An Algorithm is an AlgorithmIdentifier.
type Algorithm struct {
	OID    string // dotted
	Params Value  // zero when absent
}

// ParseAlgorithm reads an AlgorithmIdentifier.
func ParseAlgorithm(v Value) (Algorithm, error) {
	if !v.Is(TagSequence) {
		return Algorithm{}, bad("algorithm", "tag %d", v.Tag)
	}
	r := v.Reader()
	oid, err := r.Expect(TagOID, "algorithm")
	if err != nil {
		return Algorithm{}, err
	}
	a := Algorithm{OID: OID(oid)}
	if !r.Empty() {
		if a.Params, err = r.Next(); err != nil {
			return Algorithm{}, bad("algorithm", "%v", err)
		}
	}
	return a, nil
}

// Digest returns the digest algorithm that a names, itself or as part of a signature algorithm;
// 0 when it names none that is known.
func (a Algorithm) Digest() crypto.Hash {
	if h, ok := digestOIDs.Get()[a.OID]; ok {
		return h
	}
	s := schemes.Get()[a.OID]
	if s.kind == kindPSS {
		return pssHash(a.Params)
	}
	return s.hash
}

// pssHash reads the digest of RSASSA-PSS-params; SHA-1 is the default.
func pssHash(params Value) crypto.Hash {
	r := params.Reader()
	v, ok := r.Optional(0)
	if !ok {
		return crypto.SHA1
	}
	in := v.Reader()
	seq, err := in.Next()
	if err != nil {
		return 0
	}
	a, err := ParseAlgorithm(seq)
	if err != nil {
		return 0
	}
	return digestOIDs.Get()[a.OID]
}

// verify applies key to sig over digest, which hash made.
func verify(key crypto.PublicKey, a Algorithm, hash crypto.Hash, digest, sig []byte) error {
	s, ok := schemes.Get()[a.OID]
	if h := a.Digest(); h != 0 && s.kind != kindUnknown {
		if _, isDigest := digestOIDs.Get()[a.OID]; !isDigest && h != hash {
			return fmt.Errorf("%w: %s over a %s digest", ErrMismatch, a.OID, HashName(hash))
		}
	}
	if !ok || hash == crypto.MD5 || !hashing.Usable(hash) || len(digest) != hash.Size() {
		return fmt.Errorf("%w: %s with %s", ErrAlgorithm, a.OID, HashName(hash))
	}
	switch k := key.(type) {
	case *rsa.PublicKey:
		return verifyRSA(k, s.kind, hash, digest, sig)
	case *ecdsa.PublicKey:
		if s.kind != kindECDSA {
			return fmt.Errorf("%w: %s with an ECDSA key", ErrAlgorithm, a.OID)
		}
		if !ecdsa.VerifyASN1(k, digest, sig) {
			return ErrMismatch
		}
		return nil
	}
	return fmt.Errorf("%w: %T", ErrAlgorithm, key)
}

// keyWork returns how many steps it takes to verify a signature of a message by a key. But for Ed25519, the message's
// digest is kept.
func keyWork(key crypto.PublicKey, message []byte) int64 {
	switch k := key.(type) {
	case *rsa.PublicKey:
		n := int64(k.N.BitLen())
		return min(n, maxKeyBits) * n / 50
	case *ecdsa.PublicKey:
		if k.Curve.Params().BitSize > 256 {
			return 4e6
		}
	case ed25519.PublicKey:
		return 1e5 + int64(len(message))
	}
	return 1e5
}

func verifyRSA(k *rsa.PublicKey, kind int, hash crypto.Hash, digest, sig []byte) error {
	// Go refuses short keys with an error that a caller cannot distinguish from a bad signature; a very long key costs
	// unlimited time.
	if k.N.BitLen() < 1024 || k.N.BitLen() > maxKeyBits {
		return fmt.Errorf("%w: RSA key of %d bits", ErrAlgorithm, k.N.BitLen())
	}
	var err error
	switch kind {
	case kindPKCS1:
		err = verifyPKCS1(k, hash, digest, sig)
	case kindPSS:
		err = rsa.VerifyPSS(k, hash, digest, sig, nil)
	default:
		return fmt.Errorf("%w: RSA key", ErrAlgorithm)
	}
	if errors.Is(err, rsa.ErrVerification) {
		return ErrMismatch
	}
	if err != nil {
		return fmt.Errorf("%w: %v", ErrAlgorithm, err)
	}
	return nil
}

// verifyMessage is verify for a signature over the message itself.
func verifyMessage(
	key crypto.PublicKey, a Algorithm, message, sig []byte, sum func(crypto.Hash, []byte) []byte,
) error {
	if k, ok := key.(ed25519.PublicKey); ok && schemes.Get()[a.OID].kind == kindEd25519 {
		if !ed25519.Verify(k, message, sig) {
			return ErrMismatch
		}
		return nil
	}
	hash := a.Digest()
	if hash == 0 || !hashing.Usable(hash) {
		return fmt.Errorf("%w: %s", ErrAlgorithm, a.OID)
	}
	return verify(key, a, hash, sum(hash, message), sig)
}

// Sum returns the digest of b; nil when the program may not make it.
func Sum(h crypto.Hash, b []byte) []byte { return hashing.Sum(h, b) }
