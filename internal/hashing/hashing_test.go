// SPDX-License-Identifier: Apache-2.0

package hashing

import (
	"crypto"
	_ "crypto/md5"
	_ "crypto/sha1"
	_ "crypto/sha256"
	"encoding/hex"
	"testing"

	"github.com/kernelext/kernelext/internal/testing/fips"
)

// A program that is bound to what FIPS 140 allows gets no MD5 and no SHA-1, and does not panic.
func TestSum(t *testing.T) {
	only := fips.Only(t)
	for h, want := range map[crypto.Hash]string{
		crypto.MD5:     "900150983cd24fb0d6963f7d28e17f72",
		crypto.SHA1:    "a9993e364706816aba3e25717850c26c9cd0d89d",
		crypto.SHA256:  "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
		crypto.MD4:     "",
		crypto.Hash(0): "",
	} {
		if only && h != crypto.SHA256 {
			want = ""
		}
		if got := hex.EncodeToString(Sum(h, []byte("abc"))); got != want || Usable(h) != (want != "") {
			t.Errorf("%v: %s, usable %v", h, got, Usable(h))
		}
	}
}
