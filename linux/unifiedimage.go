// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"encoding/binary"
	"io"
	"io/fs"
	"strings"

	"github.com/kernelext/kernelext/internal/escape"
)

// Caps and offsets of a PE file's headers.
const (
	maxPESections = 96
	maxPEText     = 64 << 10
	peSectionSize = 40
)

// peSections returns the content of the named sections of a PE file, as text without final zeros,
// at most 64 KiB each. It reads the headers and those sections, nothing else.
func peSections(f fs.File, source string, names ...string) (map[string]string, error) {
	r, ok := f.(io.ReaderAt)
	if !ok {
		return nil, errNoReaderAt
	}
	var dos [64]byte
	if err := readAt(r, dos[:], 0); err != nil || string(dos[:2]) != "MZ" {
		return nil, malformed(source, "is no PE file")
	}
	head := int64(binary.LittleEndian.Uint32(dos[60:]))
	var pe [24]byte
	if err := readAt(r, pe[:], head); err != nil || string(pe[:4]) != "PE\x00\x00" {
		return nil, malformed(source, "has no PE header")
	}
	count := int(binary.LittleEndian.Uint16(pe[6:]))
	table := head + 24 + int64(binary.LittleEndian.Uint16(pe[20:]))
	if count > maxPESections {
		return nil, malformed(source, "has too many sections")
	}
	found := make(map[string]string)
	for i := range count {
		var s [peSectionSize]byte
		if err := readAt(r, s[:], table+int64(i)*peSectionSize); err != nil {
			return nil, malformed(source, "ends within the section table")
		}
		name := strings.TrimRight(string(s[:8]), "\x00")
		for _, wanted := range names {
			if name != wanted {
				continue
			}
			// The raw size is padded; the virtual size is the content's.
			size := min(binary.LittleEndian.Uint32(s[8:]), binary.LittleEndian.Uint32(s[16:]))
			if size > maxPEText {
				return nil, malformed(source, "section "+name+" is too large")
			}
			text := make([]byte, size)
			if err := readAt(r, text, int64(binary.LittleEndian.Uint32(s[20:]))); err != nil {
				return nil, malformed(source, "ends within section "+name)
			}
			found[name] = escape.UTF8(strings.TrimRight(string(text), "\x00"))
		}
	}
	return found, nil
}

// readAt fills b or fails.
func readAt(r io.ReaderAt, b []byte, off int64) error {
	n, err := r.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return err
}
