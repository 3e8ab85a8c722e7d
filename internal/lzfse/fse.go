// SPDX-License-Identifier: Apache-2.0

package lzfse

import (
	"encoding/binary"
	"math/bits"
)

// How many symbols and states the four codes of a block have.
const (
	lSymbols, mSymbols, dSymbols, litSymbols = 20, 20, 64, 256
	lStates, mStates, dStates, litStates     = 64, 64, 256, 1024
)

// The extra bits of each symbol of a length or a distance. A symbol's least value is the sum of the ranges before it.
var (
	lExtra = [lSymbols]uint8{16: 2, 17: 3, 18: 5, 19: 8}
	mExtra = [mSymbols]uint8{16: 3, 17: 5, 18: 8, 19: 11}
)

// dExtra is the number of extra bits of a distance's symbol.
func dExtra(symbol int) uint8 { return uint8(symbol / 4) }

// An fseState is one state of a decoder: the bits to take, and what they mean.
type fseState struct {
	bits  uint8 // of the next state and the value together; unused is a state that no symbol has
	extra uint8 // of the value alone
	delta int32 // added to the next state's bits
	base  int32 // the symbol's least value
}

const unused = 0xff

// fill makes the table of one code: freq says how many states each symbol has, extra how many bits follow it.
func fill(table []fseState, freq []uint16, extra func(symbol int) uint8) error {
	states := len(table)
	shift := bits.LeadingZeros32(uint32(states))
	at, base := 0, int32(0)
	for symbol, f := range freq {
		e := extra(symbol)
		first := base
		base += 1 << e
		if f == 0 {
			continue
		}
		if int(f) > states-at {
			return malformed("more than %d states", states)
		}
		k := bits.LeadingZeros32(uint32(f)) - shift
		long := 2*states>>k - int(f) // the states that take k bits; the others take one less
		for j := range int(f) {
			s := fseState{extra: e, base: first}
			if j < long {
				s.bits, s.delta = uint8(k)+e, int32((int(f)+j)<<k-states)
			} else {
				s.bits, s.delta = uint8(k-1)+e, int32((j-long)<<(k-1))
			}
			table[at] = s
			at++
		}
	}
	for ; at < states; at++ {
		table[at] = fseState{bits: unused}
	}
	return nil
}

// A bitReader reads bits backwards from the end of a payload.
type bitReader struct {
	buf   []byte // what lies before the payload counts: refills reach into it
	at    int    // where the bits of acc begin
	acc   uint64
	count int // bits in acc, 56 to 63 after a refill
}

// newBitReader starts at the end of buf[:end]. odd is 0 or minus the bits of the last byte that are not used.
func newBitReader(buf []byte, end, odd int) (bitReader, error) {
	r := bitReader{buf: buf, at: end - 8, count: odd + 64}
	if odd == 0 {
		r.at, r.count = end-7, 56
	}
	if r.at < 0 || odd > 0 || odd < -7 {
		return r, malformed("a bit stream of %d bytes", end)
	}
	r.acc = r.load()
	if odd == 0 {
		r.acc &= 1<<56 - 1
	}
	if r.acc>>r.count != 0 {
		return r, malformed("the bits beyond the end of a stream are set")
	}
	return r, nil
}

// load reads eight bytes; there is room for them after every payload.
func (r *bitReader) load() uint64 { return binary.LittleEndian.Uint64(r.buf[r.at:]) }

// refill brings count to 56 or more.
func (r *bitReader) refill() error {
	n := (63 - r.count) &^ 7
	if r.at -= n >> 3; r.at < 0 {
		return malformed("a bit stream begins before its block")
	}
	r.acc = r.acc<<n | r.load()&(1<<n-1)
	r.count += n
	return nil
}

// pull takes n bits.
func (r *bitReader) pull(n uint8) uint32 {
	r.count -= int(n)
	v := r.acc >> r.count
	r.acc &= 1<<r.count - 1
	return uint32(v)
}

// decode takes one value, and goes to the next state. The table's size is a power of two.
func (r *bitReader) decode(table []fseState, state *uint16) (int, error) {
	s := &table[int(*state)&(len(table)-1)]
	if s.bits == unused {
		return 0, malformed("state %d has no symbol", *state)
	}
	v := r.pull(s.bits)
	*state = uint16(s.delta + int32(v>>s.extra))
	return int(s.base) + int(v&(1<<s.extra-1)), nil
}
