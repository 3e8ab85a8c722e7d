// SPDX-License-Identifier: Apache-2.0

package xz

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"runtime"
	"testing"
)

// filteredFile makes an xz file of one block, x86 before LZMA2, of n zeros that are stored as they
// are; without an index.
func filteredFile(n int, promise bool) []byte {
	sum := func(b []byte, from int) []byte {
		return binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b[from:]))
	}
	b := append([]byte(nil), streamMagic...)
	b = sum(append(b, 0, 0), 6)
	header := []byte{0, 1} // two filters
	if promise {
		header[1] |= 0x80
		header = binary.AppendUvarint(header, uint64(n))
	}
	header = append(header, filterX86, 0, 0x21, 1, 16)
	for len(header)%4 != 0 {
		header = append(header, 0)
	}
	header[0] = byte(len(header) / 4)
	b = append(b, sum(header, 0)...)
	for control := byte(1); n > 0; control = 2 {
		size := min(n, 1<<16)
		b = append(b, control, byte((size-1)>>8), byte(size-1))
		b = append(b, make([]byte, size)...)
		n -= size
	}
	b = append(b, 0)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// TestFilteredBlockIsAStream: the memory for a block with filters does not grow with the block.
func TestFilteredBlockIsAStream(t *testing.T) {
	const size = 32 << 20
	for _, promise := range []bool{false, true} {
		file := filteredFile(size, promise)
		var r Reader
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		r.Reset(file, 1<<20)
		n, err := io.CopyN(io.Discard, &r, size)
		runtime.ReadMemStats(&after)
		if n != size || err != nil {
			t.Errorf("%d bytes, %v", n, err)
		}
		if n, err := r.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("after the last byte: %d, %v; want no index", n, err)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > 4<<20 {
			t.Errorf("%d bytes of memory for a window of 64 KiB", used)
		}
	}
}

// TestFiltersInPieces undoes each filter over pieces of every size, and compares with the same over all bytes at once.
func TestFiltersInPieces(t *testing.T) {
	data := sample(5000)
	for id := int64(filterDelta); id <= filterARM64; id++ {
		var props []byte
		if id == filterDelta {
			props = []byte{200}
		}
		whole, err := newFilter(id, props)
		if err != nil {
			t.Fatal(err)
		}
		want := bytes.Clone(data)
		whole.undo(want)
		for _, piece := range []int{1, 3, 17, 64, 1000} {
			f, _ := newFilter(id, props)
			var got, buf []byte
			for rest := data; len(rest) > 0; {
				n := min(piece, len(rest))
				buf, rest = append(buf, rest[:n]...), rest[n:]
				done := f.undo(buf)
				got, buf = append(got, buf[:done]...), buf[done:]
			}
			if got = append(got, buf...); !bytes.Equal(got, want) {
				t.Errorf("filter %#x in pieces of %d bytes differs", id, piece)
			}
		}
	}
}

// TestSmallBlocksReuseFilters: a file of many blocks with filters costs no more memory than one block.
func TestSmallBlocksReuseFilters(t *testing.T) {
	one := filteredFile(4, false)
	file := bytes.Clone(one)
	for range 2000 {
		file = append(file, one[12:]...)
	}
	var r Reader
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r.Reset(file, 1<<20)
	n, err := io.CopyN(io.Discard, &r, 4*2001)
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; n != 4*2001 || err != nil || used > 2<<20 {
		t.Errorf("%d bytes, %v, %d bytes of memory", n, err, used)
	}
}
