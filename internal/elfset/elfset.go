// SPDX-License-Identifier: Apache-2.0

// Package elfset reads linker sets out of ELF files: arrays of pointers that a kernel's build
// gathers in one section, such as FreeBSD's set_modmetadata_set and NetBSD's link_set_modules.
//
// Following those pointers needs what debug/elf does not do: relocations of every width and byte
// order, applied where a pointer is read, and sections without bytes (.bss) read as zeros. Files
// may be hostile: no size, offset or count in them is believed before it was compared with the
// file's own size, reading is by need and bounded by the file's size, and nothing recurses.
//
// An address here is a virtual address of an executable or shared object. A relocatable file has
// none yet, so each of its sections is given a place of its own, in order, as a loader would.
package elfset

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sort"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/hostfs"
	"github.com/kernelext/kernelext/internal/limit"
)

// maxMapped is the highest address that a section of a relocatable file is given; what a hostile
// file places beyond it has no address.
const maxMapped = 1 << 46

// A File is an open ELF file. It is not safe for concurrent use.
type File struct {
	Class   elf.Class
	Order   binary.ByteOrder
	Type    elf.Type
	Machine elf.Machine
	OSABI   elf.OSABI
	// ID identifies the file, however many names it has, as hostfs.FileID does; empty if it was not opened by name.
	ID string

	name  string
	r     *blocks
	secs  []section
	areas []area
	reloc relocs
	dyn   dynamic
}

// A section is one section header. Its name stays an offset until it is asked for.
type section struct {
	name          uint32
	typ           elf.SectionType
	flags         elf.SectionFlag
	off, size     uint64
	link, info    uint32
	align, ent    uint64
	addr, virtual uint64 // addr as in the header; virtual as mapped here, 0 when it is not mapped
}

// An area is a run of addresses: filled bytes from the file, then zeros.
type area struct {
	addr, size uint64
	off, fill  uint64
	sec        int // section index of a relocatable file, else -1
}

// Open reads the headers of the ELF file of size bytes. name is for error texts. A file that is
// not ELF, or whose headers are invalid, is a *fact.ParseError.
func Open(r io.ReaderAt, size int64, name string) (*File, error) {
	f := &File{name: name, r: newBlocks(r, size)}
	if err := f.header(); err != nil {
		return nil, err
	}
	f.reloc.file = f
	return f, nil
}

// OpenFS opens the named file of fsys, which may have at most max bytes (else
// fact.ErrTooLarge). The returned io.Closer must be closed after the last use of the File.
func OpenFS(fsys fs.FS, name string, max int64) (*File, io.Closer, error) {
	file, err := fsys.Open(name)
	if err != nil {
		return nil, nil, err
	}
	f, err := openFile(file, name, max)
	if err != nil {
		file.Close()
		return nil, nil, err
	}
	return f, file, nil
}

func openFile(file fs.File, name string, max int64) (f *File, err error) {
	st, err := file.Stat()
	if err != nil {
		return nil, err
	}
	defer func() {
		if f != nil {
			f.ID = hostfs.FileID(nil, name, st)
		}
	}()
	if !st.Mode().IsRegular() {
		return nil, &fact.ParseError{Source: name, Reason: "not a regular file"}
	}
	if st.Size() > max {
		return nil, limit.TooLarge(name, max)
	}
	if r, ok := file.(io.ReaderAt); ok {
		return Open(r, st.Size(), name)
	}
	b, err := limit.AppendAll(file, nil, name, max)
	if err != nil {
		return nil, err
	}
	return Open(bytesAt(b), int64(len(b)), name)
}

// PtrSize returns the size of a pointer in the file: 4 or 8 bytes.
func (f *File) PtrSize() int {
	if f.Class == elf.ELFCLASS64 {
		return 8
	}
	return 4
}

// Size returns the file's size in bytes.
func (f *File) Size() int64 { return f.r.size }

func (f *File) bad(field string, off uint64, format string, args ...any) error {
	return &fact.ParseError{Source: f.name, Field: field, Offset: int64(off), Reason: fmt.Sprintf(format, args...)}
}

// FieldIdent is the field of a *fact.ParseError of a file that is no ELF file: no kernel takes it.
const FieldIdent = "e_ident"

// first returns the first n bytes. The error is that of reading, or says that the file is shorter.
func (f *File) first(n int) ([]byte, error) {
	b, err := f.r.at(0, n)
	switch {
	case errors.Is(err, errOutside):
		return nil, f.bad(FieldIdent, 0, "shorter than an ELF header")
	case err != nil:
		return nil, fmt.Errorf("%s: %w", f.name, err)
	}
	return b, nil
}

func (f *File) header() error {
	id, err := f.first(elf.EI_NIDENT)
	if err != nil {
		return err
	}
	if string(id[:4]) != elf.ELFMAG {
		return f.bad(FieldIdent, 0, "not an ELF file")
	}
	f.Class, f.OSABI = elf.Class(id[elf.EI_CLASS]), elf.OSABI(id[elf.EI_OSABI])
	switch elf.Data(id[elf.EI_DATA]) {
	case elf.ELFDATA2LSB:
		f.Order = binary.LittleEndian
	case elf.ELFDATA2MSB:
		f.Order = binary.BigEndian
	default:
		return f.bad(FieldIdent, 0, "unknown byte order %d", id[elf.EI_DATA])
	}
	if f.Class != elf.ELFCLASS32 && f.Class != elf.ELFCLASS64 {
		return f.bad(FieldIdent, 0, "unknown class %d", id[elf.EI_CLASS])
	}
	n := 52
	if f.Class == elf.ELFCLASS64 {
		n = 64
	}
	b, err := f.first(n)
	if err != nil {
		return err
	}
	h := fields{b, f.Order, f.PtrSize(), 16}
	f.Type, f.Machine = elf.Type(h.u16()), elf.Machine(h.u16())
	h.u32() // e_version
	h.word()
	phoff, shoff := h.word(), h.word()
	h.u32() // e_flags
	h.u16() // e_ehsize
	phent, phnum := uint64(h.u16()), uint64(h.u16())
	shent, shnum := uint64(h.u16()), uint64(h.u16())
	shstr := uint32(h.u16())
	if err := f.sections(shoff, shent, shnum, shstr); err != nil {
		return err
	}
	if f.Type == elf.ET_REL {
		f.place()
		return nil
	}
	return f.segments(phoff, phent, phnum)
}

// sections reads the section headers. A file with more than 65,279 sections keeps their number in
// the first header.
func (f *File) sections(off, ent, num uint64, _ uint32) error {
	if off == 0 {
		return nil
	}
	want := uint64(40)
	if f.Class == elf.ELFCLASS64 {
		want = 64
	}
	if ent != want {
		return f.bad("e_shentsize", 0, "section headers of %d bytes, not %d", ent, want)
	}
	if num == 0 {
		b, err := f.r.at(off, int(want))
		if err != nil {
			return f.bad("e_shoff", off, "section headers outside of the file")
		}
		num = f.section(b).size
	}
	if num > f.r.left(off)/want {
		return f.bad("e_shnum", off, "%d section headers do not fit into the file", num)
	}
	f.secs = make([]section, num)
	for i := range f.secs {
		b, err := f.r.at(off+uint64(i)*want, int(want))
		if err != nil {
			return err
		}
		f.secs[i] = f.section(b)
	}
	return nil
}

func (f *File) section(b []byte) section {
	h := fields{b, f.Order, f.PtrSize(), 0}
	s := section{name: h.u32(), typ: elf.SectionType(h.u32()), flags: elf.SectionFlag(h.word())}
	s.addr, s.off, s.size = h.word(), h.word(), h.word()
	s.link, s.info = h.u32(), h.u32()
	s.align, s.ent = h.word(), h.word()
	return s
}

// place gives every section of a relocatable file that will be in memory an address.
func (f *File) place() {
	next := uint64(0x1000)
	for i := range f.secs {
		s := &f.secs[i]
		if s.flags&elf.SHF_ALLOC == 0 || s.size == 0 {
			continue
		}
		align := max(s.align, 1)
		if align > 1<<20 || align&(align-1) != 0 {
			align = 16
		}
		addr := (next + align - 1) &^ (align - 1)
		if s.size > maxMapped-addr {
			continue
		}
		s.virtual = addr
		a := area{addr: addr, size: s.size, off: s.off, fill: s.size, sec: i}
		if s.typ == elf.SHT_NOBITS {
			a.fill = 0
		}
		f.areas = append(f.areas, a)
		next = addr + s.size + 1 // a gap, so that one past the end is nobody's
		if next > maxMapped-(1<<20) {
			return
		}
	}
}

func (f *File) segments(off, ent, num uint64) error {
	want := uint64(32)
	if f.Class == elf.ELFCLASS64 {
		want = 56
	}
	if num == 0xffff && len(f.secs) > 0 {
		num = uint64(f.secs[0].info)
	}
	if num == 0 {
		return nil
	}
	if ent != want {
		return f.bad("e_phentsize", 0, "program headers of %d bytes, not %d", ent, want)
	}
	if num > f.r.left(off)/want {
		return f.bad("e_phnum", off, "%d program headers do not fit into the file", num)
	}
	for i := range num {
		b, err := f.r.at(off+i*want, int(want))
		if err != nil {
			return err
		}
		f.segment(b)
	}
	sort.SliceStable(f.areas, func(i, j int) bool { return f.areas[i].addr < f.areas[j].addr })
	return nil
}

func (f *File) segment(b []byte) {
	h := fields{b, f.Order, f.PtrSize(), 0}
	typ := elf.ProgType(h.u32())
	if f.Class == elf.ELFCLASS64 {
		h.u32() // p_flags
	}
	a := area{off: h.word(), addr: h.word(), sec: -1}
	h.word() // p_paddr
	a.fill, a.size = h.word(), h.word()
	a.fill = min(a.fill, a.size)
	switch typ {
	case elf.PT_LOAD:
		if a.size > 0 && a.addr+a.size > a.addr {
			f.areas = append(f.areas, a)
		}
	case elf.PT_DYNAMIC:
		f.dyn.off, f.dyn.size = a.off, a.fill
	}
}

// find returns the area that holds address addr.
func (f *File) find(addr uint64) (*area, bool) {
	i := sort.Search(len(f.areas), func(i int) bool { return f.areas[i].addr > addr }) - 1
	if i < 0 {
		return nil, false
	}
	a := &f.areas[i]
	return a, addr-a.addr < a.size
}

// sectionName returns the name of section i, "" when it has none that can be read.
func (f *File) sectionName(i int) string {
	str, ok := f.nameTable()
	if !ok {
		return ""
	}
	return f.tableString(str, uint64(f.secs[i].name), 64)
}

// nameTable finds the section that holds the sections' names.
func (f *File) nameTable() (section, bool) {
	b, err := f.r.at(0, 64)
	if err != nil {
		if b, err = f.r.at(0, 52); err != nil {
			return section{}, false
		}
	}
	at := 50
	if f.Class == elf.ELFCLASS64 {
		at = 62
	}
	if at+2 > len(b) {
		return section{}, false
	}
	i := uint32(f.Order.Uint16(b[at:]))
	if i == uint32(elf.SHN_XINDEX) && len(f.secs) > 0 {
		i = f.secs[0].link
	}
	if i == 0 || uint64(i) >= uint64(len(f.secs)) {
		return section{}, false
	}
	return f.secs[i], true
}

// tableString returns the string at offset off of a string table, at most max bytes of it.
func (f *File) tableString(table section, off uint64, max int) string {
	if table.typ == elf.SHT_NOBITS || off >= table.size {
		return ""
	}
	s, _ := f.r.cstring(table.off+off, int(min(uint64(max), table.size-off)))
	return s
}

// fields takes numbers out of a header one after the other.
type fields struct {
	b     []byte
	order binary.ByteOrder
	ptr   int
	at    int
}

func (h *fields) u16() uint16 { v := h.order.Uint16(h.b[h.at:]); h.at += 2; return v }
func (h *fields) u32() uint32 { v := h.order.Uint32(h.b[h.at:]); h.at += 4; return v }
func (h *fields) word() uint64 {
	if h.ptr == 4 {
		return uint64(h.u32())
	}
	v := h.order.Uint64(h.b[h.at:])
	h.at += 8
	return v
}
