// SPDX-License-Identifier: Apache-2.0

package ko

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// maxZstdSteps is how many frames and blocks are stepped over: more than 512 MiB ever has.
const maxZstdSteps = 1 << 13

// zstdSize steps from block to block, by their headers, to the end of a zstd file, and returns the size of
// its content. A frame that does not say what it decompresses to counts by its blocks, each of which has up
// to 128 KiB.
func zstdSize(r io.ReaderAt, size int64) (int64, error) {
	z := zstdSteps{r: r, size: size}
	total := int64(0)
	for z.at < size {
		plain, err := z.frame()
		if err != nil {
			return 0, err
		}
		if total += plain; total < 0 || plain < 0 {
			return 0, errors.New("impossible size")
		}
		if err := z.step("frames"); err != nil {
			return 0, err
		}
		if z.at > size {
			return 0, errCutOff
		}
	}
	return total, nil
}

// zstdSteps is a place in a zstd file.
type zstdSteps struct {
	r     io.ReaderAt
	size  int64 // of the file
	at    int64
	steps int
}

// step counts one frame or block.
func (z *zstdSteps) step(what string) error {
	if z.steps++; z.steps > maxZstdSteps {
		return fmt.Errorf("more than %d zstd %s: %w", maxZstdSteps, what, errors.ErrUnsupported)
	}
	return nil
}

// frame steps over a frame, and returns what it decompresses to.
func (z *zstdSteps) frame() (plain int64, err error) {
	var head [zstd.HeaderMaxSize]byte
	n, err := z.r.ReadAt(head[:min(int64(len(head)), z.size-z.at)], z.at)
	if err != nil && err != io.EOF {
		return 0, err
	}
	var h zstd.Header
	if err := h.Decode(head[:n]); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return 0, errCutOff
		}
		return 0, err
	}
	z.at += int64(h.HeaderSize)
	if h.Skippable {
		z.at += int64(h.SkippableSize)
	}
	plain = int64(h.FrameContentSize)
	for last := h.Skippable; !last; {
		var most int64
		if most, last, err = z.block(); err != nil {
			return 0, err
		}
		if !h.HasFCS {
			plain += most
		}
	}
	if h.HasCheckSum {
		z.at += 4
	}
	return plain, nil
}

// block steps over a block, and returns the most that it decompresses to and whether it is its frame's last.
func (z *zstdSteps) block() (most int64, last bool, err error) {
	if err := z.step("blocks"); err != nil {
		return 0, false, err
	}
	var b [4]byte
	if n, err := z.r.ReadAt(b[:3], z.at); n < 3 {
		if err == io.EOF {
			err = errCutOff
		}
		return 0, false, err
	}
	block := binary.LittleEndian.Uint32(b[:])
	length := int64(block >> 3)
	most = min(length, 128<<10)
	if block>>1&3 == 1 { // one byte, repeated
		length = 1
	}
	z.at += 3 + length
	return most, block&1 != 0, nil
}
