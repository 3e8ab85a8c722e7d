// SPDX-License-Identifier: Apache-2.0

package sign

import (
	"crypto/sha256"
	"sync"
)

// maxKnown is how many answers are kept.
const maxKnown = 4096

// Known keeps which certificates were found to be issued by which: the signers of many files share their authorities.
// It is safe for concurrent use. A nil one keeps nothing.
type Known struct {
	mu      sync.Mutex
	answers map[[2][sha256.Size]byte]error // by the digests of the certificate, and of its issuer's name and key
}

// Check is child.CheckIssuedBy(parent).
func (k *Known) Check(child, parent *Certificate) error {
	if k == nil || len(child.Raw) == 0 { // or an anchor, which has no bytes
		return child.CheckIssuedBy(parent)
	}
	issuer := sha256.New()
	issuer.Write(parent.RawSubject) // a DER value each: where one ends is part of it
	issuer.Write(parent.RawSPKI)
	pair := [2][sha256.Size]byte{sha256.Sum256(child.Raw), [sha256.Size]byte(issuer.Sum(nil))}
	k.mu.Lock()
	err, ok := k.answers[pair]
	k.mu.Unlock()
	if ok {
		return err
	}
	err = child.CheckIssuedBy(parent)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.answers == nil || len(k.answers) >= maxKnown {
		k.answers = map[[2][sha256.Size]byte]error{}
	}
	k.answers[pair] = err
	return err
}
