// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"encoding/binary"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
)

// Caps and offsets of a PE file's headers.
const (
	maxPESections = 96
	maxPEText     = 64 << 10
	peSectionSize = 40
)

// A peRange is one section of a PE file: its name, and where its content stands.
type peRange struct {
	name         string
	offset, size int64
}

// peRanges reads the headers of a PE file.
func peRanges(r io.ReaderAt, source string) ([]peRange, error) {
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
	ranges := make([]peRange, count)
	for i := range ranges {
		var s [peSectionSize]byte
		if err := readAt(r, s[:], table+int64(i)*peSectionSize); err != nil {
			return nil, malformed(source, "ends within the section table")
		}
		// The raw size is padded; the virtual size is the content's.
		size := min(binary.LittleEndian.Uint32(s[8:]), binary.LittleEndian.Uint32(s[16:]))
		ranges[i] = peRange{strings.TrimRight(string(s[:8]), "\x00"), int64(binary.LittleEndian.Uint32(s[20:])),
			int64(size)}
	}
	return ranges, nil
}

// read returns the section's content, of at most max bytes.
func (p peRange) read(r io.ReaderAt, source string, max int64) ([]byte, error) {
	if p.size > max {
		return nil, &fact.ParseError{Source: source, Reason: "section " + p.name + " is too large",
			Err: fact.ErrTooLarge}
	}
	b := make([]byte, min(p.size, 1<<20))
	for n := int64(0); ; { // grows with what is there, not with what a header says
		if err := readAt(r, b[n:], p.offset+n); err != nil {
			return nil, malformed(source, "ends within section "+p.name)
		}
		if n = int64(len(b)); n == p.size {
			return b, nil
		}
		b = append(b, make([]byte, min(n, p.size-n))...)
	}
}

// peSections returns the content of the named sections of a PE file, in their order, as text without
// final zeros, at most 64 KiB each. It reads the headers and those sections, nothing else.
func peSections(f fs.File, source string, names ...string) (map[string][]string, error) {
	r, ok := f.(io.ReaderAt)
	if !ok {
		return nil, errNoReaderAt
	}
	ranges, err := peRanges(r, source)
	if err != nil {
		return nil, err
	}
	found := make(map[string][]string)
	for _, p := range ranges {
		if !slices.Contains(names, p.name) {
			continue
		}
		text, err := p.read(r, source, maxPEText)
		if err != nil {
			return nil, err
		}
		found[p.name] = append(found[p.name], escape.UTF8(strings.TrimRight(string(text), "\x00")))
	}
	return found, nil
}

// peSection returns the content of the first section of that name.
func peSection(f fs.File, source, name string, max int64) ([]byte, error) {
	r, ok := f.(io.ReaderAt)
	if !ok {
		return nil, errNoReaderAt
	}
	ranges, err := peRanges(r, source)
	if err != nil {
		return nil, err
	}
	for _, p := range ranges {
		if p.name == name {
			return p.read(r, source, max)
		}
	}
	return nil, nil
}

// A programKind is what an EFI program is.
type programKind int

const (
	programOther programKind = iota
	programKernel
	programUnified
)

// peKind tells what a PE file is: a unified kernel image by its sections, a kernel by the mark that each
// architecture's has in its header.
func peKind(f fs.File, source string) (programKind, error) {
	r, ok := f.(io.ReaderAt)
	if !ok {
		return programOther, errNoReaderAt
	}
	ranges, err := peRanges(r, source)
	if err != nil {
		return programOther, err
	}
	if slices.ContainsFunc(ranges, func(p peRange) bool { return p.name == ".linux" || p.name == ".cmdline" }) {
		return programUnified, nil
	}
	for _, m := range []struct {
		mark   string
		offset int64
	}{{"HdrS", 0x202}, {"ARM\x64", 56}, {"RSC\x05", 56}, {"zimg", 4}} {
		b := make([]byte, len(m.mark))
		if readAt(r, b, m.offset) == nil && string(b) == m.mark {
			return programKernel, nil
		}
	}
	return programOther, nil
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
