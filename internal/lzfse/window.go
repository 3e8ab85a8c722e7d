// SPDX-License-Identifier: Apache-2.0

package lzfse

import (
	"errors"
	"io"
)

const (
	// history is how far back a match may reach: LZFSE's longest distance is 262139.
	history = 256 << 10
	// chunk is about how many bytes one step unpacks.
	chunk = 256 << 10
)

// A window holds the end of what was unpacked, at least history bytes of it.
type window struct {
	buf  []byte
	gone int64 // bytes before it
}

// reset empties the window, for an image of size bytes.
func (w *window) reset(size int64) {
	if w.buf == nil {
		w.buf = make([]byte, 0, min(size, history+2*chunk)+8<<10)
	}
	w.buf, w.gone = w.buf[:0], 0
}

// total is how many bytes were unpacked.
func (w *window) total() int64 { return w.gone + int64(len(w.buf)) }

// slide drops what no match can reach any more.
func (w *window) slide() {
	if len(w.buf) <= history+chunk {
		return
	}
	drop := len(w.buf) - history
	copy(w.buf, w.buf[drop:])
	w.buf, w.gone = w.buf[:history], w.gone+int64(drop)
}

// copyAt copies from the offset on; 0 bytes if it is not in the window yet.
func (w *window) copyAt(p []byte, off int64) int {
	at := off - w.gone
	if at < 0 || at >= int64(len(w.buf)) {
		return 0
	}
	return copy(p, w.buf[at:])
}

// match repeats length bytes from a distance back; the two may overlap.
func (w *window) match(distance, length int) error {
	n := len(w.buf)
	if distance <= 0 || distance > n || distance > history {
		return malformed("distance %d after %d bytes", distance, w.total())
	}
	for from := n - distance; length > 0; { // where the two overlap, each round doubles what there is to copy
		part := min(length, len(w.buf)-from)
		w.buf = append(w.buf, w.buf[from:from+part]...)
		length -= part
	}
	return nil
}

// An input reads compressed bytes ahead.
type input struct {
	r    io.Reader
	size int // bytes in all, at most inputSize
	buf  []byte
	at   int // of the next byte in buf
	end  error
}

const inputSize = 64 << 10

// peek returns the next bytes without taking them: n, or as many as are left.
func (in *input) peek(n int) ([]byte, error) {
	if len(in.buf)-in.at < n && in.end == nil {
		in.fill(n)
	}
	rest := in.buf[in.at:]
	if len(rest) < n && in.end != io.EOF {
		return nil, in.end
	}
	return rest, nil
}

// fill reads ahead, so that n bytes are there unless the input ends.
func (in *input) fill(n int) {
	rest := copy(in.buf[:cap(in.buf)], in.buf[in.at:])
	if want := max(min(inputSize, in.size), n); cap(in.buf) < want {
		grown := make([]byte, want)
		copy(grown, in.buf[:rest])
		in.buf = grown
	}
	in.buf, in.at = in.buf[:cap(in.buf)], 0
	got, err := io.ReadFull(in.r, in.buf[rest:])
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	in.buf, in.end = in.buf[:rest+got], err
}

// take takes exactly n bytes.
func (in *input) take(n int) ([]byte, error) {
	b, err := in.peek(n)
	if err != nil {
		return nil, err
	}
	if len(b) < n {
		return nil, malformed("the stream is cut off")
	}
	in.at += n
	return b[:n], nil
}
