// SPDX-License-Identifier: Apache-2.0

package modprobe

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/kernelext/kernelext/fact"
)

// An Index is one of depmod's binary indexes (modules.alias.bin and its like), in memory: a trie of
// keys, each with values in order of priority. Keys may be patterns. Nodes are decoded when a
// search comes to them; whatever the file holds, a search ends, stays within it, and returns a
// bounded number of values. It is safe for concurrent use.
type Index struct {
	data   string
	source string
	root   uint32
	pool   sync.Pool // of *search
}

// An IndexValue is one value of a key.
type IndexValue struct {
	// Priority orders the values of different keys: lower comes first.
	Priority uint32
	// Value is the value: a module's name, or a line of modules.dep.
	Value string
}

// Format of the index.
const (
	indexMagic   = 0xb007f457
	indexMajor   = 2
	nodePrefix   = 0x80000000
	nodeValues   = 0x40000000
	nodeChildren = 0x20000000
	nodeOffset   = 0x0fffffff

	maxIndexKey    = 8 << 10 // of a key that is looked up, and of one in the index
	maxIndexValues = 1 << 16 // that one search returns
	// maxKeyShare caps the bytes of all keys, as a multiple of the file's: keys share their beginnings.
	// Debian's have less than the file.
	maxKeyShare = 16
)

// parseIndex checks an index's header; source is its path, for errors. An empty file is a legal
// index of nothing.
func parseIndex(data []byte, source string) (*Index, error) {
	x := &Index{data: string(data), source: source}
	if len(data) == 0 {
		return x, nil
	}
	magic, ok := x.u32(0)
	version, ok2 := x.u32(4)
	root, ok3 := x.u32(8)
	switch {
	case !ok || magic != indexMagic:
		return nil, x.bad(0, "not a module index")
	case !ok2 || version>>16 != indexMajor:
		return nil, x.bad(4, "unknown version "+strconv.Itoa(int(version>>16)))
	case !ok3:
		return nil, x.bad(8, "truncated")
	}
	x.root = root
	return x, nil
}

func (x *Index) bad(offset int, reason string) error {
	return &fact.ParseError{Source: x.source, Field: "index", Offset: int64(offset), Reason: reason}
}

func (x *Index) u32(at int) (uint32, bool) {
	if at < 0 || at > len(x.data)-4 {
		return 0, false
	}
	d := x.data[at : at+4]
	return uint32(d[0])<<24 | uint32(d[1])<<16 | uint32(d[2])<<8 | uint32(d[3]), true
}

// A node is one decoded node: where its parts are.
type node struct {
	first, last byte
	children    int // where the offsets of the children are; 0 for none
	values      int // where the count of values is; 0 for none
	size        int // bytes of the node's prefix, children and values
}

// text returns where the node's prefix is, and 0 when it has none.
func (x *Index) text(ref uint32) int {
	if ref&nodePrefix == 0 {
		return 0
	}
	return int(ref & nodeOffset)
}

// node decodes the node after the prefix that ends at end; for a node without a prefix end is the
// node's own offset. Its size does not count the values yet.
func (x *Index) node(ref uint32, end int) (n node, ok bool) {
	at := end
	if ref&nodePrefix != 0 {
		n.size = end - int(ref&nodeOffset)
	}
	if ref&nodeChildren != 0 {
		if at < 0 || at > len(x.data)-2 {
			return n, false
		}
		n.first, n.last = x.data[at], x.data[at+1]
		n.children = at + 2
		if n.last < n.first {
			return n, false
		}
		size := 2 + 4*(int(n.last)-int(n.first)+1)
		at, n.size = at+size, n.size+size
		if at > len(x.data) {
			return n, false
		}
	}
	if ref&nodeValues != 0 {
		n.values = at
	}
	return n, true
}

// child returns the reference of the child for the byte c; 0 for none.
func (x *Index) child(n *node, c byte) uint32 {
	if n.children == 0 || c < n.first || c > n.last {
		return 0
	}
	ref, _ := x.u32(n.children + 4*int(c-n.first))
	return ref
}

// appendValues appends a node's values, and adds what they take to the node's size.
func (x *Index) appendValues(dst []IndexValue, n *node) ([]IndexValue, error) {
	count, ok := x.u32(n.values)
	if !ok {
		return dst, x.bad(n.values, "values beyond the end")
	}
	at := n.values + 4
	for range count {
		priority, ok := x.u32(at)
		if !ok {
			return dst, x.bad(at, "values beyond the end")
		}
		at += 4
		end := strings.IndexByte(x.data[at:], 0)
		if end < 0 {
			return dst, x.bad(at, "value without an end")
		}
		if len(dst) >= maxIndexValues {
			return dst,
				&fact.ParseError{Source: x.source, Field: "index", Reason: "more than " + strconv.Itoa(maxIndexValues) +
					" values", Err: fact.ErrTooLarge}
		}
		dst = append(dst, IndexValue{priority, x.data[at : at+end]})
		at += end + 1
	}
	n.size += at - n.values
	return dst, nil
}

// lookup appends to dst the values of exactly that key. A miss appends nothing.
func (x *Index) lookup(dst []IndexValue, key string) ([]IndexValue, error) {
	if x.data == "" {
		return dst, nil
	}
	ref := x.root
	for {
		at := int(ref & nodeOffset)
		if text := x.text(ref); text > 0 {
			n := 0
			for ; ; n++ {
				if text+n >= len(x.data) {
					return dst, x.bad(text, "prefix without an end")
				}
				c := x.data[text+n]
				if c == 0 {
					break
				}
				if n >= len(key) || key[n] != c {
					return dst, nil
				}
			}
			key, at = key[n:], text+n+1
		}
		n, ok := x.node(ref, at)
		if !ok {
			return dst, x.bad(at, "node beyond the end")
		}
		if key == "" {
			if n.values == 0 {
				return dst, nil
			}
			return x.appendValues(dst, &n)
		}
		if ref = x.child(&n, key[0]); ref == 0 {
			return dst, nil
		}
		key = key[1:]
	}
}

// match appends to dst the values of every key that matches the string when taken as a pattern (see
// [MatchAlias]), in order of priority. As in kmod, a '[' in the string
// may be taken for itself too. A string that matches nothing costs no memory.
func (x *Index) match(dst []IndexValue, s string) ([]IndexValue, error) {
	if x.data == "" || len(s) > maxIndexKey {
		return dst, nil
	}
	m, ok := x.pool.Get().(*search)
	if !ok {
		m = new(search)
	}
	defer x.pool.Put(m)
	start := len(dst)
	m.literal = false
	dst, err := m.run(x, dst, s)
	if err == nil && strings.IndexByte(s, '[') >= 0 {
		m.literal = true
		dst, err = m.run(x, dst, s)
	}
	if len(dst)-start > 1 {
		slices.SortStableFunc(dst[start:], func(a, b IndexValue) int { return cmp.Compare(a.Priority, b.Priority) })
	}
	return dst, err
}

// Each calls f for every key with its values, in the order of the keys' bytes, until it returns
// false. The values are valid only during the call.
func (x *Index) Each(f func(key string, values []IndexValue) bool) error {
	if x.data == "" {
		return nil
	}
	w := indexWalk{x: x, f: f, bytes: len(x.data), keys: maxKeyShare * len(x.data)}
	more, err := w.enter(x.root)
	for more && err == nil && len(w.stack) > 0 {
		top := &w.stack[len(w.stack)-1]
		if top.node.children == 0 || top.next > int(top.node.last) {
			w.leave()
			continue
		}
		c := byte(top.next)
		top.next++
		ref := x.child(&top.node, c)
		if ref == 0 {
			continue
		}
		if w.path = append(w.path, c); len(w.path) > maxIndexKey {
			return x.bad(top.node.children, keyTooLong)
		}
		more, err = w.enter(ref)
	}
	return err
}

// An indexWalk goes through all nodes of an index.
type indexWalk struct {
	x      *Index
	f      func(key string, values []IndexValue) bool
	path   []byte // the key so far
	values []IndexValue
	stack  []walkFrame
	bytes  int // of nodes that may still come: as many as the file has
	keys   int // bytes of keys that may still come
}

// A walkFrame is a node on the way from the root.
type walkFrame struct {
	node node
	next int // the byte whose child comes next
	path int // length of the key before the node
}

// enter adds a node's prefix to the key, and calls f with its values. It reports whether to go on.
func (w *indexWalk) enter(ref uint32) (more bool, err error) {
	x, length, at := w.x, len(w.path), int(ref&nodeOffset)
	if text := x.text(ref); text > 0 {
		end := strings.IndexByte(x.data[min(text, len(x.data)):], 0)
		if end < 0 {
			return false, x.bad(text, "prefix without an end")
		}
		if len(w.path)+end > maxIndexKey {
			return false, x.bad(text, keyTooLong)
		}
		w.path = append(w.path, x.data[text:text+end]...)
		at = text + end + 1
	}
	n, ok := x.node(ref, at)
	if !ok {
		return false, x.bad(at, "node beyond the end")
	}
	if n.values > 0 {
		if w.values, err = x.appendValues(w.values[:0], &n); err != nil {
			return false, err
		}
		w.keys -= len(w.path)
	}
	if w.bytes -= n.size; w.bytes < 0 {
		return false, x.shared()
	}
	if w.keys < 0 {
		return false, &fact.ParseError{Source: x.source, Field: "index", Err: fact.ErrTooLarge,
			Reason: "keys longer than " + strconv.Itoa(maxKeyShare) + " times the file"}
	}
	if n.values > 0 && !w.f(string(w.path), w.values) {
		return false, nil
	}
	w.stack = append(w.stack, walkFrame{n, int(n.first), length})
	return true, nil
}

// leave goes back to the node above.
func (w *indexWalk) leave() {
	w.path = w.path[:w.stack[len(w.stack)-1].path]
	if w.stack = w.stack[:len(w.stack)-1]; len(w.stack) > 0 {
		w.path = w.path[:len(w.path)-1] // the byte that led here
	}
}

// shared is the error of a walk or a search that came to more bytes of nodes than the file has: in
// an index that depmod made each byte belongs to one node, and each node to one place.
func (x *Index) shared() error {
	return x.bad(0, "nodes form a cycle or share parts")
}

const keyTooLong = "key longer than 8192 bytes"
