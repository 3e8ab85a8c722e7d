// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/kernelext/kernelext/fact"
)

// Caps for one Mach-O file.
const (
	maxSlices       = 32      // in a fat file; real ones have two or three
	maxLoadCommands = 1 << 20 // bytes; a fileset of 600 kexts needs 60 KB
	maxSegments     = 4096
)

// Mach-O constants.
const (
	magic32     = 0xfeedface
	magic64     = 0xfeedfacf
	magicFat    = 0xcafebabe
	magicFat64  = 0xcafebabf
	lcReqDyld   = 0x80000000
	lcSegment   = 0x1
	lcSegment64 = 0x19
	lcUUID      = 0x1b
	lcSignature = 0x1d
	lcVersion   = 0x24 // minimum macOS
	lcSource    = 0x2a
	lcBuild     = 0x32
	lcFileset   = 0x35 | lcReqDyld
)

// A machoType is a Mach-O file's type.
type machoType uint32

// The file types that occur in kernels.
const (
	typeExecute machoType = 0x2 // a kernel, or a DriverKit extension
	typeBundle  machoType = 0x8
	typeKext    machoType = 0xb // MH_KEXT_BUNDLE
	typeFileset machoType = 0xc // a kernel collection
)

// String returns the type's word: "execute", "bundle", "kext", "fileset", or its number.
func (t machoType) String() string {
	switch t {
	case typeExecute:
		return "execute"
	case typeBundle:
		return "bundle"
	case typeKext:
		return "kext"
	case typeFileset:
		return "fileset"
	}
	return fmt.Sprintf("0x%x", uint32(t))
}

// A Slice is one architecture's image in a Mach-O file.
type Slice struct {
	// Architecture is the system's name for it, such as "x86_64" or "arm64e".
	Architecture string `json:"architecture"`
	// Type is the file's type in one word.
	Type string `json:"type"`
	// UUID identifies the build (LC_UUID); empty if the file has no LC_UUID.
	UUID string `json:"uuid,omitzero"`
	// SourceVersion is the version of the sources (LC_SOURCE_VERSION); empty when not recorded.
	SourceVersion string `json:"sourceVersion,omitzero"`
	// MinimumOS is the oldest system it is for; empty when not recorded.
	MinimumOS string `json:"minimumOS,omitzero"`
	// SDK is the version of the SDK it was built with; empty when not recorded.
	SDK string `json:"sdk,omitzero"`

	fileType machoType
	offset   int64 // of the slice in the file
	size     int64 // of the slice; -1 when not known
	order    binary.ByteOrder
	segments []segment
	entries  []filesetEntry
	// signature is where LC_CODE_SIGNATURE points, from the slice's start; its size is 0 if the file has no signature.
	signature extent
}

// An extent is a part of a file.
type extent struct{ offset, size int64 }

// A segment is what is kept of a segment: its sections, and where they are in the file.
type segment struct {
	name     string
	address  uint64
	extent   extent
	sections []section
}

type section struct {
	name   string
	extent extent
}

// A filesetEntry is one Mach-O inside a kernel collection.
type filesetEntry struct {
	id      string
	address uint64
	offset  int64
}

// section finds a section by its segment's name and its own.
func (s *Slice) section(segmentName, name string) (extent, bool) {
	for _, seg := range s.segments {
		if seg.name != segmentName {
			continue
		}
		for _, sec := range seg.sections {
			if sec.name == name {
				return sec.extent, true
			}
		}
	}
	return extent{}, false
}

// isMachO reports whether a file that starts with head is a Mach-O file, thin or fat.
func isMachO(head []byte) bool {
	if len(head) < 8 {
		return false
	}
	switch big, little := binary.BigEndian.Uint32(head), binary.LittleEndian.Uint32(head); {
	case big == magicFat:
		// A Java class starts alike; its next number is a version of 43 and more.
		return binary.BigEndian.Uint32(head[4:]) <= maxSlices
	case big == magicFat64, big == magic32, big == magic64, little == magic32, little == magic64:
		return true
	}
	return false
}

func isFat(head []byte) bool {
	magic := binary.BigEndian.Uint32(head)
	return magic == magicFat || magic == magicFat64
}

// readSlices reads the headers of a Mach-O file, thin or fat; one Slice for each architecture. It
// reads headers and load commands only. source names the file in errors, which are
// fact.ParseErrors or the reader's own. A fat file's broken slice costs that slice: the others are
// returned with the error. item pays.
func readSlices(source string, r io.ReaderAt, size int64, item *fact.Item) ([]Slice, error) {
	head, err := readAt(source, r, size, 0, 8)
	if err != nil {
		return nil, err
	}
	if !isMachO(head) {
		return nil, machoError(source, "header", 0, "magic %x is not Mach-O", head[:4])
	}
	if isFat(head) {
		return readFat(source, r, size, head, item)
	}
	s, err := readSlice(source, r, 0, size, item)
	if err != nil {
		return nil, err
	}
	return []Slice{s}, nil
}

func machoError(source, field string, at int64, format string, args ...any) error {
	return &fact.ParseError{Source: source, Field: field, Offset: at, Reason: fmt.Sprintf(format, args...)}
}

// readAt reads exactly n bytes at offset at; reading beyond size returns an error. A size of -1 is unknown.
func readAt(source string, r io.ReaderAt, size, at, n int64) ([]byte, error) {
	if at < 0 || n < 0 || size >= 0 && (at > size || n > size-at) {
		return nil, machoError(source, "file", at, "%d bytes reach beyond the file's %d", n, size)
	}
	b := make([]byte, n)
	got, err := r.ReadAt(b, at)
	switch {
	case int64(got) == n:
		return b, nil
	case errors.Is(err, io.EOF):
		return nil, machoError(source, "file", at, "ends after %d of %d bytes", got, n)
	}
	return nil, err
}

// A fatEntry is one architecture of a fat file.
type fatEntry struct {
	architecture string
	extent       extent
	err          error // the extent is outside the file
}

// fatEntries reads the table of a fat file that starts with head.
func fatEntries(source string, r io.ReaderAt, size int64, head []byte) ([]fatEntry, error) {
	wide := binary.BigEndian.Uint32(head) == magicFat64
	count := binary.BigEndian.Uint32(head[4:])
	if count == 0 || count > maxSlices {
		return nil, machoError(source, "fat header", 4, "%d architectures", count)
	}
	length := int64(20)
	if wide {
		length = 32
	}
	table, err := readAt(source, r, size, 8, int64(count)*length)
	if err != nil {
		return nil, err
	}
	all := make([]fatEntry, count)
	for i := range all {
		b := table[int64(i)*length:]
		offset, n := uint64(be32(b, 8)), uint64(be32(b, 12))
		if wide {
			offset, n = binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(b[16:])
		}
		all[i] = fatEntry{archName(be32(b, 0), be32(b, 4)), extent{int64(offset), int64(n)}, nil}
		if offset < 8 || offset > uint64(size) || n > uint64(size)-offset {
			all[i].err = machoError(source, "fat header", 8, "slice at %d of %d bytes is outside the file", offset, n)
		}
	}
	return all, nil
}

func readFat(source string, r io.ReaderAt, size int64, head []byte, item *fact.Item) ([]Slice, error) {
	entries, err := fatEntries(source, r, size, head)
	if err != nil {
		return nil, err
	}
	var slices []Slice
	var errs []error
	for _, e := range entries {
		if e.err != nil {
			errs = append(errs, e.err)
			continue
		}
		s, err := readSlice(source, r, e.extent.offset, e.extent.size, item)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		slices = append(slices, s)
	}
	return slices, errors.Join(errs...)
}

// What a byte of load commands costs: the steps to read it, and the memory of what is kept of it.
const (
	commandWork   = 4
	commandMemory = 3
)

// readSlice reads the Mach-O at offset, of at most size bytes (-1: not known). item pays: several may lie over each
// other in one file.
func readSlice(source string, r io.ReaderAt, offset, size int64, item *fact.Item) (Slice, error) {
	s := Slice{offset: offset, size: size}
	in := io.NewSectionReader(r, offset, 1<<62)
	head, err := readAt(source, in, size, 0, 28)
	if err != nil {
		return s, err
	}
	s.order = binary.LittleEndian
	headSize := int64(28)
	switch big, little := binary.BigEndian.Uint32(head), binary.LittleEndian.Uint32(head); {
	case little == magic64:
		headSize = 32
	case little == magic32:
	case big == magic64:
		s.order, headSize = binary.BigEndian, 32
	case big == magic32:
		s.order = binary.BigEndian
	default:
		return s, machoError(source, "header", offset, "magic %x is not Mach-O", head[:4])
	}
	s.Architecture = archName(s.order.Uint32(head[4:]), s.order.Uint32(head[8:]))
	s.fileType = machoType(s.order.Uint32(head[12:]))
	s.Type = s.fileType.String()
	count, length := s.order.Uint32(head[16:]), s.order.Uint32(head[20:])
	if length > maxLoadCommands || count > length/8 {
		return s, machoError(source, "header", offset+16, "%d load commands in %d bytes", count, length)
	}
	if err := cmp.Or(item.Work(commandWork*int64(length)), item.Hold(commandMemory*int64(length))); err != nil {
		return s, fmt.Errorf("%s: %w", source, err)
	}
	commands, err := readAt(source, in, size, headSize, int64(length))
	if err != nil {
		return s, err
	}
	return s, s.readCommands(source, commands, int(count))
}

func (s *Slice) readCommands(source string, commands []byte, count int) error {
	at := s.offset
	for i := range count {
		if len(commands) < 8 {
			return machoError(source, "load commands", at, "%d of %d are there", i, count)
		}
		size := s.order.Uint32(commands[4:])
		if size < 8 || int64(size) > int64(len(commands)) {
			return machoError(source, "load commands", at, "command of %d bytes", size)
		}
		if err := s.readCommand(source, s.order.Uint32(commands), commands[:size]); err != nil {
			return err
		}
		commands = commands[size:]
	}
	return nil
}

func (s *Slice) readCommand(source string, kind uint32, c []byte) error {
	need := map[uint32]int{
		lcUUID: 24, lcSignature: 16, lcVersion: 16, lcSource: 16, lcBuild: 24, lcFileset: 32, lcSegment: 56,
		lcSegment64: 72,
	}[kind]
	if len(c) < need {
		return machoError(source, "load commands", s.offset, "command 0x%x of %d bytes", kind, len(c))
	}
	u32 := func(at int) uint32 { return s.order.Uint32(c[at:]) }
	switch kind {
	case lcUUID:
		s.UUID = formatUUID(c[8:24])
	case lcSignature:
		s.signature = extent{int64(u32(8)), int64(u32(12))}
	case lcVersion:
		s.MinimumOS, s.SDK = dottedVersion(u32(8)), dottedVersion(u32(12))
	case lcBuild:
		s.MinimumOS, s.SDK = dottedVersion(u32(12)), dottedVersion(u32(16))
	case lcSource:
		s.SourceVersion = sourceVersion(s.order.Uint64(c[8:]))
	case lcFileset:
		return s.addEntry(source, c)
	case lcSegment, lcSegment64:
		return s.addSegment(source, kind == lcSegment64, c)
	}
	return nil
}

func (s *Slice) addEntry(source string, c []byte) error {
	at := int64(s.order.Uint32(c[24:]))
	if at < 32 || at >= int64(len(c)) {
		return machoError(source, "fileset entry", s.offset, "name at %d of %d", at, len(c))
	}
	if len(s.entries) >= maxSegments {
		return machoError(source, "fileset entry", s.offset, "more than %d entries", maxSegments)
	}
	s.entries = append(s.entries, filesetEntry{
		id: cString(c[at:]), address: s.order.Uint64(c[8:]), offset: int64(s.order.Uint64(c[16:])),
	})
	return nil
}

// addSegment reads a segment command with its sections: 72 and 80 bytes each, 56 and 68 on 32 bits.
func (s *Slice) addSegment(source string, wide bool, c []byte) error {
	seg := segment{name: cString(c[8:24])}
	head, each := 56, 68
	var sections uint32
	if wide {
		head, each = 72, 80
		seg.address = s.order.Uint64(c[24:])
		seg.extent = extent{int64(s.order.Uint64(c[40:])), int64(s.order.Uint64(c[48:]))}
		sections = s.order.Uint32(c[64:])
	} else {
		seg.address = uint64(s.order.Uint32(c[24:]))
		seg.extent = extent{int64(s.order.Uint32(c[32:])), int64(s.order.Uint32(c[36:]))}
		sections = s.order.Uint32(c[48:])
	}
	if int64(sections)*int64(each) > int64(len(c)-head) {
		return machoError(source, "segment", s.offset, "%d sections in %d bytes", sections, len(c))
	}
	if len(s.segments) >= maxSegments {
		return machoError(source, "segment", s.offset, "more than %d segments", maxSegments)
	}
	for i := range int(sections) {
		b := c[head+i*each:]
		sec := section{name: cString(b[:16])}
		if wide {
			sec.extent = extent{int64(s.order.Uint32(b[48:])), int64(s.order.Uint64(b[40:]))}
		} else {
			sec.extent = extent{int64(s.order.Uint32(b[40:])), int64(s.order.Uint32(b[36:]))}
		}
		seg.sections = append(seg.sections, sec)
	}
	s.segments = append(s.segments, seg)
	return nil
}

func cString(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

// dottedVersion formats a version of 16, 8 and 8 bits.
func dottedVersion(v uint32) string {
	if v == 0 {
		return ""
	}
	s := fmt.Sprintf("%d.%d", v>>16, v>>8&0xff)
	if v&0xff != 0 {
		s += fmt.Sprintf(".%d", v&0xff)
	}
	return s
}

// sourceVersion formats a version of 24, 10, 10, 10 and 10 bits, without trailing zeros.
func sourceVersion(v uint64) string {
	if v == 0 {
		return ""
	}
	parts := []uint64{v >> 40, v >> 30 & 0x3ff, v >> 20 & 0x3ff, v >> 10 & 0x3ff, v & 0x3ff}
	for len(parts) > 2 && parts[len(parts)-1] == 0 {
		parts = parts[:len(parts)-1]
	}
	return strings.ReplaceAll(strings.Trim(fmt.Sprint(parts), "[]"), " ", ".")
}

// CPU types.
const (
	cpuI386  = 7
	cpuARM   = 12
	cpuPPC   = 18
	cpu64Bit = 0x01000000
)

// archName returns the system's name for a CPU type and subtype.
func archName(cpu, subtype uint32) string {
	subtype &= 0x00ffffff // the top byte holds capability bits
	switch cpu {
	case cpuI386:
		return "i386"
	case cpuI386 | cpu64Bit:
		if subtype == 8 {
			return "x86_64h"
		}
		return "x86_64"
	case cpuARM:
		return "arm"
	case cpuARM | cpu64Bit:
		if subtype == 2 {
			return "arm64e"
		}
		return "arm64"
	case cpuPPC:
		return "ppc"
	case cpuPPC | cpu64Bit:
		return "ppc64"
	}
	return fmt.Sprintf("cpu%d/%d", cpu, subtype)
}

// formatUUID writes 16 bytes in the usual form, 8-4-4-4-12 upper-case digits; other lengths give "".
func formatUUID(b []byte) string {
	if len(b) != 16 {
		return ""
	}
	return fmt.Sprintf("%X-%X-%X-%X-%X", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// isUUID reports whether s has the form that formatUUID gives.
func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if !isDigit(c) && (c < 'A' || c > 'F') {
				return false
			}
		}
	}
	return true
}
