// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"io"

	"github.com/kernelext/kernelext/fact"
)

const (
	walHeader   = 32
	walFrame    = 24
	frameMemory = 96         // of a frame in the maps, in bytes
	walMagic    = 0x377f0682 // and one more if sums are of big-endian words
)

// A wal is the write-ahead log of a database: newer copies of pages.
type wal struct {
	file  io.ReaderAt
	head  []byte
	pages uint32           // how many pages the database has after the last transaction
	at    map[uint32]int64 // where the newest copy of a page begins
}

// openWAL reads the log up to its last whole transaction. It returns nil for a log that SQLite itself would not read:
// one without a whole transaction, left over or begun anew. Frames after the first that does not fit are older or
// were not written to their end. item pays.
func openWAL(r io.ReaderAt, size int64, pageSize int, item *fact.Item) (*wal, error) {
	w := &wal{file: r, head: make([]byte, walHeader), at: map[uint32]int64{}}
	if size < walHeader {
		return nil, nil
	}
	if _, err := r.ReadAt(w.head, 0); err != nil {
		return nil, err
	}
	magic := binary.BigEndian.Uint32(w.head)
	s := walSum{order: binary.LittleEndian}
	if magic&1 == 1 {
		s.order = binary.BigEndian
	}
	s.add(w.head[:24])
	if magic&^1 != walMagic || int64(binary.BigEndian.Uint32(w.head[8:])) != int64(pageSize) || !s.is(w.head[24:]) {
		return nil, nil
	}
	frame := make([]byte, walFrame+pageSize)
	fresh := map[uint32]int64{} // of the transaction that is being read
	for at := int64(walHeader); at+int64(len(frame)) <= size; at += int64(len(frame)) {
		if err := cmp.Or(item.Work(int64(len(frame))), item.Hold(frameMemory)); err != nil {
			return nil, err
		}
		if _, err := r.ReadAt(frame, at); err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		s.add(frame[:8])
		s.add(frame[walFrame:])
		if !bytes.Equal(frame[8:16], w.head[16:24]) || !s.is(frame[16:]) {
			break
		}
		fresh[binary.BigEndian.Uint32(frame)] = at + walFrame
		if n := binary.BigEndian.Uint32(frame[4:]); n != 0 {
			w.pages = n
			for page, at := range fresh {
				w.at[page] = at
			}
			fresh = map[uint32]int64{} // clear would cost what the largest transaction did, for each of them
		}
	}
	if w.pages == 0 {
		return nil, nil
	}
	return w, nil
}

// find returns where the page begins in the log, if it has it.
func (w *wal) find(page uint32) (int64, bool) {
	if w == nil {
		return 0, false
	}
	at, ok := w.at[page]
	return at, ok
}

// steady reports whether the log was not begun anew. Frames that were added do not matter.
func (w *wal) steady() bool {
	if w == nil {
		return true
	}
	head := make([]byte, walHeader)
	_, err := w.file.ReadAt(head, 0)
	return err == nil && bytes.Equal(head, w.head)
}

// A walSum is the sum over the log from its beginning.
type walSum struct {
	order binary.ByteOrder
	a, b  uint32
}

func (s *walSum) add(b []byte) {
	for ; len(b) >= 8; b = b[8:] {
		s.a += s.order.Uint32(b) + s.b
		s.b += s.order.Uint32(b[4:]) + s.a
	}
}

// is reports whether the sum is the one that b begins with.
func (s *walSum) is(b []byte) bool {
	return binary.BigEndian.Uint32(b) == s.a && binary.BigEndian.Uint32(b[4:]) == s.b
}
