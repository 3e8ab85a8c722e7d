// SPDX-License-Identifier: Apache-2.0

package elfset

import (
	"debug/elf"
	"strings"

	"github.com/kernelext/kernelext/fact"
)

// maxSymbol is the longest name of a symbol that is read, in bytes.
const maxSymbol = 1024

// Needed returns the names of the global symbols that the file's relocations use and that the file does not define,
// each once. A weak symbol is not needed. Only relocations of what will be in memory count. What the names take is
// held by the item.
func (f *File) Needed(item *fact.Item) ([]string, error) {
	tab, str, err := f.linkTable()
	if err != nil {
		return nil, err
	}
	n := &needs{file: f, tab: tab, str: str, item: item, seen: map[uint32]bool{}}
	if f.Type != elf.ET_REL {
		d, err := f.dynamicInfo()
		if err != nil {
			return nil, err
		}
		for _, t := range d.tables() {
			off, err := f.tableAt(t)
			if err == nil {
				err = n.read(off, t.size, t.rela)
			}
			if err != nil {
				return nil, err
			}
		}
		return n.names, nil
	}
	for i := range f.secs {
		s := &f.secs[i]
		rela := s.typ == elf.SHT_RELA
		if !rela && s.typ != elf.SHT_REL || s.info >= uint32(len(f.secs)) || f.secs[s.info].flags&elf.SHF_ALLOC == 0 {
			continue
		}
		if err := n.read(s.off, s.size, rela); err != nil {
			return nil, err
		}
	}
	return n.names, nil
}

// needs collects the names of needed symbols.
type needs struct {
	file     *File
	tab, str section
	item     *fact.Item
	seen     map[uint32]bool
	names    []string
}

// read looks at the symbols of one table of relocations.
func (n *needs) read(off, size uint64, rela bool) error {
	f := n.file
	if size > f.r.left(off) {
		return f.bad("relocations", off, "table of %d bytes passes the end of the file", size)
	}
	if err := n.item.Work(int64(size)); err != nil {
		return err
	}
	return f.relocations(off, size, rela, func(e reloc, typ uint32) error {
		if e.sym == 0 || typ == 0 || n.seen[e.sym] { // type 0 is R_*_NONE on every processor
			return nil
		}
		if err := n.item.Hold(16); err != nil {
			return err
		}
		n.seen[e.sym] = true
		s, err := f.symbol(n.tab, uint64(e.sym))
		if err != nil {
			return err
		}
		if s.shndx != uint32(elf.SHN_UNDEF) || s.bind != elf.STB_GLOBAL {
			return nil
		}
		name, err := f.nameOf(n.str, s, n.item)
		if err != nil || name == "" {
			return err
		}
		own, err := n.bounds(name)
		if err == nil && !own {
			n.names = append(n.names, name)
			err = n.item.Hold(int64(len(name)) + 16)
		}
		return err
	})
}

// bounds reports whether a symbol is the beginning or the end of a linker set that the file has: the linker defines it
// (link_elf_fix_link_set).
func (n *needs) bounds(name string) (bool, error) {
	set, ok := strings.CutPrefix(name, "__start_")
	if !ok {
		set, ok = strings.CutPrefix(name, "__stop_")
	}
	if !ok {
		return false, nil
	}
	if err := n.item.Work(int64(64 * len(n.file.secs))); err != nil {
		return false, err
	}
	for i := range n.file.secs {
		if n.file.sectionName(i) == set {
			return true, nil
		}
	}
	return false, nil
}

// Defined calls each for the name of every symbol that the file defines for others: of a relocatable file the symbols
// of its table, of others the dynamic ones. Local symbols are among them: kernels let them take part by default
// (debug.link_elf_leak_locals).
func (f *File) Defined(item *fact.Item, each func(name string) error) error {
	tab, str, err := f.linkTable()
	if err != nil {
		return err
	}
	for i := range tab.size / f.symbolSize() {
		s, err := f.symbol(tab, i)
		if err != nil {
			return err
		}
		if s.shndx == uint32(elf.SHN_UNDEF) {
			continue
		}
		name, err := f.nameOf(str, s, item)
		if err == nil && name != "" {
			err = each(name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// linkTable returns the one table of symbols that a kernel links by, and the table of their names.
func (f *File) linkTable() (tab, str section, err error) {
	if f.Type != elf.ET_REL {
		var d *dynamic
		if d, err = f.dynamicInfo(); err != nil {
			return tab, str, err
		}
		tab, str = d.symtab, d.strtab
	}
	for i := range f.secs {
		if f.Type != elf.ET_REL || f.secs[i].typ != elf.SHT_SYMTAB {
			continue
		}
		if tab.size > 0 {
			return tab, str, f.bad("sh_type", tab.off, "more than one table of symbols")
		}
		tab = f.secs[i]
	}
	if tab.size == 0 || tab.size > f.r.left(tab.off) {
		return tab, str, f.bad("symbols", tab.off, "no table of symbols in the file")
	}
	if tab.link < uint32(len(f.secs)) {
		str = f.secs[tab.link]
	}
	return tab, str, nil
}

// nameOf returns the name of a symbol, which the item pays for.
func (f *File) nameOf(str section, s symbol, item *fact.Item) (string, error) {
	if str.typ == elf.SHT_NOBITS || uint64(s.name) >= str.size {
		return "", f.bad("symbol", str.off, "a name outside of the table")
	}
	name := f.tableString(str, uint64(s.name), maxSymbol)
	return name, item.Work(int64(len(name)) + 32)
}

// A table is a table of relocations of a shared object.
type table struct {
	addr, size uint64
	rela       bool
}

// tables returns the tables of relocations, those of the procedure linkage table last.
func (d *dynamic) tables() []table {
	return []table{{d.rela, d.relaSize, true}, {d.rel, d.relSize, false},
		{d.plt, d.pltSize, d.pltKind == elf.DT_RELA}}
}

// tableAt returns where in the file a table lies.
func (f *File) tableAt(t table) (off uint64, err error) {
	if t.size == 0 {
		return 0, nil
	}
	a, ok := f.find(t.addr)
	if !ok || t.addr-a.addr >= a.fill || t.size > a.fill-(t.addr-a.addr) {
		return 0, f.bad("dynamic", 0, "relocation table at %#x is in no segment", t.addr)
	}
	return a.off + t.addr - a.addr, nil
}
