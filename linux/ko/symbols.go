// SPDX-License-Identifier: Apache-2.0

package ko

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
)

// Symbols are a module file's imported and exported symbols.
type Symbols struct {
	// Imports are what it needs of the kernel and of other modules, in the file's order.
	Imports []Symbol
	// Exports are what it offers to other modules, in the file's order.
	Exports []Symbol
}

// A Symbol is one imported or exported symbol of a module file.
type Symbol struct {
	// Name is the symbol's name.
	Name string `json:"name"`
	// CRC is the checksum of its C type as 0x and 8 hexadecimal digits; empty for a kernel built
	// without CONFIG_MODVERSIONS.
	CRC string `json:"crc,omitzero"`
	// GPL is set for an export that only GPL-compatible modules may use.
	GPL bool `json:"gpl,omitzero"`
	// Namespace is the namespace that an export is in; empty for none.
	Namespace string `json:"namespace,omitzero"`
	// Weak is set for an import that need not exist.
	Weak bool `json:"weak,omitzero"`
}

// maxSymbols caps the symbols of one file; the largest real modules have under 100,000.
const maxSymbols = 1 << 20

// maxSymbolName caps one name, as the kernel does (KSYM_NAME_LEN, with the NUL).
const maxSymbolName = 511

// symbolNameShare caps the bytes of all names together, as a multiple of what the two tables have:
// the names of a hostile table overlap. Linkers store a name once for all symbols that have it, or
// end with it, so the sum may exceed the table of names; 8 times both tables, 192 bytes a symbol of
// a 64-bit module beyond the names themselves, is more than real names have.
const symbolNameShare = 8

func (e *elfImage) overlapping() error {
	return &fact.ParseError{Source: e.path, Field: "symbols", Reason: "the symbols' names overlap",
		Err: fact.ErrTooLarge}
}

// versionEntry is the size of an entry of __versions, its checksum included, in every kernel.
const versionEntry = 64

// readSymbols reads the symbol table and the version tables.
func readSymbols(src byteSource, path string) (*Symbols, error) {
	e, err := openELF(src, path)
	if err != nil {
		return nil, err
	}
	versions, err := e.versions()
	if err != nil {
		return nil, err
	}
	return e.symbols(versions)
}

// A version is one entry of a module's table of the symbols that it was built against.
type version struct {
	name string
	crc  uint32
}

// versions reads __versions, or its extended form for names of any length.
func (e *elfImage) versions() ([]version, error) {
	if s := e.find("__version_ext_crcs"); s != nil {
		return e.extendedVersions(s)
	}
	s := e.find("__versions")
	if s == nil {
		return nil, nil
	}
	b, err := e.data(s, "symbols", maxSymbolBytes)
	if err != nil {
		return nil, err
	}
	list := make([]version, 0, len(b)/versionEntry)
	crcSize := int(e.pick(4, 8))
	for ; len(b) >= versionEntry; b = b[versionEntry:] {
		crc := e.order.Uint32(b)
		if e.is64 {
			crc = uint32(e.order.Uint64(b))
		}
		name := b[crcSize:versionEntry]
		if n := bytes.IndexByte(name, 0); n >= 0 {
			name = name[:n]
		}
		list = append(list, version{escape.UTF8(string(name)), crc})
	}
	return list, nil
}

func (e *elfImage) extendedVersions(crcs *elfSection) ([]version, error) {
	b, err := e.data(crcs, "symbols", maxSymbolBytes)
	if err != nil {
		return nil, err
	}
	b = bytes.Clone(b)
	s := e.find("__version_ext_names")
	if s == nil {
		return nil, e.bad("symbols", 0, "__version_ext_crcs without __version_ext_names")
	}
	names, err := e.data(s, "symbols", maxSymbolBytes)
	if err != nil {
		return nil, err
	}
	list := make([]version, 0, len(b)/4)
	for ; len(b) >= 4 && len(names) > 0; b = b[4:] {
		name, rest, _ := bytes.Cut(names, []byte{0})
		list = append(list, version{escape.UTF8(string(name)), e.order.Uint32(b)})
		names = rest
	}
	return list, nil
}

// An elfSymbol is one entry of the symbol table.
type elfSymbol struct {
	name    string
	value   uint64
	section uint16
	weak    bool
}

// symbols joins the symbol table with the versions.
func (e *elfImage) symbols(versions []version) (*Symbols, error) {
	table, err := e.symbolTable()
	if err != nil {
		return nil, err
	}
	crcs := make(map[string]uint32, len(versions))
	for _, v := range versions {
		crcs[v.name] = v.crc
	}
	out := &Symbols{Imports: []Symbol{}, Exports: []Symbol{}}
	imported := make(map[string]bool)
	for _, s := range table {
		if s.section != 0 || s.name == "" || imported[s.name] {
			continue
		}
		imported[s.name] = true
		sym := Symbol{Name: s.name, Weak: s.weak}
		if crc, ok := crcs[s.name]; ok {
			sym.CRC = crcText(crc)
		}
		out.Imports = append(out.Imports, sym)
	}
	// A version without an undefined symbol is a check of something else: module_layout, the
	// layout of the kernel's own structures.
	for _, v := range versions {
		if !imported[v.name] {
			imported[v.name] = true
			out.Imports = append(out.Imports, Symbol{Name: v.name, CRC: crcText(v.crc)})
		}
	}
	exports, err := e.exports(table)
	if err != nil {
		return nil, err
	}
	out.Exports = append(out.Exports, exports...)
	return out, nil
}

func crcText(crc uint32) string { return fmt.Sprintf("0x%08x", crc) }

// exports finds what the module exports: each has a __ksymtab_ entry, and a __crc_ symbol that is
// the checksum itself (kernels before 5.19) or names its place.
func (e *elfImage) exports(table []elfSymbol) ([]Symbol, error) {
	crcs := make(map[string]string)
	namespaces := make(map[string]string)
	room := maxNamespaces
	for _, s := range table {
		if name, ok := strings.CutPrefix(s.name, "__crc_"); ok {
			if crc, ok := e.exportCRC(s); ok {
				crcs[name] = crcText(crc)
			}
		}
		if name, ok := strings.CutPrefix(s.name, "__kstrtabns_"); ok {
			namespaces[name] = e.text(s)
			if room -= len(namespaces[name]); room < 0 {
				return nil, e.overlapping()
			}
		}
	}
	var exports []Symbol
	for _, s := range table {
		name, ok := strings.CutPrefix(s.name, "__ksymtab_")
		if !ok || s.section == 0 || name == "" {
			continue
		}
		exports = append(exports, Symbol{Name: name, CRC: crcs[name], GPL: e.inGPL(s), Namespace: namespaces[name]})
	}
	return exports, nil
}

// maxNamespaces caps the bytes of all namespaces: 32 for each of 100,000 exports.
const maxNamespaces = 4 << 20

const sectionAbsolute = 0xfff1 // SHN_ABS

func (e *elfImage) exportCRC(s elfSymbol) (uint32, bool) {
	if s.section == sectionAbsolute {
		return uint32(s.value), true
	}
	b, ok := e.at(s, 4)
	if !ok {
		return 0, false
	}
	return e.order.Uint32(b), true
}

// at returns n bytes of the section at the symbol's place.
func (e *elfImage) at(s elfSymbol, n uint64) ([]byte, bool) {
	if int(s.section) >= len(e.sections) {
		return nil, false
	}
	sec := e.sections[s.section]
	if sec.kind == sectionNone || s.value > uint64(sec.size) || uint64(sec.size)-s.value < n {
		return nil, false
	}
	b, err := e.src.bytes(sec.offset+int64(s.value), int64(n))
	return b, err == nil
}

// text returns the string at the symbol's place, up to 256 bytes.
func (e *elfImage) text(s elfSymbol) string {
	if int(s.section) >= len(e.sections) {
		return ""
	}
	size := uint64(e.sections[s.section].size)
	b, ok := e.at(s, min(256, size-min(s.value, size)))
	if !ok {
		return ""
	}
	b, _, _ = bytes.Cut(b, []byte{0})
	return escape.UTF8(string(b))
}

func (e *elfImage) inGPL(s elfSymbol) bool {
	if int(s.section) >= len(e.sections) {
		return false
	}
	sec := &e.sections[s.section]
	return e.named(sec, "__ksymtab_gpl") || e.named(sec, "___ksymtab_gpl+"+strings.TrimPrefix(s.name, "__ksymtab_"))
}

// symbolTable decodes .symtab.
func (e *elfImage) symbolTable() ([]elfSymbol, error) {
	var table *elfSection
	for i := range e.sections {
		if e.sections[i].kind == sectionSym {
			table = &e.sections[i]
			break
		}
	}
	if table == nil {
		return nil, nil // stripped
	}
	if int64(table.link) >= int64(len(e.sections)) {
		return nil, e.bad("symbols", table.offset, "no symbol names")
	}
	b, err := e.data(table, "symbols", maxSymbolBytes)
	if err != nil {
		return nil, err
	}
	entry := int(e.pick(16, 24))
	n := len(b) / entry
	if n > maxSymbols {
		return nil, &fact.ParseError{Source: e.path, Field: "symbols", Reason: fmt.Sprintf("%d symbols", n),
			Err: fact.ErrTooLarge}
	}
	names, err := e.data(&e.sections[table.link], "symbols", maxSymbolBytes)
	if err != nil {
		return nil, err
	}
	text := string(names)
	list := make([]elfSymbol, 0, n)
	room := symbolNameShare * (len(b) + len(names))
	for i := range n {
		s := e.symbol(b[i*entry:], text)
		if room -= len(s.name); room < 0 {
			return nil, e.overlapping()
		}
		list = append(list, s)
	}
	return list, nil
}

func (e *elfImage) symbol(b []byte, names string) elfSymbol {
	o := e.order
	name, info := o.Uint32(b), byte(0)
	var s elfSymbol
	if e.is64 {
		info, s.section, s.value = b[4], o.Uint16(b[6:]), o.Uint64(b[8:])
	} else {
		s.value, info, s.section = uint64(o.Uint32(b[4:])), b[12], o.Uint16(b[14:])
	}
	s.weak = info>>4 == 2
	if int64(name) < int64(len(names)) {
		s.name = names[name:min(int64(len(names)), int64(name)+maxSymbolName)]
		if i := strings.IndexByte(s.name, 0); i >= 0 {
			s.name = s.name[:i]
		}
		s.name = escape.UTF8(s.name)
	}
	return s
}
