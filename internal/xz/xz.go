// SPDX-License-Identifier: Apache-2.0

// Package xz decompresses .xz files that are in memory. It exists because a module's metadata is in the first quarter
// of the file: decoding stops wherever the caller stops reading, one Reader is used for thousands of files without new
// memory, and a hostile file can neither make it allocate more than its caller allows nor make it panic.
//
// It reads every format feature that modules come with: several streams and blocks, every check,
// the LZMA2 filter alone or after delta and the branch filters. For a part that it does not know (the RISC-V filter,
// extensions of the format) the error matches errors.ErrUnsupported. Checks are verified when a block's end is reached,
// the index and the footer when the stream's end is.
package xz

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
)

// ErrCorrupt is the error for bytes that are not an xz file, or are damaged.
var ErrCorrupt = errors.New("corrupt xz data")

// ErrMemory is the error for a file that needs a larger window than allowed.
var ErrMemory = errors.New("xz window larger than allowed")

// A Reader decompresses one file after another. Its zero value needs Reset before use.
type Reader struct {
	in      []byte // the whole file
	pos     int
	maxDict int
	state   state
	check   checkKind
	sum     hash.Hash
	lzma    lzma2
	block   blockInfo
	blocks  tally // of the blocks of this stream
	filters []filter
	err     error
}

type state uint8

const (
	atStream state = iota // before a stream's header
	atBlock               // before a block's header or the index
	inBlock               // in a block's data
)

// blockInfo is what a block's header promised and what was found.
type blockInfo struct {
	headerSize        int
	start             int   // where its data begin in the file
	compressed, plain int64 // promised; -1 when not
	produced          int64
	checkSize         int
}

// Reset makes r read the xz file in data, which must not change meanwhile. The error matches ErrMemory if the file asks
// for a window of more than maxDict bytes.
func (r *Reader) Reset(data []byte, maxDict int) {
	r.in, r.pos, r.maxDict = data, 0, maxDict
	r.state, r.err, r.filters = atStream, nil, r.filters[:0]
}

// Read decompresses up to len(p) bytes. It returns io.EOF after the last stream, ErrCorrupt or
// ErrMemory for a file that is invalid, io.ErrUnexpectedEOF for one that is cut short.
func (r *Reader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	n, err := r.read(p)
	if err != nil {
		r.err = err
	}
	return n, err
}

func (r *Reader) read(p []byte) (n int, err error) {
	for n < len(p) {
		switch r.state {
		case atStream:
			err = r.streamHeader()
		case atBlock:
			err = r.blockHeader()
		case inBlock:
			var got int
			got, err = r.blockData(p[n:])
			n += got
		}
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// take returns the next n bytes of the file.
func (r *Reader) take(n int) ([]byte, error) {
	if n < 0 || n > len(r.in)-r.pos {
		return nil, io.ErrUnexpectedEOF
	}
	b := r.in[r.pos : r.pos+n]
	r.pos += n
	return b, nil
}

var (
	streamMagic = []byte("\xfd7zXZ\x00")
	footerMagic = []byte("YZ")
)

// streamHeader reads the header of the first or the next stream; io.EOF at the end of the file.
func (r *Reader) streamHeader() error {
	if r.pos > 0 {
		if err := r.streamPadding(); err != nil {
			return err
		}
	}
	b, err := r.take(12)
	if err != nil {
		return err
	}
	if !bytes.Equal(b[:6], streamMagic) || !crcOK(b[6:8], b[8:]) {
		return corrupt("stream header")
	}
	if b[6] != 0 || b[7] > 15 {
		return fmt.Errorf("xz stream flags %#x %#x: %w", b[6], b[7], errors.ErrUnsupported)
	}
	r.check = checkKind(b[7])
	r.sum = r.check.hash()
	r.blocks = tally{}
	r.state = atBlock
	return nil
}

// streamPadding skips the zeros after a stream, in fours.
func (r *Reader) streamPadding() error {
	start := r.pos
	for r.pos < len(r.in) && r.in[r.pos] == 0 {
		r.pos++
	}
	if (r.pos-start)%4 != 0 {
		return corrupt("stream padding")
	}
	if r.pos == len(r.in) {
		return io.EOF
	}
	return nil
}

// blockHeader reads a block's header, or the index and the footer.
func (r *Reader) blockHeader() error {
	start := r.pos
	first, err := r.take(1)
	if err != nil {
		return err
	}
	if first[0] == 0 {
		return r.index()
	}
	size := (int(first[0]) + 1) * 4
	r.pos = start
	h, err := r.take(size)
	if err != nil {
		return err
	}
	if !crcOK(h[:size-4], h[size-4:]) {
		return corrupt("block header")
	}
	r.block = blockInfo{headerSize: size, start: r.pos, compressed: -1, plain: -1, checkSize: r.check.size()}
	if err := r.blockFields(h[1 : size-4]); err != nil {
		return err
	}
	if r.sum != nil {
		r.sum.Reset()
	}
	r.state = inBlock
	return nil
}

// blockFields reads a block header's sizes and filters.
func (r *Reader) blockFields(h []byte) (err error) {
	flags := h[0]
	if flags&0x3c != 0 {
		return fmt.Errorf("xz block flags %#x: %w", flags, errors.ErrUnsupported)
	}
	h = h[1:]
	if flags&0x40 != 0 {
		if r.block.compressed, h, err = vli(h); err != nil {
			return err
		}
		if r.block.compressed == 0 {
			return corrupt("block header")
		}
	}
	if flags&0x80 != 0 {
		if r.block.plain, h, err = vli(h); err != nil {
			return err
		}
	}
	r.filters = r.filters[:0]
	last := int(flags & 3)
	for i := 0; i <= last; i++ {
		id, rest, err := vli(h)
		if err != nil {
			return err
		}
		n, rest, err := vli(rest)
		if err != nil || n > int64(len(rest)) {
			return corrupt("filter flags")
		}
		if err := r.filterFlags(id, rest[:n], i == last); err != nil {
			return err
		}
		h = rest[n:]
	}
	for _, c := range h {
		if c != 0 {
			return corrupt("block header padding")
		}
	}
	return nil
}

// filterFlags sets up one filter: LZMA2 as the last, the others before it.
func (r *Reader) filterFlags(id int64, props []byte, last bool) error {
	if !last {
		f, err := newFilter(id, props)
		if n := len(r.filters); n < cap(r.filters) {
			f.buf = r.filters[:n+1][n].buf[:0] // of the block before
		}
		r.filters = append(r.filters, f)
		return err
	}
	if id != 0x21 {
		return fmt.Errorf("xz filter %#x as the last: %w", id, errors.ErrUnsupported)
	}
	if len(props) != 1 || props[0] > 40 {
		return corrupt("LZMA2 properties")
	}
	dict := uint64(0xffffffff)
	if b := props[0]; b < 40 {
		dict = uint64(2|b&1) << (b/2 + 11)
	}
	if dict > uint64(r.maxDict) {
		// A small file never needs the whole window, whatever its header claims.
		if r.block.plain < 0 || r.block.plain > int64(r.maxDict) {
			return fmt.Errorf("%w: %d bytes", ErrMemory, dict)
		}
		dict = uint64(r.maxDict)
	}
	r.lzma.reset(r.in, r.pos, int(dict))
	return nil
}

// blockData decompresses into p; at the block's end it verifies sizes and check.
func (r *Reader) blockData(p []byte) (int, error) {
	n, err := r.readFiltered(0, p)
	if r.sum != nil {
		r.sum.Write(p[:n])
	}
	r.block.produced += int64(n)
	if r.block.plain >= 0 && r.block.produced > r.block.plain {
		return n, corrupt("block size")
	}
	if err != nil && err != io.EOF {
		return n, err
	}
	if err == io.EOF {
		r.pos = r.lzma.pos
		r.state = atBlock
		return n, r.blockEnd()
	}
	return n, nil
}

// blockEnd checks what follows a block's data.
func (r *Reader) blockEnd() error {
	used := int64(r.pos - r.block.start)
	if r.block.compressed >= 0 && r.block.compressed != used || r.block.plain >= 0 &&
		r.block.plain != r.block.produced {
		return corrupt("block size")
	}
	pad, err := r.take(int(-used & 3))
	if err != nil {
		return err
	}
	for _, c := range pad {
		if c != 0 {
			return corrupt("block padding")
		}
	}
	check, err := r.take(r.block.checkSize)
	if err != nil {
		return err
	}
	if r.sum != nil && !r.check.equal(r.sum, check) {
		return corrupt("block check")
	}
	r.blocks.add(uint64(r.block.headerSize)+uint64(used)+uint64(r.block.checkSize), uint64(r.block.produced))
	return nil
}

// index verifies the index against the blocks that were read, and the footer.
func (r *Reader) index() error {
	start := r.pos - 1
	var count int64
	var err error
	rest := r.in[r.pos:]
	if count, rest, err = vli(rest); err != nil {
		return err
	}
	if uint64(count) != r.blocks.count {
		return corrupt("index")
	}
	var t tally
	for range count {
		var unpadded, plain int64
		if unpadded, rest, err = vli(rest); err != nil {
			return err
		}
		if plain, rest, err = vli(rest); err != nil {
			return err
		}
		t.add(uint64(unpadded), uint64(plain))
	}
	if t != r.blocks {
		return corrupt("index")
	}
	r.pos = len(r.in) - len(rest)
	pad, err := r.take(-(r.pos - start) & 3)
	if err != nil {
		return err
	}
	if !bytes.Equal(pad, make([]byte, len(pad))) {
		return corrupt("index")
	}
	size := r.pos - start + 4
	sum, err := r.take(4)
	if err != nil {
		return err
	}
	if !crcOK(r.in[start:r.pos-4], sum) {
		return corrupt("index check")
	}
	return r.footer(size)
}

func (r *Reader) footer(indexSize int) error {
	b, err := r.take(12)
	if err != nil {
		return err
	}
	backward := (int64(binary.LittleEndian.Uint32(b[4:])) + 1) * 4
	if !crcOK(b[4:10], b) || !bytes.Equal(b[10:], footerMagic) || backward != int64(indexSize) || b[8] != 0 ||
		b[9] != byte(r.check) {
		return corrupt("stream footer")
	}
	r.state = atStream
	return nil
}

// A tally sums up the sizes of blocks, to compare those read with those of the index.
type tally struct {
	count, unpadded, plain uint64
	crc                    uint32
}

func (t *tally) add(unpadded, plain uint64) {
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:], unpadded)
	binary.LittleEndian.PutUint64(b[8:], plain)
	t.count, t.unpadded, t.plain = t.count+1, t.unpadded+unpadded, t.plain+plain
	t.crc = crc32.Update(t.crc, crc32.IEEETable, b[:])
}

// vli reads a variable-length integer of up to 63 bits.
func vli(b []byte) (int64, []byte, error) {
	var n uint64
	for i := 0; i < 9; i++ {
		if i == len(b) {
			return 0, nil, io.ErrUnexpectedEOF
		}
		n |= uint64(b[i]&0x7f) << (7 * i)
		if b[i]&0x80 == 0 {
			if b[i] == 0 && i > 0 {
				break
			}
			return int64(n), b[i+1:], nil
		}
	}
	return 0, nil, corrupt("number")
}

func crcOK(data, sum []byte) bool {
	return crc32.ChecksumIEEE(data) == binary.LittleEndian.Uint32(sum)
}

func corrupt(what string) error { return fmt.Errorf("%w: %s", ErrCorrupt, what) }
