// SPDX-License-Identifier: Apache-2.0

package sign

import (
	"bytes"
	"crypto"
	"crypto/fips140"
	"crypto/rsa"
	"math/big"
)

// usualExponent is the public exponent of nearly every RSA key.
const usualExponent = 65537

// digestInfo returns the bytes before the digest in a block of PKCS #1 1.5 (RFC 8017, 9.2); nil for a digest that
// package rsa is asked about.
func digestInfo(h crypto.Hash) []byte {
	switch h {
	case crypto.SHA1:
		return []byte("\x30\x21\x30\x09\x06\x05\x2b\x0e\x03\x02\x1a\x05\x00\x04\x14")
	case crypto.SHA256:
		return []byte("\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20")
	case crypto.SHA384:
		return []byte("\x30\x41\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\x04\x30")
	case crypto.SHA512:
		return []byte("\x30\x51\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\x04\x40")
	}
	return nil
}

// verifyPKCS1 is rsa.VerifyPKCS1v15, which is slow with keys of more bits than it has assembly for: the modules of
// distributions are signed with such keys.
func verifyPKCS1(k *rsa.PublicKey, hash crypto.Hash, digest, sig []byte) error {
	const fast = 2048
	if k.N.BitLen() <= fast || fips140.Enabled() {
		return rsa.VerifyPKCS1v15(k, hash, digest, sig)
	}
	return plainPKCS1(k, hash, digest, sig)
}

// plainPKCS1 is rsa.VerifyPKCS1v15 without the care for secrets, of which a verification has none: for a key of 4096
// bits it takes a third of the time. It makes the whole block that the signature must stand for, and compares.
func plainPKCS1(k *rsa.PublicKey, hash crypto.Hash, digest, sig []byte) error {
	info := digestInfo(hash)
	size := k.Size()
	if k.E != usualExponent || k.N.Bit(0) == 0 || info == nil || size < len(info)+len(digest)+11 ||
		len(digest) != hash.Size() {
		return rsa.VerifyPKCS1v15(k, hash, digest, sig)
	}
	s := new(big.Int).SetBytes(sig)
	if len(sig) != size || s.Cmp(k.N) >= 0 {
		return rsa.ErrVerification
	}
	s.Exp(s, big.NewInt(usualExponent), k.N)
	block := bytes.Repeat([]byte{0xff}, size)
	block[0], block[1] = 0, 1
	at := size - len(digest) - len(info)
	block[at-1] = 0
	copy(block[at:], info)
	copy(block[at+len(info):], digest)
	if !bytes.Equal(s.FillBytes(make([]byte, size)), block) {
		return rsa.ErrVerification
	}
	return nil
}
