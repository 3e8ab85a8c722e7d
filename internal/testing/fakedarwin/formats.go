// SPDX-License-Identifier: Apache-2.0

// Package fakedarwin makes up Macs for tests, and writes the formats that macOS keeps kernel
// extensions in: Mach-O files thin and fat, filesets, their wrappers, code signatures. It imports
// no other package of this module, so that every one can test with it.
package fakedarwin

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"strings"
	"testing/fstest"
)

// The numbers of the formats.
const (
	TypeExecute = 0x2
	TypeKext    = 0xb
	TypeFileset = 0xc

	magic64            = 0xfeedfacf
	magicFat           = 0xcafebabe
	lcSegment64        = 0x19
	lcUUID             = 0x1b
	lcSignature        = 0x1d
	lcSource           = 0x2a
	lcBuild            = 0x32
	lcFileset          = 0x80000035
	magicSuperBlob     = 0xfade0cc0
	magicCodeDirectory = 0xfade0c02
	magicCMS           = 0xfade0b01
	magicRequirement   = 0xfade0c01
	slotCodeDirectory  = 0
	slotAlternate      = 0x1000
	slotCMS            = 0x10000
	compHeader         = 0x180

	// SpecialInfo and SpecialResources are the hash slots of Info.plist and CodeResources.
	SpecialInfo      = 1
	SpecialResources = 3
	// NoLoadAddress is the address of a kext without code in a collection.
	NoLoadAddress = 0x7fffffffffffffff
)

// A Macho makes one little-endian 64-bit Mach-O file.
type Macho struct {
	cpu, subtype, kind uint32
	commands           [][]byte
	order              binary.AppendByteOrder
}

// NewMacho starts a Mach-O file of a type for x86_64, arm64 or arm64e.
func NewMacho(arch string, kind uint32) *Macho {
	w := &Macho{cpu: 0x01000007, subtype: 3, kind: uint32(kind), order: binary.LittleEndian}
	if strings.HasPrefix(arch, "arm64") {
		w.cpu, w.subtype = 0x0100000c, 0
	}
	if arch == "arm64e" {
		w.subtype = 0x80000002
	}
	return w
}

// U32 encodes numbers in the file's byte order.
func (w *Macho) U32(v ...uint32) []byte {
	var b []byte
	for _, x := range v {
		b = w.order.AppendUint32(b, x)
	}
	return b
}

// U64 encodes numbers in the file's byte order.
func (w *Macho) U64(v ...uint64) []byte {
	var b []byte
	for _, x := range v {
		b = w.order.AppendUint64(b, x)
	}
	return b
}

// Add adds a load command.
func (w *Macho) Add(kind uint32, body ...[]byte) {
	b := bytes.Join(body, nil)
	for len(b)%8 != 0 {
		b = append(b, 0)
	}
	w.commands = append(w.commands, append(w.U32(kind, uint32(8+len(b))), b...))
}

// UUID adds LC_UUID with the first 16 bytes of id.
func (w *Macho) UUID(id string) {
	b := make([]byte, 16)
	copy(b, id)
	w.Add(lcUUID, b)
}

func fixed(s string, n int) []byte {
	b := make([]byte, n)
	copy(b, s)
	return b
}

// segment adds a segment with one section.
func (w *Macho) Segment(segment, section string, offset, size uint64) {
	w.Add(lcSegment64, fixed(segment, 16), w.U64(0, 0, offset, size), w.U32(7, 7, 1, 0),
		fixed(section, 16), fixed(segment, 16), w.U64(0, size), w.U32(uint32(offset), 0, 0, 0, 0, 0, 0, 0))
}

// Entry adds LC_FILESET_ENTRY.
func (w *Macho) Entry(id string, address, offset uint64) {
	w.Add(lcFileset, w.U64(address, offset), w.U32(32, 0), append([]byte(id), 0))
}

// bytes returns header and commands, padded to size.
func (w *Macho) Bytes(size int) []byte {
	body := bytes.Join(w.commands, nil)
	b := w.U32(magic64, w.cpu, w.subtype, w.kind, uint32(len(w.commands)), uint32(len(body)), 0, 0)
	b = append(b, body...)
	if len(b) < size {
		b = append(b, make([]byte, size-len(b))...)
	}
	return b
}

// Fat puts slices into a fat file, aligned to 4096.
func Fat(slices ...[]byte) []byte {
	out := binary.BigEndian.AppendUint32(nil, magicFat)
	out = binary.BigEndian.AppendUint32(out, uint32(len(slices)))
	offset := 4096
	for _, s := range slices {
		for _, v := range []uint32{binary.LittleEndian.Uint32(s[4:]), binary.LittleEndian.Uint32(s[8:]),
			uint32(offset), uint32(len(s)), 12} {
			out = binary.BigEndian.AppendUint32(out, v)
		}
		offset += (len(s) + 4095) &^ 4095
	}
	for _, s := range slices {
		out = append(out, make([]byte, (4096-len(out)%4096)%4096)...)
		out = append(out, s...)
	}
	return out
}

// A Signer makes code signatures.
type Signer struct {
	Identifier, Team string
	Flags            uint32
	Platform         byte
	Special          map[int][]byte // content of special slots
	Parts            map[int][]byte // content of further slots, which goes into the signature
	CMS              func(directory []byte) []byte
	Alternate        *Signer // makes a second code directory, of a better digest; the first is then of SHA-1
	// Both signs instead of CMS if there is an Alternate.
	Both func(directory, alternate []byte) []byte
	sha1 bool
}

// directory writes a code directory over code.
func (s Signer) directory(code []byte) []byte {
	const page = 4096
	names := append([]byte(s.Identifier), 0)
	head := 64 + 24 // as version 0x20400 has it
	teamAt := 0
	if s.Team != "" {
		teamAt = head + len(names)
		names = append(append(names, s.Team...), 0)
	}
	specials := 0
	for slot := range s.Special {
		specials = max(specials, slot)
	}
	sum, size, kind := func(b []byte) []byte { h := sha256.Sum256(b); return h[:] }, 32, byte(2)
	if s.sha1 {
		sum, size, kind = func(b []byte) []byte { h := sha1.Sum(b); return h[:] }, 20, 1
	}
	var hashes []byte
	for slot := specials; slot >= 1; slot-- {
		h := make([]byte, size)
		if content, ok := s.Special[slot]; ok {
			copy(h, sum(content))
		}
		hashes = append(hashes, h...)
	}
	pages := 0
	for at := 0; at < len(code); at += page {
		hashes = append(hashes, sum(code[at:min(at+page, len(code))])...)
		pages++
	}
	hashOffset := head + len(names) + size*specials
	b := make([]byte, head)
	put := binary.BigEndian.PutUint32
	put(b[0:], magicCodeDirectory)
	put(b[4:], uint32(head+len(names)+len(hashes)))
	put(b[8:], 0x20400)
	put(b[12:], s.Flags)
	put(b[16:], uint32(hashOffset))
	put(b[20:], uint32(head))
	put(b[24:], uint32(specials))
	put(b[28:], uint32(pages))
	put(b[32:], uint32(len(code)))
	b[36], b[37], b[38], b[39] = byte(size), kind, s.Platform, 12
	put(b[48:], uint32(teamAt))
	return append(append(b, names...), hashes...)
}

// sign writes the SuperBlob over code.
func (s Signer) sign(code []byte) []byte {
	s.sha1 = s.Alternate != nil
	s.Special = maps.Clone(s.Special)
	parts := map[int][]byte{}
	for slot, content := range s.Parts {
		parts[slot] = append(be32s(magicRequirement, uint32(8+len(content))), content...)
		if s.Special == nil {
			s.Special = map[int][]byte{}
		}
		s.Special[slot] = parts[slot]
	}
	directory := s.directory(code)
	blobs := [][]byte{directory}
	slots := []uint32{slotCodeDirectory}
	if s.Alternate != nil {
		other := *s.Alternate
		other.Special = s.Special
		blobs, slots = append(blobs, other.directory(code)), append(slots, slotAlternate)
	}
	var cms []byte
	switch {
	case s.Both != nil:
		cms = s.Both(directory, blobs[1])
	case s.CMS != nil:
		cms = s.CMS(directory)
	}
	blobs = append(blobs, append(be32s(magicCMS, uint32(8+len(cms))), cms...))
	slots = append(slots, slotCMS)
	for slot, part := range parts {
		blobs, slots = append(blobs, part), append(slots, uint32(slot))
	}
	at := 12 + 8*len(blobs)
	index := be32s(magicSuperBlob, uint32(at+len(bytes.Join(blobs, nil))), uint32(len(blobs)))
	for i, blob := range blobs {
		index = append(index, be32s(slots[i], uint32(at))...)
		at += len(blob)
	}
	return append(index, bytes.Join(blobs, nil)...)
}

func be32s(v ...uint32) []byte {
	var b []byte
	for _, x := range v {
		b = binary.BigEndian.AppendUint32(b, x)
	}
	return b
}

// KextCode is the code of a kext for one architecture, signed when s is not nil.
func KextCode(arch, uuid string, s *Signer) []byte {
	const size = 2*4096 + 100
	build := func(signature int) []byte {
		w := NewMacho(arch, TypeKext)
		w.UUID(uuid)
		w.Add(lcSource, w.U64(12<<40|3<<30))
		w.Add(lcBuild, w.U32(1, 11<<16|3<<8, 12<<16, 0))
		w.Segment("__TEXT", "__text", 1024, 64)
		if signature > 0 {
			w.Add(lcSignature, w.U32(size, uint32(signature)))
		}
		return w.Bytes(size)
	}
	if s == nil {
		return build(0)
	}
	// The signature's own length varies by some bytes, so there is room after it, as in real files.
	length := len(s.sign(build(1))) + 64
	code := build(length)
	return append(code, fixed(string(s.sign(code)), length)...)
}

// InfoPlist writes an Info.plist.
func InfoPlist(id, version, executable string, more string) []byte {
	return []byte(`<?xml version="1.0" encoding="UTF-8"?><plist version="1.0"><dict><key>CFBundleIdentifier</key>` +
		`<string>` + id +
		`</string><key>CFBundleVersion</key><string>` + version +
		`</string><key>CFBundlePackageType</key><string>KEXT</string>` +
		`<key>CFBundleExecutable</key><string>` + executable + `</string>` + more + `</dict></plist>`)
}

// PrelinkKext is a member's dictionary in a collection.
func PrelinkKext(id, version string, address uint64) string {
	return fmt.Sprintf(`<dict><key>CFBundleIdentifier</key><string>%s</string><key>CFBundleVersion</key>`+
		`<string>%s</string>`+
		`<key>OSBundleLibraries</key><dict><key>com.apple.kpi.bsd</key><string>8.0.0</string></dict>`+
		`<key>IOKitPersonalities</key><dict><key>P</key><dict><key>IOClass</key><string>C</string>`+
		`<key>IOPCIMatch</key><string>0x15338086</string></dict></dict>`+
		`<key>_PrelinkBundlePath</key><string>/System/Library/Extensions/%s.kext</string>`+
		`<key>_PrelinkExecutableRelativePath</key><string>Contents/MacOS/x</string>`+
		`<key>_PrelinkExecutableLoadAddr</key><integer size="64">0x%x</integer><key>_PrelinkExecutableSize</key>`+
		`<integer size="64">0x4000</integer></dict>`,
		id, version, id, address)
}

// KCID is a collection's id in a property list: 16 times n.
func KCID(n byte) string {
	return `<data>` + base64Of(bytes.Repeat([]byte{n}, 16)) + `</data>`
}

func base64Of(b []byte) string {
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	var out strings.Builder
	for i := 0; i < len(b); i += 3 {
		var v uint32
		n := min(3, len(b)-i)
		for j := range 3 {
			v <<= 8
			if j < n {
				v |= uint32(b[i+j])
			}
		}
		for j := range 4 {
			if j > n {
				out.WriteByte('=')
			} else {
				out.WriteByte(digits[v>>(18-6*j)&63])
			}
		}
	}
	return out.String()
}

// Collection writes a fileset: an outer Mach-O with the prelink information, and an inner one for
// each member.
func Collection(arch, prelink string, ids ...string) []byte {
	const inner = 1024
	start := 16384 + (len(ids)*112)&^4095
	w := NewMacho(arch, TypeFileset)
	w.UUID("collection-uuid-")
	var files []byte
	for i, id := range ids {
		m := NewMacho(arch, TypeKext)
		m.UUID(fmt.Sprintf("member-%09d", i))
		m.Add(lcSource, m.U64(uint64(i+1)<<40))
		files = append(files, m.Bytes(inner)...)
		w.Entry(id, 0xffffff8000000000+uint64(i)*0x4000, uint64(start+i*inner))
	}
	at := start + len(files)
	w.Segment("__PRELINK_INFO", "__info", uint64(at), uint64(len(prelink)+64))
	head := w.Bytes(0)
	if len(head) > start {
		panic("too many commands for the test's layout")
	}
	b := append(head, make([]byte, start-len(head))...)
	b = append(append(b, files...), prelink...)
	return append(b, make([]byte, 64)...)
}

// Prelinked writes a prelinked kernel of macOS 10.15 and older: the code of kexts lies in one segment that begins at
// the address base. codes are their UUIDs by their place in it.
func Prelinked(prelink string, base uint64, codes map[int]string) []byte {
	const text, size = 8192, 64 << 10
	w := NewMacho("x86_64", TypeExecute)
	w.UUID("prelinked-kernel")
	w.Add(lcSegment64, fixed("__PRELINK_TEXT", 16), w.U64(base, size, text, size), w.U32(7, 7, 0, 0))
	w.Segment("__PRELINK_INFO", "__info", text+size, uint64(len(prelink)+64))
	b := w.Bytes(text + size)
	for at, uuid := range codes {
		m := NewMacho("x86_64", TypeKext)
		m.UUID(uuid)
		copy(b[text+at:], m.Bytes(0))
	}
	return append(append(b, prelink...), make([]byte, 64)...)
}

// IM4P wraps a payload as an Image4 payload.
func IM4P(kind string, payload []byte) []byte {
	return wrap(0x30, wrap(0x16, []byte("IM4P")), wrap(0x16, []byte(kind)), wrap(0x16, []byte("description")),
		wrap(0x04, payload))
}

// LockedIM4P is an Image4 payload with the keys to decrypt it.
func LockedIM4P(kind string, payload []byte) []byte {
	return wrap(0x30, wrap(0x16, []byte("IM4P")), wrap(0x16, []byte(kind)), wrap(0x16, []byte("description")),
		wrap(0x04, payload), wrap(0x04, []byte("keys")))
}

// IMG4 wraps an Image4 payload as an Image4 file.
func IMG4(im4p []byte) []byte {
	return wrap(0x30, wrap(0x16, []byte("IMG4")), im4p)
}

// Comp writes the header of an old compressed kernel.
func Comp(kind string, payload []byte) []byte {
	b := make([]byte, compHeader)
	copy(b, "comp"+kind)
	binary.BigEndian.PutUint32(b[12:], uint32(4*len(payload)))
	binary.BigEndian.PutUint32(b[16:], uint32(len(payload)))
	return append(b, payload...)
}

// BundleFiles are a signed bundle with a sealed resource.
func BundleFiles(dir, id string, s *Signer) fstest.MapFS {
	info := InfoPlist(id, "1.2.3", "Driver", `<key>OSBundleLibraries</key><dict><key>com.apple.kpi.bsd</key>`+
		`<string>8.0.0</string></dict>`)
	resource := []byte("some resource\n")
	sum := sha256.Sum256(resource)
	resources := []byte(`<plist version="1.0"><dict><key>files2</key><dict><key>Resources/a.txt</key><dict>` +
		`<key>hash2</key><data>` + base64Of(sum[:]) +
		`</data></dict></dict><key>rules2</key><dict><key>^.*</key><true/><key>^Info\.plist$</key><dict>` +
		`<key>omit</key><true/><key>weight</key><real>20</real></dict>` +
		`<key>^.*\.DS_Store$</key><dict><key>omit</key><true/><key>weight</key>` +
		`<real>2000</real></dict></dict></dict></plist>`)
	if s != nil {
		s.Special = map[int][]byte{SpecialInfo: info, SpecialResources: resources}
	}
	file := func(b []byte) *fstest.MapFile { return &fstest.MapFile{Data: b, Mode: 0o644} }
	return fstest.MapFS{
		dir + "/Contents/Info.plist": file(info),
		dir +
			"/Contents/MacOS/Driver": file(Fat(KextCode("x86_64", "uuid-of-x86-----", s),
			KextCode("arm64e", "uuid-of-arm-----", s))),
		dir + "/Contents/Resources/a.txt":              file(resource),
		dir + "/Contents/.DS_Store":                    file([]byte("x")),
		dir + "/Contents/_CodeSignature/CodeResources": file(resources),
		dir + "/Contents/CodeResources":                file([]byte("s8ch\x01\x00\x00\x00ticket")),
	}
}

// CodelessFiles are a bundle without code, whose signature is in files; s may be nil.
func CodelessFiles(dir, id string, s *Signer) fstest.MapFS {
	info := InfoPlist(id, "1.2.3", "", "")
	resources := []byte(`<plist version="1.0"><dict><key>files2</key><dict/><key>rules2</key><dict><key>^.*</key>` +
		`<true/><key>^Info\.plist$</key><dict><key>omit</key><true/><key>weight</key><real>20</real></dict></dict>` +
		`</dict></plist>`)
	files := fstest.MapFS{dir + "/Contents/Info.plist": {Data: info, Mode: 0o644}}
	if s == nil {
		return files
	}
	s.Special = map[int][]byte{SpecialInfo: info, SpecialResources: resources}
	for name, data := range s.Files(info) {
		files[dir+"/Contents/_CodeSignature/"+name] = &fstest.MapFile{Data: data, Mode: 0o644}
	}
	files[dir+"/Contents/_CodeSignature/CodeResources"] = &fstest.MapFile{Data: resources, Mode: 0o644}
	return files
}

// Files are the files of a signature that is not inside the code.
func (s Signer) Files(code []byte) map[string][]byte {
	directory := s.directory(code)
	files := map[string][]byte{"CodeDirectory": directory}
	if s.CMS != nil {
		files["CodeSignature"] = s.CMS(directory)
	}
	return files
}
