// SPDX-License-Identifier: Apache-2.0

// Package petest builds small PE files for tests: drivers with imports, a version resource and
// debug records, and libraries that forward one export. They are fixtures, not programs: no
// function in them does anything.
package petest

import (
	"encoding/binary"
	"unicode/utf16"
)

// An Image describes a PE file to build.
type Image struct {
	Machine    uint16            // 0x8664 when 0
	PE32       bool              // a 32-bit image
	DLL        bool              // a library
	TimeStamp  uint32            // link time
	Repro      bool              // mark TimeStamp as a hash
	Imports    []Import          // imported images
	Delayed    []Import          // images that are loaded at the first call of a function
	Version    map[string]string // strings of the version resource; nil for none
	Numbers    [4]uint16         // fixed file version
	Languages  []Language        // further string tables of the version resource
	Odd        bool              // write lengths of strings in bytes, and zero bytes after the nodes
	PDB        string            // CodeView path; "" for none
	Forward    [2]string         // export name and the function it forwards to
	Code       []byte            // contents of .text
	Trailing   []byte            // bytes after the last section
	Signature  []byte            // contents of an entry of the certificate table, as a PKCS#7 signature; nil for none
	NoChecksum bool              // leave the checksum zero
}

// A Language is a string table: eight hexadecimal digits of language and code page, and its strings.
type Language struct {
	Key     string
	Strings map[string]string
}

// An Import is one imported image. A function "#N" is imported by its ordinal.
type Import struct {
	Library   string
	Functions []string
}

const (
	fileAlign    = 0x200
	sectionAlign = 0x1000
	headerSize   = 0x400
)

type section struct {
	name  string
	flags uint32
	data  []byte
	rva   uint32
}

type builder struct {
	Image
	rva      uint32 // of the section that is being filled
	sections []section
	dirs     [16][2]uint32
}

// Build returns the file.
func (im Image) Build() []byte {
	b := &builder{Image: im, rva: sectionAlign}
	code := im.Code
	if code == nil {
		code = []byte{0x31, 0xc0, 0xc3} // xor eax, eax; ret
	}
	b.add(".text", 0x68000020, code)
	if len(im.Imports) > 0 {
		data := b.imports(b.Imports, false)
		b.dirs[1] = [2]uint32{b.rva, uint32(len(data))}
		b.add("INIT", 0x62000020, data)
	}
	if len(im.Delayed) > 0 {
		data := b.imports(im.Delayed, true)
		b.dirs[13] = [2]uint32{b.rva, uint32(len(data))}
		b.add(".didat", 0xc0000040, data)
	}
	if im.Version != nil {
		data := b.resources()
		b.dirs[2] = [2]uint32{b.rva, uint32(len(data))}
		b.add(".rsrc", 0x42000040, data)
	}
	if im.PDB != "" || im.Repro {
		b.add(".rdata", 0x48000040, b.debug())
	}
	if im.Forward[0] != "" {
		data := b.exports()
		b.dirs[0] = [2]uint32{b.rva, uint32(len(data))}
		b.add(".edata", 0x40000040, data)
	}
	return b.file()
}

func (b *builder) add(name string, flags uint32, data []byte) {
	b.sections = append(b.sections, section{name, flags, data, b.rva})
	b.rva += (uint32(len(data)) + sectionAlign - 1) &^ (sectionAlign - 1)
}

func u16(b []byte, at int, v uint16) { binary.LittleEndian.PutUint16(b[at:], v) }
func u32(b []byte, at int, v uint32) { binary.LittleEndian.PutUint32(b[at:], v) }

func (b *builder) file() []byte {
	h := make([]byte, headerSize)
	h[0], h[1] = 'M', 'Z'
	const lfanew = 0x80
	u32(h, 0x3c, lfanew)
	copy(h[lfanew:], "PE\x00\x00")
	coff, opt, optSize := lfanew+4, lfanew+24, 240
	machine, magic, characteristics := b.Machine, uint16(0x20b), uint16(0x22)
	if machine == 0 {
		machine = 0x8664
	}
	if b.PE32 {
		optSize, magic, characteristics = 224, 0x10b, 0x102
	}
	if b.DLL {
		characteristics |= 0x2000
	}
	u16(h, coff, machine)
	u16(h, coff+2, uint16(len(b.sections)))
	u32(h, coff+4, b.TimeStamp)
	u16(h, coff+16, uint16(optSize))
	u16(h, coff+18, characteristics)
	u16(h, opt, magic)
	if b.PE32 {
		u32(h, opt+28, 0x10000)
	} else {
		binary.LittleEndian.PutUint64(h[opt+24:], 0x140000000)
	}
	u32(h, opt+32, sectionAlign)
	u32(h, opt+36, fileAlign)
	u16(h, opt+40, 10)
	u16(h, opt+48, 10)
	u32(h, opt+56, b.rva)
	u32(h, opt+60, headerSize)
	u16(h, opt+68, 1) // native
	if b.DLL {
		u16(h, opt+68, 3)
	}
	u16(h, opt+70, 0x4160)
	dirs := opt + optSize - 16*8
	u32(h, dirs-4, 16)
	for i, d := range b.dirs {
		u32(h, dirs+8*i, d[0])
		u32(h, dirs+8*i+4, d[1])
	}
	out := h
	for i, s := range b.sections {
		at := opt + optSize + 40*i
		copy(h[at:at+8], s.name)
		raw := (len(s.data) + fileAlign - 1) &^ (fileAlign - 1)
		u32(h, at+8, uint32(len(s.data)))
		u32(h, at+12, s.rva)
		u32(h, at+16, uint32(raw))
		u32(h, at+20, uint32(len(out)))
		u32(h, at+36, s.flags)
		out = append(out, s.data...)
		out = append(out, make([]byte, raw-len(s.data))...)
		h = out[:headerSize]
	}
	out = append(out, b.Trailing...)
	if b.Signature != nil {
		entry := append(make([]byte, 8), b.Signature...)
		u32(entry, 0, uint32(len(entry)))
		u32(entry, 4, 0x00020200) // the revision and the type
		u32(out, dirs+8*4, uint32(len(out)))
		u32(out, dirs+8*4+4, uint32(len(entry)))
		out = append(out, entry...)
	}
	if !b.NoChecksum {
		u32(out, opt+64, Checksum(out, opt+64))
	}
	return out
}

// Checksum is the PE checksum, the field at offset at taken as zero.
func Checksum(b []byte, at int) uint32 {
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		if i == at || i == at+2 {
			continue
		}
		w := uint32(b[i])
		if i+1 < len(b) {
			w |= uint32(b[i+1]) << 8
		}
		sum += w
		sum = sum&0xffff + sum>>16
	}
	return sum + uint32(len(b))
}

// imports writes a table of imports, or of those that are loaded at the first call of a function.
func (b *builder) imports(list []Import, delayed bool) []byte {
	size, nameAt, namesAt, addressesAt := 20, 12, 0, 16
	if delayed {
		size, nameAt, namesAt, addressesAt = 32, 4, 16, 12
	}
	width := 8
	if b.PE32 {
		width = 4
	}
	data := make([]byte, size*(len(list)+1))
	text := func(s string) uint32 {
		rva := b.rva + uint32(len(data))
		data = append(append(data, s...), 0)
		return rva
	}
	for i, im := range list {
		name := text(im.Library)
		thunks := make([]uint64, len(im.Functions)+1)
		for j, f := range im.Functions {
			if f[0] == '#' {
				n := uint64(0)
				for _, c := range f[1:] {
					n = n*10 + uint64(c-'0')
				}
				thunks[j] = n | 1<<(8*width-1)
				continue
			}
			thunks[j] = uint64(text("\x00\x00" + f))
		}
		for len(data)%8 != 0 {
			data = append(data, 0)
		}
		at := b.rva + uint32(len(data))
		for _, t := range thunks {
			t8 := binary.LittleEndian.AppendUint64(nil, t)
			data = append(data, t8[:width]...)
		}
		u32(data, size*i+namesAt, at)
		u32(data, size*i+nameAt, name)
		u32(data, size*i+addressesAt, at)
		if delayed {
			u32(data, size*i, 1) // its addresses are relative to the image
		}
	}
	return data
}

func (b *builder) exports() []byte {
	data := make([]byte, 40+4+4+4)
	text := func(s string) uint32 {
		rva := b.rva + uint32(len(data))
		data = append(append(data, s...), 0)
		return rva
	}
	name, forward := text(b.Forward[0]), text(b.Forward[1])
	u32(data, 12, name)
	u32(data, 16, 1)
	u32(data, 20, 1)
	u32(data, 24, 1)
	u32(data, 28, b.rva+40)
	u32(data, 32, b.rva+44)
	u32(data, 36, b.rva+48)
	u32(data, 40, forward)
	u32(data, 44, name)
	return data
}

// debug writes the debug directory and its CodeView record.
func (b *builder) debug() []byte {
	var entries []byte
	n := 0
	if b.PDB != "" {
		n++
	}
	if b.Repro {
		n++
	}
	record := append([]byte("RSDS"), 0x13, 0x74, 0x0c, 0xa3, 0xea, 0xc3, 0xc8, 0xf4, 0x99, 0xac, 0x95, 0x79, 0x83,
		0x21, 0xbe, 0x65, 1, 0, 0, 0)
	record = append(append(record, b.PDB...), 0)
	entry := func(typ uint32, rva, size uint32) {
		e := make([]byte, 28)
		u32(e, 12, typ)
		u32(e, 16, size)
		u32(e, 20, rva)
		u32(e, 24, b.offset()+rva-b.rva)
		entries = append(entries, e...)
	}
	at := b.rva + uint32(28*n)
	if b.PDB != "" {
		entry(2, at, uint32(len(record)))
	}
	if b.Repro {
		entry(16, at, 0)
	}
	b.dirs[6] = [2]uint32{b.rva, uint32(28 * n)}
	return append(entries, record...)
}

// offset is where the section that is being filled will lie in the file.
func (b *builder) offset() uint32 {
	off := uint32(headerSize)
	for _, s := range b.sections {
		off += (uint32(len(s.data)) + fileAlign - 1) &^ (fileAlign - 1)
	}
	return off
}

// resources writes a resource directory that holds one version resource, language 0409.
func (b *builder) resources() []byte {
	dir := func(id, at uint32) []byte {
		d := make([]byte, 24)
		u16(d, 14, 1)
		u32(d, 16, id)
		u32(d, 20, at)
		return d
	}
	data := append(dir(16, 1<<31|24), dir(1, 1<<31|48)...)
	data = append(data, dir(0x409, 72)...)
	blob := b.versionInfo()
	leaf := make([]byte, 16)
	u32(leaf, 0, b.rva+88)
	u32(leaf, 4, uint32(len(blob)))
	return append(append(data, leaf...), blob...)
}

// node writes one node of a version resource.
func node(key string, text bool, value []byte, valueLen int, children ...[]byte) []byte {
	b := make([]byte, 6)
	for _, u := range utf16.Encode([]rune(key + "\x00")) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	pad := func() {
		for len(b)%4 != 0 {
			b = append(b, 0)
		}
	}
	pad()
	b = append(b, value...)
	for _, c := range children {
		pad()
		b = append(b, c...)
	}
	u16(b, 0, uint16(len(b)))
	u16(b, 2, uint16(valueLen))
	if text {
		u16(b, 4, 1)
	}
	return b
}

// versionKeys is the order in which strings are written.
var versionKeys = []string{"CompanyName", "FileDescription", "FileVersion", "InternalName", "LegalCopyright",
	"OriginalFilename", "ProductName", "ProductVersion"}

func (b *builder) versionInfo() []byte {
	fixed := make([]byte, 52)
	u32(fixed, 0, 0xfeef04bd)
	for _, at := range []int{8, 16} {
		u16(fixed, at+2, b.Numbers[0])
		u16(fixed, at, b.Numbers[1])
		u16(fixed, at+6, b.Numbers[2])
		u16(fixed, at+4, b.Numbers[3])
	}
	tables := [][]byte{b.stringTable("040904b0", b.Version)}
	for _, l := range b.Languages {
		tables = append(tables, b.stringTable(l.Key, l.Strings))
	}
	if b.Odd {
		tables = append(tables, make([]byte, 8))
	}
	return node("VS_VERSION_INFO", false, fixed, len(fixed), node("StringFileInfo", true, nil, 0, tables...))
}

func (b *builder) stringTable(key string, values map[string]string) []byte {
	var strings [][]byte
	for _, k := range versionKeys {
		v, ok := values[k]
		if !ok {
			continue
		}
		var text []byte
		for _, u := range utf16.Encode([]rune(v + "\x00")) {
			text = binary.LittleEndian.AppendUint16(text, u)
		}
		length := len(text) / 2
		if b.Odd {
			length = len(text)
		}
		strings = append(strings, node(k, !b.Odd, text, length))
	}
	if b.Odd {
		strings = append(strings, make([]byte, 8))
	}
	return node(key, true, nil, 0, strings...)
}
