// SPDX-License-Identifier: Apache-2.0

package xz

// A rangeDecoder decodes LZMA's range coder from a slice. Reading beyond the slice gives zeros,
// which overrun reports.
type rangeDecoder struct {
	in   []byte
	pos  int
	rng  uint32
	code uint32
}

// start reads the five bytes that a chunk begins with.
func (r *rangeDecoder) start(in []byte) bool {
	if len(in) < 5 || in[0] != 0 {
		return false
	}
	r.in, r.pos, r.rng = in, 5, 0xffffffff
	r.code = uint32(in[1])<<24 | uint32(in[2])<<16 | uint32(in[3])<<8 | uint32(in[4])
	return true
}

// overrun reports whether more bytes were asked for than there are.
func (r *rangeDecoder) overrun() bool { return r.pos > len(r.in) }

// finished normalizes once more and reports whether exactly all bytes are used, with nothing left
// in the coder.
func (r *rangeDecoder) finished() bool {
	if r.rng < topValue {
		r.rng, r.code = r.rng<<8, r.code<<8|r.next()
	}
	return r.pos == len(r.in) && r.code == 0
}

// next returns the next byte.
func (r *rangeDecoder) next() uint32 {
	p := r.pos
	r.pos++
	if p < len(r.in) {
		return uint32(r.in[p])
	}
	return 0
}

// bit decodes one bit with a model.
func (r *rangeDecoder) bit(p *prob) uint32 {
	if r.rng < topValue {
		r.rng, r.code = r.rng<<8, r.code<<8|r.next()
	}
	v := uint32(*p)
	bound := r.rng >> probBits * v
	if r.code < bound {
		r.rng = bound
		*p = prob(v + (1<<probBits-v)>>moveBits)
		return 0
	}
	r.rng -= bound
	r.code -= bound
	*p = prob(v - v>>moveBits)
	return 1
}

// The functions below decode several bits with the coder in local variables. Those for literals and
// for the low bits of distances, where a bit is close to random, choose by conditional moves, which
// the compiler makes of plain assignments below an if, or by arithmetic, where there is too much to
// choose: less is all ones when the bit is 0.

// tree decodes the bits of a tree of models from the highest down. Branches win here: lengths and the high bits of
// distances are less random than literals.
func tree[T [8]prob | [64]prob | [256]prob](r *rangeDecoder, p *T) uint32 {
	rng, code, in, pos, m := r.rng, r.code, r.in, r.pos, uint32(1)
	for m < uint32(len(*p)) {
		if rng < topValue {
			rng, code = rng<<8, code<<8
			if pos < len(in) {
				code |= uint32(in[pos])
			}
			pos++
		}
		model := &(*p)[m]
		v := uint32(*model)
		bound := rng >> probBits * v
		if code < bound {
			rng = bound
			*model = prob(v + (1<<probBits-v)>>moveBits)
			m <<= 1
		} else {
			rng -= bound
			code -= bound
			*model = prob(v - v>>moveBits)
			m = m<<1 | 1
		}
	}
	r.rng, r.code, r.pos = rng, code, pos
	return m - uint32(len(*p))
}

// reverseTree decodes bits from the lowest up.
func (r *rangeDecoder) reverseTree(p []prob, bits uint32) uint32 {
	rng, code, in, pos, m, d := r.rng, r.code, r.in, r.pos, uint32(1), uint32(0)
	for i := range bits {
		if rng < topValue {
			rng, code = rng<<8, code<<8
			if pos < len(in) {
				code |= uint32(in[pos])
			}
			pos++
		}
		model := &p[m]
		v := uint32(*model)
		bound := rng >> probBits * v
		rng -= bound
		rest, to, bit := code-bound, int32(1<<moveBits-1), uint32(1)
		if code < bound {
			rng, rest, to, bit = bound, code, 1<<probBits, 0
		}
		code = rest
		*model = prob(int32(v) + (to-int32(v))>>moveBits)
		m = m<<1 | bit
		d |= bit << i
	}
	r.rng, r.code, r.pos = rng, code, pos
	return d
}

// direct decodes bits without a model.
func (r *rangeDecoder) direct(bits uint32) uint32 {
	rng, code, d := r.rng, r.code, uint32(0)
	for range bits {
		if rng < topValue {
			rng, code = rng<<8, code<<8|r.next()
		}
		rng >>= 1
		code -= rng
		t := -(code >> 31) // all ones when code was below rng
		code += rng & t
		d = d<<1 + t + 1
	}
	r.rng, r.code = rng, code
	return d
}

// literal decodes a byte.
func (r *rangeDecoder) literal(p *[0x300]prob) byte {
	rng, code, in, pos, m := r.rng, r.code, r.in, r.pos, uint32(1)
	for range 8 {
		if rng < topValue {
			rng, code = rng<<8, code<<8
			if pos < len(in) {
				code |= uint32(in[pos])
			}
			pos++
		}
		model := &p[m&0xff]
		v := uint32(*model)
		bound := rng >> probBits * v
		rng -= bound
		rest, to, bit := code-bound, int32(1<<moveBits-1), uint32(1)
		if code < bound {
			rng, rest, to, bit = bound, code, 1<<probBits, 0
		}
		code = rest
		*model = prob(int32(v) + (to-int32(v))>>moveBits)
		m = m<<1 | bit
	}
	r.rng, r.code, r.pos = rng, code, pos
	return byte(m)
}

// matchedLiteral decodes a byte that follows a match, with the byte that the match would have gone
// on with as its context.
func (r *rangeDecoder) matchedLiteral(p *[0x300]prob, match uint32) byte {
	rng, code, in, pos, m := r.rng, r.code, r.in, r.pos, uint32(1)
	offset := uint32(0x100)
	for range 8 {
		if rng < topValue {
			rng, code = rng<<8, code<<8
			if pos < len(in) {
				code |= uint32(in[pos])
			}
			pos++
		}
		match <<= 1
		matchBit := match & offset
		model := &p[offset+matchBit+m]
		v := uint32(*model)
		bound := rng >> probBits * v
		less := uint32((int64(code) - int64(bound)) >> 63)
		rng = bound&less | (rng-bound)&^less
		code -= bound &^ less
		*model = prob(int32(v) + (int32(less&(1<<probBits-1<<moveBits+1)+1<<moveBits-1)-int32(v))>>moveBits)
		m = m<<1 + 1 + less
		offset &= matchBit ^ less
	}
	r.rng, r.code, r.pos = rng, code, pos
	return byte(m)
}
