// SPDX-License-Identifier: Apache-2.0

package kotest

import (
	"debug/elf"
	"encoding/binary"
	"strings"
)

// KMOD is a NetBSD module file for amd64: the module zfs, which requires solaris.
func KMOD() []byte { return KMODOf("zfs", "solaris,xcall") }

// KMODOf is a NetBSD module file for amd64: a module of that name, with what it requires, separated by commas.
func KMODOf(module, requires string) []byte { return KMODs(1, module, requires) }

// KMODs is KMODOf with that module n times.
func KMODs(n int, module, requires string) []byte {
	k := AMD64()
	m := &image{k: k}
	name := m.text(module)
	required := m.text(requires)
	m.align(8)
	at := len(m.b)
	m.u32(1000000000) // built for NetBSD 10.0
	m.u32(2)          // vfs
	m.word(0)         // modcmd
	m.pointer(name, false)
	m.pointer(required, false)
	m.align(16)
	set := len(m.b)
	for range n {
		m.fixups = append(m.fixups, fixup{at: len(m.b), to: at, set: true})
		m.word(0)
	}
	b := m.relocatable(set)
	b[7] = 0 // NetBSD leaves EI_OSABI alone
	// The section has another name of fewer letters.
	return []byte(strings.Replace(strings.Replace(string(b), ".relaset_modmetadata_set\x00",
		".relalink_set_modules\x00\x00\x00\x00", 1),
		"\x00set_modmetadata_set\x00", "\x00link_set_modules\x00\x00\x00\x00", 1))
}

// NLM is a NetWare Loadable Module: CLIB.NLM 5.00a, which needs THREADS.NLM, imports AllocateMemory
// and exports printf and malloc.
func NLM() []byte {
	le := binary.LittleEndian
	pascal := func(b []byte, s string, z bool) []byte {
		b = append(append(b, byte(len(s))), s...)
		if z {
			b = append(b, 0)
		}
		return b
	}
	b := append([]byte("NetWare Loadable Module\x1a"), 4, 0, 0, 0)
	b = append(pascal(b, "CLIB.NLM", false), make([]byte, 14-9)...)
	b = append(b, make([]byte, 130-len(b))...)
	b = pascal(b, "C Library", true)
	b = le.AppendUint32(b, 8192) // stack
	b = append(b, make([]byte, 4+5)...)
	b = pascal(b, "System Console", true)
	b = pascal(b, "CLIB", true)
	b = append(b, "VeRsIoN#"...)
	for _, v := range []uint32{5, 0, 1, 1998, 9, 10} {
		b = le.AppendUint32(b, v)
	}
	b = append(b, "MeSsAgEs"...)
	b = append(b, make([]byte, 29*4)...)
	b = pascal(append(b, "CoPyRiGhT="...), "Copyright 1998 somebody", true)
	le.PutUint32(b[70:], uint32(len(b)))
	le.PutUint32(b[74:], 1)
	b = pascal(b, "THREADS.NLM", false)
	le.PutUint32(b[86:], uint32(len(b)))
	le.PutUint32(b[90:], 1)
	b = pascal(b, "AllocateMemory", false)
	b = le.AppendUint32(b, 2)
	b = le.AppendUint32(b, 0x10)
	b = le.AppendUint32(b, 0x20)
	le.PutUint32(b[94:], uint32(len(b)))
	le.PutUint32(b[98:], 2)
	b = le.AppendUint32(pascal(b, "printf", false), 0x100)
	b = le.AppendUint32(pascal(b, "malloc", false), 0x200)
	le.PutUint32(b[46:], 4096)
	le.PutUint32(b[54:], 512)
	le.PutUint32(b[58:], 64)
	return b
}

// Linux is a Linux module for x86-64: c, version 1.0, which needs d.
func Linux() []byte {
	return LinuxModule("license=GPL", "version=1.0", "depends=d", "name=c", "vermagic=6.1.0 SMP preempt mod_unload ")
}

// LinuxModule is a Linux module for x86-64 with these entries of .modinfo, and nothing else.
func LinuxModule(modinfo ...string) []byte {
	w := &writer{m: &image{k: AMD64()}}
	info := strings.Join(modinfo, "\x00") + "\x00"
	w.parts = []part{{}, {name: ".modinfo", typ: elf.SHT_PROGBITS, flags: elf.SHF_ALLOC, data: []byte(info), align: 1}}
	b := w.file(nil)
	b[7] = 0
	return b
}
