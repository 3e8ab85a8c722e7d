// SPDX-License-Identifier: Apache-2.0

// Package kotest builds FreeBSD kernel linker files for tests: real ELF files, of either width,
// either byte order and either way of linking, with the metadata that a test asks for. Only tests
// import it.
package kotest

import (
	"debug/elf"
	"encoding/binary"
)

// A KLD describes the file to build.
type KLD struct {
	Type    elf.Type // ET_REL, ET_DYN or ET_EXEC
	Machine elf.Machine
	Class   elf.Class
	Order   Order

	Modules  []Module
	Versions []Version
	Depends  []Depend
	PNP      []PNP
	// BSSVersions puts versions of 0 into .bss, as old compilers did.
	BSSVersions bool
	// NoSections leaves the section headers out of a file that is not relocatable.
	NoSections bool
	// BuildID is the GNU build-id note; none when empty.
	BuildID []byte
	// Defines and Needs are the global symbols that the file defines, and that its relocations need of others.
	Defines, Needs []string
	// NeedsWeak are weak ones, which nobody has to define.
	NeedsWeak []string
}

// Order is a byte order that can be written in.
type Order interface {
	binary.ByteOrder
	binary.AppendByteOrder
}

// A Module is a MODULE record: the record's name and the module's.
type Module struct{ Record, Name string }

// A Version is a VERSION record.
type Version struct {
	Name    string
	Version int32
}

// A Depend is a DEPEND record.
type Depend struct {
	Name                string
	Min, Preferred, Max int32
}

// A PNP is a PNP_INFO record. Rows are the bytes of the table, each of EntryLen bytes.
type PNP struct {
	Bus, Descr string
	EntryLen   int
	Rows       []byte
	Num        uint32
}

// AMD64 is a relocatable file for amd64, as every FreeBSD/amd64 .ko is.
func AMD64() KLD {
	return KLD{Type: elf.ET_REL, Machine: elf.EM_X86_64, Class: elf.ELFCLASS64, Order: binary.LittleEndian}
}

// I386 is a shared object for i386, as every FreeBSD/i386 .ko is.
func I386() KLD {
	return KLD{Type: elf.ET_DYN, Machine: elf.EM_386, Class: elf.ELFCLASS32, Order: binary.LittleEndian}
}

// ARM64 is a shared object for arm64.
func ARM64() KLD {
	return KLD{Type: elf.ET_DYN, Machine: elf.EM_AARCH64, Class: elf.ELFCLASS64, Order: binary.LittleEndian}
}

// PPC64 is a shared object for big-endian powerpc64.
func PPC64() KLD {
	return KLD{Type: elf.ET_DYN, Machine: elf.EM_PPC64, Class: elf.ELFCLASS64, Order: binary.BigEndian}
}

const (
	base    = 0x10000 // address of the data in a file that is not relocatable
	bssSize = 64
)

// image is the data under construction.
type image struct {
	k      KLD
	b      []byte
	fixups []fixup
}

// fixup is a pointer at offset at to offset to of the data, or of .bss.
type fixup struct {
	at, to int
	bss    bool
	set    bool // the pointer lies in the linker set
}

func (m *image) ptr() int {
	if m.k.Class == elf.ELFCLASS64 {
		return 8
	}
	return 4
}

func (m *image) align(n int) {
	for len(m.b)%n != 0 {
		m.b = append(m.b, 0)
	}
}

func (m *image) u32(v uint32) { m.b = m.k.Order.AppendUint32(m.b, v) }

func (m *image) word(v uint64) {
	if m.ptr() == 8 {
		m.b = m.k.Order.AppendUint64(m.b, v)
		return
	}
	m.u32(uint32(v))
}

// pointer appends a pointer to offset to.
func (m *image) pointer(to int, bss bool) {
	m.align(m.ptr())
	m.fixups = append(m.fixups, fixup{at: len(m.b), to: to, bss: bss})
	m.word(0)
}

func (m *image) text(s string) int {
	at := len(m.b)
	m.b = append(append(m.b, s...), 0)
	return at
}

// record appends a struct mod_metadata and returns its offset.
func (m *image) record(typ uint32, data int, bss bool, cval string) int {
	name := -1
	if cval != "" {
		name = m.text(cval)
	}
	m.align(8)
	at := len(m.b)
	m.u32(1)
	m.u32(typ)
	m.pointer(data, bss)
	if name < 0 {
		m.word(0)
		return at
	}
	m.pointer(name, false)
	return at
}

func (m *image) build() []int {
	var records []int
	for _, d := range m.k.Depends {
		m.align(8)
		at := len(m.b)
		m.u32(uint32(d.Min))
		m.u32(uint32(d.Preferred))
		m.u32(uint32(d.Max))
		records = append(records, m.record(1, at, false, d.Name))
	}
	for _, mod := range m.k.Modules {
		name := m.text(mod.Name)
		m.align(8)
		at := len(m.b)
		m.pointer(name, false)
		m.word(0)
		m.word(0)
		records = append(records, m.record(2, at, false, mod.Record))
	}
	for i, v := range m.k.Versions {
		m.align(8)
		at := len(m.b)
		if v.Version == 0 && m.k.BSSVersions {
			records = append(records, m.record(3, 4*i%bssSize, true, v.Name))
			continue
		}
		m.u32(uint32(v.Version))
		records = append(records, m.record(3, at, false, v.Name))
	}
	for _, p := range m.k.PNP {
		descr, bus := m.text(p.Descr), m.text(p.Bus)
		m.align(8)
		table := len(m.b)
		m.b = append(m.b, p.Rows...)
		m.align(8)
		at := len(m.b)
		m.pointer(descr, false)
		m.pointer(bus, false)
		m.pointer(table, false)
		m.u32(uint32(p.EntryLen))
		m.u32(p.Num)
		records = append(records, m.record(4, at, false, ""))
	}
	return records
}

// Bytes builds the file.
func (k KLD) Bytes() []byte {
	m := &image{k: k}
	records := m.build()
	m.align(16)
	set := len(m.b)
	for _, r := range records {
		m.fixups = append(m.fixups, fixup{at: len(m.b), to: r, set: true})
		m.word(0)
	}
	if k.Type == elf.ET_REL {
		return m.relocatable(set)
	}
	return m.linked(set)
}

// absType is the relocation type that stores a symbol's address, relType base + addend.
func (k KLD) types() (abs, rel uint32) {
	switch k.Machine {
	case elf.EM_X86_64:
		return uint32(elf.R_X86_64_64), uint32(elf.R_X86_64_RELATIVE)
	case elf.EM_386:
		return uint32(elf.R_386_32), uint32(elf.R_386_RELATIVE)
	case elf.EM_AARCH64:
		return uint32(elf.R_AARCH64_ABS64), uint32(elf.R_AARCH64_RELATIVE)
	case elf.EM_PPC64:
		return uint32(elf.R_PPC64_ADDR64), uint32(elf.R_PPC64_RELATIVE)
	case elf.EM_PPC:
		return uint32(elf.R_PPC_ADDR32), uint32(elf.R_PPC_RELATIVE)
	case elf.EM_RISCV:
		return uint32(elf.R_RISCV_64), uint32(elf.R_RISCV_RELATIVE)
	case elf.EM_ARM:
		return uint32(elf.R_ARM_ABS32), uint32(elf.R_ARM_RELATIVE)
	}
	panic("kotest: no relocation types for " + k.Machine.String())
}

// rela reports whether the machine's relocations carry their addends.
func (k KLD) rela() bool { return k.Machine != elf.EM_386 && k.Machine != elf.EM_ARM }
