// SPDX-License-Identifier: Apache-2.0

package elfset

import (
	"debug/elf"
	"errors"
	"sort"
	"strings"
)

// relocs finds the relocation of an address. The tables are read when an address of their section
// is first asked for; what is kept of them in all is bounded by the file's size.
type relocs struct {
	file    *File
	tables  map[int]*relocTable // by target section; -1 is the table of a shared object
	targets map[uint32][]int    // relocation sections by their target
	budget  uint64
	begun   bool
}

// A relocTable is the relocations of one target that store a whole address, by offset.
type relocTable struct {
	entries []reloc
	err     error
}

// A reloc is one relocation. The offset is in the section for a relocatable file, else an address.
type reloc struct {
	offset uint64
	addend int64
	sym    uint32
	symtab int32 // section of the symbol table; -1 is the dynamic one
	kind   relocKind
	inside bool // the addend is the value in place
}

type relocKind uint8

const (
	relocIgnored  relocKind = iota // not a whole address
	relocAbsolute                  // symbol + addend
	relocRelative                  // base + addend
)

// kindOf says what the relocation type does on the machine, for the types that store an address
// of a pointer's size.
func kindOf(m elf.Machine, typ uint32) relocKind {
	abs, rel := uint32(0), uint32(0)
	switch m {
	case elf.EM_X86_64:
		abs, rel = uint32(elf.R_X86_64_64), uint32(elf.R_X86_64_RELATIVE)
	case elf.EM_386:
		abs, rel = uint32(elf.R_386_32), uint32(elf.R_386_RELATIVE)
	case elf.EM_AARCH64:
		abs, rel = uint32(elf.R_AARCH64_ABS64), uint32(elf.R_AARCH64_RELATIVE)
	case elf.EM_ARM:
		abs, rel = uint32(elf.R_ARM_ABS32), uint32(elf.R_ARM_RELATIVE)
	case elf.EM_RISCV:
		abs, rel = uint32(elf.R_RISCV_64), uint32(elf.R_RISCV_RELATIVE)
	case elf.EM_PPC64:
		abs, rel = uint32(elf.R_PPC64_ADDR64), uint32(elf.R_PPC64_RELATIVE)
	case elf.EM_PPC:
		abs, rel = uint32(elf.R_PPC_ADDR32), uint32(elf.R_PPC_RELATIVE)
	case elf.EM_SPARCV9:
		abs, rel = uint32(elf.R_SPARC_64), uint32(elf.R_SPARC_RELATIVE)
	case elf.EM_SPARC:
		abs, rel = uint32(elf.R_SPARC_32), uint32(elf.R_SPARC_RELATIVE)
	case elf.EM_MIPS:
		abs, rel = uint32(elf.R_MIPS_32), uint32(elf.R_MIPS_REL32)
	case elf.EM_68K:
		abs, rel = 1, 22 // R_68K_32, R_68K_RELATIVE
	case elf.EM_SH:
		abs, rel = 1, 165 // R_SH_DIR32, R_SH_RELATIVE
	default:
		return relocIgnored
	}
	switch {
	case typ == abs, typ == absolute2(m):
		return relocAbsolute
	case typ == rel:
		return relocRelative
	}
	return relocIgnored
}

// absolute2 is the second type with the same effect: unaligned, 64 bits wide, or a symbol's address.
func absolute2(m elf.Machine) uint32 {
	switch m {
	case elf.EM_X86_64:
		return uint32(elf.R_X86_64_GLOB_DAT)
	case elf.EM_386:
		return uint32(elf.R_386_GLOB_DAT)
	case elf.EM_AARCH64:
		return uint32(elf.R_AARCH64_GLOB_DAT)
	case elf.EM_ARM:
		return uint32(elf.R_ARM_GLOB_DAT)
	case elf.EM_RISCV:
		return uint32(elf.R_RISCV_32)
	case elf.EM_PPC64:
		return uint32(elf.R_PPC64_UADDR64)
	case elf.EM_MIPS:
		return uint32(elf.R_MIPS_64)
	case elf.EM_SPARCV9:
		return uint32(elf.R_SPARC_UA64)
	}
	return ^uint32(0)
}

// apply returns the pointer at addr, whose bytes in the file are raw.
func (r *relocs) apply(addr, raw uint64) (uint64, error) {
	a, ok := r.file.find(addr)
	if !ok {
		return raw, nil
	}
	t := r.table(a.sec)
	off := addr
	if a.sec >= 0 {
		off = addr - a.addr
	}
	i := sort.Search(len(t.entries), func(i int) bool { return t.entries[i].offset >= off })
	if i == len(t.entries) || t.entries[i].offset != off {
		return raw, t.err
	}
	return r.value(&t.entries[i], raw)
}

func (r *relocs) value(e *reloc, raw uint64) (uint64, error) {
	f := r.file
	v := uint64(e.addend)
	if e.inside {
		v = raw
	}
	if e.kind == relocAbsolute && e.sym != 0 {
		s, err := f.symbolAt(e)
		if err != nil {
			return 0, err
		}
		v += s
	}
	if f.PtrSize() == 4 && f.Type != elf.ET_REL {
		v &= 0xffffffff
	}
	return v, nil
}

// table returns the relocations of a target section, or those of the whole of a shared object.
func (r *relocs) table(sec int) *relocTable {
	if !r.begun {
		r.begin()
	}
	if t, ok := r.tables[sec]; ok {
		return t
	}
	t := &relocTable{}
	r.tables[sec] = t
	if sec < 0 {
		r.readDynamic(t)
	} else {
		r.readSections(t, uint32(sec))
	}
	sorted := sort.SliceIsSorted(t.entries, func(i, j int) bool { return t.entries[i].offset < t.entries[j].offset })
	if !sorted {
		sort.SliceStable(t.entries, func(i, j int) bool { return t.entries[i].offset < t.entries[j].offset })
	}
	return t
}

func (r *relocs) begin() {
	r.begun = true
	r.tables = map[int]*relocTable{}
	r.targets = map[uint32][]int{}
	r.budget = uint64(r.file.r.size)
	for i := range r.file.secs {
		s := &r.file.secs[i]
		if s.typ == elf.SHT_REL || s.typ == elf.SHT_RELA {
			r.targets[s.info] = append(r.targets[s.info], i)
		}
	}
}

func (r *relocs) readSections(t *relocTable, target uint32) {
	for _, i := range r.targets[target] {
		s := &r.file.secs[i]
		if err := r.read(t, s.off, s.size, s.typ == elf.SHT_RELA, int32(s.link)); err != nil {
			t.err = err
			return
		}
	}
}

func (r *relocs) readDynamic(t *relocTable) {
	d, err := r.file.dynamicInfo()
	if err != nil {
		t.err = err
		return
	}
	for _, tab := range d.tables()[:2] {
		off, err := r.file.tableAt(tab)
		if err == nil && tab.size > 0 {
			err = r.read(t, off, tab.size, tab.rela, -1)
		}
		if err != nil {
			t.err = err
			return
		}
	}
}

// errRelocs is the error for relocation tables that are larger in sum than their file.
var errRelocs = errors.New("relocation tables overlap")

func (r *relocs) read(t *relocTable, off, size uint64, rela bool, symtab int32) error {
	f := r.file
	if size > f.r.left(off) {
		return f.bad("relocations", off, "table of %d bytes passes the end of the file", size)
	}
	if size > r.budget {
		return f.bad("relocations", off, "%v: more bytes of them than the file has", errRelocs)
	}
	r.budget -= size
	return f.relocations(off, size, rela, func(e reloc, typ uint32) error {
		e.symtab = symtab
		if e.kind = kindOf(f.Machine, typ); e.kind != relocIgnored {
			t.entries = append(t.entries, e)
		}
		return nil
	})
}

// relocations calls each for the entries of a table, with their types, until it returns an error.
func (f *File) relocations(off, size uint64, rela bool, each func(e reloc, typ uint32) error) error {
	ptr := f.PtrSize()
	step := uint64(2 * ptr)
	if rela {
		step += uint64(ptr)
	}
	for at := uint64(0); at+step <= size; at += step {
		b, err := f.r.at(off+at, int(step))
		if err != nil {
			return err
		}
		h := fields{b, f.Order, ptr, 0}
		e := reloc{offset: h.word(), inside: !rela}
		info := h.word()
		typ := uint32(info & 0xff)
		e.sym = uint32(info >> 8)
		if ptr == 8 {
			e.sym, typ = uint32(info>>32), uint32(info)
		}
		if rela {
			e.addend = int64(h.word())
			if ptr == 4 {
				e.addend = int64(int32(e.addend))
			}
		}
		if err := each(e, typ); err != nil {
			return err
		}
	}
	return nil
}

// symbolAt returns the address of the symbol of a relocation.
func (f *File) symbolAt(e *reloc) (uint64, error) {
	tab, err := f.symbolTable(e.symtab)
	if err != nil {
		return 0, err
	}
	s, err := f.symbol(tab, uint64(e.sym))
	if err != nil {
		return 0, err
	}
	return f.symbolAddr(tab, s)
}

func (f *File) symbolAddr(tab section, s symbol) (uint64, error) {
	switch {
	case s.shndx == uint32(elf.SHN_ABS):
		return s.value, nil
	case s.shndx == uint32(elf.SHN_UNDEF), s.shndx == uint32(elf.SHN_COMMON):
		return 0, f.bad("symbol", 0, "%s is not defined in this file", f.symbolName(tab, s))
	case f.Type != elf.ET_REL:
		return s.value, nil
	case s.shndx >= uint32(len(f.secs)):
		return 0, f.bad("symbol", 0, "%s is in section %d of %d", f.symbolName(tab, s), s.shndx, len(f.secs))
	}
	base := f.secs[s.shndx].virtual
	if base == 0 {
		return 0, f.bad("symbol", 0, "%s is in a section without a place in memory", f.symbolName(tab, s))
	}
	return base + s.value, nil
}

// A symbol is one entry of a symbol table.
type symbol struct {
	name  uint32
	bind  elf.SymBind
	shndx uint32
	value uint64
}

func (f *File) symbolTable(i int32) (section, error) {
	if i < 0 {
		d, err := f.dynamicInfo()
		return d.symtab, err
	}
	if uint64(i) >= uint64(len(f.secs)) || (f.secs[i].typ != elf.SHT_SYMTAB && f.secs[i].typ != elf.SHT_DYNSYM) {
		return section{}, f.bad("sh_link", 0, "section %d is not a symbol table", i)
	}
	return f.secs[i], nil
}

func (f *File) symbolSize() uint64 {
	if f.Class == elf.ELFCLASS64 {
		return 24
	}
	return 16
}

func (f *File) symbol(tab section, i uint64) (symbol, error) {
	n := f.symbolSize()
	if i >= tab.size/n {
		return symbol{}, f.bad("symbol", tab.off, "number %d of %d", i, tab.size/n)
	}
	b, err := f.r.at(tab.off+i*n, int(n))
	if err != nil {
		return symbol{}, f.bad("symbol", tab.off, "number %d is outside of the file", i)
	}
	h := fields{b, f.Order, f.PtrSize(), 0}
	s := symbol{name: h.u32()}
	if f.Class == elf.ELFCLASS64 {
		s.bind = elf.ST_BIND(b[4]) // st_info, and st_other
		h.u16()
		s.shndx = uint32(h.u16())
		s.value = h.word()
		return s, nil
	}
	s.value = h.word()
	h.u32() // st_size
	s.bind = elf.ST_BIND(b[12])
	h.u16()
	s.shndx = uint32(h.u16())
	return s, nil
}

func (f *File) symbolName(tab section, s symbol) string {
	name := ""
	if tab.link < uint32(len(f.secs)) {
		name = f.tableString(f.secs[tab.link], uint64(s.name), 128)
	}
	if name = strings.TrimSpace(name); name == "" {
		return "a symbol without a name"
	}
	return "symbol " + name
}
