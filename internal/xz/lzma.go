// SPDX-License-Identifier: Apache-2.0

package xz

// Sizes of the LZMA model.
const (
	probInit   = 1024
	probBits   = 11
	moveBits   = 5
	topValue   = 1 << 24
	states     = 12
	posStates  = 16
	lenStates  = 4
	minMatch   = 2
	alignBits  = 4
	distModels = 14  // distance slots below this have footer bits with models of their own
	fullDist   = 128 // distances below this are modeled whole
)

type prob = uint16

// An lzma decodes LZMA data from a slice to a slice. Its state survives between calls.
type lzma struct {
	rc rangeDecoder

	state   uint32
	rep     [4]uint32
	pending int // bytes of a match that did not fit

	lc               uint32
	posMask, litMask uint32
	isMatch          [states * posStates]prob
	isRep            [states]prob
	isRep0           [states]prob
	isRep1           [states]prob
	isRep2           [states]prob
	isRep0Long       [states * posStates]prob
	distSlot         [lenStates][64]prob
	distSpecial      [fullDist]prob
	distAlign        [1 << alignBits]prob
	matchLen, repLen lengthModel
	literals         [16 * 0x300]prob
}

type lengthModel struct {
	choice, choice2 prob
	low, mid        [posStates][8]prob
	high            [256]prob
}

// properties sets lc, lp and pb from their byte; LZMA2 wants lc+lp <= 4.
func (z *lzma) properties(b byte) bool {
	if b >= 9*5*5 {
		return false
	}
	lc, lp, pb := uint32(b%9), uint32(b/9%5), uint32(b/45)
	if lc+lp > 4 {
		return false
	}
	z.lc, z.litMask, z.posMask = lc, 1<<lp-1, 1<<pb-1
	return true
}

// resetState forgets all that was learnt.
func (z *lzma) resetState() {
	z.state, z.rep, z.pending = 0, [4]uint32{}, 0
	for _, p := range [][]prob{
		z.isMatch[:], z.isRep[:], z.isRep0[:], z.isRep1[:], z.isRep2[:], z.isRep0Long[:],
		z.distSpecial[:], z.distAlign[:], z.literals[:0x300*(z.litMask+1)<<z.lc],
	} {
		fill(p)
	}
	for i := range z.distSlot {
		fill(z.distSlot[i][:])
	}
	z.matchLen.reset()
	z.repLen.reset()
}

func (l *lengthModel) reset() {
	l.choice, l.choice2 = probInit, probInit
	for i := range l.low {
		fill(l.low[i][:])
		fill(l.mid[i][:])
	}
	fill(l.high[:])
}

func fill(p []prob) {
	for i := range p {
		p[i] = probInit
	}
}

// start begins a chunk of compressed bytes. A match may not reach over a chunk's end.
func (z *lzma) start(in []byte) bool {
	return z.pending == 0 && z.rc.start(in)
}

// finished reports whether the chunk's bytes are used up as they must be at its end.
func (z *lzma) finished() bool { return z.pending == 0 && z.rc.finished() }

// decode fills out from out[pos:], of which out[:pos] is what matches may refer to. since is the
// position of out[pos] in the stream. It returns where it stopped: len(out) unless the data are
// corrupt.
func (z *lzma) decode(out []byte, pos int, since uint32) (end int, ok bool) {
	if z.pending > 0 {
		pos0 := pos
		if pos, ok = z.copyMatch(out, pos, z.pending); !ok {
			return pos, false
		}
		since += uint32(pos - pos0)
	}
	delta := since - uint32(pos) // since of out[0]
	rc := &z.rc
	for pos < len(out) {
		at := uint32(pos) + delta
		posState := at & z.posMask
		// rc.bit, written out: half of all its calls would come from here.
		if rc.rng < topValue {
			rc.rng, rc.code = rc.rng<<8, rc.code<<8|rc.next()
		}
		model := &z.isMatch[(z.state*posStates+posState)%(states*posStates)]
		v := uint32(*model)
		bound := rc.rng >> probBits * v
		if rc.code < bound {
			rc.rng = bound
			*model = prob(v + (1<<probBits-v)>>moveBits)
			prev := uint32(0)
			if pos > 0 {
				prev = uint32(out[pos-1])
			}
			context := (at&z.litMask)<<z.lc + prev>>(8-z.lc)
			model := (*[0x300]prob)(z.literals[context*0x300:])
			if z.state < 7 {
				out[pos] = rc.literal(model)
			} else {
				back := pos - int(z.rep[0]) - 1
				if back < 0 {
					return pos, false
				}
				out[pos] = rc.matchedLiteral(model, uint32(out[back]))
			}
			z.state = afterLiteral[z.state]
			pos++
			continue
		}
		rc.rng -= bound
		rc.code -= bound
		*model = prob(v - v>>moveBits)
		length, ok := z.match(posState)
		if !ok {
			return pos, false
		}
		if pos, ok = z.copyMatch(out, pos, length); !ok {
			return pos, false
		}
	}
	return pos, !rc.overrun()
}

var afterLiteral = [states]uint32{0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 4, 5}

// match decodes a match's length, and its distance into rep[0].
func (z *lzma) match(posState uint32) (length int, ok bool) {
	rc, s := &z.rc, z.state
	if rc.bit(&z.isRep[s]) == 0 {
		z.rep[3], z.rep[2], z.rep[1] = z.rep[2], z.rep[1], z.rep[0]
		z.state = 7
		if s >= 7 {
			z.state = 10
		}
		length = z.matchLen.decode(rc, posState)
		z.rep[0] = z.distance(length)
		return length, z.rep[0] != 0xffffffff
	}
	if rc.bit(&z.isRep0[s]) == 0 {
		if rc.bit(&z.isRep0Long[s*posStates+posState]) == 0 {
			z.state = 9
			if s >= 7 {
				z.state = 11
			}
			return 1, true
		}
	} else {
		var d uint32
		if rc.bit(&z.isRep1[s]) == 0 {
			d = z.rep[1]
		} else {
			if rc.bit(&z.isRep2[s]) == 0 {
				d = z.rep[2]
			} else {
				d = z.rep[3]
				z.rep[3] = z.rep[2]
			}
			z.rep[2] = z.rep[1]
		}
		z.rep[1], z.rep[0] = z.rep[0], d
	}
	z.state = 8
	if s >= 7 {
		z.state = 11
	}
	return z.repLen.decode(rc, posState), true
}

func (l *lengthModel) decode(rc *rangeDecoder, posState uint32) int {
	if rc.bit(&l.choice) == 0 {
		return minMatch + int(tree(rc, &l.low[posState]))
	}
	if rc.bit(&l.choice2) == 0 {
		return minMatch + 8 + int(tree(rc, &l.mid[posState]))
	}
	return minMatch + 16 + int(tree(rc, &l.high))
}

// distance decodes the distance of a match of that length; 0xffffffff is LZMA's end marker, which
// LZMA2 does not have.
func (z *lzma) distance(length int) uint32 {
	rc := &z.rc
	slot := tree(rc, &z.distSlot[min(length-minMatch, lenStates-1)])
	if slot < 4 {
		return slot
	}
	footer := slot>>1 - 1
	d := (2 | slot&1) << footer
	if slot < distModels {
		return d + rc.reverseTree(z.distSpecial[d-slot:], footer)
	}
	d += rc.direct(footer-alignBits) << alignBits
	return d + rc.reverseTree(z.distAlign[:], alignBits)
}

// copyMatch copies a match of length bytes at distance rep[0]; what does not fit stays pending.
func (z *lzma) copyMatch(out []byte, pos, length int) (int, bool) {
	distance := int(z.rep[0]) + 1
	from := pos - distance
	if from < 0 {
		return pos, false
	}
	n := min(length, len(out)-pos)
	z.pending = length - n
	if distance >= n {
		copy(out[pos:pos+n], out[from:from+n])
		return pos + n, true
	}
	for end := pos + n; pos < end; { // each time, twice as much is there
		pos += copy(out[pos:end], out[from:pos])
	}
	return pos, true
}
