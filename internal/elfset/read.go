// SPDX-License-Identifier: Apache-2.0

package elfset

import (
	"debug/elf"
)

// A Range is a run of addresses.
type Range struct {
	Addr, Size uint64
}

// Set finds the linker set that is the named section: by its section in a relocatable file, by
// the symbols __start_NAME and __stop_NAME in any other, and by its section there when the symbols
// are missing. No ranges means that the file has no such set.
func (f *File) Set(name string) ([]Range, error) {
	if f.Type != elf.ET_REL {
		r, ok, err := f.setBySymbols(name)
		if err != nil || ok {
			return r, err
		}
	}
	var out []Range
	for i := range f.secs {
		s := &f.secs[i]
		if f.sectionName(i) != name || s.size == 0 {
			continue
		}
		addr := s.addr
		if f.Type == elf.ET_REL {
			addr = s.virtual
		}
		if addr == 0 {
			return nil, f.bad(name, s.off, "section has no place in memory")
		}
		out = append(out, Range{addr, s.size})
	}
	return out, nil
}

func (f *File) setBySymbols(name string) ([]Range, bool, error) {
	v, err := f.symbolValues("__start_"+name, "__stop_"+name)
	if err != nil {
		return nil, false, err
	}
	start, ok1 := v["__start_"+name]
	stop, ok2 := v["__stop_"+name]
	switch {
	case !ok1 || !ok2:
		return nil, false, nil
	case stop < start:
		return nil, false, f.bad(name, 0, "ends at %#x before it starts at %#x", stop, start)
	case stop == start:
		return nil, true, nil
	}
	return []Range{{start, stop - start}}, true, nil
}

// Bytes returns n bytes of memory at addr as they are before relocation. The bytes are shared.
func (f *File) Bytes(addr uint64, n int) ([]byte, error) {
	a, ok := f.find(addr)
	if !ok {
		return nil, f.bad("", 0, "address %#x is in no section or segment", addr)
	}
	in := addr - a.addr
	if uint64(n) > a.size-in {
		return nil, f.bad("", 0, "%d bytes at %#x pass the end of their section", n, addr)
	}
	if in >= a.fill {
		return make([]byte, n), nil
	}
	have := min(uint64(n), a.fill-in)
	b, err := f.r.at(a.off+in, int(have))
	if err != nil {
		if err == errOutside {
			return nil, f.bad("", a.off+in, "%d bytes at %#x are outside of the file", n, addr)
		}
		return nil, err
	}
	if have < uint64(n) {
		return append(b[:have:have], make([]byte, uint64(n)-have)...), nil
	}
	return b, nil
}

// Uint32 returns the 32-bit number at addr.
func (f *File) Uint32(addr uint64) (uint32, error) {
	b, err := f.Bytes(addr, 4)
	if err != nil {
		return 0, err
	}
	return f.Order.Uint32(b), nil
}

// Pointer returns the pointer at addr, after relocation; 0 is a null pointer.
func (f *File) Pointer(addr uint64) (uint64, error) {
	b, err := f.Bytes(addr, f.PtrSize())
	if err != nil {
		return 0, err
	}
	raw := uint64(0)
	if f.PtrSize() == 8 {
		raw = f.Order.Uint64(b)
	} else {
		raw = uint64(f.Order.Uint32(b))
	}
	return f.reloc.apply(addr, raw)
}

// String returns the NUL-terminated string at addr. It returns an error if the string does not end within max bytes, or
// within its section.
func (f *File) String(addr uint64, max int) (string, error) {
	a, ok := f.find(addr)
	if !ok {
		return "", f.bad("", 0, "address %#x is in no section or segment", addr)
	}
	in := addr - a.addr
	if in >= a.fill {
		return "", nil // zeros
	}
	room := min(uint64(max)+1, a.fill-in)
	s, ended := f.r.cstring(a.off+in, int(room))
	if !ended && a.fill-in <= uint64(max) && a.fill < a.size && f.r.left(a.off+in) >= room {
		ended = true // the zeros after the file's bytes end it
	}
	if !ended {
		return "", f.bad("", a.off+in, "string at %#x does not end within %d bytes", addr, room)
	}
	return s, nil
}

// BuildID returns the GNU build-id note as lower-case hexadecimal, "" when the file has none.
func (f *File) BuildID() string {
	for i := range f.secs {
		s := &f.secs[i]
		if s.typ != elf.SHT_NOTE || s.size < 16 || s.size > 4096 {
			continue
		}
		b, err := f.r.at(s.off, int(s.size))
		if err != nil {
			continue
		}
		if id := buildID(fields{b, f.Order, 4, 0}); id != "" {
			return id
		}
	}
	return ""
}

func buildID(h fields) string {
	const ntGNUBuildID = 3
	for len(h.b)-h.at >= 12 {
		nameLen, descLen, typ := uint64(h.u32()), uint64(h.u32()), h.u32()
		name, desc := (nameLen+3)&^3, (descLen+3)&^3
		if name > uint64(len(h.b)-h.at) || desc > uint64(len(h.b)-h.at)-name {
			return ""
		}
		at := h.at + int(name)
		if typ == ntGNUBuildID && nameLen == 4 && string(h.b[h.at:h.at+4]) == "GNU\x00" && descLen > 0 &&
			descLen <= 64 {
			return hexString(h.b[at : at+int(descLen)])
		}
		h.at = at + int(desc)
	}
	return ""
}

func hexString(b []byte) string {
	const digits = "0123456789abcdef"
	out := make([]byte, 0, 2*len(b))
	for _, c := range b {
		out = append(out, digits[c>>4], digits[c&15])
	}
	return string(out)
}

// Words calls yield with the address and the value of each pointer of the set r, after
// relocation, or with the error that this one pointer costs, until yield returns false. At most
// max pointers are read.
func (f *File) Words(r []Range, max int, yield func(addr, value uint64, err error) bool) {
	step := uint64(f.PtrSize())
	n := 0
	for _, set := range r {
		for off := uint64(0); off+step <= set.Size; off += step {
			if n++; n > max {
				return
			}
			v, err := f.Pointer(set.Addr + off)
			if !yield(set.Addr+off, v, err) {
				return
			}
		}
	}
}
