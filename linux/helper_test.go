// SPDX-License-Identifier: Apache-2.0

package linux

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

func file(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }

// link is a symbolic link.
func link(target string) *fstest.MapFile {
	return &fstest.MapFile{Data: []byte(target), Mode: fs.ModeSymlink}
}

func files(texts map[string]string) fstest.MapFS {
	m := fstest.MapFS{}
	for name, text := range texts {
		m[name] = &fstest.MapFile{Data: []byte(text), Mode: 0o444}
	}
	return m
}

// refusing is fsys, but answers every path that contains part with err.
func refusing(fsys fs.FS, part string, err error) fs.FS { return refusingFS{fsys, part, err} }

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

// allocated returns the bytes of memory that f asked for.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// archiveOf is a cpio archive in the newc form.
func archiveOf(texts ...string) []byte {
	var b bytes.Buffer
	add := func(name, text string, mode int) {
		fmt.Fprintf(&b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", 1, mode, 0, 0, 1, 0, len(text), 0, 0, 0, 0, len(name)+1, 0)
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

func zipped(b []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	z.Write(b)
	z.Close()
	return out.Bytes()
}

// imageWith is a PE file with sections, given by name and content, in that order.
func imageWith(sections ...string) []byte {
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

// madeImage is a PE file with the sections, none of which can run.
func madeImage(sections map[string]string) []byte {
	var list []string
	for name, text := range sections {
		list = append(list, name, text)
	}
	return imageWith(list...)
}

const testDir = "lib/modules/6.1.0-test"

// treeFS is a small release directory with text indexes.
func treeFS() fstest.MapFS {
	module := func(name string) *fstest.MapFile {
		return &fstest.MapFile{Data: moduleOf(binary.LittleEndian, true, entriesOf(name)...).bytes(), ModTime: time.Unix(1, 0)}
	}
	return fstest.MapFS{
		testDir + "/kernel/a.ko":             module("a"),
		testDir + "/kernel/b-b.ko":           module("b_b"),
		testDir + "/kernel/sub/c.ko":         module("c"),
		testDir + "/updates/c.ko":            module("c"),
		testDir + "/modules.dep":             file("kernel/a.ko: kernel/b-b.ko updates/c.ko\nkernel/b-b.ko: updates/c.ko\nupdates/c.ko:\n"),
		testDir + "/modules.alias":           file("# comment\nalias pci:v*d00[0-9]* a\nalias fs-demo b_b\nalias pci:v*d001* c\n"),
		testDir + "/modules.symbols":         file("alias symbol:do_c c\n"),
		testDir + "/modules.builtin":         file("kernel/lib/crc-x.ko\n"),
		testDir + "/modules.softdep":         file("softdep a pre: crc-x none post: fs-demo\n"),
		"etc/modprobe.d/z.conf":              file("options a x=1\noptions a y=\\\n2\nblacklist c\nalias my-dev a\nalias many-* b-b\nalias many-* a\n"),
		"usr/lib/modprobe.d/z.conf":          file("blacklist never\n"),
		"usr/lib/modprobe.d/a.conf":          file("install other /bin/true\nnonsense\noptions\nalias [x a\n# comment\n\ninclude foo\n"),
		"etc/modprobe.d/skip":                file("blacklist skipped\n"),
		"etc/modprobe.d/.hidden.conf":        file("blacklist hidden\n"),
		"etc/modprobe.d/dir.conf/x":          file("blacklist dir\n"),
		testDir + "/modules.builtin.modinfo": file("crc_x.license=GPL\x00crc_x.parm=p:two\nlines\x00core.author=A\x00crc_x.author=B\x00core.license=GPL\x00"),
	}
}
