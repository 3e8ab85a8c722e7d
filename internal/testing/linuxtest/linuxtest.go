// SPDX-License-Identifier: Apache-2.0

// Package linuxtest builds what a Linux machine holds, for tests: module files with and without
// signatures, a release directory, initial file systems, boot images. Only tests import it.
package linuxtest

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io/fs"
	"runtime"
	"strings"
	"testing/fstest"
	"time"
)

// File is a file of that text.
func File(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }

// Link is a symbolic link.
func Link(target string) *fstest.MapFile {
	return &fstest.MapFile{Data: []byte(target), Mode: fs.ModeSymlink}
}

// Files are files of those texts, by their names.
func Files(texts map[string]string) fstest.MapFS {
	m := fstest.MapFS{}
	for name, text := range texts {
		m[name] = &fstest.MapFile{Data: []byte(text), Mode: 0o444}
	}
	return m
}

// Refusing is fsys, but answers every path that contains part with err.
func Refusing(fsys fs.FS, part string, err error) fs.FS { return refusingFS{fsys, part, err} }

type refusingFS struct {
	fs.FS
	part string
	err  error
}

func (r refusingFS) Open(name string) (fs.File, error) {
	if strings.Contains(name, r.part) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: r.err}
	}
	return r.FS.Open(name)
}

// Allocated returns the bytes of memory that f asked for.
func Allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// Archive is a cpio archive in the newc form.
func Archive(texts ...string) []byte {
	var b bytes.Buffer
	add := func(name, text string, mode int) {
		fmt.Fprintf(&b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", 1, mode, 0, 0, 1, 0, len(text),
			0, 0, 0, 0, len(name)+1, 0)
		b.WriteString(name + "\x00")
		b.Write(make([]byte, (4-b.Len()%4)%4))
		b.WriteString(text)
		b.Write(make([]byte, (4-b.Len()%4)%4))
	}
	for i := 0; i+1 < len(texts); i += 2 {
		add(texts[i], texts[i+1], 0o100644)
	}
	add("TRAILER!!!", "", 0)
	return b.Bytes()
}

// Gzip compresses bytes.
func Gzip(b []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	z.Write(b)
	z.Close()
	return out.Bytes()
}

// Image is a PE file with sections, given by name and content, in that order.
func Image(sections ...string) []byte {
	const head, optional, sectionSize = 64, 240, 40
	count := len(sections) / 2
	b := make([]byte, head+24+optional)
	copy(b, "MZ")
	binary.LittleEndian.PutUint32(b[60:], head)
	copy(b[head:], "PE\x00\x00")
	binary.LittleEndian.PutUint16(b[head+6:], uint16(count))
	binary.LittleEndian.PutUint16(b[head+20:], optional)
	data := len(b) + count*sectionSize
	var texts []byte
	for i := range count {
		name, text := sections[2*i], sections[2*i+1]
		var s [sectionSize]byte
		copy(s[:8], name)
		binary.LittleEndian.PutUint32(s[8:], uint32(len(text)))
		binary.LittleEndian.PutUint32(s[16:], uint32(len(text)))
		binary.LittleEndian.PutUint32(s[20:], uint32(data+len(texts)))
		b = append(b, s[:]...)
		texts = append(texts, text...)
	}
	return append(b, texts...)
}

// ImageOf is a PE file with the sections, none of which can run.
func ImageOf(sections map[string]string) []byte {
	var list []string
	for name, text := range sections {
		list = append(list, name, text)
	}
	return Image(list...)
}

// Dir is the directory of Release.
const Dir = "lib/modules/6.1.0-test"

// Release is a small release directory with text indexes.
func Release() fstest.MapFS {
	module := func(name string) *fstest.MapFile {
		return &fstest.MapFile{Data: ModuleOf(binary.LittleEndian, true, Entries(name)...).Bytes(),
			ModTime: time.Unix(1, 0)}
	}
	return fstest.MapFS{
		Dir + "/kernel/a.ko":     module("a"),
		Dir + "/kernel/b-b.ko":   module("b_b"),
		Dir + "/kernel/sub/c.ko": module("c"),
		Dir + "/updates/c.ko":    module("c"),
		Dir + "/modules.dep": File("kernel/a.ko: kernel/b-b.ko updates/c.ko\n" +
			"kernel/b-b.ko: updates/c.ko\nupdates/c.ko:\n"),
		Dir + "/modules.alias": File("# comment\nalias pci:v*d00[0-9]* a\nalias fs-demo b_b\n" +
			"alias pci:v*d001* c\n"),
		Dir + "/modules.symbols": File("alias symbol:do_c c\n"),
		Dir + "/modules.builtin": File("kernel/lib/crc-x.ko\n"),
		Dir + "/modules.softdep": File("softdep a pre: crc-x none post: fs-demo\n"),
		"etc/modprobe.d/z.conf": File("options a x=1\noptions a y=\\\n2\nblacklist c\nalias my-dev a\n" +
			"alias many-* b-b\nalias many-* a\n"),
		"usr/lib/modprobe.d/z.conf": File("blacklist never\n"),
		"usr/lib/modprobe.d/a.conf": File("install other /bin/true\nnonsense\noptions\nalias [x a\n" +
			"# comment\n\ninclude foo\n"),
		"etc/modprobe.d/skip":         File("blacklist skipped\n"),
		"etc/modprobe.d/.hidden.conf": File("blacklist hidden\n"),
		"etc/modprobe.d/dir.conf/x":   File("blacklist dir\n"),
		Dir + "/modules.builtin.modinfo": File("crc_x.license=GPL\x00crc_x.parm=p:two\n" +
			"lines\x00core.author=A\x00crc_x.author=B\x00core.license=GPL\x00"),
	}
}
