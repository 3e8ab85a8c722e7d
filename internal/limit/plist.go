// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/kernelext/kernelext/fact"
)

// Caps for one property list. Real ones stay far below: the reply that lists 700 kexts is some
// 200 KB with 15,000 values, and the largest Info.plist seen is 330 KB.
const (
	PlistBytes      = 16 << 20 // size
	PlistText       = 64 << 10 // size of the OpenStep and GNUstep text forms
	PlistNodes      = 1 << 17  // values, each counted as often as it is referred to
	PlistContainers = 1 << 14  // dictionaries and arrays
	PlistDepth      = 64       // nesting
)

// A PlistFormat is how a property list is written.
type PlistFormat string

// The formats.
const (
	PlistBinary   PlistFormat = "binary"
	PlistXML      PlistFormat = "xml"
	PlistOpenStep PlistFormat = "text" // OpenStep or GNUstep
)

// A PlistShape is what CheckPlist sees of a property list.
type PlistShape struct {
	// Format is how it is written.
	Format PlistFormat
	// References says whether XML uses references (IDREF), which only kernel caches have.
	References bool
	// Values is how many values it decodes to, each as often as it is referred to: the most that a text form may have,
	// and without what the references of XML repeat.
	Values int
}

// CheckPlist looks whether data is a property list that may be handed to a decoder which trusts
// it: within the caps above, without cycles, every offset and length inside. The error is a
// fact.ParseError, for a broken or for a too large one.
func CheckPlist(data []byte) (PlistShape, error) {
	if len(data) > PlistBytes {
		return PlistShape{}, plistTooLarge("more than %d bytes", PlistBytes)
	}
	if bytes.HasPrefix(data, []byte("bplist")) {
		values, err := checkBinaryPlist(data)
		return PlistShape{Format: PlistBinary, Values: values}, err
	}
	text := bytes.TrimLeft(data, " \t\r\n")
	switch {
	case len(text) == 0:
		return PlistShape{}, plistMalformed(0, "empty")
	case looksLikeXML(text):
		return checkXMLPlist(data)
	}
	return PlistShape{Format: PlistOpenStep, Values: len(data)/2 + 1}, checkTextPlist(data)
}

// looksLikeXML distinguishes XML from the text forms' data in angle brackets: <0fbd77 …>, <*I5>, <[…]>.
func looksLikeXML(text []byte) bool {
	for _, p := range []string{"<?xml", "<!", "<plist", "<dict", "<array", "<string"} {
		if bytes.HasPrefix(text, []byte(p)) {
			return true
		}
	}
	return false
}

func plistMalformed(offset int64, format string, args ...any) error {
	return &fact.ParseError{Field: "plist", Offset: offset, Reason: fmt.Sprintf(format, args...)}
}

func plistTooLarge(format string, args ...any) error {
	return &fact.ParseError{Field: "plist", Reason: fmt.Sprintf(format, args...), Err: fact.ErrTooLarge}
}

// checkTextPlist bounds what a recursive reader of the text forms can be made to do: brackets are counted everywhere,
// also in strings, and escapes make such readers copy the whole string so far.
func checkTextPlist(data []byte) error {
	if len(data) > PlistText {
		return plistTooLarge("text form of more than %d bytes", PlistText)
	}
	if i := bytes.IndexByte(data, 0); i >= 0 {
		return plistMalformed(int64(i), "NUL byte")
	}
	if n := bytes.Count(data, []byte{'{'}) + bytes.Count(data, []byte{'('}); n > PlistContainers/4 {
		return plistTooLarge("more than %d brackets", PlistContainers/4)
	}
	if bytes.Count(data, []byte{'\\'}) > 1024 {
		return plistTooLarge("more than 1024 escapes")
	}
	return nil
}

// checkXMLPlist reads the tags.
func checkXMLPlist(data []byte) (PlistShape, error) {
	s := NewXMLScanner(bytes.NewReader(data))
	var nodes, containers int
	references := false
	for {
		t, err := s.Next()
		if err != nil {
			return PlistShape{}, err
		}
		switch t.Kind {
		case XMLEnd:
			return PlistShape{Format: PlistXML, References: references, Values: nodes}, nil
		case XMLOpen, XMLEmpty:
			nodes++
			if string(t.Name) == "dict" || string(t.Name) == "array" {
				containers++
			}
			if t.IDRef != "" || string(t.Name) == "reference" {
				references = true
			}
		}
		if nodes > PlistNodes || containers > PlistContainers {
			return PlistShape{}, plistTooLarge("more than %d values or %d containers", PlistNodes, PlistContainers)
		}
	}
}

// Binary property list markers, the high half of an object's first byte.
const (
	bplistSimple = 0x0
	bplistInt    = 0x1
	bplistReal   = 0x2
	bplistDate   = 0x3
	bplistData   = 0x4
	bplistASCII  = 0x5
	bplistUTF16  = 0x6
	bplistUID    = 0x8
	bplistArray  = 0xa
	bplistDict   = 0xd
)

// A bplist walks the object table of a binary property list.
type bplist struct {
	data       []byte
	end        uint64 // of the objects, where the offset table starts
	offsetSize uint64
	refSize    uint64
	count      uint64
	top        uint64

	refs  int    // references seen
	bytes uint64 // length of all strings and data seen
	all   []bobject
}

// A bobject is what the walk knows of one object.
type bobject struct {
	seen, done bool
	nodes      uint32 // values below it and itself, each as often as it is referred to
	height     uint16 // of the nesting below it
}

// A bframe is a container whose members are being walked.
type bframe struct {
	object, refs, next, count uint64
	keys                      uint64 // how many of the references are a dictionary's keys
}

// checkBinaryPlist returns how many values there are.
func checkBinaryPlist(data []byte) (int, error) {
	p, err := newBplist(data)
	if err != nil {
		return 0, err
	}
	err = p.walk()
	return int(p.all[p.top].nodes), err
}

func newBplist(data []byte) (*bplist, error) {
	if len(data) < 8+1+32 {
		return nil, plistMalformed(0, "no room for a trailer")
	}
	if v := string(data[6:8]); v != "00" && v != "01" {
		return nil, plistMalformed(6, "version %q", v)
	}
	t := data[len(data)-32:]
	p := &bplist{
		data: data, offsetSize: uint64(t[6]), refSize: uint64(t[7]),
		count: binary.BigEndian.Uint64(t[8:]), top: binary.BigEndian.Uint64(t[16:]),
		end: binary.BigEndian.Uint64(t[24:]),
	}
	tableEnd := uint64(len(data) - 32)
	switch {
	case !sizeOK(p.offsetSize) || !sizeOK(p.refSize):
		return nil, plistMalformed(int64(tableEnd+6), "offset size %d, reference size %d", p.offsetSize, p.refSize)
	case p.count == 0 || p.top >= p.count:
		return nil, plistMalformed(int64(tableEnd+8), "top object %d of %d", p.top, p.count)
	case p.count > tableEnd:
		return nil, plistMalformed(int64(tableEnd+8), "%d objects in %d bytes", p.count, len(data))
	case p.end < 9 || p.end >= tableEnd || tableEnd-p.end != p.count*p.offsetSize:
		return nil, plistMalformed(int64(tableEnd+24), "offset table at %d does not fit", p.end)
	case p.count > PlistNodes:
		return nil, plistTooLarge("more than %d objects", PlistNodes)
	}
	p.all = make([]bobject, p.count)
	return p, nil
}

func sizeOK(n uint64) bool { return n == 1 || n == 2 || n == 4 || n == 8 || n == 3 }

func (p *bplist) uint(at, size uint64) uint64 {
	var v uint64
	for _, b := range p.data[at : at+size] {
		v = v<<8 | uint64(b)
	}
	return v
}

// walk visits every object that the top object leads to, without recursion.
func (p *bplist) walk() error {
	var stack []bframe
	f, err := p.visit(p.top)
	if err != nil {
		return err
	}
	if f.count == 0 {
		return nil
	}
	stack = append(stack, f)
	for len(stack) > 0 {
		f := &stack[len(stack)-1]
		if f.next == f.count {
			p.all[f.object].done = true
			done := p.all[f.object]
			stack = stack[:len(stack)-1]
			if len(stack) > 0 {
				if err := p.add(&p.all[stack[len(stack)-1].object], done); err != nil {
					return err
				}
			}
			continue
		}
		inner, err := p.member(f)
		switch {
		case err != nil:
			return err
		case inner.count == 0:
		case len(stack) >= PlistDepth:
			return plistTooLarge("nested deeper than %d", PlistDepth)
		default:
			stack = append(stack, inner)
		}
	}
	return nil
}

// member visits the next member of a container and counts it. A member that is a container with members of its own is
// counted later: it is returned as a frame to walk.
func (p *bplist) member(f *bframe) (bframe, error) {
	child := p.uint(f.refs+f.next*p.refSize, p.refSize)
	key := f.next < f.keys
	f.next++
	if child >= p.count {
		return bframe{}, plistMalformed(int64(f.refs), "object %d of %d", child, p.count)
	}
	c := &p.all[child]
	if c.seen && !c.done {
		return bframe{}, plistMalformed(int64(f.refs), "object %d contains itself", child)
	}
	if !c.seen {
		inner, err := p.visit(child)
		switch {
		case err != nil:
			return bframe{}, err
		case inner.count > 0 && key:
			return bframe{}, plistMalformed(int64(f.refs), "a key that is a container")
		case inner.count > 0:
			return inner, nil
		}
	}
	if key && !p.isString(child) {
		return bframe{}, plistMalformed(int64(f.refs), "a key that is not a string")
	}
	return bframe{}, p.add(&p.all[f.object], *c)
}

// add counts child into its container.
func (p *bplist) add(container *bobject, child bobject) error {
	container.nodes += child.nodes
	container.height = max(container.height, child.height+1)
	if container.nodes > PlistNodes {
		return plistTooLarge("more than %d values when references are followed", PlistNodes)
	}
	if container.height > PlistDepth {
		return plistTooLarge("nested deeper than %d", PlistDepth)
	}
	return nil
}

func (p *bplist) offset(object uint64) uint64 {
	return p.uint(p.end+object*p.offsetSize, p.offsetSize)
}

func (p *bplist) isString(object uint64) bool {
	m := p.data[p.offset(object)] >> 4
	return m == bplistASCII || m == bplistUTF16
}

// visit checks the object itself. A container with members is returned as a frame to walk; any
// other object is done.
func (p *bplist) visit(object uint64) (bframe, error) {
	o := &p.all[object]
	o.seen, o.nodes = true, 1
	at := p.offset(object)
	if at < 8 || at >= p.end {
		return bframe{}, plistMalformed(int64(at), "object %d lies outside", object)
	}
	marker, low := p.data[at]>>4, uint64(p.data[at]&0xf)
	f := bframe{object: object}
	switch marker {
	case bplistSimple, bplistInt, bplistReal, bplistDate, bplistUID:
		o.done = true
		return f, p.scalar(at, marker, low)
	}
	n, start, err := p.length(at, low)
	if err != nil {
		return f, err
	}
	switch marker {
	case bplistData, bplistASCII:
		o.done = true
		return f, p.payload(start, n, 1)
	case bplistUTF16:
		o.done = true
		return f, p.payload(start, n, 2)
	case bplistArray:
		f.refs, f.count = start, n
	case bplistDict:
		if n > p.end {
			return f, plistMalformed(int64(at), "dictionary of %d entries", n)
		}
		f.refs, f.count, f.keys = start, 2*n, n
	default:
		return f, plistMalformed(int64(at), "object type 0x%x", marker)
	}
	if err := p.inside(start, f.count, p.refSize); err != nil {
		return f, err
	}
	if p.refs += int(f.count); p.refs > PlistNodes {
		return f, plistTooLarge("more than %d references", PlistNodes)
	}
	o.done = f.count == 0
	return f, nil
}

// scalar checks an object of a fixed size: the low half of its marker says which size.
func (p *bplist) scalar(at uint64, marker byte, low uint64) error {
	switch {
	case marker == bplistSimple:
		if low != 8 && low != 9 {
			return plistMalformed(int64(at), "a simple object is neither true nor false")
		}
		return nil
	case marker == bplistInt && low > 4:
		return plistMalformed(int64(at), "integer of 2^%d bytes", low)
	case marker == bplistReal && low != 2 && low != 3:
		return plistMalformed(int64(at), "real of 2^%d bytes", low)
	case marker == bplistDate:
		return p.inside(at+1, 8, 1)
	case marker == bplistUID:
		if low > 7 {
			return plistMalformed(int64(at), "UID of %d bytes", low+1)
		}
		return p.inside(at+1, low+1, 1)
	}
	return p.inside(at+1, 1<<low, 1)
}

// payload checks a string or data, and that all of them together are no longer than objects that
// do not overlap can be.
func (p *bplist) payload(start, n, width uint64) error {
	if err := p.inside(start, n, width); err != nil {
		return err
	}
	if p.bytes += n * width; p.bytes > 2*uint64(len(p.data)) {
		return plistTooLarge("overlapping strings of more than twice the file")
	}
	return nil
}

// inside checks that n items of width bytes at offset at lie among the objects.
func (p *bplist) inside(at, n, width uint64) error {
	if at > p.end || n > (p.end-at)/width {
		return plistMalformed(int64(at), "%d items of %d bytes reach beyond the objects", n, width)
	}
	return nil
}

// length reads the length that follows a marker whose low half is low.
func (p *bplist) length(at, low uint64) (n, start uint64, err error) {
	if low != 0xf {
		return low, at + 1, nil
	}
	if err := p.inside(at+1, 2, 1); err != nil {
		return 0, 0, err
	}
	m := p.data[at+1]
	if m>>4 != bplistInt || m&0xf > 3 {
		return 0, 0, plistMalformed(int64(at+1), "length of type 0x%02x", m)
	}
	size := uint64(1) << (m & 0xf)
	if err := p.inside(at+2, size, 1); err != nil {
		return 0, 0, err
	}
	return p.uint(at+2, size), at + 2 + size, nil
}
