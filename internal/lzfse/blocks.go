// SPDX-License-Identifier: Apache-2.0

package lzfse

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/kernelext/kernelext/fact"
)

// The magic numbers of blocks, little-endian.
const (
	magicEnd  = 0x24787662 // bvx$
	magicRaw  = 0x2d787662 // bvx-
	magicV1   = 0x31787662 // bvx1
	magicV2   = 0x32787662 // bvx2
	magicLZVN = 0x6e787662 // bvxn
)

// Bounds of one block.
const (
	maxLiterals = 40000
	maxMatches  = 10000
	maxPayload  = 1 << 20 // bytes of the literals, and of the matches; what 20 bits can say
	headV1      = 52 + 2*(lSymbols+mSymbols+dSymbols+litSymbols)
	leastV2     = 32
	mostV2      = leastV2 + 2*(lSymbols+mSymbols+dSymbols+litSymbols)
)

// A head is the header of one block.
type head struct {
	magic uint32
	plain int64 // bytes that it unpacks to
	size  int64 // bytes of the header
	rest  int64 // bytes of the payload
}

// parseHead reads the header at the start of b, of which headV1 bytes are enough.
func parseHead(b []byte) (h head, err error) {
	if len(b) < 4 {
		return h, malformed("the stream is cut off")
	}
	le := binary.LittleEndian
	h.magic = le.Uint32(b)
	need := map[uint32]int64{magicEnd: 4, magicRaw: 8, magicLZVN: 12, magicV1: headV1, magicV2: leastV2}[h.magic]
	if need == 0 {
		return h, malformed("block %q", b[:4])
	}
	if h.size = need; int64(len(b)) < need {
		return h, malformed("the stream is cut off")
	}
	if h.magic == magicEnd {
		return h, nil
	}
	h.plain = int64(le.Uint32(b[4:]))
	switch h.magic {
	case magicRaw:
		h.rest = h.plain
	case magicLZVN:
		h.rest = int64(le.Uint32(b[8:]))
	case magicV1:
		h.rest = int64(le.Uint32(b[20:])) + int64(le.Uint32(b[24:]))
	case magicV2:
		v0, v1, v2 := le.Uint64(b[8:]), le.Uint64(b[16:]), le.Uint64(b[24:])
		h.rest = int64(field(v0, 20, 20) + field(v1, 40, 20))
		if h.size = int64(uint32(v2)); h.size < leastV2 || h.size > mostV2 {
			return h, malformed("a block header of %d bytes", h.size)
		}
	}
	return h, nil
}

// field takes n bits from bit at on.
func field(v uint64, at, n int) uint64 { return v >> at & (1<<n - 1) }

// lzfseSize is the size of the plain image, by the headers of the blocks.
func lzfseSize(src io.ReaderAt, packed int64) (int64, error) {
	var total, at int64
	buf := make([]byte, headV1)
	for {
		n, err := src.ReadAt(buf[:min(int64(len(buf)), max(packed-at, 0))], at)
		if err != nil && err != io.EOF {
			return 0, err
		}
		h, err := parseHead(buf[:n])
		if err != nil {
			return 0, err
		}
		if h.magic == magicEnd {
			return total, nil
		}
		if total += h.plain; total > MaxSize {
			return 0, fmt.Errorf("%w: a plain image of more than %d bytes", fact.ErrTooLarge, MaxSize)
		}
		if at += h.size + h.rest; at > packed {
			return 0, malformed("the stream is cut off")
		}
	}
}

// A blocks unpacks LZFSE, a block at a time.
type blocks struct {
	in    *input
	block decoder // the one that is being unpacked; nil between blocks
	want  int64   // where the plain image is when it ends
}

func (s *blocks) step(out *window) error {
	if s.block == nil {
		if err := s.open(out); err != nil {
			return err
		}
	}
	switch err := s.block.step(out); {
	case err != nil && err != io.EOF:
		return err
	case out.total() > s.want, err == io.EOF && out.total() != s.want:
		return malformed("a block has other than the %d bytes that it names", s.want)
	case err == io.EOF:
		s.block = nil
	}
	return nil
}

// open reads the next block's header.
func (s *blocks) open(out *window) error {
	b, err := s.in.peek(headV1)
	if err != nil {
		return err
	}
	h, err := parseHead(b)
	if err != nil {
		return err
	}
	s.want = out.total() + h.plain
	switch h.magic {
	case magicEnd:
		return io.EOF
	case magicRaw:
		s.in.at += int(h.size)
		s.block = &rawBlock{s.in, h.plain}
	case magicLZVN:
		s.in.at += int(h.size)
		s.block = &lzvnBlock{in: s.in, left: h.rest, want: s.want}
	default:
		if h.rest > 2*maxPayload {
			return malformed("a payload of %d bytes", h.rest)
		}
		b, err := s.in.take(int(h.size + h.rest))
		if err != nil {
			return err
		}
		s.block, err = newLMD(h, b)
		return err
	}
	return nil
}

// A rawBlock is not compressed.
type rawBlock struct {
	in   *input
	left int64
}

func (b *rawBlock) step(out *window) error {
	for end := len(out.buf) + chunk; len(out.buf) < end; {
		if b.left == 0 {
			return io.EOF
		}
		part, err := b.in.take(int(min(b.left, inputSize/2)))
		if err != nil {
			return err
		}
		out.buf = append(out.buf, part...)
		b.left -= int64(len(part))
	}
	return nil
}

// An lzvnBlock is LZVN with a header around it.
type lzvnBlock struct {
	lzvnState
	in         *input
	left, want int64
}

func (b *lzvnBlock) step(out *window) error {
	for end := len(out.buf) + chunk; len(out.buf) < end; {
		taken, done, err := b.run(b.in, out)
		if err != nil {
			return err
		}
		if b.left -= int64(taken); b.left < 0 || out.total() > b.want || done && b.left != 0 {
			return malformed("an LZVN block is not as long as it says")
		}
		if done {
			return io.EOF
		}
	}
	return nil
}
