// SPDX-License-Identifier: Apache-2.0

package elfset

import (
	"bytes"
	"errors"
	"io"
)

// blockSize is what is read at once.
const blockSize = 16 << 10

// blocks reads a file in blocks, each once, so that what it keeps is bounded by the file's size.
type blocks struct {
	r    io.ReaderAt
	size int64
	have map[int64][]byte
}

var errOutside = errors.New("outside of the file")

func newBlocks(r io.ReaderAt, size int64) *blocks {
	return &blocks{r: r, size: size, have: map[int64][]byte{}}
}

// left returns how many bytes the file has from offset off on.
func (b *blocks) left(off uint64) uint64 {
	if off >= uint64(b.size) {
		return 0
	}
	return uint64(b.size) - off
}

// at returns n bytes at offset off. The bytes are shared and must not be changed.
func (b *blocks) at(off uint64, n int) ([]byte, error) {
	if uint64(n) > b.left(off) {
		return nil, errOutside
	}
	i, in := int64(off)/blockSize, int(off%blockSize)
	block, err := b.block(i)
	if err != nil {
		return nil, err
	}
	if in+n <= len(block) {
		return block[in : in+n : in+n], nil
	}
	out := append(make([]byte, 0, n), block[in:]...)
	for len(out) < n {
		i++
		if block, err = b.block(i); err != nil {
			return nil, err
		}
		out = append(out, block[:min(len(block), n-len(out))]...)
	}
	return out, nil
}

func (b *blocks) block(i int64) ([]byte, error) {
	if block, ok := b.have[i]; ok {
		return block, nil
	}
	off := i * blockSize
	block := make([]byte, min(blockSize, b.size-off))
	if n, err := b.r.ReadAt(block, off); n < len(block) {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	b.have[i] = block
	return block, nil
}

// cstring returns the bytes at offset off up to a NUL, and whether there was one within max bytes.
func (b *blocks) cstring(off uint64, max int) (string, bool) {
	max = int(min(uint64(max), b.left(off)))
	var out []byte
	for max > 0 {
		n := min(max, blockSize-int(off%blockSize), 64)
		p, err := b.at(off, n)
		if err != nil {
			return string(out), false
		}
		if i := bytes.IndexByte(p, 0); i >= 0 {
			return string(append(out, p[:i]...)), true
		}
		out = append(out, p...)
		off += uint64(n)
		max -= n
	}
	return string(out), false
}

// bytesAt is a byte slice as an io.ReaderAt.
type bytesAt []byte

// ReadAt copies from the slice.
func (b bytesAt) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= int64(len(b)) {
		return 0, io.EOF
	}
	n := copy(p, b[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
