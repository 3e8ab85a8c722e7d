// SPDX-License-Identifier: Apache-2.0

package lzfse

import (
	"encoding/binary"
	"io"
	"slices"
)

// An lmd is a block of LZFSE proper: literals, and triples of a number of literals, a match's length and its distance.
type lmd struct {
	literals []byte
	matches  int
	distance int
	bits     bitReader
	l, m, d  uint16
	lTable   [lStates]fseState
	mTable   [mStates]fseState
	dTable   [dStates]fseState
}

// lmdHead is a block's header in the form of version 1.
type lmdHead struct {
	literals, matches      int
	literalBytes, lmdBytes int
	literalBits, lmdBits   int
	literalState           [4]uint16
	l, m, d                uint16
	freq                   [lSymbols + mSymbols + dSymbols + litSymbols]uint16
}

// newLMD reads the block in b, header and payload, and decodes its literals.
func newLMD(h head, b []byte) (*lmd, error) {
	var v lmdHead
	if h.magic == magicV1 {
		v.parseV1(b)
	} else if err := v.parseV2(b[:h.size]); err != nil {
		return nil, err
	}
	if err := v.check(h); err != nil {
		return nil, err
	}
	// The bit readers read eight bytes at once.
	b = append(slices.Clip(b), make([]byte, 8)...)
	x := &lmd{matches: v.matches, l: v.l, m: v.m, d: v.d}
	freq := v.freq[:]
	if err := fill(x.lTable[:], freq[:lSymbols], func(s int) uint8 { return lExtra[s] }); err != nil {
		return nil, err
	}
	freq = freq[lSymbols:]
	if err := fill(x.mTable[:], freq[:mSymbols], func(s int) uint8 { return mExtra[s] }); err != nil {
		return nil, err
	}
	freq = freq[mSymbols:]
	if err := fill(x.dTable[:], freq[:dSymbols], dExtra); err != nil {
		return nil, err
	}
	end := int(h.size) + v.literalBytes
	var err error
	if x.literals, err = v.decodeLiterals(b, end, freq[dSymbols:]); err != nil {
		return nil, err
	}
	x.bits, err = newBitReader(b, end+v.lmdBytes, v.lmdBits)
	return x, err
}

func (v *lmdHead) parseV1(b []byte) {
	le := binary.LittleEndian
	u32 := func(at int) int { return int(le.Uint32(b[at:])) }
	v.literals, v.matches, v.literalBytes, v.lmdBytes = u32(12), u32(16), u32(20), u32(24)
	v.literalBits = int(int32(le.Uint32(b[28:])))
	for i := range v.literalState {
		v.literalState[i] = le.Uint16(b[32+2*i:])
	}
	v.lmdBits = int(int32(le.Uint32(b[40:])))
	v.l, v.m, v.d = le.Uint16(b[44:]), le.Uint16(b[46:]), le.Uint16(b[48:])
	for i := range v.freq {
		v.freq[i] = le.Uint16(b[50+2*i:])
	}
}

func (v *lmdHead) parseV2(b []byte) error {
	le := binary.LittleEndian
	v0, v1, v2 := le.Uint64(b[8:]), le.Uint64(b[16:]), le.Uint64(b[24:])
	v.literals, v.literalBytes = int(field(v0, 0, 20)), int(field(v0, 20, 20))
	v.matches, v.literalBits = int(field(v0, 40, 20)), int(field(v0, 60, 3))-7
	for i := range v.literalState {
		v.literalState[i] = uint16(field(v1, 10*i, 10))
	}
	v.lmdBytes, v.lmdBits = int(field(v1, 40, 20)), int(field(v1, 60, 3))-7
	v.l, v.m, v.d = uint16(field(v2, 32, 10)), uint16(field(v2, 42, 10)), uint16(field(v2, 52, 10))
	if len(b) == leastV2 {
		return nil // it has no tables
	}
	return v.parseFrequencies(b[leastV2:])
}

// parseFrequencies reads the tables of version 2: a prefix code of 2, 3, 5, 8 and 14 bits.
func (v *lmdHead) parseFrequencies(b []byte) error {
	var acc uint32
	count := 0
	for i := range v.freq {
		for len(b) > 0 && count <= 24 {
			acc |= uint32(b[0]) << count
			count, b = count+8, b[1:]
		}
		value, n := frequency(acc)
		if n > count {
			return malformed("the tables of a block are cut off")
		}
		v.freq[i] = value
		acc, count = acc>>n, count-n
	}
	if count >= 8 || len(b) > 0 {
		return malformed("%d bytes after the tables of a block", len(b))
	}
	return nil
}

// frequency decodes one number at the low end of acc.
func frequency(acc uint32) (value uint16, n int) {
	switch {
	case acc&3 == 0:
		return 0, 2
	case acc&3 == 2:
		return 1, 2
	case acc&3 == 1:
		return uint16(2 + acc>>2&1), 3
	case acc&7 == 3:
		return uint16(4 + acc>>3&3), 5
	case acc&15 == 7:
		return uint16(8 + acc>>4&0xf), 8
	}
	return uint16(24 + acc>>4&0x3ff), 14
}

// check refuses what no encoder writes (lzfse_check_block_header_v1). Literals are filled up to a multiple of four.
func (v *lmdHead) check(h head) error {
	switch {
	case v.literals < 0 || v.literals > maxLiterals || v.literals%4 != 0, v.matches < 0 || v.matches > maxMatches:
		return malformed("a block of %d literals and %d matches", v.literals, v.matches)
	case v.literalBytes < 0 || v.lmdBytes < 0 || int64(v.literalBytes)+int64(v.lmdBytes) != h.rest:
		return malformed("a block of %d and %d bytes", v.literalBytes, v.lmdBytes)
	case int64(v.literals) > h.plain+3 || int64(v.matches) > h.plain+64: // work that unpacks to nothing
		return malformed("a block of %d literals and %d matches for %d bytes", v.literals, v.matches, h.plain)
	case v.l >= lStates || v.m >= mStates || v.d >= dStates:
		return malformed("a block begins in the states %d, %d, %d", v.l, v.m, v.d)
	}
	for _, s := range v.literalState {
		if s >= litStates {
			return malformed("the literals of a block begin in the state %d", s)
		}
	}
	return nil
}

// decodeLiterals decodes the literals of a block, four streams in turn, whose bits end at end.
func (v *lmdHead) decodeLiterals(b []byte, end int, freq []uint16) ([]byte, error) {
	var table [litStates]fseState
	if err := fill(table[:], freq, func(int) uint8 { return 0 }); err != nil {
		return nil, err
	}
	bits, err := newBitReader(b, end, v.literalBits)
	if err != nil {
		return nil, err
	}
	literals := make([]byte, v.literals)
	for i := range literals {
		if i%4 == 0 {
			if err := bits.refill(); err != nil {
				return nil, err
			}
		}
		symbol, err := bits.decode(table[:], &v.literalState[i%4])
		if err != nil {
			return nil, err
		}
		literals[i] = byte(symbol)
	}
	return literals, nil
}

func (x *lmd) step(out *window) error {
	for end := len(out.buf) + chunk; len(out.buf) < end; {
		if x.matches == 0 {
			return io.EOF
		}
		x.matches--
		if err := x.one(out); err != nil {
			return err
		}
	}
	return nil
}

// one executes one triple. The bits of all three are there after one refill: 14, 17 and 23 at most.
func (x *lmd) one(out *window) error {
	if err := x.bits.refill(); err != nil {
		return err
	}
	l, err := x.bits.decode(x.lTable[:], &x.l)
	if err != nil {
		return err
	}
	m, err := x.bits.decode(x.mTable[:], &x.m)
	if err != nil {
		return err
	}
	d, err := x.bits.decode(x.dTable[:], &x.d)
	if err != nil {
		return err
	}
	if d != 0 {
		x.distance = d
	}
	if l > len(x.literals) {
		return malformed("a block has fewer literals than its matches need")
	}
	out.buf = append(out.buf, x.literals[:l]...)
	x.literals = x.literals[l:]
	return out.match(x.distance, m)
}
