// SPDX-License-Identifier: Apache-2.0

package modprobe

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"sort"

	"github.com/kernelext/kernelext/fact"
)

// An indexEntry is one key and value to put into an index.
type indexEntry struct {
	key string
	IndexValue
}

// buildIndex makes an index in memory from a text file's entries, for trees that have no binary
// ones: a search in it costs the same. Keys that are too long or not ASCII are left out, as depmod
// refuses them. The error matches fact.ErrTooLarge for more entries than an index may hold.
func buildIndex(entries []indexEntry, source string) (*Index, error) {
	if len(entries) > maxIndexEntries {
		return nil, tooManyEntries(source)
	}
	entries = slices.DeleteFunc(entries, func(e indexEntry) bool {
		return len(e.key) > maxIndexKey ||
			slices.ContainsFunc([]byte(e.key), func(c byte) bool { return c >= 0x80 || c == 0 })
	})
	slices.SortStableFunc(entries, func(a, b indexEntry) int {
		return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.Priority, b.Priority))
	})
	b := indexBuilder{out: binary.BigEndian.AppendUint32(nil, indexMagic)}
	b.out = binary.BigEndian.AppendUint32(b.out, indexMajor<<16|1)
	b.out = append(b.out, 0, 0, 0, 0)
	if len(entries) > 0 {
		root, ok := b.write(entries)
		if !ok {
			return nil, tooManyEntries(source)
		}
		binary.BigEndian.PutUint32(b.out[8:], root)
	} else {
		b.out = nil
	}
	return parseIndex(b.out, source)
}

// Caps of an index that is made in memory. Debian's largest have 26,000 keys and 1.3 MiB. A node is
// written whole, so the size may be exceeded by one; offsets have 28 bits.
const (
	maxIndexEntries = 1 << 20
	maxIndexBuilt   = maxIndexFile
)

func tooManyEntries(source string) error {
	return &fact.ParseError{Source: source, Field: "index",
		Reason: fmt.Sprintf("more than %d keys, or %d bytes as an index", maxIndexEntries, maxIndexBuilt),
		Err:    fact.ErrTooLarge}
}

type indexBuilder struct{ out []byte }

// A buildFrame is a node whose children are being written.
type buildFrame struct {
	entries  []indexEntry // sorted; all have depth bytes in common
	depth    int          // bytes of the keys before this node's prefix
	prefix   int          // bytes of the prefix
	own      int          // entries whose key ends here
	next     int          // the first entry of the next child
	children [128]uint32
}

// write writes the entries as a trie, children before their parents, and returns its root; false
// when the trie becomes too large.
func (b *indexBuilder) write(entries []indexEntry) (uint32, bool) {
	stack := []*buildFrame{newBuildFrame(entries, 0)}
	for {
		f := stack[len(stack)-1]
		if f.next < len(f.entries) {
			at := f.depth + f.prefix
			c := f.entries[f.next].key[at]
			n := sort.Search(len(f.entries)-f.next, func(i int) bool { return f.entries[f.next+i].key[at] > c })
			child := newBuildFrame(f.entries[f.next:f.next+n], at+1)
			f.next += n
			stack = append(stack, child)
			continue
		}
		ref := b.node(f)
		if len(b.out) > maxIndexBuilt {
			return 0, false
		}
		stack = stack[:len(stack)-1]
		if len(stack) == 0 {
			return ref, true
		}
		parent := stack[len(stack)-1]
		parent.children[f.entries[0].key[f.depth-1]] = ref
	}
}

func newBuildFrame(entries []indexEntry, depth int) *buildFrame {
	f := &buildFrame{entries: entries, depth: depth}
	first, last := entries[0].key[depth:], entries[len(entries)-1].key[depth:]
	for f.prefix < len(first) && f.prefix < len(last) && first[f.prefix] == last[f.prefix] {
		f.prefix++
	}
	for f.own < len(entries) && len(entries[f.own].key) == depth+f.prefix {
		f.own++
	}
	f.next = f.own
	return f
}

func (b *indexBuilder) node(f *buildFrame) uint32 {
	ref := uint32(len(b.out))
	if f.prefix > 0 {
		ref |= nodePrefix
		b.out = append(append(b.out, f.entries[0].key[f.depth:f.depth+f.prefix]...), 0)
	}
	first, last := -1, -1
	for c, child := range f.children {
		if child != 0 {
			if first < 0 {
				first = c
			}
			last = c
		}
	}
	if first >= 0 {
		ref |= nodeChildren
		b.out = append(b.out, byte(first), byte(last))
		for _, child := range f.children[first : last+1] {
			b.out = binary.BigEndian.AppendUint32(b.out, child)
		}
	}
	if f.own > 0 {
		ref |= nodeValues
		b.out = binary.BigEndian.AppendUint32(b.out, uint32(f.own))
		for _, e := range f.entries[:f.own] {
			b.out = binary.BigEndian.AppendUint32(b.out, e.Priority)
			b.out = append(append(b.out, e.Value...), 0)
		}
	}
	return ref
}
