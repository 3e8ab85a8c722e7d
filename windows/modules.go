// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/windows/pe"
)

// maxModules is how many images a list may hold; a desktop has some 250.
const maxModules = 16384

// A LoadedImage is one image in kernel memory, as NtQuerySystemInformation lists it.
type LoadedImage struct {
	// NTPath is the path as the kernel has it, such as \SystemRoot\System32\drivers\acpi.sys. It is
	// a byte string of at most 255 bytes: a longer or non-ASCII name may have lost something. An
	// image whose name was wiped has the empty one.
	NTPath string `json:"ntPath"`
	// Base is where it lies; absent when the kernel hides it (from Windows 11 24H2, unless
	// SeDebugPrivilege is enabled), and only with Detail Addresses.
	Base fact.Address `json:"base,omitzero"`
	// Size is the size in memory, in bytes.
	Size int64 `json:"size"`
	// LoadOrder is its place in the order of loading, from 0.
	LoadOrder int `json:"loadOrder"`
	// LoadCount is how many times it was asked for; 65535 for images that are never unloaded.
	LoadCount int `json:"loadCount"`
	// Flags are the loader's flags, as 0x and eight digits.
	Flags string `json:"flags,omitzero"`
	// Checksum is that of the headers that were loaded, as 0x and eight digits; class 77 only, and absent when
	// TimeStamp is 0 as well: then the kernel says nothing of either.
	Checksum string `json:"checksum,omitzero"`
	// TimeStamp is that of the headers that were loaded, as 0x and eight digits; absent when Checksum is.
	TimeStamp string `json:"timeStamp,omitzero"`
	// AliasOf is the file that a crash-dump copy (dump_NAME.sys) was loaded from; such a copy has
	// no file of its own. Only the name decides this until the files are read; an image with a file of its own is not a
	// copy.
	AliasOf string `json:"aliasOf,omitzero"`

	name string
}

// Name returns the file name: what the list says where the path's last part begins.
func (m *LoadedImage) Name() string {
	if m.name != "" {
		return m.name
	}
	return baseName(m.NTPath)
}

// baseName is the part after the last separator.
func baseName(p string) string { return p[strings.LastIndexAny(p, `\/`)+1:] }

// layout is how one entry lies in memory for one pointer width.
type layout struct {
	first, entry, ex int // offset of the first entry of class 11; sizes of both entries
	base             int
	size             int // ImageSize; the fields after it follow without gaps
}

var (
	layout32 = layout{first: 4, entry: 284, ex: 300, base: 8, size: 12}
	layout64 = layout{first: 8, entry: 296, ex: 320, base: 16, size: 24}
)

func modulesError(field, format string, args ...any) error {
	return &fact.ParseError{Source: SourceModules, Field: field, Reason: fmt.Sprintf(format, args...)}
}

// parseModules decodes class 11 for either pointer width, which the length shows.
func parseModules(b []byte) ([]LoadedImage, error) {
	if len(b) < 4 {
		return nil, modulesError("count", "%d bytes", len(b))
	}
	n := binary.LittleEndian.Uint32(b)
	if n > maxModules {
		return nil, modulesError("count", "%d images", n)
	}
	l, ok := layoutOf(len(b), int(n))
	if !ok {
		return nil, modulesError("count", "%d images in %d bytes", n, len(b))
	}
	list := make([]LoadedImage, 0, n)
	for i := range int(n) {
		list = append(list, l.decode(b[l.first+i*l.entry:][:l.entry]))
	}
	return list, nil
}

// layoutOf finds the width whose entries fit the length, the exact one first.
func layoutOf(length, n int) (layout, bool) {
	for _, l := range []layout{layout64, layout32} {
		if length == l.first+n*l.entry {
			return l, true
		}
	}
	if n == 0 {
		return layout64, true
	}
	// A buffer that was not cut to the length used.
	if length > layout64.first+n*layout64.entry {
		return layout64, true
	}
	return layout{}, false
}

// parseModulesEx decodes class 77 for either pointer width, which the first offset shows.
func parseModulesEx(b []byte) ([]LoadedImage, error) {
	list := []LoadedImage{}
	le := binary.LittleEndian
	for pos := 0; pos+2 <= len(b); {
		next := int(le.Uint16(b[pos:]))
		if next == 0 {
			return list, nil
		}
		l := layout64
		if next == layout32.ex {
			l = layout32
		}
		if next < l.ex || pos+l.ex > len(b) {
			return nil, modulesError("nextOffset", "%d at byte %d of %d", next, pos, len(b))
		}
		if len(list) == maxModules {
			return nil, modulesError("count", "more than %d images", maxModules)
		}
		list = append(list, l.decodeEx(b[pos:][:l.ex]))
		pos += next
	}
	if len(b) == 1 {
		return nil, modulesError("nextOffset", "%d bytes", len(b))
	}
	return list, nil
}

func (l layout) decode(e []byte) LoadedImage {
	le := binary.LittleEndian
	m := LoadedImage{Base: fact.Address(pointer(e[l.base:], l))}
	f := e[l.size:]
	m.Size = int64(le.Uint32(f))
	m.Flags = pe.Hex32(le.Uint32(f[4:]))
	m.LoadOrder, m.LoadCount = int(le.Uint16(f[8:])), int(le.Uint16(f[12:]))
	nameAt, path := int(le.Uint16(f[14:])), f[16:16+256]
	if end := bytes.IndexByte(path, 0); end >= 0 {
		path = path[:end]
	}
	m.NTPath = escape.UTF8(string(path))
	if nameAt < len(path) {
		m.name = escape.UTF8(string(path[nameAt:]))
	}
	m.AliasOf = dumpAlias(m.Name())
	return m
}

// decodeEx reads an entry of class 77: the offset (padded to a pointer), the entry of class 11,
// then checksum, time stamp and default base.
func (l layout) decodeEx(e []byte) LoadedImage {
	m := l.decode(e[l.first:])
	le := binary.LittleEndian
	tail := e[l.first+l.size+16+256:]
	if sum, stamp := le.Uint32(tail), le.Uint32(tail[4:]); sum != 0 || stamp != 0 {
		m.Checksum, m.TimeStamp = pe.Hex32(sum), pe.Hex32(stamp)
	}
	return m
}

func pointer(b []byte, l layout) uint64 {
	if l == layout32 {
		return uint64(binary.LittleEndian.Uint32(b))
	}
	return binary.LittleEndian.Uint64(b)
}

// dumpAlias returns the driver that a copy for crash dumps was made of: dump_NAME.sys is loaded
// from NAME.sys and has no file.
func dumpAlias(name string) string {
	if len(name) > 5 && strings.EqualFold(name[:5], "dump_") {
		return name[5:]
	}
	return ""
}
