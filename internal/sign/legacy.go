// SPDX-License-Identifier: Apache-2.0

package sign

import (
	"crypto"
	"crypto/rsa"
	"errors"
)

// checkBare says whether a countersigner's key signed the bare SHA-1 digest of the signed attributes, without the
// DigestInfo that PKCS#1 puts around it. The time stamping services of VeriSign and Symantec signed so until 2019, and
// CryptVerifySignature takes both forms. The padding is checked whole: rsa.VerifyPKCS1v15 with hash 0 builds the one
// block that is allowed (00 01 ff … ff 00 and the 20 bytes) and compares it.
func (s *Signer) checkBare(cert *Certificate, signature []byte) error {
	if cert == nil || s.rawSigned == nil || s.Digest.Digest() != crypto.SHA1 ||
		schemes.Get()[s.Algorithm.OID].kind != kindPKCS1 {
		return ErrMismatch
	}
	if err := s.checkSignedAttributes("", Sum(crypto.SHA1, signature)); err != nil {
		return err
	}
	key, err := cert.PublicKey()
	if err != nil {
		return err
	}
	k, ok := key.(*rsa.PublicKey)
	if !ok || k.N.BitLen() < 1024 || k.N.BitLen() > maxKeyBits {
		return ErrMismatch
	}
	message := append([]byte{0x31}, s.rawSigned[1:]...)
	err = rsa.VerifyPKCS1v15(k, 0, Sum(crypto.SHA1, message), s.Signature)
	if errors.Is(err, rsa.ErrVerification) {
		return ErrMismatch
	}
	return err
}
