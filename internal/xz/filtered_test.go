// SPDX-License-Identifier: Apache-2.0

package xz

import (
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

// TestFilteredBlockStaysWithinTheLimit: a block with filters is decoded whole, but not beyond what
// the caller will take.
func TestFilteredBlockStaysWithinTheLimit(t *testing.T) {
	const limit = 100_000
	for _, promise := range []bool{false, true} {
		var r Reader
		r.Reset(filteredFile(limit, promise), 1<<20, limit)
		if n, err := io.ReadFull(&r, make([]byte, limit)); err != nil {
			t.Errorf("as many bytes as allowed: %d, %v", n, err)
		}
		if n, err := r.Read(make([]byte, 1)); n != 0 || errors.Is(err, ErrMemory) {
			t.Errorf("after the last byte: %d, %v", n, err)
		}

		file := filteredFile(16<<20, promise)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		r.Reset(file, 1<<20, limit)
		n, err := r.Read(make([]byte, 10))
		runtime.ReadMemStats(&after)
		if n != 0 || !errors.Is(err, ErrMemory) {
			t.Errorf("more than allowed: %d, %v", n, err)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > 2<<20 {
			t.Errorf("%d bytes of memory for a limit of %d", used, limit)
		}
	}
}
