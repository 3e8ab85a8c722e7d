// SPDX-License-Identifier: Apache-2.0

package xz

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Bounds of what PlainSize looks at.
const (
	maxStreams = 64
	maxPadding = 4 << 10
	maxIndex   = 1 << 20
)

// PlainSize returns how many bytes the xz file of that size decompresses to, as the indexes at the
// ends of its streams say. It decompresses nothing, so the compressed data may still be damaged. The error matches
// ErrCorrupt if the file does not end as an xz file does, for example because it was cut off. It matches
// errors.ErrUnsupported if the file has more streams or blocks than a module ever has. Any other error comes from r.
func PlainSize(r io.ReaderAt, size int64) (int64, error) {
	total := int64(0)
	for streams := 0; size > 0; streams++ {
		if streams == maxStreams {
			return 0, fmt.Errorf("more than %d xz streams: %w", maxStreams, errors.ErrUnsupported)
		}
		start, plain, err := lastStream(r, size)
		if err != nil {
			return 0, err
		}
		if total += plain; total < 0 {
			return 0, corrupt("index")
		}
		size = start
	}
	return total, nil
}

// lastStream returns where the stream that ends at end begins, and what it decompresses to.
func lastStream(r io.ReaderAt, end int64) (start, plain int64, err error) {
	var footer [12]byte
	for padding := 0; ; padding += 4 {
		if end < 2*int64(len(footer)) {
			return 0, 0, corrupt("ends before a stream's footer")
		}
		if err := readAt(r, footer[:], end-int64(len(footer))); err != nil {
			return 0, 0, err
		}
		if binary.LittleEndian.Uint32(footer[8:]) != 0 {
			break
		}
		if padding == maxPadding {
			return 0, 0, fmt.Errorf("xz stream padding: %w", errors.ErrUnsupported)
		}
		end -= 4
	}
	if !bytes.Equal(footer[10:], footerMagic) || !crcOK(footer[4:10], footer[:4]) {
		return 0, 0, corrupt("ends without a stream's footer")
	}
	size := (int64(binary.LittleEndian.Uint32(footer[4:])) + 1) * 4
	end -= int64(len(footer))
	if size > maxIndex {
		return 0, 0, fmt.Errorf("xz index of %d bytes: %w", size, errors.ErrUnsupported)
	}
	if size > end {
		return 0, 0, corrupt("index")
	}
	index := make([]byte, size)
	if err := readAt(r, index, end-size); err != nil {
		return 0, 0, err
	}
	blocks, plain, err := sumIndex(index)
	if err != nil {
		return 0, 0, err
	}
	start = end - size - blocks - int64(len(footer)) // the header is as long as the footer
	if start < 0 {
		return 0, 0, corrupt("blocks longer than the file")
	}
	var header [12]byte
	if err := readAt(r, header[:], start); err != nil {
		return 0, 0, err
	}
	if !bytes.HasPrefix(header[:], streamMagic) {
		return 0, 0, corrupt("stream header")
	}
	return start, plain, nil
}

// sumIndex adds up an index: how long the blocks are in the file, and what they decompress to.
func sumIndex(index []byte) (blocks, plain int64, err error) {
	body, sum := index[:len(index)-4], index[len(index)-4:]
	if body[0] != 0 || !crcOK(body, sum) {
		return 0, 0, corrupt("index")
	}
	count, rest, err := vli(body[1:])
	if err != nil {
		return 0, 0, err
	}
	for ; count > 0; count-- {
		var unpadded, size int64
		if unpadded, rest, err = vli(rest); err != nil {
			return 0, 0, err
		}
		if size, rest, err = vli(rest); err != nil {
			return 0, 0, err
		}
		blocks += (unpadded + 3) &^ 3
		plain += size
		if unpadded < 0 || blocks < 0 || plain < 0 {
			return 0, 0, corrupt("index")
		}
	}
	return blocks, plain, nil
}

func readAt(r io.ReaderAt, b []byte, offset int64) error {
	n, err := r.ReadAt(b, offset)
	if n == len(b) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}
