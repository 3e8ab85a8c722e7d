// SPDX-License-Identifier: Apache-2.0

package hivetest

import (
	"slices"
	"strings"
)

// A Key is one key of a registry with its values.
type Key struct {
	Path   string // from the root of the registry on
	Values []Value
}

// A Value is one value of a Key.
type Value struct {
	Name string // empty for the default value
	Type uint32 // as the registry numbers it
	Data []byte // as the registry keeps it
}

// A node is one key of a hive that is made of a list of keys.
type node struct {
	name   string
	values []value
	subs   []*node
}

// sub returns a subkey by its name in any case, and adds it if it is missing.
func (n *node) sub(name string) *node {
	for _, s := range n.subs {
		if strings.EqualFold(s.name, name) {
			return s
		}
	}
	s := &node{name: name}
	n.subs = append(n.subs, s)
	return s
}

// set sets a value, whose name may stand in any case.
func (n *node) set(v value) {
	for i := range n.values {
		if strings.EqualFold(n.values[i].name, v.name) {
			n.values[i] = v
			return
		}
	}
	n.values = append(n.values, v)
}

// write writes the key after its subkeys, in the order that Windows keeps them in.
func (n *node) write(m *hiveMaker) uint32 {
	slices.SortFunc(n.subs, func(a, b *node) int {
		return strings.Compare(strings.ToUpper(a.name), strings.ToUpper(b.name))
	})
	var subs []uint32
	for _, s := range n.subs {
		subs = append(subs, s.write(m))
	}
	return m.key(n.name, "li", n.values, subs...)
}

// Of is a hive with the keys of a registry that lie below root, such as HKEY_LOCAL_MACHINE\SYSTEM, in any case.
func Of(root string, keys []Key) []byte {
	top := &node{name: "ROOT"}
	for _, k := range keys {
		if len(k.Path) <= len(root) || !strings.EqualFold(k.Path[:len(root)+1], root+`\`) {
			continue
		}
		n := top
		for name := range strings.SplitSeq(k.Path[len(root)+1:], `\`) {
			n = n.sub(name)
		}
		for _, v := range k.Values {
			n.set(value{v.Name, v.Type, v.Data})
		}
	}
	m := newHive()
	return m.file(top.write(m))
}
