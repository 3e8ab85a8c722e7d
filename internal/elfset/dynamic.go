// SPDX-License-Identifier: Apache-2.0

package elfset

import (
	"debug/elf"
)

// dynamic is what the dynamic section of a shared object says; it is read once.
type dynamic struct {
	off, size         uint64
	rela, relaSize    uint64
	rel, relSize      uint64
	plt, pltSize      uint64 // relocations of the same kind as pltKind says: DT_RELA or DT_REL
	pltKind           elf.DynTag
	symtab            section // as if it were a section; size 0 if the file has no symbol table
	strtab            section
	done              bool
	symAddr, strAddr  uint64
	strSize, hashAddr uint64
	err               error
}

// maxDynamic is how many entries of a dynamic section are read; real ones have about 20.
const maxDynamic = 4096

func (f *File) dynamicInfo() (*dynamic, error) {
	d := &f.dyn
	if d.done {
		return d, d.err
	}
	d.done = true
	step := uint64(2 * f.PtrSize())
	n := min(d.size/step, maxDynamic)
	for i := range n {
		b, err := f.r.at(d.off+i*step, int(step))
		if err != nil {
			d.err = f.bad("dynamic", d.off, "outside of the file")
			return d, d.err
		}
		h := fields{b, f.Order, f.PtrSize(), 0}
		tag, v := elf.DynTag(h.word()), h.word()
		if tag == elf.DT_NULL {
			break
		}
		d.set(tag, v)
	}
	f.dynamicSymbols(d)
	return d, nil
}

func (d *dynamic) set(tag elf.DynTag, v uint64) {
	switch tag {
	case elf.DT_RELA:
		d.rela = v
	case elf.DT_RELASZ:
		d.relaSize = v
	case elf.DT_REL:
		d.rel = v
	case elf.DT_RELSZ:
		d.relSize = v
	case elf.DT_JMPREL:
		d.plt = v
	case elf.DT_PLTRELSZ:
		d.pltSize = v
	case elf.DT_PLTREL:
		d.pltKind = elf.DynTag(v)
	case elf.DT_SYMTAB:
		d.symAddr = v
	case elf.DT_STRTAB:
		d.strAddr = v
	case elf.DT_STRSZ:
		d.strSize = v
	case elf.DT_HASH:
		d.hashAddr = v
	}
}

// dynamicSymbols finds the dynamic symbol table: its section, or, in a file without section
// headers, the table that the dynamic section names, as long as the hash table says.
func (f *File) dynamicSymbols(d *dynamic) {
	for _, s := range f.secs {
		if s.typ == elf.SHT_DYNSYM {
			d.symtab = s
			return
		}
	}
	a, ok := f.find(d.symAddr)
	if !ok || d.symAddr-a.addr >= a.fill {
		return
	}
	count := uint64(0)
	if b, err := f.Bytes(d.hashAddr, 8); err == nil && d.hashAddr != 0 {
		count = uint64(f.Order.Uint32(b[4:]))
	}
	off := a.off + d.symAddr - a.addr
	d.symtab = section{typ: elf.SHT_DYNSYM, off: off, size: min(count*f.symbolSize(), f.r.left(off)), link: ^uint32(0)}
	if s, ok := f.find(d.strAddr); ok && d.strAddr-s.addr < s.fill {
		d.strtab = section{typ: elf.SHT_STRTAB, off: s.off + d.strAddr - s.addr, size: d.strSize}
	}
}

// symbolValues looks the names up in the dynamic symbol table, then in the full one.
func (f *File) symbolValues(names ...string) (map[string]uint64, error) {
	out := map[string]uint64{}
	d, err := f.dynamicInfo()
	if err == nil && d.symtab.size > 0 {
		f.lookup(d.symtab, d.strtab, names, out)
	}
	for i := range f.secs {
		if len(out) == len(names) {
			break
		}
		if f.secs[i].typ == elf.SHT_SYMTAB {
			f.lookup(f.secs[i], section{}, names, out)
			break
		}
	}
	return out, err
}

// lookup searches one symbol table from its first to its last symbol.
func (f *File) lookup(tab, str section, names []string, out map[string]uint64) {
	if tab.link < uint32(len(f.secs)) {
		str = f.secs[tab.link]
	}
	n := min(tab.size, f.r.left(tab.off)) / f.symbolSize()
	tab.size = n * f.symbolSize()
	for i := uint64(1); i < n && len(out) < len(names); i++ {
		s, err := f.symbol(tab, i)
		if err != nil {
			return
		}
		if s.shndx == uint32(elf.SHN_UNDEF) || uint64(s.name) >= str.size {
			continue
		}
		for _, name := range names {
			if f.equalString(str, uint64(s.name), name) {
				out[name] = s.value
			}
		}
	}
}

// equalString reports whether the string at off of the table is want, without copying it.
func (f *File) equalString(table section, off uint64, want string) bool {
	if uint64(len(want)) >= table.size-off {
		return false
	}
	b, err := f.r.at(table.off+off, len(want)+1)
	return err == nil && b[len(want)] == 0 && string(b[:len(want)]) == want
}
