// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
)

// A layout says whose structures are to be decoded: DragonFly's kld_file_stat has the size of
// FreeBSD's and other offsets, so the size alone does not show it.
type layout int

// The layouts.
const (
	layoutFreeBSD layout = iota
	layoutDragonFly
)

// redactedAddress is what Redact writes in place of a load address: all bits set, which is no
// kernel's address and, unlike 0, no kernel's way to hide one.
const redactedAddress = ^uint64(0)

// A fileStat is one struct kld_file_stat: what kldstat(2) says of a linker file.
type fileStat struct {
	// Name is the file's base name, such as "zfs.ko"; bytes that are not UTF-8 are written \xNN.
	Name string
	// Refs is 1 and one for each file that depends on this one.
	Refs int32
	// ID is the file's id, which a later file may get again.
	ID int32
	// Address is where it is mapped; 0 when the kernel hides it. Redacted is set when the tape's
	// recorder removed it.
	Address  uint64
	Redacted bool
	// Size is how many bytes are mapped.
	Size uint64
	// Pathname is where it was loaded from; empty in version 1 of the structure, and then HasPath
	// is false.
	Pathname string
	HasPath  bool
	// Bits is the pointer size of the structure, 32 or 64: a process of 32 bits on a kernel of 64
	// gets the low half of the address.
	Bits int
}

// fileLayout are the offsets of one struct kld_file_stat.
type fileLayout struct {
	size                           int
	bits                           int
	refs, id, address, bytes, path int // path is 0 if the structure has no path
}

const maxPath = 1024 // MAXPATHLEN

var freebsdFileLayouts = []fileLayout{
	{2080, 64, 1028, 1032, 1040, 1048, 1056},
	{1056, 64, 1028, 1032, 1040, 1048, 0},
	{2068, 32, 1028, 1032, 1036, 1040, 1044},
	{1044, 32, 1028, 1032, 1036, 1040, 0},
}

var dragonflyFileLayouts = []fileLayout{
	{2080, 64, 2052, 2056, 2064, 2072, 1028},
	{1056, 64, 1028, 1032, 1040, 1048, 0},
	{2068, 32, 2052, 2056, 2060, 2064, 1028},
	{1044, 32, 1028, 1032, 1036, 1040, 0},
}

// fileLayoutOf finds the layout and byte order of an answer of OpKldStat by its field version,
// which is the structure's size.
func fileLayoutOf(b []byte, l layout) (fileLayout, binary.ByteOrder, error) {
	layouts := freebsdFileLayouts
	if l == layoutDragonFly {
		layouts = dragonflyFileLayouts
	}
	for _, f := range layouts {
		if f.size != len(b) {
			continue
		}
		order, err := orderOf(b, "kld_file_stat")
		return f, order, err
	}
	return fileLayout{}, nil, &fact.ParseError{Source: OpKldStat, Field: "version",
		Reason: fmt.Sprintf("%d bytes are not a version of struct kld_file_stat", len(b))}
}

// orderOf returns the byte order of a structure that begins with its own size.
func orderOf(b []byte, what string) (binary.ByteOrder, error) {
	switch uint32(len(b)) {
	case binary.LittleEndian.Uint32(b):
		return binary.LittleEndian, nil
	case binary.BigEndian.Uint32(b):
		return binary.BigEndian, nil
	}
	return nil, &fact.ParseError{Source: what, Field: "version",
		Reason: fmt.Sprintf("%#x is not the size of the structure, %d", b[:4], len(b))}
}

// decodeFileStat decodes an answer of OpKldStat.
func decodeFileStat(b []byte, l layout) (fileStat, error) {
	f, order, err := fileLayoutOf(b, l)
	if err != nil {
		return fileStat{}, err
	}
	name, _ := fixedString(b[4 : 4+maxPath])
	if name == "" {
		return fileStat{}, &fact.ParseError{Source: OpKldStat, Field: "name", Offset: 4, Reason: "empty"}
	}
	s := fileStat{
		Name: name, Bits: f.bits,
		Refs: int32(order.Uint32(b[f.refs:])),
		ID:   int32(order.Uint32(b[f.id:])),
		Size: word(b[f.bytes:], order, f.bits),
	}
	s.Address = word(b[f.address:], order, f.bits)
	if s.Address == redactedAddress>>(64-f.bits) {
		s.Address, s.Redacted = 0, true
	}
	if f.path != 0 {
		s.Pathname, _ = fixedString(b[f.path : f.path+maxPath])
		s.HasPath = true
	}
	return s, nil
}

// redactFileStat overwrites the address in an answer of OpKldStat.
func redactFileStat(b []byte, l layout) []byte {
	f, order, err := fileLayoutOf(b, l)
	if err != nil {
		return b
	}
	out := bytes.Clone(b)
	if word(out[f.address:], order, f.bits) == 0 {
		return out // hidden already, which is worth knowing
	}
	for i := range f.bits / 8 {
		out[f.address+i] = 0xff
	}
	return out
}

// word is a pointer or size_t of the given width.
func word(b []byte, order binary.ByteOrder, bits int) uint64 {
	if bits == 32 {
		return uint64(order.Uint32(b))
	}
	return order.Uint64(b)
}

// fixedString is the text of a char array, and whether a NUL ended it.
func fixedString(b []byte) (string, bool) {
	i := bytes.IndexByte(b, 0)
	if i < 0 {
		return escape.UTF8(string(b)), false
	}
	return escape.UTF8(string(b[:i])), true
}
