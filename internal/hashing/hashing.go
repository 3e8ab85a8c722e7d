// SPDX-License-Identifier: Apache-2.0

// Package hashing makes digests, and none that the program may not make: under GODEBUG=fips140=only the functions of
// crypto/md5 and crypto/sha1 panic. Which algorithms a program has is up to the packages that import them.
package hashing

import (
	"crypto"
	"crypto/fips140"
)

// Usable reports whether the program has an algorithm and may use it.
func Usable(h crypto.Hash) bool {
	if !h.Available() {
		return false
	}
	if !fips140.Enabled() {
		return true
	}
	_, err := h.New().Write(nil)
	return err == nil
}

// Sum returns the digest of b; nil if the algorithm is not usable.
func Sum(h crypto.Hash, b []byte) []byte {
	if !Usable(h) {
		return nil
	}
	d := h.New()
	d.Write(b)
	return d.Sum(nil)
}
