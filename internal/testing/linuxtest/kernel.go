// SPDX-License-Identifier: Apache-2.0

package linuxtest

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
)

// A Kernel makes a kernel in memory's form that is nothing but notes and lists of certificates.
type Kernel struct {
	// Order is the byte order; nil is little-endian.
	Order ByteOrder
	// Is32 makes the words of a 32-bit kernel.
	Is32 bool
	// Align is what the assembler takes ".align 8" as; 0 is 8.
	Align int
	// BuildID is the kernel's build id; none if empty.
	BuildID []byte
	// Lists are the lists of certificates, in their order.
	Lists []KernelList
	// Raw is put after the lists.
	Raw []byte
}

// A KernelList is a list of certificates in DER.
type KernelList struct {
	// Certificates are the list's.
	Certificates [][]byte
	// Extra is the size of the area for one more certificate; 0 for none. Used is how much of it the last of the
	// certificates takes.
	Extra, Used int
	// ModuleKey adds the word that says how long the first certificate is, and NoKey makes it zero.
	ModuleKey, NoKey bool
	// Claim is the length that the list claims; 0 is the right one.
	Claim int
	// Shift moves the list's beginning by so many bytes.
	Shift int
	// Between is put between the list and its length.
	Between []byte
}

// Plain returns the kernel.
func (k Kernel) Plain() []byte {
	order, align := k.Order, max(k.Align, 8)
	if order == nil {
		order = binary.LittleEndian
	}
	b := append([]byte("\x7fELF\x02"), make([]byte, 1019)...)
	if k.Is32 {
		b[4] = 1
	}
	pad := func(n int) {
		for len(b)%n != 0 {
			b = append(b, 0)
		}
	}
	if k.BuildID != nil {
		b = order.AppendUint32(b, 4)
		b = order.AppendUint32(b, uint32(len(k.BuildID)))
		b = order.AppendUint32(b, 3)
		b = append(append(b, "GNU\x00"...), k.BuildID...)
	}
	word := func(n int) {
		pad(align)
		if k.Is32 {
			b = order.AppendUint32(b, uint32(n))
			return
		}
		b = order.AppendUint64(b, uint64(n))
	}
	for _, l := range k.Lists {
		b = append(b, "\xff\xff\xff"...) // what is before is not zero
		pad(align)
		b = append(b, make([]byte, l.Shift)...)
		list := bytes.Join(l.Certificates, nil)
		b = append(append(b, list...), l.Between...)
		if l.Extra > 0 {
			b = append(b, make([]byte, l.Extra-l.Used)...)
			pad(4)
			b = order.AppendUint32(b, uint32(l.Used))
		}
		claim := len(list)
		if l.Claim != 0 {
			claim = l.Claim
		}
		word(claim)
		switch {
		case l.NoKey:
			word(0)
		case l.ModuleKey:
			word(len(l.Certificates[0]))
		}
		b = append(b, "\xff\xff\xff\xff"...)
		pad(8)
	}
	return append(b, k.Raw...)
}

// BzImage puts a packed kernel into the file that an x86 boot loader starts. What is not gzip has its plain size after
// it.
func BzImage(packed []byte, plain int) []byte {
	const sectors, offset = 3, 0x2c4
	b := make([]byte, (sectors+1)*512+offset)
	copy(b, "MZ")
	b[0x1f1] = sectors
	copy(b[0x202:], "HdrS")
	binary.LittleEndian.PutUint16(b[0x206:], 0x20f)
	if !bytes.HasPrefix(packed, []byte("\x1f\x8b")) {
		packed = binary.LittleEndian.AppendUint32(bytes.Clone(packed), uint32(plain))
	}
	binary.LittleEndian.PutUint32(b[0x248:], offset)
	binary.LittleEndian.PutUint32(b[0x24c:], uint32(len(packed)))
	return append(append(b, packed...), make([]byte, 300)...)
}

// Zboot puts a packed kernel into the EFI program that unpacks it.
func Zboot(packed []byte, packing string) []byte {
	b := make([]byte, 0x400)
	copy(b, "MZ\x00\x00zimg")
	binary.LittleEndian.PutUint32(b[8:], uint32(len(b)))
	binary.LittleEndian.PutUint32(b[12:], uint32(len(packed)))
	copy(b[24:], packing)
	return append(append(b, packed...), "\x01\x02\x03\x04"...)
}

// StoredXZ makes an xz file of one block whose bytes are stored as they are, behind the x86 filter: give it bytes
// without the opcodes of calls.
func StoredXZ(data []byte) []byte {
	sum := func(b []byte, from int) []byte {
		return binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b[from:]))
	}
	pad := func(b []byte) []byte {
		for len(b)%4 != 0 {
			b = append(b, 0)
		}
		return b
	}
	b := append([]byte("\xfd7zXZ\x00"), 0, 0)
	b = sum(b, 6)
	start := len(b)
	b = append(b, 2, 1, 4, 0, 0x21, 1, 16, 0) // two filters: x86, LZMA2 with a dictionary of 1 MiB
	b = sum(b, start)
	for control, rest := byte(1), data; len(rest) > 0; control = 2 {
		n := min(len(rest), 1<<16)
		b = append(b, control, byte((n-1)>>8), byte(n-1))
		b, rest = append(b, rest[:n]...), rest[n:]
	}
	b = append(b, 0)
	unpadded := len(b) - start
	b = pad(b)
	index := len(b)
	b = append(b, 0, 1)
	b = binary.AppendUvarint(b, uint64(unpadded))
	b = pad(binary.AppendUvarint(b, uint64(len(data))))
	b = sum(b, index)
	footer := binary.LittleEndian.AppendUint32(nil, uint32((len(b)-index)/4-1))
	footer = append(footer, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(footer))
	return append(append(b, footer...), "YZ"...)
}

// Certificate returns a certificate in DER whose key is made up and whose signature is nothing.
func Certificate() []byte {
	value := func(tag byte, parts ...[]byte) []byte {
		body := bytes.Join(parts, nil)
		return append([]byte{tag, 0x82, byte(len(body) >> 8), byte(len(body))}, body...)
	}
	oid := []byte("\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02") // ECDSA with SHA-256
	name := value(0x30, value(0x31, value(0x30, []byte("\x06\x03\x55\x04\x03"), value(0x0c, []byte("made up")))))
	when := []byte("\x17\x0d260101000000Z")
	key := value(0x30, value(0x30, oid), value(0x03, make([]byte, 66)))
	head := []byte("\xa0\x03\x02\x01\x02\x02\x01\x07") // version 3, serial number 7
	tbs := value(0x30, head, value(0x30, oid), name, value(0x30, when, when), name, key)
	return value(0x30, tbs, value(0x30, oid), value(0x03, make([]byte, 70)))
}
