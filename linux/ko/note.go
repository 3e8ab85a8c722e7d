// SPDX-License-Identifier: Apache-2.0

package ko

import (
	"encoding/binary"
	"encoding/hex"
)

// noteGNUBuildID is the type of the ELF note that holds the build-id.
const noteGNUBuildID = 3

// NoteBuildID returns the build-id of an ELF note section in lower-case hexadecimal, or "" when
// there is none in it.
func NoteBuildID(notes []byte, order binary.ByteOrder) string {
	for len(notes) >= 12 {
		nameLen, descLen, kind := order.Uint32(notes), order.Uint32(notes[4:]), order.Uint32(notes[8:])
		notes = notes[12:]
		name, rest, ok := noteField(notes, nameLen)
		if !ok {
			return ""
		}
		desc, rest, ok := noteField(rest, descLen)
		if !ok {
			return ""
		}
		if kind == noteGNUBuildID && string(name) == "GNU\x00" && validBuildID(desc) {
			return hex.EncodeToString(desc)
		}
		notes = rest
	}
	return ""
}

// noteField splits off a note's name or descriptor, which is padded to 4 bytes; the padding of the
// last one may be missing.
func noteField(b []byte, n uint32) (field, rest []byte, ok bool) {
	if uint64(n) > uint64(len(b)) {
		return nil, nil, false
	}
	end := min((uint64(n)+3)&^3, uint64(len(b)))
	return b[:n], b[end:], true
}

// validBuildID reports whether the bytes can be an identity: some, and no more than any hash has.
func validBuildID(id []byte) bool { return len(id) > 0 && len(id) <= 64 }
