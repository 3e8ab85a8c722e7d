// SPDX-License-Identifier: Apache-2.0

package pe

import (
	"bytes"
	"crypto"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/hashing"
)

// SourceFile names the source of what files say, in Problems and Sources.
const SourceFile = "driver_files"

// Limits on what an image file may hold; drivers stay far below.
const (
	maxSections  = 96    // the loader's own limit
	maxLibraries = 256   // imported images
	maxFunctions = 16384 // imported functions of all images
	maxDebug     = 64    // debug directory entries
	maxName      = 4096  // bytes of a name or path in the image
)

// Data directory entries.
const (
	dirImport      = 1
	dirResource    = 2
	dirCertificate = 4
	dirDebug       = 6
	dirCount       = 16
)

// Types of debug directory entries.
const (
	debugCodeView = 2
	debugRepro    = 16
)

// A File is what an image file says of itself.
type File struct {
	// Machine is the processor that it is for: amd64, arm64, 386, arm; another one is 0x and four
	// hexadecimal digits.
	Machine string `json:"machine"`
	// Subsystem is "native" for a driver; another one is its number.
	Subsystem string `json:"subsystem,omitzero"`
	// TimeStamp is the link time, or a hash when Reproducible is set, as 0x and eight digits.
	TimeStamp string `json:"timeStamp"`
	// LinkedAt is the link time, UTC; zero when TimeStamp is a hash or 0.
	LinkedAt time.Time `json:"linkedAt,omitzero"`
	// Reproducible says that TimeStamp is a hash of the content (debug directory type 16).
	Reproducible bool `json:"reproducible,omitzero"`
	// Checksum is the stored checksum, as 0x and eight digits. The kernel refuses a driver whose checksum is wrong.
	Checksum string `json:"checksum"`
	// ComputedChecksum is the true checksum, as 0x and eight digits.
	ComputedChecksum string `json:"computedChecksum"`
	// SizeOfImage is the size in memory, in bytes.
	SizeOfImage int64 `json:"sizeOfImage"`
	// Characteristics are the set DLL characteristics as words: high_entropy_va, dynamic_base,
	// force_integrity, nx_compat, no_isolation, no_seh, no_bind, app_container, wdm_driver,
	// guard_cf, terminal_server_aware.
	Characteristics []string `json:"characteristics,omitzero"`
	// Sections are in the file's order.
	Sections []Section `json:"sections,omitzero"`
	// Imports are the other images that it needs, in the file's order; nil when the table could not
	// be read.
	Imports []Import `json:"imports,omitzero"`
	// DelayImports are images that are loaded at the first call of a function; nil if the file has none.
	DelayImports []Import `json:"delayImports,omitzero"`
	// Imphash is the MD5 of the imports in the form that pefile introduced; ordinals are written
	// ordN (pefile has names for those of three libraries of user mode, which no driver imports).
	// Empty without imports, and where the program may not make it (GODEBUG=fips140=only).
	Imphash string `json:"imphash,omitzero"`
	// PDB is the CodeView record; nil if the file has none.
	PDB *PDB `json:"pdb,omitzero"`

	img *image
}

// Memory returns how much the decoded tables take, in bytes.
func (f *File) Memory() int64 {
	const text = 16 // beside its bytes
	n := int64(len(f.Sections) * 64)
	for _, list := range [][]Import{f.Imports, f.DelayImports} {
		for _, i := range list {
			n += int64(len(i.Library) + 2*text)
			for _, name := range i.Functions {
				n += int64(len(name) + text)
			}
		}
	}
	return n
}

// A Section is one section header.
type Section struct {
	Name            string `json:"name"`            // unchanged, but for trailing zero bytes
	VirtualAddress  uint32 `json:"virtualAddress"`  // offset in memory from the image's base
	VirtualSize     uint32 `json:"virtualSize"`     // bytes in memory
	RawOffset       uint32 `json:"rawOffset"`       // offset in the file
	RawSize         uint32 `json:"rawSize"`         // bytes in the file
	Characteristics string `json:"characteristics"` // flags, as 0x and eight digits
}

// An Import is one imported image.
type Import struct {
	Library   string   `json:"library"`            // the name in the file, such as "ntoskrnl.exe"
	Functions []string `json:"functions,omitzero"` // names in the file's order; an ordinal is "#N"
}

// A PDB identifies the debug information, and with it the build.
type PDB struct {
	GUID      string `json:"guid,omitzero"`      // lower-case hexadecimal with dashes; empty before 2002
	Signature string `json:"signature,omitzero"` // before 2002, in place of GUID: 0x and eight digits
	Age       uint32 `json:"age"`                // how often the debug information was rewritten
	Path      string `json:"path,omitzero"`      // where the linker wrote it
}

// ID returns GUID, or signature, and age in the form of a symbol server's folder, which names one
// build.
func (p *PDB) ID() string {
	id := strings.ReplaceAll(p.GUID, "-", "")
	if id == "" {
		id = strings.TrimPrefix(p.Signature, "0x")
	}
	return strings.ToUpper(id + strconv.FormatUint(uint64(p.Age), 16))
}

// image is the layout of a PE file, checked against its length.
type image struct {
	b              []byte
	coff           int // offset of the COFF header
	opt            int // offset of the optional header
	plus           bool
	machine        uint16
	stamp          uint32
	headerSize     uint32
	sizeOfImage    uint32
	checksum       uint32
	subsystem      uint16
	characteristic uint16
	dirs           [dirCount]struct{ addr, size uint32 }
	dirN           int
	sections       []Section
	sectionsEnd    int64 // end of the last section's bytes in the file

	mu   sync.Mutex      // guards sums
	sums map[uint][]byte // digests that were asked for, by the key of once
}

func peError(field, format string, args ...any) error {
	return &fact.ParseError{Source: "pe", Field: field, Reason: fmt.Sprintf(format, args...)}
}

// parseImage reads headers and section table.
func parseImage(b []byte) (*image, error) {
	le := binary.LittleEndian
	if len(b) < 0x40 || b[0] != 'M' || b[1] != 'Z' {
		return nil, peError("dosHeader", "no MZ mark")
	}
	lfanew := int64(le.Uint32(b[0x3c:]))
	if lfanew+24 > int64(len(b)) || string(b[lfanew:lfanew+4]) != "PE\x00\x00" {
		return nil, peError("peHeader", "no PE mark")
	}
	m := &image{b: b, coff: int(lfanew) + 4}
	c := b[m.coff:]
	m.machine, m.stamp = le.Uint16(c), le.Uint32(c[4:])
	sections, optSize := int(le.Uint16(c[2:])), int(le.Uint16(c[16:]))
	m.opt = m.coff + 20
	if m.opt+optSize > len(b) || optSize < 96 {
		return nil, peError("optionalHeader", "%d bytes", optSize)
	}
	if err := m.parseOptional(b[m.opt : m.opt+optSize]); err != nil {
		return nil, err
	}
	return m, m.parseSections(m.opt+optSize, sections)
}

func (m *image) parseOptional(o []byte) error {
	le := binary.LittleEndian
	dirs := 96
	switch magic := le.Uint16(o); magic {
	case 0x10b:
	case 0x20b:
		m.plus, dirs = true, 112
	default:
		return peError("optionalHeader.magic", "%#x", magic)
	}
	if len(o) < dirs {
		return peError("optionalHeader", "%d bytes", len(o))
	}
	m.sizeOfImage, m.headerSize, m.checksum = le.Uint32(o[56:]), le.Uint32(o[60:]), le.Uint32(o[64:])
	m.subsystem, m.characteristic = le.Uint16(o[68:]), le.Uint16(o[70:])
	n := le.Uint32(o[dirs-4:])
	m.dirN = int(min(n, dirCount, uint32(len(o)-dirs)/8))
	for i := range m.dirN {
		m.dirs[i].addr, m.dirs[i].size = le.Uint32(o[dirs+8*i:]), le.Uint32(o[dirs+8*i+4:])
	}
	return nil
}

func (m *image) parseSections(at, n int) error {
	if n > maxSections {
		return peError("sections", "%d, the loader allows %d", n, maxSections)
	}
	if at+40*n > len(m.b) {
		return peError("sections", "table ends after the file")
	}
	le := binary.LittleEndian
	m.sectionsEnd = int64(m.headerSize)
	for i := range n {
		s := m.b[at+40*i:]
		sec := Section{
			Name:           escape.UTF8(strings.TrimRight(string(s[:8]), "\x00")),
			VirtualSize:    le.Uint32(s[8:]),
			VirtualAddress: le.Uint32(s[12:]),
			RawSize:        le.Uint32(s[16:]),
			RawOffset:      le.Uint32(s[20:]),
		}
		sec.Characteristics = Hex32(le.Uint32(s[36:]))
		m.sections = append(m.sections, sec)
		if sec.RawSize > 0 {
			m.sectionsEnd = max(m.sectionsEnd, int64(sec.RawOffset)+int64(sec.RawSize))
		}
	}
	return nil
}

// Hex32 returns a number in the form of [File.Checksum] and [File.TimeStamp]: 0x and eight digits.
func Hex32(n uint32) string { return fmt.Sprintf("0x%08x", n) }

// checksumAt is the offset of the CheckSum field.
func (m *image) checksumAt() int { return m.opt + 64 }

// certificateAt is the offset of the certificate table's entry in the data directory; 0 when the
// header is too short to have one.
func (m *image) certificateAt() int {
	if m.dirN <= dirCertificate {
		return 0
	}
	if m.plus {
		return m.opt + 144
	}
	return m.opt + 128
}

// offset turns an address in memory into an offset in the file.
func (m *image) offset(rva uint32) (int, bool) {
	if rva < m.headerSize && int(rva) < len(m.b) {
		return int(rva), true
	}
	for _, s := range m.sections {
		if rva < s.VirtualAddress || rva-s.VirtualAddress >= s.RawSize {
			continue
		}
		off := int64(s.RawOffset) + int64(rva-s.VirtualAddress)
		if off < int64(len(m.b)) {
			return int(off), true
		}
	}
	return 0, false
}

// at returns n bytes at an address in memory.
func (m *image) at(rva uint32, n int) ([]byte, bool) {
	off, ok := m.offset(rva)
	if !ok || n < 0 || off+n > len(m.b) {
		return nil, false
	}
	return m.b[off : off+n], true
}

// Text returns the zero-terminated Text at an address in memory.
func (m *image) text(rva uint32) (string, bool) {
	off, ok := m.offset(rva)
	if !ok {
		return "", false
	}
	b := m.b[off:min(off+maxName, len(m.b))]
	end := bytes.IndexByte(b, 0)
	if end < 0 {
		return "", false
	}
	return escape.UTF8(string(b[:end])), true
}

// Parse reads what an image file says of itself. A part that is invalid is reported and left out; an error
// means that it is not an image file.
func Parse(b []byte, r *fact.Report) (*File, error) {
	m, err := parseImage(b)
	if err != nil {
		return nil, err
	}
	p := &File{
		Machine:          MachineName(m.machine),
		Subsystem:        subsystemName(m.subsystem),
		TimeStamp:        Hex32(m.stamp),
		Checksum:         Hex32(m.checksum),
		ComputedChecksum: Hex32(m.computeChecksum()),
		SizeOfImage:      int64(m.sizeOfImage),
		Characteristics:  characteristics(m.characteristic),
		Sections:         m.sections,
		img:              m,
	}
	note := func(field string, err error) {
		if err != nil {
			r.Problem(SourceFile, "", field, err)
		}
	}
	p.Imports, err = m.imports()
	note("imports", err)
	p.Imphash = imphash(p.Imports)
	p.DelayImports, err = m.delayImports()
	note("delayImports", err)
	note("pdb", m.debug(p))
	if m.stamp != 0 && !p.Reproducible {
		p.LinkedAt = time.Unix(int64(m.stamp), 0).UTC()
	}
	return p, nil
}

// MachineName returns the processor in the form of [File.Machine].
func MachineName(n uint16) string {
	switch n {
	case 0x8664:
		return "amd64"
	case 0xaa64:
		return "arm64"
	case 0x14c:
		return "386"
	case 0x1c0, 0x1c2, 0x1c4:
		return "arm"
	}
	return fmt.Sprintf("0x%04x", n)
}

func subsystemName(n uint16) string {
	if n == 1 {
		return "native"
	}
	return strconv.Itoa(int(n))
}

var characteristicWords = [16]string{
	5: "high_entropy_va", 6: "dynamic_base", 7: "force_integrity", 8: "nx_compat", 9: "no_isolation",
	10: "no_seh", 11: "no_bind", 12: "app_container", 13: "wdm_driver", 14: "guard_cf", 15: "terminal_server_aware",
}

func characteristics(bits uint16) []string {
	var words []string
	for i, w := range characteristicWords {
		if w != "" && bits&(1<<i) != 0 {
			words = append(words, w)
		}
	}
	return words
}

// computeChecksum is the sum of all 16-bit words with the carry added back, the stored checksum
// taken as zero, plus the length of the file.
func (m *image) computeChecksum() uint32 {
	sum := uint64(0)
	if at := m.checksumAt(); at%2 == 0 { // as it is in every real image
		sum = wordSum(m.b[:at]) + wordSum(m.b[at+4:])
	} else {
		sum = wordSum(m.b)
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return uint32(sum) + uint32(len(m.b))
}

// wordSum returns a number of at most 18 bits that is congruent to the sum of all 16-bit words of b modulo 65535, and 0
// only if they all are: four words are added at once, and each carry is added back.
func wordSum(b []byte) uint64 {
	le := binary.LittleEndian
	var sum, carry uint64
	for ; len(b) >= 32; b = b[32:] {
		sum, carry = bits.Add64(sum, le.Uint64(b), carry)
		sum, carry = bits.Add64(sum, le.Uint64(b[8:]), carry)
		sum, carry = bits.Add64(sum, le.Uint64(b[16:]), carry)
		sum, carry = bits.Add64(sum, le.Uint64(b[24:]), carry)
	}
	var rest [32]byte
	copy(rest[:], b)
	for i := 0; i < len(rest); i += 8 {
		sum, carry = bits.Add64(sum, le.Uint64(rest[i:]), carry)
	}
	sum, carry = bits.Add64(sum, carry, 0)
	sum += carry
	return sum&0xffff + sum>>16&0xffff + sum>>32&0xffff + sum>>48
}

func (m *image) imports() ([]Import, error) {
	dir := m.dirs[dirImport]
	list := []Import{}
	if dir.addr == 0 {
		return list, nil
	}
	left := maxFunctions
	for i := 0; ; i++ {
		if i == maxLibraries {
			return list, peError("imports", "more than %d images", maxLibraries)
		}
		d, ok := m.at(dir.addr+uint32(20*i), 20)
		if !ok {
			return list, peError("imports", "descriptor %d is outside the file", i)
		}
		le := binary.LittleEndian
		name, thunk := le.Uint32(d[12:]), le.Uint32(d)
		if name == 0 {
			return list, nil
		}
		if thunk == 0 {
			thunk = le.Uint32(d[16:])
		}
		lib, ok := m.text(name)
		if !ok {
			return list, peError("imports", "name of image %d is outside the file", i)
		}
		funcs, err := m.functions(thunk, &left)
		list = append(list, Import{Library: lib, Functions: funcs})
		if err != nil {
			return list, err
		}
	}
}

func (m *image) functions(rva uint32, left *int) ([]string, error) {
	var names []string
	width, high := 4, uint64(1)<<31
	if m.plus {
		width, high = 8, uint64(1)<<63
	}
	for i := 0; ; i++ {
		t, ok := m.at(rva+uint32(width*i), width)
		if !ok {
			return names, peError("imports", "import table is outside the file")
		}
		v := uint64(binary.LittleEndian.Uint32(t))
		if m.plus {
			v = binary.LittleEndian.Uint64(t)
		}
		if v == 0 {
			return names, nil
		}
		if *left--; *left < 0 {
			return names, peError("imports", "more than %d functions", maxFunctions)
		}
		if v&high != 0 {
			names = append(names, "#"+strconv.Itoa(int(uint16(v))))
			continue
		}
		name, ok := m.text(uint32(v) + 2)
		if !ok {
			return names, peError("imports", "function name is outside the file")
		}
		names = append(names, name)
	}
}

// imphash joins library.function in lower case, the library without its .dll, .sys or .ocx.
func imphash(imports []Import) string {
	if !hashing.Usable(crypto.MD5) {
		return ""
	}
	h := crypto.MD5.New()
	n := 0
	for _, im := range imports {
		lib := strings.ToLower(im.Library)
		if i := strings.LastIndexByte(lib, '.'); i >= 0 {
			switch lib[i+1:] {
			case "dll", "sys", "ocx":
				lib = lib[:i]
			}
		}
		for _, f := range im.Functions {
			if ord, ok := strings.CutPrefix(f, "#"); ok {
				f = "ord" + ord
			}
			if n > 0 {
				h.Write([]byte{','})
			}
			h.Write([]byte(lib + "." + strings.ToLower(f)))
			n++
		}
	}
	if n == 0 {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil))
}

// debug fills PDB and Reproducible. An entry that is invalid costs itself.
func (m *image) debug(p *File) error {
	dir := m.dirs[dirDebug]
	if dir.addr == 0 || dir.size == 0 {
		return nil
	}
	n := int(dir.size / 28)
	if n > maxDebug {
		return peError("debug", "%d entries", n)
	}
	var bad error
	for i := range n {
		d, ok := m.at(dir.addr+uint32(28*i), 28)
		if !ok {
			return peError("debug", "directory is outside the file")
		}
		le := binary.LittleEndian
		typ, size, at := le.Uint32(d[12:]), le.Uint32(d[16:]), le.Uint32(d[24:])
		switch {
		case typ == debugRepro:
			p.Reproducible = true
		case typ != debugCodeView || p.PDB != nil:
		case int64(at)+int64(size) > int64(len(m.b)):
			bad = peError("debug", "CodeView record is outside the file")
		default:
			p.PDB = parseCodeView(m.b[at : at+size])
		}
	}
	return bad
}

// parseCodeView reads an RSDS record, or an NB10 record of the linkers before 2002; nil when it is
// neither.
func parseCodeView(b []byte) *PDB {
	le := binary.LittleEndian
	switch {
	case len(b) >= 24 && string(b[:4]) == "RSDS":
		return &PDB{GUID: GUID(b[4:20]), Age: le.Uint32(b[20:]), Path: pdbPath(b[24:])}
	case len(b) >= 16 && string(b[:4]) == "NB10":
		return &PDB{Signature: Hex32(le.Uint32(b[8:])), Age: le.Uint32(b[12:]), Path: pdbPath(b[16:])}
	}
	return nil
}

func pdbPath(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return escape.UTF8(string(b[:min(len(b), maxName)]))
}

// GUID returns 16 bytes as a GUID: lower-case hexadecimal with dashes.
func GUID(b []byte) string {
	le := binary.LittleEndian
	return fmt.Sprintf("%08x-%04x-%04x-%x-%x", le.Uint32(b), le.Uint16(b[4:]), le.Uint16(b[6:]), b[8:10], b[10:16])
}
