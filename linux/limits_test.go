// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
)

// allocated returns the bytes of memory that f asked for.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// readsDirs counts the directories that are read.
type readsDirs struct {
	fstest.MapFS
	count *int
}

func (r readsDirs) ReadDir(name string) ([]fs.DirEntry, error) {
	*r.count++
	return r.MapFS.ReadDir(name)
}

func TestFirmwareNamesAreBounded(t *testing.T) {
	reads := 0
	f := NewFirmwareFinder(readsDirs{fstest.MapFS{"lib/firmware/a/b/c.bin": file("")}, &reads}, "6.1", true)
	for name, want := range map[string]fact.Tri{
		strings.Repeat("a/", 1<<15) + "x": "", strings.Repeat("x", maxFirmwareName+1): "",
		strings.Repeat("a/", maxFirmwareElements) + "x":   "",
		strings.Repeat("a/", maxFirmwareElements-1) + "x": fact.No, strings.Repeat("x", maxFirmwareName): fact.No,
		"a/b/c.bin": fact.Yes, "a//./b/../b/c.bin": fact.Yes, "/a/b/c.bin": fact.Yes, "a/c.bin": fact.No, "..": fact.No,
		"a/../../b": fact.No, "": fact.No,
	} {
		if got := f.Present(name); got != want {
			t.Errorf("%.40q, %d bytes: %q, want %q", name, len(name), got, want)
		}
	}
	if reads > 8 {
		t.Errorf("%d directories were read", reads)
	}
	b := moduleOf(binary.LittleEndian, true,
		entriesOf("demo", "firmware="+strings.Repeat("a/", 1<<15)+"x", "firmware=ok.bin")...)
	got, err := NewFileReader().Decode(b.bytes(), "demo.ko", FileOptions{})
	if err != nil || len(got.Lost) != 1 || got.Lost[0].Field != "firmware" ||
		!errors.Is(got.Lost[0].Err, fact.ErrTooLarge) {
		t.Errorf("%v, lost %v", err, got.Lost)
	}
}

// TestChainOfNeeds: the pairs of a chain grow with the square of its length.
func TestChainOfNeeds(t *testing.T) {
	chain := func(n int) *Inventory {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "m%d.ko: m%d.ko\n", i, i+1)
		}
		tree := OpenTree(fstest.MapFS{"lib/modules/1/modules.dep": file(b.String()), "lib/modules/1/m0.ko": file("x")},
			ReleaseDir{Release: "1", Dir: "lib/modules/1"}, false)
		inv, err := tree.Inventory()
		if err != nil {
			t.Fatal(err)
		}
		return inv
	}
	if inv := chain(500); len(inv.Lost) > 0 || len(inv.Modules[0].Needs) != 499 {
		t.Errorf("%d needs, lost %v", len(inv.Modules[0].Needs), inv.Lost)
	}
	var inv *Inventory
	if used := allocated(func() { inv = chain(8000) }); used > 64<<20 {
		t.Errorf("%d bytes of memory", used)
	}
	m := inv.Modules[0]
	if m.Needs != nil || m.UsedBy != nil || len(inv.Lost) != 1 || !errors.Is(inv.Lost[0], fact.ErrTooLarge) {
		t.Errorf("%d needs, %d users, lost %v", len(m.Needs), len(m.UsedBy), inv.Lost)
	}
}

// TestNeedsNamedOverAndOver: few pairs, but each line has to look at a long one.
func TestNeedsNamedOverAndOver(t *testing.T) {
	var b strings.Builder
	b.WriteString("a.ko:" + strings.Repeat(" b.ko", 10000) + "\nb.ko:\n")
	for i := range 10000 {
		fmt.Fprintf(&b, "m%d.ko: a.ko\n", i)
	}
	tree := OpenTree(fstest.MapFS{"lib/modules/1/modules.dep": file(b.String())},
		ReleaseDir{Release: "1", Dir: "lib/modules/1"}, false)
	if _, ok := tree.deps().closure(); ok {
		t.Error("looked at 100 million names")
	}
}

// indexBytes begins a binary index.
func indexBytes() []byte {
	b := binary.BigEndian.AppendUint32(nil, indexMagic)
	b = binary.BigEndian.AppendUint32(b, indexMajor<<16|1)
	return binary.BigEndian.AppendUint32(b, 0)
}

// sharedBy adds levels of nodes, each with the one below as all of the children named.
func sharedBy(b []byte, ref uint32, levels int, children string) []byte {
	for range levels {
		at := uint32(len(b)) | nodeChildren
		first, last := children[0], children[len(children)-1]
		b = append(b, first, last)
		for c := int(first); c <= int(last); c++ {
			to := uint32(0)
			if strings.IndexByte(children, byte(c)) >= 0 {
				to = ref
			}
			b = binary.BigEndian.AppendUint32(b, to)
		}
		ref = at
	}
	binary.BigEndian.PutUint32(b[8:], ref)
	return b
}

// TestSharedValues: 256 places lead to one node of 10,000 values.
func TestSharedValues(t *testing.T) {
	b := indexBytes()
	ref := uint32(len(b)) | nodeValues
	b = binary.BigEndian.AppendUint32(b, 10000)
	for range 10000 {
		b = append(b, "\x00\x00\x00\x00a:\x00"...)
	}
	b = sharedBy(b, ref, 2, "abcdefghijklmnop")
	tree := OpenTree(fstest.MapFS{"lib/modules/1/modules.dep.bin": {Data: b}},
		ReleaseDir{Release: "1", Dir: "lib/modules/1"}, false)
	if d := tree.deps(); len(d.lines) > 10000 || !errors.Is(d.err, fact.ErrMalformed) {
		t.Errorf("%d lines, %v", len(d.lines), d.err)
	}
}

// TestSharedPrefix: 3^9 places lead to one node with a long prefix, all of which match.
func TestSharedPrefix(t *testing.T) {
	b := indexBytes()
	ref := uint32(len(b)) | nodePrefix | nodeValues
	b = append(bytes.Join([][]byte{b, bytes.Repeat([]byte("*"), 5000)}, nil), 0)
	b = append(b, 0, 0, 0, 1, 0, 0, 0, 0, 'm', 0)
	x, err := ParseIndex(sharedBy(b, ref, 9, "*?a"), "shared.bin")
	if err != nil {
		t.Fatal(err)
	}
	if v, err := x.Match(nil, strings.Repeat("a", 60)); !errors.Is(err, fact.ErrMalformed) || len(v) > 2 {
		t.Errorf("%d values, %v", len(v), err)
	}
	keys := 0
	if err := x.Each(func(string, []IndexValue) bool { keys++; return true }); !errors.Is(err, fact.ErrMalformed) ||
		keys > 2 {
		t.Errorf("%d keys, %v", keys, err)
	}
}

// TestLongKeys: neither a chain of nodes nor many keys below a long prefix cost more than a few
// times the file.
func TestLongKeys(t *testing.T) {
	b := indexBytes()
	ref := uint32(len(b)) | nodeValues
	b = append(b, 0, 0, 0, 0)
	for range 20000 {
		at := uint32(len(b)) | nodeChildren
		b = binary.BigEndian.AppendUint32(append(b, '*', '*'), ref)
		ref = at
	}
	binary.BigEndian.PutUint32(b[8:], ref)
	x, err := ParseIndex(b, "deep.bin")
	if err != nil {
		t.Fatal(err)
	}
	used := allocated(func() {
		if _, err := x.Match(nil, strings.Repeat("a", 4000)); !errors.Is(err, fact.ErrMalformed) {
			t.Errorf("match: %v", err)
		}
	})
	if used > 32<<20 {
		t.Errorf("%d bytes of memory", used)
	}
	if err := x.Each(func(string, []IndexValue) bool { return true }); !errors.Is(err, fact.ErrMalformed) {
		t.Errorf("each: %v", err)
	}

	prefix := strings.Repeat("x", 8000)
	var entries []indexEntry
	for i := range 2000 {
		entries = append(entries, indexEntry{fmt.Sprintf("%s%d", prefix, i), IndexValue{0, "m"}})
	}
	sum := 0
	x = indexOf(entries)
	if err := x.Each(func(key string, _ []IndexValue) bool { sum += len(key); return true }); !errors.Is(err,
		fact.ErrTooLarge) || sum > maxKeyShare*len(x.data) {
		t.Errorf("%d bytes of keys of %d, %v", sum, len(x.data), err)
	}
}

// TestBracketsAreBounded: an open bracket makes every position of the string be tried.
func TestBracketsAreBounded(t *testing.T) {
	var entries []indexEntry
	for i := range 100 {
		entries = append(entries, indexEntry{fmt.Sprintf("*[%s%02d", strings.Repeat("*a", 100), i), IndexValue{0, "m"}})
	}
	x := indexOf(entries)
	if v, err := x.Match(nil, strings.Repeat("a", 8000)); !errors.Is(err, fact.ErrTooLarge) || len(v) > 0 {
		t.Errorf("%d values, %v", len(v), err)
	}
	x = indexOf([]indexEntry{{"[" + strings.Repeat("a", 8000), IndexValue{0, "m"}}})
	if _, err := x.Match(nil, "a"); !errors.Is(err, fact.ErrMalformed) {
		t.Errorf("a bracket of 8000 bytes: %v", err)
	}
}

// TestTextIndexesAreBounded: short lines make many keys, far bytes make large nodes.
func TestTextIndexesAreBounded(t *testing.T) {
	if _, err := buildIndex(make([]indexEntry, maxIndexEntries+1), "many"); !errors.Is(err, fact.ErrTooLarge) {
		t.Errorf("too many keys: %v", err)
	}
	var b strings.Builder
	for i := range 70_000 {
		fmt.Fprintf(&b, "alias %06x\x01 m\nalias %06x\x7f m\n", i, i)
	}
	tree := OpenTree(fstest.MapFS{"lib/modules/1/modules.alias": file(b.String())},
		ReleaseDir{Release: "1", Dir: "lib/modules/1"}, false)
	if x, err := tree.index(indexAlias); !errors.Is(err, fact.ErrTooLarge) {
		t.Errorf("%d bytes of index of %d bytes of text, %v", len(x.data), b.Len(), err)
	}
	for name, text := range map[string]string{"lines": strings.Repeat("\n", 4<<20), "needs": "a.ko:" +
		strings.Repeat(" ", 4<<20), "tabs": "a.ko:" + strings.Repeat("\tb", 2<<20)} {
		tree := OpenTree(fstest.MapFS{"lib/modules/1/modules.dep": file(text)},
			ReleaseDir{Release: "1", Dir: "lib/modules/1"}, false)
		used := allocated(func() {
			if d := tree.deps(); !errors.Is(d.err, fact.ErrTooLarge) || len(d.lines) > 0 {
				t.Errorf("%s: %v", name, d.err)
			}
		})
		if used > 32<<20 {
			t.Errorf("%s: %d bytes of memory for %d of modules.dep", name, used, len(text))
		}
	}
	used := allocated(func() { ParseDep(make([]byte, 0)); parseAliases(bytes.Repeat([]byte("\n"), 4<<20)) })
	if used > 32<<20 {
		t.Errorf("%d bytes of memory for empty lines", used)
	}
}

// TestOverlappingNames: the symbols of a hostile table have names that end in one another.
func TestOverlappingNames(t *testing.T) {
	read := func(names []byte, offset func(i int) uint32) (*Symbols, error) {
		var table []byte
		for i := range 20000 {
			table = binary.LittleEndian.AppendUint32(table, offset(i))
			table = append(table, make([]byte, 20)...)
		}
		b := moduleOf(binary.LittleEndian, true, entriesOf("demo")...)
		n := uint32(len(b.sections))
		b.sections = append(b.sections, builtSection{name: ".symtab", kind: sectionSym, data: table, link: n + 2},
			builtSection{name: ".strtab", kind: 3, data: names})
		return readSymbols(memorySource(b.bytes()), "demo.ko")
	}
	var err error
	used := allocated(func() {
		_, err = read(bytes.Repeat([]byte{0xff}, 8192), func(i int) uint32 { return uint32(i % 4096) })
	})
	if !errors.Is(err, fact.ErrTooLarge) {
		t.Errorf("overlapping names: %v", err)
	}
	if used > 32<<20 {
		t.Errorf("%d bytes of memory", used)
	}
	// A name of many local symbols is stored once.
	same := []byte("\x00__UNIQUE_ID_of_a_device_table_entry_and_then_some_more_of_it\x00")
	if s, err := read(same, func(int) uint32 { return 1 }); err != nil || len(s.Imports) != 1 {
		t.Errorf("shared name: %v, %v", s, err)
	}
	if s, err := read(append(bytes.Repeat([]byte("n"), 600), 0), func(int) uint32 { return 0 }); err == nil &&
		len(s.Imports[0].Name) != maxSymbolName {
		t.Errorf("a name of %d bytes", len(s.Imports[0].Name))
	}
}

func TestModinfoMemory(t *testing.T) {
	m := ParseModinfo(append(make([]byte, 1<<20), "\x00a=1\x00\x00b\x00c=3"...))
	if len(m) != 3 || cap(m) != 3 || m.Get("a") != "1" || m.Get("c") != "3" {
		t.Errorf("%d entries, room for %d: %v", len(m), cap(m), m)
	}
	long := moduleOf(binary.LittleEndian, true, entriesOf("demo", "author="+strings.Repeat("x", maxModinfo))...)
	for name, data := range map[string][]byte{"demo.ko": long.bytes(), "demo.ko.gz": gzipped(t, long.bytes())} {
		if f, err := NewFileReader().Decode(data, name, FileOptions{}); !errors.Is(err, fact.ErrTooLarge) {
			t.Errorf("%s: %d entries, %v", name, len(f.Modinfo), err)
		}
	}
}
