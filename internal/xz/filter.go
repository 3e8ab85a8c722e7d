// SPDX-License-Identifier: Apache-2.0

package xz

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// A filter undoes what was done to a block's bytes before LZMA2.
type filter struct {
	id       int64
	start    uint32    // what the block's first byte counts as
	at       uint32    // how many bytes were undone
	distance int       // of a delta filter
	past     [256]byte // of a delta filter, the last bytes, by their place modulo 256
	x86      x86State

	buf    []byte // undone up to ready, given to the next up to served
	ready  int
	served int
	eof    bool
}

// filterBuffer is how many bytes a filter works on at once.
const filterBuffer = 64 << 10

// readFiltered gives up to len(p) bytes of the block's stream with all filters but the first i undone, and io.EOF with
// the last or after it.
func (r *Reader) readFiltered(i int, p []byte) (n int, err error) {
	if i == len(r.filters) {
		return r.lzma.read(p)
	}
	f := &r.filters[i]
	for n < len(p) {
		if f.served < f.ready {
			got := copy(p[n:], f.buf[f.served:f.ready])
			n, f.served = n+got, f.served+got
			continue
		}
		if f.eof {
			return n, io.EOF
		}
		if err := r.refill(i); err != nil {
			return n, err
		}
	}
	return n, nil
}

// refill reads more for a filter whose undone bytes were given, and undoes it. At the end of the stream the bytes of an
// instruction that is not whole stay as they are.
func (r *Reader) refill(i int) error {
	f := &r.filters[i]
	if f.buf == nil {
		f.buf = make([]byte, 0, filterBuffer)
	}
	rest := copy(f.buf[:cap(f.buf)], f.buf[f.served:])
	got, err := r.readFiltered(i+1, f.buf[rest:cap(f.buf)])
	f.buf = f.buf[:rest+got]
	f.served, f.ready = 0, f.undo(f.buf)
	if err == io.EOF {
		f.eof, f.ready = true, len(f.buf)
		return nil
	}
	return err
}

// Filter numbers of the format.
const (
	filterDelta    = 0x03
	filterX86      = 0x04
	filterPowerPC  = 0x05
	filterIA64     = 0x06
	filterARM      = 0x07
	filterARMThumb = 0x08
	filterSPARC    = 0x09
	filterARM64    = 0x0a
)

func newFilter(id int64, props []byte) (filter, error) {
	f := filter{id: id}
	switch {
	case id == filterDelta:
		if len(props) != 1 {
			return f, corrupt("delta filter")
		}
		f.distance = int(props[0]) + 1
	case id >= filterX86 && id <= filterARM64:
		if len(props) == 4 {
			f.start = binary.LittleEndian.Uint32(props)
		} else if len(props) != 0 {
			return f, corrupt("branch filter")
		}
	default:
		return f, fmt.Errorf("xz filter %#x: %w", id, errors.ErrUnsupported)
	}
	return f, nil
}

// undo undoes the filter in as much of b as can be decided without what follows, and returns how much that is: all but
// the bytes of one instruction.
func (f *filter) undo(b []byte) int {
	n := 0
	switch f.id {
	case filterDelta:
		return f.undoDelta(b)
	case filterX86:
		n = f.x86.undo(b, f.start+f.at)
	case filterIA64:
		n = undoIA64(b, f.start+f.at)
	case filterARMThumb:
		n = undoThumb(b, f.start+f.at)
	default:
		for ; n+4 <= len(b); n += 4 {
			f.undoWord(b[n:n+4], f.start+f.at+uint32(n))
		}
	}
	f.at += uint32(n)
	return n
}

// undoDelta adds to each byte the byte at that distance before it.
func (f *filter) undoDelta(b []byte) int {
	for i := range b {
		b[i] += f.past[byte(f.at-uint32(f.distance))]
		f.past[byte(f.at)] = b[i]
		f.at++
	}
	return len(b)
}

// undoWord turns the absolute address in a four-byte instruction back into a relative one.
func (f filter) undoWord(b []byte, at uint32) {
	switch f.id {
	case filterPowerPC:
		if v := binary.BigEndian.Uint32(b); v&0xfc000003 == 0x48000001 {
			binary.BigEndian.PutUint32(b, 0x48000001|(v-at)&0x03fffffc)
		}
	case filterARM:
		if b[3] == 0xeb {
			v := uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16
			v = v - (at+8)>>2
			b[0], b[1], b[2] = byte(v), byte(v>>8), byte(v>>16)
		}
	case filterSPARC:
		if b[0] == 0x40 && b[1]&0xc0 == 0 || b[0] == 0x7f && b[1]&0xc0 == 0xc0 {
			v := (binary.BigEndian.Uint32(b)<<2 - at) >> 2
			v = (0-v>>22&1)<<22&0x3fffffff | v&0x3fffff | 0x40000000
			binary.BigEndian.PutUint32(b, v)
		}
	case filterARM64:
		undoARM64(b, at)
	}
}

func undoARM64(b []byte, at uint32) {
	v := binary.LittleEndian.Uint32(b)
	switch {
	case v>>26 == 0x25: // BL
		binary.LittleEndian.PutUint32(b, 0x94000000|(v-at>>2)&0x03ffffff)
	case v&0x9f000000 == 0x90000000: // ADRP
		src := v>>29&3 | v>>3&0x001ffffc
		if (src+0x00020000)&0x001c0000 != 0 {
			return
		}
		dest := src - at>>12
		v &= 0x9000001f
		v |= (dest & 3) << 29
		v |= (dest & 0x0003fffc) << 3
		v |= (0 - dest&0x00020000) & 0x00e00000
		binary.LittleEndian.PutUint32(b, v)
	}
}

func undoThumb(b []byte, start uint32) int {
	i := 0
	for ; i+4 <= len(b); i += 2 {
		if b[i+1]&0xf8 != 0xf0 || b[i+3]&0xf8 != 0xf8 {
			continue
		}
		v := uint32(b[i+1]&7)<<19 | uint32(b[i])<<11 | uint32(b[i+3]&7)<<8 | uint32(b[i+2])
		v = (v<<1 - (start + uint32(i) + 4)) >> 1
		b[i+1], b[i] = 0xf0|byte(v>>19)&7, byte(v>>11)
		b[i+3], b[i+2] = 0xf8|byte(v>>8)&7, byte(v)
		i += 2
	}
	return i
}

func undoIA64(b []byte, start uint32) int {
	slots := [32]byte{16: 4, 17: 4, 18: 6, 19: 6, 22: 7, 23: 7, 24: 4, 25: 4, 28: 4, 29: 4}
	i := 0
	for ; i+16 <= len(b); i += 16 {
		mask := slots[b[i]&0x1f]
		for slot, bitPos := 0, 5; slot < 3; slot, bitPos = slot+1, bitPos+41 {
			if mask>>slot&1 == 0 {
				continue
			}
			word := b[i+bitPos>>3 : i+bitPos>>3+6]
			shift := bitPos & 7
			var v uint64
			for j := range 6 {
				v += uint64(word[j]) << (8 * j)
			}
			n := v >> shift
			if n>>37&0xf != 5 || n>>9&7 != 0 {
				continue
			}
			addr := uint32(n>>13&0xfffff) | uint32(n>>36&1)<<20
			addr = (addr<<4 - (start + uint32(i))) >> 4
			n &^= uint64(0x8fffff) << 13
			n |= uint64(addr&0xfffff) << 13
			n |= uint64(addr&0x100000) << (36 - 20)
			v = v&(1<<shift-1) | n<<shift
			for j := range 6 {
				word[j] = byte(v >> (8 * j))
			}
		}
	}
	return i
}

// An x86State remembers the bytes before those in hand that look like opcodes.
type x86State struct {
	since int    // distance of the last of them before the next byte, less one
	mask  uint32 // which of the three before it are
}

// undo turns the absolute targets of calls and jumps (E8, E9) back into relative ones. Which bytes are opcodes is a
// guess that looks at up to three opcode-like bytes before.
func (s *x86State) undo(b []byte, start uint32) int {
	msb := func(c byte) bool { return c == 0 || c == 0xff }
	allowed := [8]bool{true, true, true, false, true, false, false, false}
	bitNumber := [8]uint32{0, 1, 2, 2, 3, 3, 3, 3}
	prev, mask := -1-s.since, s.mask
	i := 0
	for ; i+4 < len(b); i++ {
		if b[i]&0xfe != 0xe8 {
			continue
		}
		if gap := i - prev; gap > 3 {
			mask = 0
		} else {
			mask = mask << (gap - 1) & 7
			if mask != 0 && (!allowed[mask] || msb(b[i+4-int(bitNumber[mask])])) {
				prev = i
				mask = mask<<1 | 1
				continue
			}
		}
		prev = i
		if !msb(b[i+4]) {
			mask = mask<<1 | 1
			continue
		}
		src := binary.LittleEndian.Uint32(b[i+1:])
		var dest uint32
		for {
			dest = src - (start + uint32(i) + 5)
			if mask == 0 {
				break
			}
			j := bitNumber[mask] * 8
			if !msb(byte(dest >> (24 - j))) {
				break
			}
			src = dest ^ (1<<(32-j) - 1)
		}
		dest &= 0x01ffffff
		dest |= 0 - dest&0x01000000
		binary.LittleEndian.PutUint32(b[i+1:], dest)
		i += 4
	}
	s.since, s.mask = min(i-1-prev, 4), mask
	return i
}
