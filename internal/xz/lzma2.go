// SPDX-License-Identifier: Apache-2.0

package xz

import (
	"encoding/binary"
	"io"
)

// startRatio is how many bytes of window a byte of the file gets at once. A window that grows leaves the smaller one
// after; the ratio spares a large file most of that, and is what code compresses to.
const startRatio = 5

// keepWindow is the most memory that is kept from one stream to the next.
const keepWindow = 16 << 20

// An lzma2 decodes the chunks of one LZMA2 stream. Output goes to a window that slides, so that a
// match is a plain copy within one slice.
type lzma2 struct {
	in  []byte
	pos int

	dict   int    // how far back a match may reach
	window []byte // output; grows up to twice dict
	filled int    // bytes of window that are decoded
	served int    // bytes of window that read has handed out
	base   int    // where the dictionary begins in window: a reset makes what is before unreachable
	since  uint32 // bytes decoded since the dictionary was reset

	lz        lzma
	chunkEnd  int // where the chunk's compressed bytes end
	left      int // bytes the chunk still gives
	raw       bool
	needDict  bool
	needProps bool
	needState bool
	eof       bool
}

// reset starts a stream at in[pos:] with a dictionary of dict bytes.
func (z *lzma2) reset(in []byte, pos, dict int) {
	z.in, z.pos, z.dict = in, pos, max(dict, 4096)
	z.filled, z.served, z.base, z.left = 0, 0, 0, 0
	z.needDict, z.needProps, z.needState, z.eof, z.raw = true, true, true, false, false
	z.lz.pending = 0
	if len(z.window) > keepWindow {
		z.window = nil
	}
}

// read gives up to len(p) bytes of the stream, and io.EOF with the last or after it.
func (z *lzma2) read(p []byte) (n int, err error) {
	for n < len(p) {
		if z.served < z.filled {
			got := copy(p[n:], z.window[z.served:z.filled])
			n, z.served = n+got, z.served+got
			continue
		}
		if z.left == 0 {
			if err := z.nextChunk(); err != nil {
				return n, err
			}
			continue
		}
		if err := z.fill(len(p) - n); err != nil {
			return n, err
		}
	}
	return n, nil
}

// nextChunk reads a chunk's header.
func (z *lzma2) nextChunk() error {
	if z.eof {
		return io.EOF
	}
	h := z.in[min(z.pos, len(z.in)):]
	if len(h) < 1 {
		return io.ErrUnexpectedEOF
	}
	control := h[0]
	if control == 0 {
		z.pos++
		z.eof = true
		return io.EOF
	}
	if control >= 0x80 {
		return z.lzmaChunk(control, h)
	}
	if control > 2 {
		return corrupt("LZMA2 chunk")
	}
	if len(h) < 3 {
		return io.ErrUnexpectedEOF
	}
	if control == 1 {
		z.resetDict()
	}
	if z.needDict {
		return corrupt("LZMA2 chunk without a dictionary")
	}
	z.raw, z.left = true, int(binary.BigEndian.Uint16(h[1:]))+1
	z.pos += 3
	z.chunkEnd = z.pos + z.left
	if z.chunkEnd > len(z.in) {
		return io.ErrUnexpectedEOF
	}
	return nil
}

func (z *lzma2) lzmaChunk(control byte, h []byte) error {
	if len(h) < 6 {
		return io.ErrUnexpectedEOF
	}
	size := 5
	reset := control >> 5 & 3
	if reset == 3 {
		z.resetDict()
	}
	if z.needDict {
		return corrupt("LZMA2 chunk without a dictionary")
	}
	if reset >= 2 {
		size = 6
		if !z.lz.properties(h[5]) {
			return corrupt("LZMA properties")
		}
		z.needProps = false
	}
	if z.needProps || z.needState && reset == 0 {
		return corrupt("LZMA2 chunk without a state")
	}
	if reset >= 1 {
		z.lz.resetState()
		z.needState = false
	}
	z.raw = false
	z.left = (int(control&0x1f)<<16 | int(binary.BigEndian.Uint16(h[1:]))) + 1
	z.pos += size
	z.chunkEnd = z.pos + int(binary.BigEndian.Uint16(h[3:])) + 1
	if z.chunkEnd > len(z.in) {
		return io.ErrUnexpectedEOF
	}
	if !z.lz.start(z.in[z.pos:z.chunkEnd]) {
		return corrupt("LZMA2 chunk")
	}
	return nil
}

func (z *lzma2) resetDict() {
	z.needDict = false
	z.base, z.since = z.filled, 0
}

// fill decodes some of the current chunk into the window: about want bytes.
func (z *lzma2) fill(want int) error {
	want = min(max(want, 1), z.left, 1<<16)
	z.room(want)
	if z.raw {
		copy(z.window[z.filled:z.filled+want], z.in[z.pos:])
		z.pos += want
		z.advance(want)
		return nil
	}
	reach := max(z.base, z.filled-z.dict)
	end, ok := z.lz.decode(z.window[reach:z.filled+want], z.filled-reach, z.since)
	if !ok || end != z.filled+want-reach {
		return corrupt("LZMA data")
	}
	if z.advance(want); z.left == 0 {
		if !z.lz.finished() {
			return corrupt("LZMA2 chunk size")
		}
		z.pos = z.chunkEnd
	}
	return nil
}

func (z *lzma2) advance(n int) {
	z.filled, z.left, z.since = z.filled+n, z.left-n, z.since+uint32(n)
}

// room makes space for n more bytes after filled; all before it has been served. A window starts with so much as the
// file may need, and is at most the dictionary and what is decoded between two moves of it.
func (z *lzma2) room(n int) {
	if z.filled+n <= len(z.window) {
		return
	}
	slack := max(z.dict/16, min(z.dict, 2<<20))
	if z.filled > z.dict+slack/2 {
		drop := z.filled - z.dict
		copy(z.window, z.window[drop:z.filled])
		z.filled, z.served, z.base = z.filled-drop, z.served-drop, max(z.base-drop, 0)
		if z.filled+n <= len(z.window) {
			return
		}
	}
	most := z.dict + slack
	grown := make([]byte, max(min(max(2*len(z.window), startRatio*len(z.in)), most), z.filled+n, 256<<10))
	copy(grown, z.window[:z.filled])
	z.window = grown
}
