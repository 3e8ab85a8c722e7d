// SPDX-License-Identifier: Apache-2.0

package lzfse

import (
	"encoding/binary"
	"io"
)

// lzvnLongest is the most bytes that one opcode takes, with its literals.
const lzvnLongest = 2 + 15 + 256

// An lzvnOp is one opcode of LZVN: literals, then a match.
type lzvnOp struct {
	head     int // bytes of the opcode, before the literals
	literals int
	match    int
	distance int // 0: as before
	end      bool
}

// parseLZVN reads the opcode at the start of b, by the table in lzvn_decode_base.c.
func parseLZVN(b []byte) (op lzvnOp, err error) {
	var next [3]byte // what lies beyond the end reads as 0, and is found to be missing by the opcode's length
	copy(next[:], b)
	c := next[0]
	wide := int(binary.LittleEndian.Uint16(next[1:]))
	switch {
	case c == 0x06:
		op = lzvnOp{head: 8, end: true}
	case c == 0x0e, c == 0x16: // does nothing
		op = lzvnOp{head: 1}
	case c == 0xe0:
		op = lzvnOp{head: 2, literals: int(next[1]) + 16}
	case c > 0xe0 && c < 0xf0:
		op = lzvnOp{head: 1, literals: int(c & 15)}
	case c == 0xf0:
		op = lzvnOp{head: 2, match: int(next[1]) + 16}
	case c > 0xf0:
		op = lzvnOp{head: 1, match: int(c & 15)}
	case c >= 0x70 && c < 0x80, c >= 0xd0, c&7 == 6 && c < 0x40:
		return op, malformed("LZVN opcode %02x", c)
	case c >= 0xa0 && c < 0xc0:
		op = lzvnOp{head: 3, literals: int(c >> 3 & 3), match: int(c&7)<<2 + wide&3 + 3, distance: wide >> 2}
		return op.far()
	default:
		op = lzvnOp{head: 2, literals: int(c >> 6), match: int(c>>3&7) + 3, distance: int(c&7)<<8 | int(next[1])}
		switch c & 7 {
		case 6:
			op.head, op.distance = 1, 0
			return op, nil
		case 7:
			op.head, op.distance = 3, wide
		}
		return op.far()
	}
	return op, nil
}

// far refuses an opcode that names the distance 0.
func (op lzvnOp) far() (lzvnOp, error) {
	if op.distance == 0 {
		return op, malformed("LZVN distance 0")
	}
	return op, nil
}

// An lzvnState is what one opcode leaves to the next.
type lzvnState struct{ distance int }

// run executes one opcode, and returns how many bytes of input it took.
func (s *lzvnState) run(in *input, out *window) (taken int, end bool, err error) {
	b, err := in.peek(lzvnLongest)
	if err != nil {
		return 0, false, err
	}
	op, err := parseLZVN(b)
	if err != nil {
		return 0, false, err
	}
	taken = op.head + op.literals
	if len(b) < taken {
		return 0, false, malformed("the stream is cut off")
	}
	in.at += taken
	out.buf = append(out.buf, b[op.head:taken]...)
	if op.distance != 0 {
		s.distance = op.distance
	}
	if op.match > 0 {
		err = out.match(s.distance, op.match)
	}
	return taken, op.end, err
}

// An lzvnStream unpacks LZVN without a header around it, as old prelinked kernels have it. It ends with the plain size.
type lzvnStream struct {
	lzvnState
	in   *input
	size int64
}

func (s *lzvnStream) step(out *window) error {
	for end := len(out.buf) + chunk; len(out.buf) < end; {
		if out.total() >= s.size {
			out.buf = out.buf[:int64(len(out.buf))-(out.total()-s.size)]
			return io.EOF
		}
		_, done, err := s.run(s.in, out)
		if err != nil {
			return err
		}
		if done {
			return io.EOF
		}
	}
	return nil
}
