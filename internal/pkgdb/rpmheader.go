// SPDX-License-Identifier: Apache-2.0

package pkgdb

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/kernelext/kernelext/fact"
)

// Tags of a package's header (rpmtag.h).
const (
	tagName         = 1000
	tagVersion      = 1001
	tagRelease      = 1002
	tagEpoch        = 1003
	tagVendor       = 1011
	tagArch         = 1022
	tagOldFilenames = 1027
	tagFileStates   = 1029
	tagFileDigests  = 1035
	tagFileFlags    = 1037
	tagDirIndexes   = 1116
	tagBasenames    = 1117
	tagDirnames     = 1118
	tagDigestAlgo   = 5011
)

// Types of a tag's data.
const (
	typeChar   = 1
	typeInt8   = 2
	typeInt32  = 4
	typeString = 6
	typeArray  = 8
	typeI18N   = 9
)

// Limits of rpm itself (header.c).
const (
	maxTags  = 65535
	maxData  = 256 << 20
	maxCount = 1 << 20
)

// States and attributes of a file (rpmfiles.h).
const (
	stateNormal    = 0
	stateNetShared = 3 // on a file system of another machine's: it is there, and nobody verifies it
	flagConfig     = 1 << 0
	flagMissingOK  = 1 << 3
	flagGhost      = 1 << 6
)

// rpmDigests are the names of digests by their numbers (RFC 4880, section 9.4).
var rpmDigests = [...]string{1: "md5", 2: "sha1", 8: "sha256", 9: "sha384", 10: "sha512", 11: "sha224"}

// A rpmTag is one entry of a header.
type rpmTag struct{ kind, offset, count uint32 }

// A rpmHead is a package's header: data by tags.
type rpmHead struct {
	source string
	tags   map[uint32]rpmTag
	data   []byte
}

// wantedTags are the tags that are looked at.
var wantedTags = [...]uint32{tagName, tagVersion, tagRelease, tagEpoch, tagVendor, tagArch, tagOldFilenames,
	tagFileStates, tagFileDigests, tagFileFlags, tagDirIndexes, tagBasenames, tagDirnames, tagDigestAlgo}

// parseHead reads a header as it is in a database: without a magic number before it. The first entry is that of the
// region that was signed; an entry after the region replaces an entry of the same tag in it (hdrblobImport).
func parseHead(source string, b []byte) (*rpmHead, error) {
	h := &rpmHead{source: source, tags: make(map[uint32]rpmTag, len(wantedTags))}
	if len(b) < 8 {
		return nil, h.malformed("a header of %d bytes", len(b))
	}
	tags, size := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	if tags > maxTags || size > maxData || 8+16*int(tags)+int(size) != len(b) {
		return nil, h.malformed("a header of %d tags and %d bytes of data in %d bytes", tags, size, len(b))
	}
	h.data = b[8+16*tags:]
	for i := range int(tags) {
		e := b[8+16*i:]
		tag := binary.BigEndian.Uint32(e)
		for _, wanted := range wantedTags {
			if tag != wanted {
				continue
			}
			t := rpmTag{binary.BigEndian.Uint32(e[4:]), binary.BigEndian.Uint32(e[8:]), binary.BigEndian.Uint32(e[12:])}
			if t.count > maxCount || t.offset > size {
				return nil, h.malformed("tag %d: %d values at %d of %d", tag, t.count, t.offset, size)
			}
			h.tags[tag] = t
		}
	}
	return h, nil
}

func (h *rpmHead) malformed(format string, args ...any) error {
	return &fact.ParseError{Source: h.source, Field: "header", Reason: fmt.Sprintf(format, args...)}
}

// text returns the first text of a tag; empty if the tag is missing.
func (h *rpmHead) text(tag uint32) string {
	t := h.tags[tag]
	if t.count == 0 || t.kind != typeString && t.kind != typeArray && t.kind != typeI18N {
		return ""
	}
	s, _, _ := bytes.Cut(h.data[t.offset:], []byte{0})
	return text(string(s))
}

// values returns the bytes of a tag's numbers, each of size bytes, and how many they are.
func (h *rpmHead) values(tag uint32, size int, kinds ...uint32) ([]byte, int, error) {
	t, ok := h.tags[tag]
	if !ok {
		return nil, 0, nil
	}
	known := false
	for _, kind := range kinds {
		known = known || t.kind == kind
	}
	n := size * int(t.count)
	if !known || n > len(h.data)-int(t.offset) {
		return nil, 0, h.malformed("tag %d: %d values of type %d at %d of %d", tag, t.count, t.kind, t.offset,
			len(h.data))
	}
	return h.data[t.offset:][:n], int(t.count), nil
}

// number returns the first number of a tag.
func (h *rpmHead) number(tag uint32) (n uint32, ok bool) {
	b, count, err := h.values(tag, 4, typeInt32)
	if err != nil || count == 0 {
		return 0, false
	}
	return binary.BigEndian.Uint32(b), true
}

// texts returns what walks over the texts of a tag, and how many they are.
func (h *rpmHead) texts(tag uint32) (texts, int) {
	t := h.tags[tag]
	if t.kind != typeArray || t.count == 0 {
		return nil, 0
	}
	return h.data[t.offset:], int(t.count)
}

// texts are texts that each end in a zero byte.
type texts []byte

// next returns the first of them, and takes it away; ok is false at the end.
func (t *texts) next() (s []byte, ok bool) {
	i := bytes.IndexByte(*t, 0)
	if i < 0 {
		return nil, false
	}
	s, *t = (*t)[:i], (*t)[i+1:]
	return s, true
}

// Package returns what the header says of the package.
func (h *rpmHead) Package() *fact.Package {
	p := &fact.Package{Manager: string(RPM), Name: h.text(tagName), Arch: h.text(tagArch), Vendor: h.text(tagVendor)}
	p.Version = h.text(tagVersion) + "-" + h.text(tagRelease)
	if epoch, ok := h.number(tagEpoch); ok {
		p.Version = fmt.Sprintf("%d:%s", epoch, p.Version)
	}
	return p
}

// rpmHeader notes the wanted files of a package.
func (d *reader) rpmHeader(item *fact.Item, source string, b []byte) error {
	if err := item.Work(int64(len(b)) / 4); err != nil {
		return err
	}
	h, err := parseHead(source, b)
	if err != nil {
		return err
	}
	dirs, err := d.rpmDirs(item, h)
	if err != nil || len(dirs) == 0 {
		return err
	}
	f, err := h.files()
	if err != nil {
		return err
	}
	p := h.Package()
	for f.next() {
		if f.err != nil {
			return f.err
		}
		dir, ok := dirs[f.dir]
		if !ok || len(dir)+len(f.base) > maxPath || !f.installed() {
			continue
		}
		if err := d.own(item, dir+string(f.base), f.owner(p)); err != nil {
			return fmt.Errorf("%s: %w", source, err)
		}
	}
	return f.err
}

// rpmDirs returns the directories of a package that may hold wanted files, by their numbers.
func (d *reader) rpmDirs(item *fact.Item, h *rpmHead) (map[uint32]string, error) {
	names, count := h.texts(tagDirnames)
	if _, old := h.tags[tagOldFilenames]; old && count == 0 {
		return nil, fmt.Errorf("%s: a package of rpm 3, whose files are not read: %w", h.source, errors.ErrUnsupported)
	}
	if base, files := h.tags[tagBasenames]; files && base.count > 0 && count == 0 {
		return nil, h.malformed("%d files without directories", base.count)
	}
	var dirs map[uint32]string
	for i := range count {
		name, ok := names.next()
		if !ok {
			return nil, h.malformed("directory %d of %d is cut", i, count)
		}
		if len(name) > maxPath || !d.belowRoot(string(name)) {
			continue
		}
		if err := item.Keep(int64(len(name)) + 64); err != nil {
			return nil, fmt.Errorf("%s: %w", h.source, err)
		}
		if dirs == nil {
			dirs = map[uint32]string{}
		}
		dirs[uint32(i)] = string(name)
	}
	return dirs, nil
}

// rpmFiles walks over the files of a header.
type rpmFiles struct {
	head    *rpmHead
	at      int
	count   int
	names   texts
	digests texts // empty if the header has no digests
	indexes []byte
	flags   []byte
	states  []byte
	kind    string // of the digests

	dir    uint32
	base   []byte
	digest []byte
	err    error
}

// files returns the walk. Tags whose counts differ are invalid.
func (h *rpmHead) files() (*rpmFiles, error) {
	f := &rpmFiles{head: h, at: -1}
	f.names, f.count = h.texts(tagBasenames)
	var dirs, flags, states int
	var err [3]error
	f.indexes, dirs, err[0] = h.values(tagDirIndexes, 4, typeInt32)
	f.flags, flags, err[1] = h.values(tagFileFlags, 4, typeInt32)
	f.states, states, err[2] = h.values(tagFileStates, 1, typeChar, typeInt8)
	for _, e := range err {
		if e != nil {
			return nil, e
		}
	}
	var digests int
	f.digests, digests = h.texts(tagFileDigests)
	if dirs != f.count || flags != f.count && flags != 0 || states != f.count && states != 0 ||
		digests != f.count && digests != 0 {
		return nil, h.malformed("%d files with %d directories, %d flags, %d states, %d digests", f.count, dirs, flags,
			states, digests)
	}
	f.kind = rpmDigests[1]
	if n, ok := h.number(tagDigestAlgo); ok {
		f.kind = ""
		if n < uint32(len(rpmDigests)) {
			f.kind = rpmDigests[n]
		}
	}
	return f, nil
}

// next goes to the next file; false at the end.
func (f *rpmFiles) next() bool {
	if f.at++; f.at >= f.count {
		return false
	}
	var ok bool
	if f.base, ok = f.names.next(); !ok {
		f.err = f.head.malformed("file %d of %d is cut", f.at, f.count)
		return true
	}
	f.digest = nil
	if f.digests != nil {
		if f.digest, ok = f.digests.next(); !ok {
			f.err = f.head.malformed("digest %d of %d is cut", f.at, f.count)
		}
	}
	f.dir = binary.BigEndian.Uint32(f.indexes[4*f.at:])
	return true
}

// state returns the file's state. A package without states has no installed files (filenames2 in tagexts.c).
func (f *rpmFiles) state() int {
	if f.at >= len(f.states) {
		return -1
	}
	return int(f.states[f.at])
}

// installed reports whether the package's file is the one that is there (RPMFILE_IS_INSTALLED).
func (f *rpmFiles) installed() bool { return f.state() == stateNormal || f.state() == stateNetShared }

// owner returns what the package says of the file.
func (f *rpmFiles) owner(p *fact.Package) Owner {
	flags := uint32(0)
	if 4*f.at+4 <= len(f.flags) {
		flags = binary.BigEndian.Uint32(f.flags[4*f.at:])
	}
	o := Owner{Package: p, Config: flags&flagConfig != 0, Optional: flags&(flagMissingOK|flagGhost) != 0}
	switch {
	case f.state() == stateNetShared:
		o.Optional = true
	case flags&flagGhost == 0: // what a ghost is filled with is not the package's
		o.Sum = sumOf(f.kind, string(f.digest))
	}
	return o
}
