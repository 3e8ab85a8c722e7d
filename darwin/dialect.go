// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"encoding/base64"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
)

// The XML in kernel caches is a dialect of property lists that the system's serializers for the
// kernel write: values may carry ID="n" and be repeated as <type IDREF="n"/> or
// <reference IDREF="n"/>, integers are <integer size="64">0x…, sets are <set>.

// A dialect reads that XML, a value at a time, from a stream.
type dialect struct {
	source string
	xml    *limit.XMLScanner
	ids    map[string]node
	kept   int // values in ids, each as often as it is referred to
	nodes  int // values built, likewise
	max    int
}

func newDialect(source string, r io.Reader, maxNodes int) *dialect {
	return &dialect{source: source, xml: limit.NewXMLScanner(r), max: maxNodes}
}

// readDialect reads a whole document of the dialect.
func readDialect(source string, r io.Reader) (node, error) {
	d := newDialect(source, r, limit.PlistNodes)
	t, err := d.top()
	if err != nil {
		return node{}, err
	}
	n, err := d.value(t, nil)
	if err != nil {
		return node{}, err
	}
	if n.kind != dictNode && n.kind != arrayNode {
		return node{}, d.malformed(t, "it is %s, not a dictionary", n.kind)
	}
	return n, nil
}

func (d *dialect) malformed(t limit.XMLToken, format string, args ...any) error {
	return &fact.ParseError{Source: d.source, Field: "plist", Offset: t.Offset, Reason: fmt.Sprintf(format, args...)}
}

func (d *dialect) next() (limit.XMLToken, error) {
	t, err := d.xml.Next()
	return t, inSource(d.source, err)
}

// top returns the first tag that is not a <plist>.
func (d *dialect) top() (limit.XMLToken, error) {
	for {
		t, err := d.next()
		if err != nil {
			return t, err
		}
		switch {
		case t.Kind == limit.XMLChars:
			return t, d.malformed(t, "text before the first value")
		case t.Kind == limit.XMLOpen && string(t.Name) == "plist":
			continue
		case t.Kind == limit.XMLOpen || t.Kind == limit.XMLEmpty:
			return t, nil
		}
		return t, d.malformed(t, "no value")
	}
}

// element returns the next tag, refusing text between tags.
func (d *dialect) element() (limit.XMLToken, error) {
	t, err := d.next()
	if err != nil {
		return t, err
	}
	if t.Kind == limit.XMLChars || t.Kind == limit.XMLEnd {
		return t, d.malformed(t, "expected a tag")
	}
	return t, nil
}

// value builds the value whose tag is t. Of a dictionary, only the keys that want accepts are
// kept; a nil want keeps all. The scanner bounds the depth.
func (d *dialect) value(t limit.XMLToken, want func(key string) bool) (node, error) {
	if err := d.spend(1); err != nil {
		return node{}, err
	}
	if t.IDRef != "" || string(t.Name) == "reference" {
		return d.refer(t)
	}
	id := t.ID
	n, err := d.plain(t, want)
	if err != nil {
		return node{}, err
	}
	return n, d.keep(id, n)
}

// keep remembers a value that may be referred to by id; an empty id is ignored.
func (d *dialect) keep(id string, n node) error {
	if id == "" {
		return nil
	}
	if d.kept += n.size(); d.kept > maxSharedNodes {
		return &fact.ParseError{Source: d.source, Field: "plist",
			Reason: fmt.Sprintf("more than %d shared values", maxSharedNodes), Err: fact.ErrTooLarge}
	}
	if d.ids == nil {
		d.ids = make(map[string]node)
	}
	d.ids[id] = n
	return nil
}

func (d *dialect) spend(n int) error {
	if d.nodes += n; d.nodes > d.max {
		return &fact.ParseError{Source: d.source, Field: "plist",
			Reason: fmt.Sprintf("more than %d values", d.max), Err: fact.ErrTooLarge}
	}
	return nil
}

// refer returns the value that was given the id.
func (d *dialect) refer(t limit.XMLToken) (node, error) {
	n, ok := d.ids[t.IDRef]
	if !ok {
		return node{}, d.malformed(t, "IDREF %q names no value before it", t.IDRef)
	}
	if err := d.spend(n.size() - 1); err != nil {
		return node{}, err
	}
	if t.Kind == limit.XMLOpen {
		end, err := d.element()
		if err != nil {
			return node{}, err
		}
		if end.Kind != limit.XMLClose {
			return node{}, d.malformed(end, "a reference with content")
		}
	}
	return n, nil
}

// size is the number of values in n, itself included. It is bounded by what was spent on n.
func (n node) size() int {
	total := 1
	for _, v := range n.list {
		total += v.size()
	}
	for _, v := range n.dict {
		total += v.size()
	}
	return total
}

func (d *dialect) plain(t limit.XMLToken, want func(string) bool) (node, error) {
	empty := t.Kind == limit.XMLEmpty
	switch name := string(t.Name); name {
	case "dict":
		return d.dict(empty, want)
	case "array", "set":
		return d.array(empty)
	case "true", "false":
		_, err := d.content(t)
		return node{kind: boolNode, num: bit(name == "true")}, err
	case "string":
		s, err := d.content(t)
		return node{kind: stringNode, str: s}, err
	case "integer":
		return d.integer(t)
	case "data":
		s, err := d.content(t)
		if err != nil {
			return node{}, err
		}
		b, err := base64.StdEncoding.DecodeString(strings.Map(noBlank, s))
		if err != nil {
			return node{}, d.malformed(t, "data: %v", err)
		}
		return node{kind: dataNode, data: b}, nil
	case "date", "real":
		s, err := d.content(t)
		return node{kind: otherNode, str: s}, err
	default:
		return node{}, d.malformed(t, "unknown element %q", name)
	}
}

func noBlank(r rune) rune {
	switch r {
	case ' ', '\t', '\n', '\r':
		return -1
	}
	return r
}

// content returns the text of the element whose tag is t, and reads its end tag.
func (d *dialect) content(t limit.XMLToken) (string, error) {
	if t.Kind == limit.XMLEmpty {
		return "", nil
	}
	var text []byte
	for {
		t, err := d.next()
		switch {
		case err != nil:
			return "", err
		case t.Kind == limit.XMLClose:
			return string(text), nil
		case t.Kind != limit.XMLChars:
			return "", d.malformed(t, "a tag inside a plain value")
		case len(text)+len(t.Text) > limit.PlistBytes:
			return "", d.malformed(t, "text too long")
		}
		text = append(text, t.Text...)
	}
}

func (d *dialect) integer(t limit.XMLToken) (node, error) {
	s, err := d.content(t)
	if err != nil {
		return node{}, err
	}
	s = strings.TrimSpace(s)
	if v, err := strconv.ParseUint(s, 0, 64); err == nil {
		return node{kind: integerNode, num: v}, nil
	}
	v, err := strconv.ParseInt(s, 0, 64)
	if err != nil {
		return node{}, d.malformed(t, "not a 64-bit integer")
	}
	return node{kind: integerNode, num: uint64(v)}, nil
}

func (d *dialect) array(empty bool) (node, error) {
	n := node{kind: arrayNode, list: []node{}}
	for !empty {
		t, err := d.element()
		if err != nil {
			return node{}, err
		}
		if t.Kind == limit.XMLClose {
			break
		}
		v, err := d.value(t, nil)
		if err != nil {
			return node{}, err
		}
		n.list = append(n.list, v)
	}
	return n, nil
}

func (d *dialect) dict(empty bool, want func(string) bool) (node, error) {
	n := node{kind: dictNode, dict: map[string]node{}}
	for !empty {
		key, more, err := d.key()
		if err != nil {
			return node{}, err
		}
		if !more {
			break
		}
		t, err := d.element()
		if err != nil {
			return node{}, err
		}
		if t.Kind == limit.XMLClose {
			return node{}, d.malformed(t, "key %q without a value", key)
		}
		if want != nil && !want(key) && t.IDRef == "" {
			if err := d.skip(t); err != nil {
				return node{}, err
			}
			continue
		}
		v, err := d.value(t, nil)
		if err != nil {
			return node{}, err
		}
		n.dict[key] = v
	}
	return n, nil
}

// key reads the next <key> of a dictionary; more is false at the dictionary's end.
func (d *dialect) key() (key string, more bool, err error) {
	t, err := d.element()
	if err != nil {
		return "", false, err
	}
	switch {
	case t.Kind == limit.XMLClose:
		return "", false, nil
	case string(t.Name) != "key":
		return "", false, d.malformed(t, "expected a key")
	}
	if t.IDRef != "" {
		n, err := d.refer(t)
		return n.str, true, err
	}
	id := t.ID
	key, err = d.content(t)
	if err == nil {
		err = d.keep(id, node{kind: stringNode, str: key})
	}
	return key, true, err
}

// skipAny reads past the value or reference whose tag is t.
func (d *dialect) skipAny(t limit.XMLToken) error {
	if t.IDRef != "" {
		_, err := d.refer(t)
		return err
	}
	return d.skip(t)
}

// skip reads past the value whose tag is t. Values inside that have an id are kept, since they may
// be referred to later.
func (d *dialect) skip(t limit.XMLToken) error {
	if t.ID != "" {
		_, err := d.value(t, nil)
		return err
	}
	if t.Kind == limit.XMLEmpty {
		return nil
	}
	depth := d.xml.Depth()
	for d.xml.Depth() >= depth {
		t, err := d.next()
		if err != nil {
			return err
		}
		if t.Kind == limit.XMLEnd {
			return d.malformed(t, "ends inside a value")
		}
		if t.ID == "" {
			continue
		}
		if string(t.Name) == "key" {
			id := t.ID
			s, err := d.content(t)
			if err != nil {
				return err
			}
			if err := d.spend(1); err != nil {
				return err
			}
			if err := d.keep(id, node{kind: stringNode, str: s}); err != nil {
				return err
			}
			continue
		}
		if _, err := d.value(t, nil); err != nil {
			return err
		}
	}
	return nil
}
