// SPDX-License-Identifier: Apache-2.0

package sign

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"math/big"
	"testing"
)

// TestPKCS1 compares with package rsa: signatures, changed ones, and blocks that other readers took for good.
func TestPKCS1(t *testing.T) {
	for _, bits := range []int{1024, 1031, 1536} {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		// sign returns the signature of a block as it is.
		sign := func(block []byte) []byte {
			m := new(big.Int).SetBytes(block)
			return m.Exp(m, key.D, key.N).FillBytes(make([]byte, key.Size()))
		}
		for _, hash := range []crypto.Hash{crypto.SHA1, crypto.SHA224, crypto.SHA256, crypto.SHA384, crypto.SHA512} {
			digest := Sum(hash, []byte("text"))
			good, err := rsa.SignPKCS1v15(nil, key, hash, digest)
			if err != nil {
				t.Fatal(err)
			}
			block := new(big.Int).SetBytes(good)
			whole := block.Exp(block, big.NewInt(int64(key.E)), key.N).FillBytes(make([]byte, key.Size()))
			tail := whole[bytes.IndexByte(whole[1:], 0)+2:]
			padded := func(head string, behind int) []byte {
				b := append(append([]byte(head), tail...), make([]byte, behind)...)
				return append(b, make([]byte, max(key.Size()-len(b), 0))...)[:key.Size()]
			}
			ones := append(bytes.Repeat([]byte{0xff}, key.Size()-len(tail)-3), 0)
			bare, named := key.Size()-len(digest)-3, append([]byte{0}, digest...)
			tests := map[string][]byte{
				"good": good, "short": good[1:], "long": append([]byte{0}, good...), "empty": nil,
				"zero": make([]byte, key.Size()), "one": new(big.Int).SetInt64(1).FillBytes(make([]byte, key.Size())),
				"modulus":         key.N.FillBytes(make([]byte, key.Size())),
				"above it":        bytes.Repeat([]byte{0xff}, key.Size()),
				"bytes after":     sign(padded("\x00\x01\xff\xff\xff\xff\xff\xff\xff\xff\x00", 1)),
				"type 2":          sign(append([]byte{0, 2}, append(ones, tail...)...)),
				"no digest info":  sign(append(append([]byte{0, 1}, bytes.Repeat([]byte{0xff}, bare)...), named...)),
				"the same again":  sign(append([]byte{0, 1}, append(ones, tail...)...)),
				"another padding": sign(append([]byte{0, 1, 0xfe}, append(ones[1:], tail...)...)),
			}
			for i := range 64 {
				changed := bytes.Clone(good)
				changed[i*len(changed)/64] ^= 1 << (i % 8)
				tests["changed "+string(rune('0'+i))] = changed
			}
			for name, sig := range tests {
				got := plainPKCS1(&key.PublicKey, hash, digest, sig)
				want := rsa.VerifyPKCS1v15(&key.PublicKey, hash, digest, sig)
				if (got == nil) != (want == nil) || (got == nil) != (name == "good" || name == "the same again") {
					t.Errorf("%d bits, %v, %s: %v, package rsa says %v", bits, hash, name, got, want)
				}
			}
			if plainPKCS1(&key.PublicKey, hash, Sum(hash, []byte("other")), good) == nil ||
				plainPKCS1(&key.PublicKey, hash, digest[1:], good) == nil {
				t.Errorf("%d bits, %v: the signature of another digest", bits, hash)
			}
		}
	}
}

// BenchmarkPKCS1 verifies a signature by a key of 4096 bits, as distributions sign modules with.
func BenchmarkPKCS1(b *testing.B) {
	key, err := rsa.GenerateKey(rand.Reader, 4096)
	if err != nil {
		b.Fatal(err)
	}
	digest := Sum(crypto.SHA256, []byte("text"))
	sig, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest)
	if err != nil {
		b.Fatal(err)
	}
	for name, verify := range map[string]func(*rsa.PublicKey, crypto.Hash, []byte, []byte) error{
		"plain": plainPKCS1, "package rsa": rsa.VerifyPKCS1v15} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := verify(&key.PublicKey, crypto.SHA256, digest, sig); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
