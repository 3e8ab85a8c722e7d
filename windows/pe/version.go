// SPDX-License-Identifier: Apache-2.0

package pe

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/utf16text"
)

// Limits of a version resource.
const (
	maxVersionResources = 32
	maxVersionStrings   = 512
	maxResourceEntries  = 4096
)

// Version is a VS_VERSIONINFO resource: what the vendor says of the file, which nobody checked.
type Version struct {
	// File is the file's numeric version, "a.b.c.d"; empty when the resource has no fixed part. 0.0.0.0 means that the
	// vendor set none.
	File string `json:"file,omitzero"`
	// Product is the product's numeric version, in the same form.
	Product string `json:"product,omitzero"`
	// Flags are the fixed part's flags as words: debug, prerelease, patched, private_build,
	// special_build.
	Flags []string `json:"flags,omitzero"`
	// Languages are the string tables, in the file's order.
	Languages []VersionLanguage `json:"languages,omitzero"`
}

// A VersionLanguage is the string table of one language.
type VersionLanguage struct {
	Language string          `json:"language"`          // four hexadecimal digits, such as "0409"
	CodePage string          `json:"codePage,omitzero"` // four hexadecimal digits, such as "04b0"
	Strings  []VersionString `json:"strings"`           // in the file's order, repeats kept
}

// A VersionString is one entry of a string table.
type VersionString struct {
	Name  string `json:"name"`           // such as "CompanyName"
	Value string `json:"value,omitzero"` // unchanged, but for the closing zero
}

// String returns the first value with this name, of any language; names fold case.
func (v *Version) String(name string) string {
	if v == nil {
		return ""
	}
	for _, l := range v.Languages {
		for _, s := range l.Strings {
			if strings.EqualFold(s.Name, name) && s.Value != "" {
				return s.Value
			}
		}
	}
	return ""
}

// Strings returns all different values with this name, of all languages.
func (v *Version) Strings(name string) []string {
	if v == nil {
		return nil
	}
	var out []string
	seen := map[string]bool{}
	for _, l := range v.Languages {
		for _, s := range l.Strings {
			if strings.EqualFold(s.Name, name) && s.Value != "" && !seen[s.Value] {
				seen[s.Value] = true
				out = append(out, s.Value)
			}
		}
	}
	return out
}

// Version returns the version resource; nil, nil if the file has none. An error beside a Version says what is damaged.
func (p *File) Version() (*Version, error) {
	if p.img == nil {
		return nil, nil
	}
	return p.img.version()
}

// Glance returns the processor and the version resource of an image file and decodes nothing else. An error means that
// b is not an image file; what is whole of a damaged resource is returned.
func Glance(b []byte) (machine string, v *Version, err error) {
	m, err := parseImage(b)
	if err != nil {
		return "", nil, err
	}
	v, _ = m.version()
	return MachineName(m.machine), v, nil
}

// version reads the version resources; nil, nil if the file has none. An error beside a Version says what is damaged.
func (m *image) version() (*Version, error) {
	blobs, err := m.versionResources()
	if len(blobs) == 0 {
		return nil, err
	}
	v := &Version{}
	for _, b := range blobs {
		if e := v.parse(b); e != nil {
			err = e
		}
	}
	return v, err
}

func versionError(format string, args ...any) error {
	return &fact.ParseError{Source: "pe", Field: "version", Reason: fmt.Sprintf(format, args...)}
}

// versionResources walks the resource directory's three levels: type, name, language.
func (m *image) versionResources() ([][]byte, error) {
	dir := m.dirs[dirResource]
	if dir.addr == 0 {
		return nil, nil
	}
	off, ok := m.offset(dir.addr)
	if !ok {
		return nil, versionError("resource directory is outside the file")
	}
	root := m.b[off:]
	left := maxResourceEntries
	var out [][]byte
	for _, typ := range resourceEntries(root, 0, &left) {
		if typ.id != 16 || !typ.dir {
			continue
		}
		for _, name := range resourceEntries(root, typ.at, &left) {
			for _, lang := range resourceEntries(root, name.at, &left) {
				if lang.dir || len(out) == maxVersionResources {
					continue
				}
				b, ok := m.resourceData(root, lang.at)
				if !ok {
					return out, versionError("resource data is outside the file")
				}
				out = append(out, b)
			}
		}
	}
	if left <= 0 {
		return out, versionError("more than %d resource entries", maxResourceEntries)
	}
	return out, nil
}

type resourceEntry struct {
	id  uint32
	dir bool
	at  uint32
}

func resourceEntries(root []byte, at uint32, left *int) []resourceEntry {
	if int64(at)+16 > int64(len(root)) {
		return nil
	}
	le := binary.LittleEndian
	n := int(le.Uint16(root[at+12:])) + int(le.Uint16(root[at+14:]))
	var out []resourceEntry
	for i := range n {
		pos := int64(at) + 16 + 8*int64(i)
		if *left--; *left < 0 || pos+8 > int64(len(root)) {
			break
		}
		v := le.Uint32(root[pos+4:])
		out = append(out, resourceEntry{id: le.Uint32(root[pos:]), dir: v&(1<<31) != 0, at: v &^ (1 << 31)})
	}
	return out
}

func (m *image) resourceData(root []byte, at uint32) ([]byte, bool) {
	if int64(at)+16 > int64(len(root)) {
		return nil, false
	}
	rva, size := binary.LittleEndian.Uint32(root[at:]), binary.LittleEndian.Uint32(root[at+4:])
	if size > 1<<20 {
		return nil, false
	}
	return m.at(rva, int(size))
}

// A versionBlock is one node of the resource: a key, a value and children.
type versionBlock struct {
	key      string
	value    []byte
	children []byte
	rest     []byte // all that follows the key: the value of a string, whose stated length is often wrong
}

// nextBlock takes one node from b and returns the rest.
func nextBlock(b []byte) (versionBlock, []byte, error) {
	var blk versionBlock
	if len(b) < 6 {
		return blk, nil, versionError("node of %d bytes", len(b))
	}
	le := binary.LittleEndian
	length, valueLen, typ := int(le.Uint16(b)), int(le.Uint16(b[2:])), le.Uint16(b[4:])
	if length < 6 || length > len(b) {
		return blk, nil, versionError("node of length %d, %d bytes left", length, len(b))
	}
	node := b[:length]
	rest := b[min(align4(length), len(b)):]
	end := 6
	for end+1 < length && (node[end] != 0 || node[end+1] != 0) {
		end += 2
	}
	blk.key = utf16text.Decode(node[6:end])
	pos := min(align4(end+2), length)
	if typ == 1 {
		valueLen *= 2
	}
	stop := min(pos+valueLen, length)
	blk.value, blk.rest = node[pos:stop], node[pos:]
	blk.children = node[min(align4(stop), length):]
	return blk, rest, nil
}

// padding reports whether no node can follow: there is no room, or nothing but zero bytes.
func padding(b []byte) bool { return len(b) < 6 || len(bytes.TrimLeft(b, "\x00")) == 0 }

func align4(n int) int { return (n + 3) &^ 3 }

func (v *Version) parse(b []byte) error {
	top, _, err := nextBlock(b)
	if err != nil {
		return err
	}
	if top.key != "VS_VERSION_INFO" {
		return versionError("key %q", top.key)
	}
	v.parseFixed(top.value)
	left := maxVersionStrings
	for rest := top.children; !padding(rest); {
		var blk versionBlock
		if blk, rest, err = nextBlock(rest); err != nil {
			return err
		}
		if blk.key != "StringFileInfo" {
			continue
		}
		if err := v.parseTables(blk.children, &left); err != nil {
			return err
		}
	}
	return nil
}

var versionFlags = [...]string{"debug", "prerelease", "patched", "private_build", "", "special_build"}

func (v *Version) parseFixed(b []byte) {
	le := binary.LittleEndian
	if len(b) < 52 || le.Uint32(b) != 0xfeef04bd || v.File != "" {
		return
	}
	v.File, v.Product = quad(b[8:]), quad(b[16:])
	bits := le.Uint32(b[24:]) & le.Uint32(b[28:])
	for i, w := range versionFlags {
		if w != "" && bits&(1<<i) != 0 {
			v.Flags = append(v.Flags, w)
		}
	}
}

// quad writes two double words, the more significant first, as a version.
func quad(b []byte) string {
	le := binary.LittleEndian
	return fmt.Sprintf("%d.%d.%d.%d", le.Uint16(b[2:]), le.Uint16(b), le.Uint16(b[6:]), le.Uint16(b[4:]))
}

func (v *Version) parseTables(b []byte, left *int) error {
	for !padding(b) {
		table, rest, err := nextBlock(b)
		if err != nil {
			return err
		}
		b = rest
		lang := VersionLanguage{Language: strings.ToLower(table.key), Strings: []VersionString{}}
		if len(table.key) == 8 {
			lang.Language, lang.CodePage = strings.ToLower(table.key[:4]), strings.ToLower(table.key[4:])
		}
		for in := table.children; !padding(in); {
			var s versionBlock
			if s, in, err = nextBlock(in); err != nil {
				break
			}
			if *left--; *left < 0 {
				return versionError("more than %d strings", maxVersionStrings)
			}
			lang.Strings = append(lang.Strings, VersionString{Name: s.key, Value: utf16text.DecodeZ(s.rest)})
		}
		v.Languages = append(v.Languages, lang)
		if err != nil {
			return err
		}
	}
	return nil
}
