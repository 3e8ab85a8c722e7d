// SPDX-License-Identifier: Apache-2.0

package xz

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"hash/crc32"
	"hash/crc64"
)

// A checkKind is a stream's kind of check, as its header writes it.
type checkKind uint8

const (
	checkCRC32  checkKind = 1
	checkCRC64  checkKind = 4
	checkSHA256 checkKind = 10
)

// hash returns what computes the check; nil for none and for kinds that the format reserves.
func (k checkKind) hash() hash.Hash {
	switch k {
	case checkCRC32:
		return crc32.NewIEEE()
	case checkCRC64:
		return crc64.New(crc64.MakeTable(crc64.ECMA)) // MakeTable keeps the table
	case checkSHA256:
		return sha256.New()
	}
	return nil
}

// size is the check's length in the file, which the format fixes for reserved kinds too.
func (k checkKind) size() int {
	if k == 0 {
		return 0
	}
	return 4 << ((k - 1) / 3)
}

// equal compares a computed check with the one in the file.
func (k checkKind) equal(h hash.Hash, b []byte) bool {
	switch h := h.(type) {
	case hash.Hash32:
		return h.Sum32() == binary.LittleEndian.Uint32(b)
	case hash.Hash64:
		return h.Sum64() == binary.LittleEndian.Uint64(b)
	}
	return string(h.Sum(nil)) == string(b)
}
