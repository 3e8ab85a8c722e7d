// SPDX-License-Identifier: Apache-2.0

package fakedarwin

import (
	"bytes"
	"encoding/binary"
	"hash/adler32"
	"slices"
)

// A triple is what LZ coders write: literals, then a match of a length at a distance back.
type triple struct {
	literals        []byte
	match, distance int
}

// triples looks for matches, the last place of the same four bytes. A match is at most longest, a distance at most far,
// a run of literals at most run bytes.
func triples(b []byte, longest, far, run int) []triple {
	var all []triple
	last := make(map[uint32]int)
	from := 0
	for i := 0; i < len(b); {
		if i-from == run {
			all = append(all, triple{literals: b[from:i]})
			from = i
		}
		if i+4 > len(b) {
			i++
			continue
		}
		key := binary.LittleEndian.Uint32(b[i:])
		at, seen := last[key]
		last[key] = i
		if !seen || i-at > far {
			i++
			continue
		}
		n := 4
		for n < longest && i+n < len(b) && b[at+n] == b[i+n] {
			n++
		}
		all = append(all, triple{b[from:i], n, i - at})
		i += n
		from = i
	}
	return append(all, triple{literals: b[from:]})
}

// LZSS compresses as old kernel caches are.
func LZSS(b []byte) []byte {
	var out, group []byte
	flags, count := byte(0), 0
	item := func(bit byte, data ...byte) {
		flags |= bit << count
		group = append(group, data...)
		if count++; count == 8 {
			out = append(append(out, flags), group...)
			flags, count, group = 0, 0, group[:0]
		}
	}
	at := 0
	for _, t := range triples(b, 18, 4096-18, 1<<30) {
		for _, c := range t.literals {
			item(1, c)
		}
		at += len(t.literals)
		if t.match > 0 {
			place := (at - t.distance + 4096 - 18) & 4095
			item(0, byte(place), byte(place>>4&0xf0|(t.match-3)))
		}
		at += t.match
	}
	return append(append(out, flags), group...)
}

// LZVN compresses with LZVN's opcodes, each kind of them, and an end mark.
func LZVN(b []byte) []byte {
	var out []byte
	before := 0
	for i, t := range triples(b, 400, 65535, 271) {
		l := t.literals
		if i%5 == 0 {
			out = append(out, 0x0e) // nothing
		}
		switch {
		case len(l) >= 16:
			out, l = append(append(out, 0xe0, byte(len(l)-16)), l...), nil
		case len(l) > 3:
			out, l = append(append(out, 0xe0|byte(len(l))), l...), nil
		}
		m := t.match
		first := min(m, 10)
		head := byte(len(l)<<6) | byte(max(first, 3)-3)<<3
		switch {
		case m == 0 && len(l) > 0:
			out, l = append(append(out, 0xe0|byte(len(l))), l...), nil
		case m == 0:
		case t.distance == before && head >= 0x40 && head&0xf0 != 0x70 && head&0xf0 < 0xd0 && head&0xe0 != 0xa0:
			out = append(out, head|6)
		case t.distance < 1536 && head&0xf0 != 0x70 && head&0xf0 < 0xd0 && head&0xe0 != 0xa0:
			out = append(out, head|byte(t.distance>>8), byte(t.distance))
		case t.distance < 16384:
			first = min(m, 34)
			x := first - 3
			out = append(out, 0xa0|byte(len(l)<<3)|byte(x>>2), byte(t.distance<<2|x&3), byte(t.distance>>6))
		case head&0xf0 != 0x70 && head&0xf0 < 0xd0 && head&0xe0 != 0xa0:
			out = append(out, head|7, byte(t.distance), byte(t.distance>>8))
		default: // the literals apart
			out, l = append(append(out, 0xe0|byte(len(l))), l...), nil
			out = append(out, byte(first-3)<<3|7, byte(t.distance), byte(t.distance>>8))
		}
		out = append(out, l...)
		before = t.distance
		for m -= first; m > 0 && t.match > 0; { // more of the same match
			if m >= 16 {
				n := min(m, 271)
				out, m = append(out, 0xf0, byte(n-16)), m-n
				continue
			}
			out, m = append(out, 0xf0|byte(m)), 0
		}
	}
	return append(out, 6, 0, 0, 0, 0, 0, 0, 0)
}

// RawBlock is a block of LZFSE that is not compressed.
func RawBlock(b []byte) []byte { return append(le32(0x2d787662, uint32(len(b))), b...) }

// LZVNBlock is a block of LZFSE in LZVN. Its first match must not reach before it.
func LZVNBlock(b []byte) []byte {
	payload := LZVN(b)
	return append(le32(0x6e787662, uint32(len(b)), uint32(len(payload))), payload...)
}

// LZFSEEnd ends a stream of blocks.
func LZFSEEnd() []byte { return []byte("bvx$") }

func le32(v ...uint32) []byte {
	var b []byte
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, x)
	}
	return b
}

// LZFSEBlocks are the blocks of LZFSE proper for b, of version 1 or 2. Matches reach over the blocks' borders.
func LZFSEBlocks(b []byte, version int) []byte {
	var out []byte
	for rest := triples(b, 2359, 262139, 315); len(rest) > 0; {
		literals, n := 0, 0
		for n < len(rest) && n < 10000 && literals+len(rest[n].literals) <= 39000 {
			literals += len(rest[n].literals)
			n++
		}
		out = append(out, lzfseBlock(rest[:n], version)...)
		rest = rest[n:]
	}
	return out
}

// A code is one of the four codes of a block.
type code struct {
	states int
	extra  func(symbol int) uint
	count  []uint32
	freq   []uint16
	base   []int
	state  int
}

func newCode(states, symbols int, extra func(int) uint) *code {
	c := &code{states: states, extra: extra, count: make([]uint32, symbols), freq: make([]uint16, symbols)}
	base := 0
	for s := range symbols {
		c.base = append(c.base, base)
		base += 1 << extra(s)
	}
	return c
}

// symbol is the symbol of a value: the last whose least value is not above it.
func (c *code) symbol(v int) int {
	at, found := slices.BinarySearch(c.base, v)
	if found {
		return at
	}
	return at - 1
}

// normalize gives each symbol that occurs a part of the states.
func (c *code) normalize() {
	total := uint32(0)
	for _, n := range c.count {
		total += n
	}
	left, most := c.states, 0
	for s, n := range c.count {
		if n == 0 {
			continue
		}
		c.freq[s] = uint16(max(1, uint64(n)*uint64(c.states)/uint64(total)))
		left -= int(c.freq[s])
		if c.freq[s] > c.freq[most] {
			most = s
		}
	}
	for left < 0 { // rare symbols took more than their part
		for s := range c.freq {
			if c.freq[s] > 1 && left < 0 {
				c.freq[s]--
				left++
			}
		}
	}
	if total > 0 {
		c.freq[most] += uint16(left)
	}
}

// encode writes a value, and goes to the state from which a decoder comes.
func (c *code) encode(w *bitWriter, state *int, v int) {
	s := c.symbol(v)
	w.push(uint64(v-c.base[s]), c.extra(s))
	offset := 0
	for i := range s {
		offset += int(c.freq[i])
	}
	f := int(c.freq[s])
	k := uint(0)
	for f<<k < c.states {
		k++
	}
	delta, n := offset-f+c.states>>k, k
	if *state < f<<k-c.states {
		delta, n = offset-f+c.states>>(k-1), k-1
	}
	w.push(uint64(*state)&(1<<n-1), n)
	*state = delta + *state>>n
}

// A bitWriter writes bits that a decoder reads backwards.
type bitWriter struct {
	out   []byte
	acc   uint64
	count uint
}

func (w *bitWriter) push(v uint64, n uint) {
	for ; n > 0; n-- {
		w.acc |= v & 1 << w.count
		v >>= 1
		if w.count++; w.count == 8 {
			w.out = append(w.out, byte(w.acc))
			w.acc, w.count = 0, 0
		}
	}
}

// finish pads the last byte, and returns minus the bits of it that are not used.
func (w *bitWriter) finish() int {
	if w.count == 0 {
		return 0
	}
	odd := int(w.count) - 8
	w.out = append(w.out, byte(w.acc))
	return odd
}

func lzfseBlock(all []triple, version int) []byte {
	lengths := func(a, b, c, d uint) func(int) uint {
		return func(s int) uint { return append(make([]uint, 16), a, b, c, d)[s] }
	}
	l, m := newCode(64, 20, lengths(2, 3, 5, 8)), newCode(64, 20, lengths(3, 5, 8, 11))
	d := newCode(256, 64, func(s int) uint { return uint(s / 4) })
	lit := newCode(1024, 256, func(int) uint { return 0 })
	var literals []byte
	plain, before := 0, 0
	distances := make([]int, len(all))
	for i, t := range all {
		literals = append(literals, t.literals...)
		plain += len(t.literals) + t.match
		if distances[i] = t.distance; t.distance == 0 {
			distances[i] = 1 // a match of no bytes
		}
		if distances[i] == before {
			distances[i] = 0
		} else {
			before = distances[i]
		}
		l.count[l.symbol(len(t.literals))]++
		m.count[m.symbol(t.match)]++
		d.count[d.symbol(distances[i])]++
	}
	for len(literals)%4 != 0 {
		literals = append(literals, 0)
	}
	for _, c := range literals {
		lit.count[c]++
	}
	h := blockHead{plain: plain, literals: len(literals), matches: len(all)}
	for _, c := range []*code{l, m, d, lit} {
		c.normalize()
		h.freq = append(h.freq, c.freq...)
	}
	// Streams have eight bytes at least, because a decoder begins with eight.
	lw, mw := &bitWriter{out: make([]byte, 8)}, &bitWriter{out: make([]byte, 8)}
	for i := len(literals) - 1; i >= 0; i-- {
		lit.encode(lw, &h.literalState[i%4], int(literals[i]))
	}
	for i := len(all) - 1; i >= 0; i-- {
		d.encode(mw, &d.state, distances[i])
		m.encode(mw, &m.state, all[i].match)
		l.encode(mw, &l.state, len(all[i].literals))
	}
	h.states = [3]int{l.state, m.state, d.state}
	h.literalBits, h.lmdBits = lw.finish(), mw.finish()
	h.literalBytes, h.lmdBytes = len(lw.out), len(mw.out)
	return bytes.Join([][]byte{h.bytes(version), lw.out, mw.out}, nil)
}

// A blockHead is the header of a block.
type blockHead struct {
	plain, literals, matches, literalBytes, lmdBytes, literalBits, lmdBits int
	literalState                                                           [4]int
	states                                                                 [3]int
	freq                                                                   []uint16
}

func (h blockHead) bytes(version int) []byte {
	if version == 1 {
		b := le32(0x31787662, uint32(h.plain), uint32(h.literalBytes+h.lmdBytes), uint32(h.literals), uint32(h.matches),
			uint32(h.literalBytes), uint32(h.lmdBytes), uint32(h.literalBits))
		for _, s := range h.literalState {
			b = binary.LittleEndian.AppendUint16(b, uint16(s))
		}
		b = append(b, le32(uint32(h.lmdBits))...)
		for _, s := range h.states {
			b = binary.LittleEndian.AppendUint16(b, uint16(s))
		}
		for _, f := range h.freq {
			b = binary.LittleEndian.AppendUint16(b, f)
		}
		return append(b, 0, 0)
	}
	w := &bitWriter{}
	for _, f := range h.freq {
		switch v := uint64(f); {
		case v < 2:
			w.push(v<<1, 2)
		case v < 4:
			w.push(1|(v-2)<<2, 3)
		case v < 8:
			w.push(3|(v-4)<<3, 5)
		case v < 24:
			w.push(7|(v-8)<<4, 8)
		default:
			w.push(15|(v-24)<<4, 14)
		}
	}
	w.finish()
	b := le32(0x32787662, uint32(h.plain))
	b = binary.LittleEndian.AppendUint64(b, uint64(h.literals)|uint64(h.literalBytes)<<20|uint64(h.matches)<<40|
		uint64(h.literalBits+7)<<60)
	v := uint64(h.lmdBytes)<<40 | uint64(h.lmdBits+7)<<60
	for i, s := range h.literalState {
		v |= uint64(s) << (10 * i)
	}
	b = binary.LittleEndian.AppendUint64(b, v)
	b = binary.LittleEndian.AppendUint64(b, uint64(32+len(w.out))|uint64(h.states[0])<<32|uint64(h.states[1])<<42|
		uint64(h.states[2])<<52)
	return append(b, w.out...)
}

// LZFSE compresses with blocks of every kind in turn, whole stream.
func LZFSE(b []byte) []byte {
	var out []byte
	for i := 0; len(b) > 0; i++ {
		part := b[:min(len(b), 100000)]
		b = b[len(part):]
		switch i % 4 {
		case 0, 1:
			out = append(out, LZFSEBlocks(part, 2-i%2)...)
		case 2:
			out = append(out, LZVNBlock(part)...)
		case 3:
			out = append(out, RawBlock(part)...)
		}
	}
	return append(out, LZFSEEnd()...)
}

// CompOf compresses a kernel and puts the header of an old compressed kernel before it.
func CompOf(kind string, plain []byte) []byte {
	packed := LZSS(plain)
	if kind == "lzvn" {
		packed = LZVN(plain)
	}
	b := Comp(kind, packed)
	binary.BigEndian.PutUint32(b[8:], adler32.Checksum(plain))
	binary.BigEndian.PutUint32(b[12:], uint32(len(plain)))
	return b
}
