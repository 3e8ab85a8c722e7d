// SPDX-License-Identifier: Apache-2.0

// Package utf16text converts between UTF-16, as Windows keeps text in its files, and strings.
package utf16text

import (
	"bytes"
	"encoding/binary"
	"strings"
	"unicode/utf16"
)

// Decode returns little-endian UTF-16 as a string. An odd last byte is left out.
func Decode(b []byte) string { return decode(b, binary.LittleEndian) }

// DecodeZ returns little-endian UTF-16 up to its first NUL.
func DecodeZ(b []byte) string {
	s, _, _ := strings.Cut(Decode(b), "\x00")
	return s
}

// Encode returns a string as little-endian UTF-16.
func Encode(s string) []byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}

// DecodeFile returns the text of a file as UTF-8. It converts UTF-16 with a byte order mark, and without one if every
// other of its first bytes is zero; it drops the mark of UTF-8.
func DecodeFile(b []byte) string {
	switch {
	case bytes.HasPrefix(b, []byte{0xff, 0xfe}):
		return Decode(b[2:])
	case bytes.HasPrefix(b, []byte{0xfe, 0xff}):
		return decode(b[2:], binary.BigEndian)
	case bytes.HasPrefix(b, []byte{0xef, 0xbb, 0xbf}):
		return string(b[3:])
	case len(b) >= 4 && b[0] != 0 && b[1] == 0 && b[2] != 0 && b[3] == 0:
		return Decode(b)
	}
	return string(b)
}

func decode(b []byte, order binary.ByteOrder) string {
	u := make([]uint16, 0, len(b)/2)
	for ; len(b) >= 2; b = b[2:] {
		u = append(u, order.Uint16(b))
	}
	return string(utf16.Decode(u))
}
