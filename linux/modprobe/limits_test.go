// SPDX-License-Identifier: Apache-2.0

package modprobe

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/linuxtest"
)

// TestChainOfNeeds: the pairs of a chain grow with the square of its length.
func TestChainOfNeeds(t *testing.T) {
	chain := func(n int, r *fact.Report) *Inventory {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "m%d.ko: m%d.ko\n", i, i+1)
		}
		tree := OpenTree(fstest.MapFS{"lib/modules/1/modules.dep": linuxtest.File(b.String()),
			"lib/modules/1/m0.ko": linuxtest.File("x")}, ReleaseDir{Release: "1", Dir: "lib/modules/1"}, false)
		inv, err := tree.Inventory(r)
		if err != nil {
			t.Fatal(err)
		}
		return inv
	}
	if inv := chain(500, new(fact.Report)); !inv.Whole || len(inv.Modules[0].Needs) != 499 {
		t.Errorf("%d needs", len(inv.Modules[0].Needs))
	}
	var r fact.Report
	var inv *Inventory
	if used := linuxtest.Allocated(func() { inv = chain(8000, &r) }); used > 64<<20 {
		t.Errorf("%d bytes of memory", used)
	}
	m := inv.Modules[0]
	if m.Needs != nil || m.UsedBy != nil || inv.Whole || !errors.Is(r.Problems[0], fact.ErrTooLarge) {
		t.Errorf("%d needs, %d users, %v", len(m.Needs), len(m.UsedBy), r.Problems)
	}
}

// TestNeedsNamedOverAndOver: few pairs, but each line has to look at a long one.
func TestNeedsNamedOverAndOver(t *testing.T) {
	var b strings.Builder
	b.WriteString("a.ko:" + strings.Repeat(" b.ko", 10000) + "\nb.ko:\n")
	for i := range 10000 {
		fmt.Fprintf(&b, "m%d.ko: a.ko\n", i)
	}
	tree := OpenTree(fstest.MapFS{"lib/modules/1/modules.dep": linuxtest.File(b.String())},
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
	x, err := parseIndex(sharedBy(b, ref, 9, "*?a"), "shared.bin")
	if err != nil {
		t.Fatal(err)
	}
	if v, err := x.match(nil, strings.Repeat("a", 60)); !errors.Is(err, fact.ErrMalformed) || len(v) > 2 {
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
	x, err := parseIndex(b, "deep.bin")
	if err != nil {
		t.Fatal(err)
	}
	used := linuxtest.Allocated(func() {
		if _, err := x.match(nil, strings.Repeat("a", 4000)); !errors.Is(err, fact.ErrMalformed) {
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
	if v, err := x.match(nil, strings.Repeat("a", 8000)); !errors.Is(err, fact.ErrTooLarge) || len(v) > 0 {
		t.Errorf("%d values, %v", len(v), err)
	}
	x = indexOf([]indexEntry{{"[" + strings.Repeat("a", 8000), IndexValue{0, "m"}}})
	if _, err := x.match(nil, "a"); !errors.Is(err, fact.ErrMalformed) {
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
	tree := OpenTree(fstest.MapFS{"lib/modules/1/modules.alias": linuxtest.File(b.String())},
		ReleaseDir{Release: "1", Dir: "lib/modules/1"}, false)
	if x, err := tree.Index(IndexAlias); !errors.Is(err, fact.ErrTooLarge) {
		t.Errorf("%d bytes of index of %d bytes of text, %v", len(x.data), b.Len(), err)
	}
	for name, text := range map[string]string{"lines": strings.Repeat("\n", 4<<20), "needs": "a.ko:" +
		strings.Repeat(" ", 4<<20), "tabs": "a.ko:" + strings.Repeat("\tb", 2<<20)} {
		tree := OpenTree(fstest.MapFS{"lib/modules/1/modules.dep": linuxtest.File(text)},
			ReleaseDir{Release: "1", Dir: "lib/modules/1"}, false)
		used := linuxtest.Allocated(func() {
			if d := tree.deps(); !errors.Is(d.err, fact.ErrTooLarge) || len(d.lines) > 0 {
				t.Errorf("%s: %v", name, d.err)
			}
		})
		if used > 32<<20 {
			t.Errorf("%s: %d bytes of memory for %d of modules.dep", name, used, len(text))
		}
	}
	used := linuxtest.Allocated(func() { parseDep(make([]byte, 0)); parseAliases(bytes.Repeat([]byte("\n"), 4<<20)) })
	if used > 32<<20 {
		t.Errorf("%d bytes of memory for empty lines", used)
	}
}
