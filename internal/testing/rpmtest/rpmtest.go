// SPDX-License-Identifier: Apache-2.0

// Package rpmtest builds databases of rpm in each of its formats, for tests. All of them are made up. It is a writer of
// its own, so that a reader is tested on any system, without rpm.
package rpmtest

import (
	"encoding/binary"
	"hash/adler32"
	"slices"

	"github.com/kernelext/kernelext/internal/testing/sqlitetest"
)

// A Package is an installed package.
type Package struct {
	// Name, Version, Release, Arch and Vendor are texts of its header.
	Name, Version, Release, Arch, Vendor string
	// Epoch is its epoch; 0 means no epoch.
	Epoch int
	// Algorithm is the number of its files' digests; 0 leaves it out, which means MD5.
	Algorithm int
	// Files are its files.
	Files []File
	// NoStates leaves out the states of the files.
	NoStates bool
}

// A File is one file of a package.
type File struct {
	// Dir is its directory, with slashes at both ends, and Base its name there.
	Dir, Base string
	// Digest is its digest in hexadecimal.
	Digest string
	// Flags and State are its attributes and its state.
	Flags uint32
	State byte
}

// Types of a tag's data.
const (
	typeChar, typeInt32, typeBytes, typeString, typeArray = 1, 4, 7, 6, 8
)

// A head collects the entries of a header.
type head struct {
	index, data []byte
	tags        int
}

func (h *head) add(tag, kind, count int, data []byte) {
	if kind == typeInt32 {
		for len(h.data)%4 != 0 {
			h.data = append(h.data, 0)
		}
	}
	for _, n := range []int{tag, kind, len(h.data), count} {
		h.index = binary.BigEndian.AppendUint32(h.index, uint32(n))
	}
	h.data = append(h.data, data...)
	h.tags++
}

func (h *head) text(tag int, s string) {
	if s != "" {
		h.add(tag, typeString, 1, append([]byte(s), 0))
	}
}

func (h *head) texts(tag int, list []string) {
	var b []byte
	for _, s := range list {
		b = append(append(b, s...), 0)
	}
	h.add(tag, typeArray, len(list), b)
}

func (h *head) numbers(tag int, list ...int) {
	var b []byte
	for _, n := range list {
		b = binary.BigEndian.AppendUint32(b, uint32(n))
	}
	h.add(tag, typeInt32, len(list), b)
}

// Header returns the package's header as it is in a database.
func (p *Package) Header() []byte {
	h := new(head)
	h.add(63, typeBytes, 16, make([]byte, 16)) // the region, which a reader steps over
	h.text(1000, p.Name)
	h.text(1001, p.Version)
	h.text(1002, p.Release)
	if p.Epoch > 0 {
		h.numbers(1003, p.Epoch)
	}
	h.text(1011, p.Vendor)
	h.text(1022, p.Arch)
	if len(p.Files) > 0 {
		p.files(h)
	}
	b := binary.BigEndian.AppendUint32(nil, uint32(h.tags))
	b = binary.BigEndian.AppendUint32(b, uint32(len(h.data)))
	return append(append(b, h.index...), h.data...)
}

// Dirs returns the directories of the package's files, each once.
func (p *Package) Dirs() []string {
	var dirs []string
	for _, f := range p.Files {
		if !slices.Contains(dirs, f.Dir) {
			dirs = append(dirs, f.Dir)
		}
	}
	return dirs
}

func (p *Package) files(h *head) {
	dirs := p.Dirs()
	var bases, digests []string
	var indexes, flags []int
	var states []byte
	for _, f := range p.Files {
		bases, digests = append(bases, f.Base), append(digests, f.Digest)
		indexes, flags = append(indexes, slices.Index(dirs, f.Dir)), append(flags, int(f.Flags))
		states = append(states, f.State)
	}
	if !p.NoStates {
		h.add(1029, typeChar, len(states), states)
	}
	h.texts(1035, digests)
	h.numbers(1037, flags...)
	h.numbers(1116, indexes...)
	h.texts(1117, bases)
	h.texts(1118, dirs)
	if p.Algorithm > 0 {
		h.numbers(5011, p.Algorithm)
	}
}

// SQLite returns a database in the format of rpm 4.16 and later.
func SQLite(packages ...Package) []byte {
	heads := sqlitetest.Table{Name: "Packages",
		SQL: "CREATE TABLE 'Packages' (hnum INTEGER PRIMARY KEY AUTOINCREMENT,blob BLOB NOT NULL)"}
	dirs := sqlitetest.Table{Name: "Dirnames", Index: 1, Indexed: "key",
		SQL: "CREATE TABLE 'Dirnames' (key 'TEXT' NOT NULL, hnum INTEGER NOT NULL, idx INTEGER NOT NULL, " +
			"FOREIGN KEY (hnum) REFERENCES 'Packages'(hnum))"}
	for i, p := range packages {
		heads.Rows = append(heads.Rows, []any{nil, p.Header()})
		for j, dir := range p.Dirs() {
			dirs.Rows = append(dirs.Rows, []any{dir, i + 1, j})
		}
	}
	return sqlitetest.Build(4096, heads, dirs)
}

// NDB returns a database in the format of SUSE.
func NDB(packages ...Package) []byte {
	const page, block = 4096, 16
	order := binary.LittleEndian
	pages := (32+block*len(packages))/page + 1
	b := make([]byte, pages*page)
	copy(b, "RpmP")
	order.PutUint32(b[8:], 1)
	order.PutUint32(b[12:], uint32(pages))
	order.PutUint32(b[16:], uint32(len(packages)+1))
	for at := 32; at < pages*page; at += block {
		copy(b[at:], "Slot")
	}
	for i, p := range packages {
		h := p.Header()
		blob := append([]byte("BlbS"), make([]byte, 12)...)
		order.PutUint32(blob[4:], uint32(i+1))
		order.PutUint32(blob[8:], 1)
		order.PutUint32(blob[12:], uint32(len(h)))
		blob = append(blob, h...)
		for (len(blob)+12)%block != 0 {
			blob = append(blob, 0)
		}
		blob = order.AppendUint32(blob, adler32.Checksum(blob))
		blob = append(order.AppendUint32(blob, uint32(len(h))), "BlbE"...)
		slot := b[32+block*i:]
		order.PutUint32(slot[4:], uint32(i+1))
		order.PutUint32(slot[8:], uint32(len(b)/block))
		order.PutUint32(slot[12:], uint32(len(blob)/block))
		b = append(b, blob...)
	}
	return b
}

// BDB returns a hash database of BerkeleyDB in that byte order, one package on each of its pages; a header that does
// not fit is in a chain of pages.
func BDB(order binary.ByteOrder, packages ...Package) []byte {
	const page = 4096
	meta := make([]byte, page)
	order.PutUint32(meta[12:], 0x061561)
	order.PutUint32(meta[16:], 9)
	order.PutUint32(meta[20:], page)
	meta[25] = 8
	pages := [][]byte{meta}
	add := func(kind byte) []byte {
		p := make([]byte, page)
		order.PutUint32(p[8:], uint32(len(pages)))
		p[25] = kind
		pages = append(pages, p)
		return p
	}
	for i, p := range packages {
		h := p.Header()
		on := add(13)
		order.PutUint16(on[20:], 2)
		key, value := page-5, append([]byte{1}, h...)
		on[key] = 1
		order.PutUint32(on[key+1:], uint32(i+1))
		if len(value) > page/4 {
			value = make([]byte, 12)
			value[0] = 3
			order.PutUint32(value[4:], uint32(len(pages)))
			order.PutUint32(value[8:], uint32(len(h)))
			for rest := h; len(rest) > 0; {
				over := add(7)
				n := copy(over[26:], rest)
				rest = rest[n:]
				order.PutUint16(over[22:], uint16(n))
				if len(rest) > 0 {
					order.PutUint32(over[16:], uint32(len(pages)))
				}
			}
		}
		copy(on[key-len(value):], value)
		order.PutUint16(on[26:], uint16(key))
		order.PutUint16(on[28:], uint16(key-len(value)))
	}
	order.PutUint32(meta[32:], uint32(len(pages)-1))
	return slices.Concat(pages...)
}
