// SPDX-License-Identifier: Apache-2.0

package linuxtest

import (
	"encoding/binary"
	"maps"
	"slices"
)

// Index is a binary index of depmod's form, with the values of each key: one node for each byte of a key, so that no
// node has a prefix.
func Index(keys map[string][]string) []byte {
	b := indexBuilder{out: make([]byte, 12)}
	root := b.node(slices.Sorted(maps.Keys(keys)), keys, 0)
	binary.BigEndian.PutUint32(b.out, 0xb007f457)
	binary.BigEndian.PutUint32(b.out[4:], 0x20001)
	binary.BigEndian.PutUint32(b.out[8:], root)
	return b.out
}

type indexBuilder struct{ out []byte }

// node writes the node for the keys, which share their first depth bytes, after the nodes below it, and returns its
// reference.
func (b *indexBuilder) node(keys []string, values map[string][]string, depth int) uint32 {
	const hasValues, hasChildren = 0x40000000, 0x20000000
	var flags uint32
	var own []string
	if len(keys) > 0 && len(keys[0]) == depth {
		own, keys, flags = values[keys[0]], keys[1:], hasValues
	}
	var children []byte
	if len(keys) > 0 {
		flags |= hasChildren
		first, last := keys[0][depth], keys[len(keys)-1][depth]
		children = append(children, first, last)
		for c := int(first); c <= int(last); c++ {
			n := 0
			for n < len(keys) && int(keys[n][depth]) == c {
				n++
			}
			ref := uint32(0)
			if n > 0 {
				ref = b.node(keys[:n], values, depth+1)
			}
			keys, children = keys[n:], binary.BigEndian.AppendUint32(children, ref)
		}
	}
	at := uint32(len(b.out))
	b.out = append(b.out, children...)
	if flags&hasValues != 0 {
		b.out = binary.BigEndian.AppendUint32(b.out, uint32(len(own)))
		for i, v := range own {
			b.out = append(append(binary.BigEndian.AppendUint32(b.out, uint32(i)), v...), 0)
		}
	}
	return at | flags
}
