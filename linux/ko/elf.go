// SPDX-License-Identifier: Apache-2.0

package ko

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
)

// Caps for one ELF file. Real modules have under 100 sections and .modinfo sections under 1 MiB.
const (
	maxSections     = 1 << 17
	maxSectionTable = 8 << 20
	maxModinfo      = 4 << 20
	maxSymbolBytes  = 64 << 20
	maxNote         = 1 << 20
)

// An elfImage is an ELF relocatable object, read in pieces. It knows no more of ELF than a module's
// metadata needs: debug/elf builds every section and symbol, and trusts more of the file.
type elfImage struct {
	src      byteSource
	path     string // for errors
	order    byteOrder
	is64     bool
	machine  uint16
	sections []elfSection
	names    []byte // .shstrtab
}

// An elfSection is one section header, with offsets checked against nothing yet.
type elfSection struct {
	name      uint32
	kind      uint32
	offset    int64
	size      int64
	link      uint32
	entrySize int64
}

// ELF constants used here.
const (
	elfMagic     = "\x7fELF"
	sectionSym   = 2 // SHT_SYMTAB
	sectionNone  = 8 // SHT_NOBITS
	elfRelocType = 1 // ET_REL
)

// A byteOrder is binary.ByteOrder without calls through an interface, of which a file's headers take hundreds.
type byteOrder bool

const (
	littleEndian byteOrder = false
	bigEndian    byteOrder = true
)

func (o byteOrder) Uint16(b []byte) uint16 {
	if o == bigEndian {
		return binary.BigEndian.Uint16(b)
	}
	return binary.LittleEndian.Uint16(b)
}

func (o byteOrder) Uint32(b []byte) uint32 {
	if o == bigEndian {
		return binary.BigEndian.Uint32(b)
	}
	return binary.LittleEndian.Uint32(b)
}

func (o byteOrder) Uint64(b []byte) uint64 {
	if o == bigEndian {
		return binary.BigEndian.Uint64(b)
	}
	return binary.LittleEndian.Uint64(b)
}

// A byteSource gives stretches of a file. The bytes returned are valid until the next call and
// must not be changed.
type byteSource interface {
	bytes(offset, n int64) ([]byte, error)
	size() int64
}

// A memorySource is a file that is in memory whole.
type memorySource []byte

func (m memorySource) size() int64 { return int64(len(m)) }

func (m memorySource) bytes(offset, n int64) ([]byte, error) {
	if offset < 0 || n < 0 || offset > int64(len(m)) || n > int64(len(m))-offset {
		return nil, io.ErrUnexpectedEOF
	}
	return m[offset : offset+n], nil
}

// A fileSource reads a file where it is needed. It keeps the file's first bytes and the last
// stretch that was read, which hold nearly all that a module's metadata asks for.
type fileSource struct {
	r      io.ReaderAt
	length int64
	head   []byte
	window []byte // spare memory, reused
	start  int64  // offset of window
}

func (f *fileSource) size() int64 { return f.length }

func (f *fileSource) bytes(offset, n int64) ([]byte, error) {
	if offset < 0 || n < 0 || offset > f.length || n > f.length-offset {
		return nil, io.ErrUnexpectedEOF
	}
	if offset+n <= int64(len(f.head)) {
		return f.head[offset : offset+n], nil
	}
	if offset >= f.start && offset+n <= f.start+int64(len(f.window)) {
		return f.window[offset-f.start : offset-f.start+n], nil
	}
	return f.load(offset, n)
}

// load reads the stretch into the window.
func (f *fileSource) load(offset, n int64) ([]byte, error) {
	if int64(cap(f.window)) < n {
		f.window = make([]byte, n, n+n/4)
	}
	f.window, f.start = f.window[:n], offset
	got, err := f.r.ReadAt(f.window, offset)
	if int64(got) < n {
		f.window = f.window[:0]
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return f.window, nil
}

// openELF reads the header, the section headers and the section names.
func openELF(src byteSource, path string) (*elfImage, error) {
	e := new(elfImage)
	return e, e.open(src, path)
}

// open is openELF in the memory of an image that is not used any more.
func (e *elfImage) open(src byteSource, path string) error {
	*e = elfImage{src: src, path: path, sections: e.sections[:0], names: e.names[:0]}
	shoff, entry, count, strings, err := e.header()
	if err != nil {
		return err
	}
	return e.readSections(shoff, entry, count, strings)
}

// header checks the ELF header and returns where the section headers are: offset, bytes an entry,
// number of entries and index of the names, the last two as the header has them.
func (e *elfImage) header() (shoff, entry int64, count, strings uint32, err error) {
	if e.src.size() == 0 {
		return 0, 0, 0, 0, e.bad("header", 0, "empty file")
	}
	ident, err := e.src.bytes(0, 16)
	if err != nil || string(ident[:4]) != elfMagic {
		return 0, 0, 0, 0, e.bad("header", 0, "not an ELF file")
	}
	switch ident[4] {
	case 1:
	case 2:
		e.is64 = true
	default:
		return 0, 0, 0, 0, e.bad("header", 4, fmt.Sprintf("unknown ELF class %d", ident[4]))
	}
	switch ident[5] {
	case 1:
		e.order = littleEndian
	case 2:
		e.order = bigEndian
	default:
		return 0, 0, 0, 0, e.bad("header", 5, fmt.Sprintf("unknown ELF byte order %d", ident[5]))
	}
	h, err := e.src.bytes(0, e.pick(52, 64))
	if err != nil {
		return 0, 0, 0, 0, e.bad("header", 0, "truncated ELF header")
	}
	e.machine = e.order.Uint16(h[18:])
	if kind := e.order.Uint16(h[16:]); kind != elfRelocType {
		return 0, 0, 0, 0, e.bad("header", 16, fmt.Sprintf("ELF type %d is not a relocatable object", kind))
	}
	if e.is64 {
		off := e.order.Uint64(h[40:])
		return int64(min(off, 1<<62)), int64(e.order.Uint16(h[58:])), uint32(e.order.Uint16(h[60:])),
			uint32(e.order.Uint16(h[62:])), nil
	}
	return int64(e.order.Uint32(h[32:])), int64(e.order.Uint16(h[46:])), uint32(e.order.Uint16(h[48:])),
		uint32(e.order.Uint16(h[50:])), nil
}

// extended returns the number of section headers and the index of the names, which the first section header
// has if they do not fit into the ELF header.
func (e *elfImage) extended(raw []byte, count int64, strings uint32) (int64, uint32) {
	first := e.section(raw)
	if count == 0 {
		count = first.size
	}
	if strings == 0xffff {
		strings = first.link
	}
	return count, strings
}

// readSections reads the table of section headers and the names.
func (e *elfImage) readSections(shoff, entry int64, count, strings uint32) error {
	want := e.pick(40, 64)
	if shoff == 0 {
		return e.bad("sections", 0, "no section headers")
	}
	if entry != want {
		return e.bad("sections", 0, fmt.Sprintf("section headers of %d bytes, not %d", entry, want))
	}
	n := int64(count)
	// Section names are most often right before the headers: one read gets both.
	lead := min(shoff, 2048)
	raw, err := e.src.bytes(shoff-lead, lead+max(n, 1)*want)
	if err != nil {
		return e.bad("sections", shoff, "section headers beyond the end of the file")
	}
	raw = raw[lead:]
	if n == 0 || strings == 0xffff {
		if n, strings = e.extended(raw, n, strings); n <= 0 || n > maxSections {
			return e.bad("sections", shoff, "impossible number of section headers")
		}
		if raw, err = e.src.bytes(shoff, n*want); err != nil {
			return e.bad("sections", shoff, "section headers beyond the end of the file")
		}
	}
	if n*want > maxSectionTable {
		return e.bad("sections", shoff, "impossible number of section headers")
	}
	e.sections = slices.Grow(e.sections, int(n))[:n]
	for i := range e.sections {
		e.sections[i] = e.section(raw[int64(i)*want:])
	}
	if int64(strings) >= n {
		return e.bad("sections", shoff, "no section names")
	}
	names := e.sections[strings]
	if names.kind == sectionNone || names.size > maxSectionTable {
		return e.bad("sections", names.offset, "no section names")
	}
	b, err := e.src.bytes(names.offset, names.size)
	if err != nil {
		return e.bad("sections", names.offset, "section names beyond the end of the file")
	}
	e.names = append(e.names, b...)
	return nil
}

// section decodes one section header.
func (e *elfImage) section(b []byte) elfSection {
	o := e.order
	if e.is64 {
		return elfSection{
			name: o.Uint32(b), kind: o.Uint32(b[4:]),
			offset: clampInt64(o.Uint64(b[24:])), size: clampInt64(o.Uint64(b[32:])),
			link: o.Uint32(b[40:]), entrySize: clampInt64(o.Uint64(b[56:])),
		}
	}
	return elfSection{
		name: o.Uint32(b), kind: o.Uint32(b[4:]),
		offset: int64(o.Uint32(b[16:])), size: int64(o.Uint32(b[20:])),
		link: o.Uint32(b[24:]), entrySize: int64(o.Uint32(b[36:])),
	}
}

// find returns the first section of that name, or nil.
func (e *elfImage) find(name string) *elfSection {
	for i := range e.sections {
		if e.named(&e.sections[i], name) {
			return &e.sections[i]
		}
	}
	return nil
}

// named reports whether the section has that name.
func (e *elfImage) named(s *elfSection, name string) bool {
	at := int64(s.name)
	end := at + int64(len(name))
	return end < int64(len(e.names)) && e.names[end] == 0 && string(e.names[at:end]) == name
}

// data returns a section's bytes, which are valid until the next read of the source.
func (e *elfImage) data(s *elfSection, field string, limit int64) ([]byte, error) {
	if s.kind == sectionNone {
		return nil, e.bad(field, s.offset, "section has no bytes in the file")
	}
	if s.size > limit {
		return nil, &fact.ParseError{Source: e.path, Field: field, Offset: s.offset,
			Reason: fmt.Sprintf("section of %d bytes, limit %d", s.size, limit), Err: fact.ErrTooLarge}
	}
	b, err := e.src.bytes(s.offset, s.size)
	if err != nil {
		return nil, e.bad(field, s.offset, "section beyond the end of the file")
	}
	return b, nil
}

// bad makes the error for a file that is invalid.
func (e *elfImage) bad(field string, offset int64, reason string) error {
	return &fact.ParseError{Source: e.path, Field: field, Offset: offset, Reason: reason}
}

func (e *elfImage) pick(elf32, elf64 int64) int64 {
	if e.is64 {
		return elf64
	}
	return elf32
}

// clampInt64 keeps a hostile 64-bit size positive, and far beyond any file.
func clampInt64(n uint64) int64 { return int64(min(n, 1<<62)) }

// structName returns the name in the file's struct module, which the section .gnu.linkonce.this_module holds; "" if it
// is missing. It is after the state and a list's two pointers (include/linux/module.h), and the kernel takes it as the
// module's name if .modinfo has none (setup_load_info), as before Linux 4.13.
func (e *elfImage) structName() string {
	s := e.find(".gnu.linkonce.this_module")
	offset, size := e.pick(12, 24), e.pick(60, 56) // MODULE_NAME_LEN is 64 less the size of a long
	if s == nil || s.kind == sectionNone || s.size < offset+size {
		return ""
	}
	b, err := e.src.bytes(s.offset+offset, size)
	name, _, ended := strings.Cut(string(b), "\x00")
	if err != nil || !ended {
		return ""
	}
	return escape.UTF8(strings.ReplaceAll(name, "-", "_"))
}

// buildID returns the GNU build-id in lower-case hexadecimal, or "" if the file has no build-id.
func (e *elfImage) buildID() (string, error) {
	s := e.find(".note.gnu.build-id")
	if s == nil {
		return "", nil
	}
	b, err := e.data(s, "buildId", maxNote)
	if err != nil {
		return "", err
	}
	return noteBuildID(b, e.order), nil
}

// noteGNUBuildID is the type of the ELF note that holds the build-id.
const noteGNUBuildID = 3

// noteBuildID returns the build-id of an ELF note section in lower-case hexadecimal, or "" if it contains no build-id.
func noteBuildID(notes []byte, order byteOrder) string {
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

// BuildIDOfNotes returns the build-id of ELF notes of either byte order in lower-case hexadecimal, or "" if they
// contain no build-id.
func BuildIDOfNotes(notes []byte) string {
	return cmp.Or(noteBuildID(notes, littleEndian), noteBuildID(notes, bigEndian))
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
