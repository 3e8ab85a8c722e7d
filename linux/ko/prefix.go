// SPDX-License-Identifier: Apache-2.0

package ko

import (
	"bytes"
	"encoding/hex"
	"unicode/utf8"
)

// How much is decoded at a time while looking for .modinfo, and when looking is given up: a module
// that goes on longer than this without it is decoded whole.
const (
	prefixStep = 1 << 10
	prefixMax  = 64 << 20
	prefixKeep = 256 << 10 // kept of what is before, where .modinfo may have begun
)

// prefix decodes until .modinfo and the build-id are complete, and fills in the file when they are
// found beyond doubt. It reports false when they are not; what was decoded so far stays, but for what is long before.
func (r *Reader) prefix(file *File, max int64) (bool, error) {
	x := &r.x
	if err := x.more(prefixStep); err != nil {
		return false, err
	}
	e := elfImage{src: memorySource(x.out), path: file.Path}
	if _, _, _, _, err := e.header(); err != nil {
		return false, nil // the reader of whole files says what is wrong
	}
	if end, ok := sectionsEnd(x.out); !ok || end > max {
		return false, nil
	}
	p := prefixSearch{order: e.order}
	for {
		if !p.search(x.out, x.done) {
			return false, nil
		}
		if len(p.modinfo) > maxModinfo {
			return false, nil
		}
		if p.complete() {
			file.Machine = e.machine
			r.setModinfo(file, p.modinfo)
			file.BuildID = p.id
			file.Whole = x.done
			return true, nil
		}
		if x.done || x.decoded() >= prefixMax {
			return false, nil
		}
		p.keep()
		if (p.magic == 0 || p.modinfo != nil) && len(x.out) >= 2*prefixKeep {
			x.drop(p.drop(len(x.out) - prefixKeep))
		}
		if err := x.more(p.step(len(x.out))); err != nil {
			return false, err
		}
	}
}

// A prefixSearch finds .modinfo and the build-id in the first part of a module, without the
// section headers, which are at the end.
type prefixSearch struct {
	order   byteOrder
	seen    int    // bytes that were searched for vermagic
	magic   int    // where "vermagic=" is; 0 while not found
	modinfo []byte // the section, when it was found
	kept    bool   // modinfo has memory of its own
	idSeen  int    // bytes that were searched for the build-id
	id      string // the build-id, when it was found
	cut     bool   // the file's beginning was dropped
}

func (p *prefixSearch) complete() bool { return p.modinfo != nil && p.id != "" }

// keep copies what was found, before more is decoded to where it is.
func (p *prefixSearch) keep() {
	if p.modinfo != nil && !p.kept {
		p.modinfo, p.kept = bytes.Clone(p.modinfo), true
	}
}

// drop makes the search go on without the first n bytes, or a few less, and returns how many. Nothing of .modinfo that
// is still wanted is in them.
func (p *prefixSearch) drop(n int) int {
	n &^= 63 // the build-id stays where its note is aligned
	p.seen, p.idSeen, p.cut = max(p.seen-n, 0), max(p.idSeen-n, 0), true
	return n
}

// step returns how much more to decode: while .modinfo goes on, an eighth of what is there of it,
// which is looked at anew each time.
func (p *prefixSearch) step(decoded int) int {
	if p.magic == 0 || p.modinfo != nil {
		return prefixStep
	}
	return max(prefixStep, (decoded-p.magic)/8)
}

var (
	vermagicEntry = []byte("vermagic=")
	gnuName       = []byte("GNU\x00")
)

// search looks at what was decoded so far. It reports false when the search can give no certain
// answer any more.
func (p *prefixSearch) search(out []byte, done bool) bool {
	if p.id == "" {
		p.searchID(out)
	}
	if p.modinfo != nil {
		return true
	}
	if p.magic == 0 && !p.searchMagic(out) {
		return true
	}
	return p.bounds(out, done)
}

// searchMagic looks for vermagic where an entry begins: after a NUL.
func (p *prefixSearch) searchMagic(out []byte) bool {
	for {
		i := bytes.Index(out[p.seen:], vermagicEntry)
		if i < 0 {
			p.seen = max(len(out)-len(vermagicEntry), 0)
			return false
		}
		at := p.seen + i
		if at > 0 && out[at-1] == 0 {
			p.magic = at
			return true
		}
		p.seen = at + 1
	}
}

// bounds finds where the run of entries around vermagic begins and ends. It reports false when that is not certain.
func (p *prefixSearch) bounds(out []byte, done bool) bool {
	end, cut, ok := p.endOf(out)
	if cut {
		return !done // the rest of the entry, or what follows, is still to come
	}
	if !ok {
		return false
	}
	start, ok := p.startOf(out)
	if !ok || !plausible(out[start:end]) || formatString(out[start:end]) {
		return false
	}
	p.modinfo = out[start:end]
	return true
}

// endOf returns where the run of entries ends, which is after what is decoded if it is cut. It reports false when that
// is not certain.
func (p *prefixSearch) endOf(out []byte) (end int, cut, ok bool) {
	end = p.magic
	for {
		n := bytes.IndexByte(out[end:], 0)
		if n < 0 {
			return 0, true, true
		}
		end += n + 1
		padding := zeros(out[end:])
		kind := entryKind(out[end+padding:])
		if kind == entryCut {
			return 0, true, true
		}
		if ends, doubt := borders(kind, padding); ends || doubt {
			return end, false, !doubt
		}
	}
}

// startOf returns where the run of entries begins. It reports false when that is not certain.
func (p *prefixSearch) startOf(out []byte) (start int, ok bool) {
	start = p.magic
	for start > 0 {
		padding := zerosBefore(out[:start-1])
		last := start - padding
		before := bytes.LastIndexByte(out[:last-1], 0) + 1
		if before == 0 && p.cut {
			return 0, false
		}
		ends, doubt := borders(entryKind(out[before:last]), padding)
		if doubt {
			return 0, false
		}
		if !ends {
			start = before
			continue
		}
		at, doubt := entryWithin(out[before:last])
		if doubt || at >= 0 && padding > 0 {
			return 0, false
		}
		if at >= 0 {
			start = before + at
		}
		return start, true
	}
	return start, true
}

// borders reports whether a section ends next to a string of that kind, with so many NULs more
// between the two than the one that ends an entry, and whether that is unknown.
func borders(kind, padding int) (ends, doubt bool) {
	if padding > 0 {
		return true, kind == entryKnown
	}
	return kind == entryNone, kind == entryDoubtful
}

// maxPadding is how many NULs there may be between two entries. The kernel's build leaves none; old
// ones did, and then the section's end is not known before the whole file is.
const maxPadding = 32

// zeros counts the NULs that b begins with.
func zeros(b []byte) int {
	n := 0
	for n < len(b) && n < maxPadding && b[n] == 0 {
		n++
	}
	return n
}

// zerosBefore counts the NULs that b ends with.
func zerosBefore(b []byte) int {
	n := 0
	for n < len(b)-1 && n < maxPadding && b[len(b)-1-n] == 0 {
		n++
	}
	return n
}

// What a string next to entries is.
const (
	entryNone     = iota // no entry: the section begins or ends here
	entryKnown           // an entry with a key that modules have
	entryDoubtful        // like an entry, but maybe a string of the program
	entryCut             // the decoded part ends before this is known
)

// isModinfoKey reports whether the kernel or a distribution uses the key. A string with another key
// beside .modinfo may be an entry or a string of the program, so it leaves the search without an
// answer.
func isModinfoKey(key []byte) bool {
	switch string(key) {
	case "alias", "author", "depends", "description", "file", "firmware",
		"import_ns", "intree", "key_mappings", "license", "livepatch",
		"name", "parm", "parmtype", "retpoline", "rhelversion",
		"scmversion", "softdep", "srcversion", "staging", "supported",
		"suserelease", "test", "vermagic", "version", "weakdep":
		return true
	}
	return false
}

// maxModinfoKey is more bytes than any key of isModinfoKey has.
const maxModinfoKey = 16

// entryKind judges the NUL-ended string that b begins with.
func entryKind(b []byte) int {
	for i, c := range b {
		switch {
		case c == '=':
			if i == 0 {
				return entryNone
			}
			if !isModinfoKey(b[:i]) {
				return entryDoubtful
			}
			return entryKnown
		case c == 0:
			return entryNone
		case c < ' ' || c > '~' || i > 64:
			return entryNone
		case c == ' ':
			return entryNone // "x = %d": no key has a space
		}
	}
	return entryCut
}

// entryWithin finds the section's first entry in a string that is not an entry: the section before need not end in NUL.
// at is -1 if the string has no entry, or doubt says that it may have one. It is certain only behind a byte that is in
// no program's text: a string "\tversion=1" may be one that the program prints.
func entryWithin(b []byte) (at int, doubt bool) {
	end := bytes.IndexByte(b, '=')
	at = end
	for at > 0 && b[at-1] > ' ' && b[at-1] <= '~' {
		at--
	}
	if at <= 0 || at == end || inText(b[:at]) {
		return -1, mayHaveEntry(b)
	}
	if !isModinfoKey(b[at:end]) || mayHaveEntry(b[end+1:]) {
		return -1, true
	}
	for i := at + 1; i < end; i++ {
		if isModinfoKey(b[i:end]) { // "srcversion" may be "version" behind "src"
			return -1, true
		}
	}
	return at, false
}

// inText reports whether a text may go on behind b: the last byte is a space, a control character that terminals know,
// or belongs to UTF-8.
func inText(b []byte) bool {
	switch c := b[len(b)-1]; {
	case c >= 0x80:
		r, _ := utf8.DecodeLastRune(b)
		return r != utf8.RuneError
	case c >= '\a' && c <= '\r', c == 0x1b, c >= ' ':
		return true
	}
	return false
}

// mayHaveEntry reports whether an entry may begin somewhere in b, with a key that modules have, or with one of its own
// where b is no format string.
func mayHaveEntry(b []byte) bool {
	format := bytes.IndexByte(b, '%') >= 0
	for i, c := range b {
		if c != '=' {
			continue
		}
		key := i
		for key > 0 && i-key < maxModinfoKey && isKeyByte(b[key-1]) {
			key--
		}
		if key < i && !format {
			return true
		}
		for ; key < i; key++ {
			if isModinfoKey(b[key:i]) {
				return true
			}
		}
	}
	return false
}

// isKeyByte reports whether a key, which is a name in C, may have the byte.
func isKeyByte(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// formatString reports whether the first entry looks like a format string of the program, which may be right before the
// section.
func formatString(section []byte) bool {
	first, _, _ := bytes.Cut(section, []byte{0})
	return bytes.IndexByte(first, '%') >= 0
}

// plausible reports whether the run of entries is that of one module: what the build adds to every
// module is there, once.
func plausible(section []byte) bool {
	count := func(key string) int {
		n := bytes.Count(section, []byte("\x00"+key+"="))
		if bytes.HasPrefix(section, []byte(key+"=")) {
			n++
		}
		return n
	}
	return count("vermagic") == 1 && count("depends") == 1 && count("name") == 1
}

// searchID looks for the build-id's note: its sizes, its type and the name GNU.
func (p *prefixSearch) searchID(out []byte) {
	from := max(p.idSeen, 12)
	for {
		i := bytes.Index(out[min(from, len(out)):], gnuName)
		if i < 0 {
			p.idSeen = max(len(out)-len(gnuName), 0)
			return
		}
		at := from + i
		head := out[at-12 : at]
		size := int(p.order.Uint32(head[4:]))
		if at%4 == 0 && p.order.Uint32(head) == 4 && p.order.Uint32(head[8:]) == noteGNUBuildID &&
			size > 0 && size <= 64 {
			if at+4+size > len(out) {
				p.idSeen = at - 12
				return
			}
			p.id = hex.EncodeToString(out[at+4 : at+4+size])
			return
		}
		from = at + 1
	}
}
