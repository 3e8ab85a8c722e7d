// SPDX-License-Identifier: Apache-2.0

package kotest

import (
	"debug/elf"
)

// part is one section of the file under construction.
type part struct {
	name       string
	typ        elf.SectionType
	flags      elf.SectionFlag
	addr       uint64
	data       []byte
	size       int // of .bss
	link, info int
	align, ent int
}

// writer lays parts out after an ELF header.
type writer struct {
	m     *image
	parts []part
}

func (w *writer) put16(b []byte, v uint16) []byte { return w.m.k.Order.AppendUint16(b, v) }
func (w *writer) put32(b []byte, v uint32) []byte { return w.m.k.Order.AppendUint32(b, v) }
func (w *writer) word(b []byte, v uint64) []byte {
	if w.m.ptr() == 8 {
		return w.m.k.Order.AppendUint64(b, v)
	}
	return w.put32(b, uint32(v))
}

// reloc appends one relocation entry.
func (w *writer) reloc(b []byte, at uint64, sym, typ uint32, addend uint64) []byte {
	b = w.word(b, at)
	if w.m.ptr() == 8 {
		b = w.word(b, uint64(sym)<<32|uint64(typ))
	} else {
		b = w.put32(b, sym<<8|typ)
	}
	if w.m.k.rela() {
		b = w.word(b, addend)
	}
	return b
}

func (w *writer) symbol(b []byte, name uint32, info byte, shndx uint16, value uint64) []byte {
	b = w.put32(b, name)
	if w.m.ptr() == 8 {
		b = append(b, info, 0)
		b = w.put16(b, shndx)
		b = w.word(b, value)
		return w.word(b, 0)
	}
	b = w.put32(b, uint32(value))
	b = w.put32(b, 0)
	b = append(b, info, 0)
	return w.put16(b, shndx)
}

func (w *writer) sizes() (ehdr, phdr, shdr, sym, rel int) {
	if w.m.ptr() == 8 {
		ehdr, phdr, shdr, sym, rel = 64, 56, 64, 24, 16
	} else {
		ehdr, phdr, shdr, sym, rel = 52, 32, 40, 16, 8
	}
	if w.m.k.rela() {
		rel += w.m.ptr()
	}
	return ehdr, phdr, shdr, sym, rel
}

// relocatable writes an ET_REL file: .data, .bss and the set, each with relocations against the
// sections' symbols.
func (m *image) relocatable(set int) []byte {
	w := &writer{m: m}
	_, _, _, symSize, relSize := w.sizes()
	abs, _ := m.k.types()
	const (
		dataSec, bssSec, setSec = 1, 2, 3
	)
	data, list := m.b[:set:set], m.b[set:]
	var dataRel, setRel []byte
	for _, f := range m.fixups {
		sym, at := uint32(dataSec), uint64(f.at)
		if f.bss {
			sym = bssSec
		}
		where := data
		if f.set {
			at -= uint64(set)
			where = list
		}
		if !m.k.rela() {
			m.k.Order.PutUint32(where[at:], uint32(f.to))
		}
		r := w.reloc(nil, at, sym, abs, uint64(f.to))
		if f.set {
			setRel = append(setRel, r...)
		} else {
			dataRel = append(dataRel, r...)
		}
	}
	syms := w.symbol(nil, 0, 0, 0, 0)
	for sec := dataSec; sec <= setSec; sec++ {
		syms = w.symbol(syms, 0, 3, uint16(sec), 0) // STT_SECTION
	}
	strs := []byte{0}
	syms, strs, rels := w.globals(syms, strs, setSec+1, abs)
	dataRel = append(dataRel, rels...)
	relName, relType := ".rela", elf.SHT_RELA
	if !m.k.rela() {
		relName, relType = ".rel", elf.SHT_REL
	}
	w.parts = []part{
		{},
		{name: ".data", typ: elf.SHT_PROGBITS, flags: elf.SHF_ALLOC | elf.SHF_WRITE, data: data, align: 16},
		{name: ".bss", typ: elf.SHT_NOBITS, flags: elf.SHF_ALLOC | elf.SHF_WRITE, size: bssSize, align: 16},
		{name: "set_modmetadata_set", typ: elf.SHT_PROGBITS, flags: elf.SHF_ALLOC, data: list, align: m.ptr()},
		{name: relName + ".data", typ: relType, data: dataRel, link: 6, info: dataSec, align: 8, ent: relSize},
		{name: relName + "set_modmetadata_set", typ: relType, data: setRel, link: 6,
			info: setSec, align: 8, ent: relSize},
		{name: ".symtab", typ: elf.SHT_SYMTAB, data: syms, link: 7, info: setSec + 1, align: 8, ent: symSize},
		{name: ".strtab", typ: elf.SHT_STRTAB, data: strs, align: 1},
	}
	w.note()
	return w.file(nil)
}

// globals adds the symbols that the file defines and needs to a table of n symbols, and returns a relocation for each
// that it needs, of an address that nothing else asks for.
func (w *writer) globals(syms, strs []byte, n int, abs uint32) (newSyms, newStrs, rels []byte) {
	k := w.m.k
	for _, list := range []struct {
		names []string
		info  byte
		shndx uint16
	}{{k.Defines, 0x10, 1}, {k.Needs, 0x10, 0}, {k.NeedsWeak, 0x20, 0}} {
		for _, name := range list.names {
			syms = w.symbol(syms, uint32(len(strs)), list.info, list.shndx, 0)
			strs = append(append(strs, name...), 0)
			if list.shndx == 0 {
				rels = w.reloc(rels, base-8, uint32(n), abs, 0)
			}
			n++
		}
	}
	return syms, strs, rels
}

func (w *writer) note() {
	id := w.m.k.BuildID
	if len(id) == 0 {
		return
	}
	b := w.put32(nil, 4)
	b = w.put32(b, uint32(len(id)))
	b = append(w.put32(b, 3), "GNU\x00"...)
	b = append(b, id...)
	w.parts = append(w.parts,
		part{name: ".note.gnu.build-id", typ: elf.SHT_NOTE, flags: elf.SHF_ALLOC, data: b, align: 4})
}

// linked writes an ET_DYN or ET_EXEC file: one segment with the data, the set, the dynamic symbols
// __start_ and __stop_ of the set, and, in a shared object, relative relocations.
func (m *image) linked(set int) []byte {
	w := &writer{m: m}
	_, _, _, symSize, _ := w.sizes()
	_, rel := m.k.types()
	end := len(m.b)
	m.align(16)
	bss := len(m.b) + 4096
	var rels []byte
	for _, f := range m.fixups {
		to := uint64(base + f.to)
		if f.bss {
			to = uint64(base + bss + f.to)
		}
		if m.k.Type == elf.ET_EXEC || !m.k.rela() {
			b := w.word(nil, to)
			copy(m.b[f.at:], b)
		}
		if m.k.Type == elf.ET_DYN {
			rels = w.reloc(rels, uint64(base+f.at), 0, rel, to)
		}
	}
	strs := []byte("\x00__start_set_modmetadata_set\x00__stop_set_modmetadata_set\x00")
	syms := w.symbol(nil, 0, 0, 0, 0)
	syms = w.symbol(syms, 1, 0x10, 1, uint64(base+set))
	syms = w.symbol(syms, 29, 0x10, 1, uint64(base+end))
	abs, _ := m.k.types()
	syms, strs, more := w.globals(syms, strs, 3, abs)
	rels = append(more, rels...)
	relAt := len(m.b)
	m.b = append(m.b, rels...)
	m.align(8)
	symAt := len(m.b)
	m.b = append(m.b, syms...)
	strAt := len(m.b)
	m.b = append(m.b, strs...)
	m.align(8)
	hashAt := len(m.b)
	n := uint32(len(syms) / symSize)
	for _, v := range []uint32{1, n, 1, 0} { // one bucket: a chain of all symbols
		m.u32(v)
	}
	for i := uint32(2); i <= n; i++ {
		m.u32(i % n)
	}
	m.align(8)
	dynAt := len(m.b)
	tag, sizeTag := elf.DT_REL, elf.DT_RELSZ
	if m.k.rela() {
		tag, sizeTag = elf.DT_RELA, elf.DT_RELASZ
	}
	for _, d := range [][2]uint64{{uint64(elf.DT_HASH), uint64(base + hashAt)},
		{uint64(elf.DT_SYMTAB), uint64(base + symAt)},
		{uint64(elf.DT_STRTAB), uint64(base + strAt)}, {uint64(elf.DT_STRSZ), uint64(len(strs))},
		{uint64(tag), uint64(base + relAt)}, {uint64(sizeTag), uint64(len(rels))}, {0, 0}} {
		m.word(d[0])
		m.word(d[1])
	}
	for len(m.b) < bss { // .bss begins where the file's bytes end
		m.b = append(m.b, 0)
	}
	bss = len(m.b)
	w.parts = []part{
		{},
		{name: ".all", typ: elf.SHT_PROGBITS, flags: elf.SHF_ALLOC | elf.SHF_WRITE, addr: base, data: m.b, align: 4096},
	}
	if !m.k.NoSections {
		w.parts = append(w.parts,
			part{name: ".dynsym", typ: elf.SHT_DYNSYM, data: syms, link: 3, info: 1, align: 8, ent: symSize},
			part{name: ".dynstr", typ: elf.SHT_STRTAB, data: strs, align: 1})
		w.note()
	}
	return w.file(&segment{size: uint64(bss), mem: uint64(bss + bssSize), dyn: uint64(dynAt),
		dynSize: uint64(7 * 2 * m.ptr())})
}

// segment is what the program headers say: the data at base, and where the dynamic section is.
type segment struct {
	size, mem, dyn, dynSize uint64
}

// file writes headers and parts.
func (w *writer) file(seg *segment) []byte {
	k := w.m.k
	names := []byte{0}
	w.parts = append(w.parts, part{name: ".shstrtab", typ: elf.SHT_STRTAB, align: 1})
	nameAt := make([]int, len(w.parts))
	for i, p := range w.parts {
		if p.name != "" {
			nameAt[i] = len(names)
			names = append(append(names, p.name...), 0)
		}
	}
	w.parts[len(w.parts)-1].data = names
	ehdr, phdr, shdr, _, _ := w.sizes()
	phnum := 0
	if seg != nil {
		phnum = 2
	}
	body := make([]byte, ehdr+phnum*phdr)
	offs := make([]int, len(w.parts))
	for i, p := range w.parts {
		for len(body)%max(p.align, 1) != 0 {
			body = append(body, 0)
		}
		offs[i] = len(body)
		body = append(body, p.data...)
	}
	for len(body)%8 != 0 {
		body = append(body, 0)
	}
	shoff, shnum := len(body), len(w.parts)
	if k.NoSections {
		shoff, shnum = 0, 0
	} else {
		for i, p := range w.parts {
			body = w.section(body, p, nameAt[i], offs[i])
		}
	}
	copy(body, w.header(phnum, phdr, ehdr, shoff, shnum, shdr))
	if seg != nil {
		ph := w.program(nil, elf.PT_LOAD, uint64(offs[1]), base, seg.size, seg.mem)
		ph = w.program(ph, elf.PT_DYNAMIC, uint64(offs[1])+seg.dyn, base+seg.dyn, seg.dynSize, seg.dynSize)
		copy(body[ehdr:], ph)
	}
	return body
}

func (w *writer) section(b []byte, p part, name, off int) []byte {
	size := len(p.data)
	if p.typ == elf.SHT_NOBITS {
		size = p.size
	}
	b = w.put32(b, uint32(name))
	b = w.put32(b, uint32(p.typ))
	b = w.word(b, uint64(p.flags))
	b = w.word(b, p.addr)
	b = w.word(b, uint64(off))
	b = w.word(b, uint64(size))
	b = w.put32(b, uint32(p.link))
	b = w.put32(b, uint32(p.info))
	b = w.word(b, uint64(p.align))
	return w.word(b, uint64(p.ent))
}

func (w *writer) program(b []byte, typ elf.ProgType, off, addr, size, mem uint64) []byte {
	b = w.put32(b, uint32(typ))
	if w.m.ptr() == 8 {
		b = w.put32(b, 6)
	}
	b = w.word(b, off)
	b = w.word(b, addr)
	b = w.word(b, addr)
	b = w.word(b, size)
	b = w.word(b, mem)
	if w.m.ptr() == 4 {
		b = w.put32(b, 6)
	}
	return w.word(b, 0x1000)
}

func (w *writer) header(phnum, phdr, ehdr, shoff, shnum, shdr int) []byte {
	k := w.m.k
	data := byte(elf.ELFDATA2LSB)
	if k.Order.String() == "BigEndian" {
		data = byte(elf.ELFDATA2MSB)
	}
	b := append([]byte(elf.ELFMAG), byte(k.Class), data, 1, byte(elf.ELFOSABI_FREEBSD), 0, 0, 0, 0, 0, 0, 0, 0)
	b = w.put16(b, uint16(k.Type))
	b = w.put16(b, uint16(k.Machine))
	b = w.put32(b, 1)
	b = w.word(b, 0)
	phoff := 0
	if phnum > 0 {
		phoff = ehdr
	}
	b = w.word(b, uint64(phoff))
	b = w.word(b, uint64(shoff))
	b = w.put32(b, 0)
	b = w.put16(b, uint16(ehdr))
	b = w.put16(b, uint16(phdr))
	b = w.put16(b, uint16(phnum))
	b = w.put16(b, uint16(shdr))
	b = w.put16(b, uint16(shnum))
	return w.put16(b, uint16(max(shnum-1, 0)))
}
