// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"encoding/binary"
	"errors"
	"io"
)

// lz4Magic begins a stream in the form that the kernel takes for an initial file system: lz4 -l,
// blocks of at most 8 MiB, each after its compressed size.
const lz4Magic = "\x02\x21\x4c\x18"

const (
	lz4Block    = 8 << 20
	lz4MaxInput = lz4Block + lz4Block/255 + 16
	lz4MinMatch = 4
)

var errLZ4 = errors.New("lz4: block is invalid")

// An lz4Reader decompresses such a stream. It reads no further than its last block.
type lz4Reader struct {
	src        io.Reader
	started    bool
	block, out []byte
	next       int // of out
}

func newLZ4Reader(src io.Reader) *lz4Reader { return &lz4Reader{src: src} }

func (r *lz4Reader) Read(p []byte) (int, error) {
	for r.next == len(r.out) {
		if err := r.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.out[r.next:])
	r.next += n
	return n, nil
}

// fill decompresses the next block; io.EOF at the end, which is that of the input, or zeros.
func (r *lz4Reader) fill() error {
	size, err := r.word()
	if err != nil {
		return err
	}
	for string(size[:]) == lz4Magic { // another stream after the first
		r.started = true
		if size, err = r.word(); err != nil {
			return err
		}
	}
	n := binary.LittleEndian.Uint32(size[:])
	switch {
	case !r.started, n > lz4MaxInput:
		return errLZ4
	case n == 0:
		return io.EOF
	}
	if cap(r.block) < int(n) {
		r.block = make([]byte, n)
	}
	r.block = r.block[:n]
	if _, err := io.ReadFull(r.src, r.block); err != nil {
		return io.ErrUnexpectedEOF
	}
	r.out, err = appendLZ4(r.out[:0], r.block)
	r.next = 0
	return err
}

func (r *lz4Reader) word() (word [4]byte, err error) {
	_, err = io.ReadFull(r.src, word[:])
	return word, err
}

// appendLZ4 decompresses one block: a run of literals and a match, again and again, each with a
// length of four bits that further bytes add to.
func appendLZ4(dst, src []byte) ([]byte, error) {
	for len(src) > 0 {
		token := src[0]
		literals, rest, ok := lz4Length(int(token>>4), src[1:])
		if !ok || literals > len(rest) || len(dst)+literals > lz4Block {
			return dst, errLZ4
		}
		dst, src = append(dst, rest[:literals]...), rest[literals:]
		if len(src) == 0 {
			return dst, nil // the last run has no match
		}
		if len(src) < 2 {
			return dst, errLZ4
		}
		offset := int(binary.LittleEndian.Uint16(src))
		length, rest, ok := lz4Length(int(token&15), src[2:])
		length += lz4MinMatch
		if !ok || offset == 0 || offset > len(dst) || len(dst)+length > lz4Block {
			return dst, errLZ4
		}
		for range length { // byte by byte: a match may reach into itself
			dst = append(dst, dst[len(dst)-offset])
		}
		src = rest
	}
	return dst, nil
}

// lz4Length adds the bytes that follow a length of 15: all up to one that is not 255.
func lz4Length(n int, src []byte) (length int, rest []byte, ok bool) {
	if n < 15 {
		return n, src, true
	}
	for i, b := range src {
		if n += int(b); b != 255 {
			return n, src[i+1:], n <= lz4Block
		}
	}
	return 0, nil, false
}
