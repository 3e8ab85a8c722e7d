// SPDX-License-Identifier: Apache-2.0

package xz

import (
	"encoding/binary"
	"fmt"
	"io"
)

// aloneHeader is the length of the head of an .lzma file: properties, dictionary, plain size.
const aloneHeader = 13

// An AloneReader decompresses the form that came before xz, ".lzma": one stream of LZMA, without any check.
type AloneReader struct {
	z    lzma2
	left int64 // bytes that are still to come; negative if an end marker says where the end is
	eof  bool
	err  error
}

// NewAlone returns a reader of the .lzma file in data, which must not change meanwhile. The error matches ErrMemory if
// the file asks for a window of more than maxDict bytes.
func NewAlone(data []byte, maxDict int) (*AloneReader, error) {
	if len(data) < aloneHeader {
		return nil, io.ErrUnexpectedEOF
	}
	r := &AloneReader{left: int64(binary.LittleEndian.Uint64(data[5:]))}
	dict := int64(binary.LittleEndian.Uint32(data[1:]))
	switch {
	case !r.z.lz.properties(data[0]):
		return nil, corrupt("LZMA properties")
	case dict > int64(maxDict):
		return nil, fmt.Errorf("%w: %d bytes", ErrMemory, dict)
	}
	r.z.reset(data, aloneHeader, int(dict))
	r.z.lz.resetState()
	if !r.z.lz.start(data[aloneHeader:]) {
		return nil, corrupt("LZMA data")
	}
	return r, nil
}

// Read decompresses up to len(p) bytes. It returns io.EOF at the end, and ErrCorrupt for data that are invalid or
// end early.
func (r *AloneReader) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if z := &r.z; z.served < z.filled {
			got := copy(p[n:], z.window[z.served:z.filled])
			n, z.served = n+got, z.served+got
			continue
		}
		switch {
		case r.err != nil:
			return n, r.err
		case r.eof || r.left == 0:
			return n, io.EOF
		}
		r.err = r.fill(len(p) - n)
	}
	return n, nil
}

// fill decodes about want bytes into the window.
func (r *AloneReader) fill(want int) error {
	z := &r.z
	if want = min(want, 1<<16); r.left >= 0 {
		want = int(min(int64(want), r.left))
	}
	z.room(want)
	reach := max(z.base, z.filled-z.dict)
	end, ok := z.lz.decode(z.window[reach:z.filled+want], z.filled-reach, z.since)
	marked := !ok && z.lz.rep[0] == 0xffffffff && r.left <= 0 && z.lz.rc.code == 0 && !z.lz.rc.overrun()
	if !ok && !marked {
		return corrupt("LZMA data")
	}
	got := reach + end - z.filled
	z.filled, z.since = z.filled+got, z.since+uint32(got)
	if r.left >= 0 {
		r.left -= int64(got)
	}
	r.eof = marked
	return nil
}
