// SPDX-License-Identifier: Apache-2.0

package hivetest

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

const (
	sector      = 512
	page        = 4096
	entryHeader = 40
)

// A Page is a part of a hive that a log file has.
type Page struct {
	At   uint32 // from the first bin on
	Data []byte
}

// An Entry is an entry of a log file.
type Entry struct {
	Sequence uint32
	Bins     uint32 // the size of the hive's bins afterwards
	Pages    []Page
}

// Seal gives a hive or a log file its sequence numbers and its checksum, in place, and returns it.
func Seal(b []byte, primary, secondary uint32) []byte {
	le := binary.LittleEndian
	le.PutUint32(b[4:], primary)
	le.PutUint32(b[8:], secondary)
	var sum uint32
	for at := 0; at < checksumAt; at += 4 {
		sum ^= le.Uint32(b[at:])
	}
	switch sum {
	case 0:
		sum = 1
	case 0xffffffff:
		sum = 0xfffffffe
	}
	le.PutUint32(b[checksumAt:], sum)
	return b
}

// Change is an entry that makes one hive of another.
func Change(sequence uint32, before, after []byte) Entry {
	e := Entry{Sequence: sequence, Bins: uint32(len(after) - bins)}
	for at := bins; at < len(after); at += page {
		if at >= len(before) || !bytes.Equal(before[at:at+page], after[at:at+page]) {
			e.Pages = append(e.Pages, Page{uint32(at - bins), after[at : at+page]})
		}
	}
	return e
}

// logBlock is the base block of a log file of a hive.
func logBlock(hive []byte, kind, sequence uint32) []byte {
	b := bytes.Clone(hive[:sector])
	binary.LittleEndian.PutUint32(b[28:], kind)
	return Seal(b, sequence, sequence)
}

// Log is a log file with entries, as Windows writes it from 8.1 on, whose first has the sequence number first.
func Log(hive []byte, first uint32, entries ...Entry) []byte {
	b := logBlock(hive, 6, first)
	for _, e := range entries {
		b = append(b, e.bytes()...)
	}
	return b
}

func (e *Entry) bytes() []byte {
	le := binary.LittleEndian
	b := make([]byte, entryHeader)
	copy(b, "HvLE")
	for at, n := range map[int]uint32{12: e.Sequence, 16: e.Bins, 20: uint32(len(e.Pages))} {
		le.PutUint32(b[at:], n)
	}
	for _, p := range e.Pages {
		b = le.AppendUint32(le.AppendUint32(b, p.At), uint32(len(p.Data)))
	}
	for _, p := range e.Pages {
		b = append(b, p.Data...)
	}
	b = append(b, make([]byte, (sector-len(b)%sector)%sector)...)
	le.PutUint32(b[4:], uint32(len(b)))
	hashEntry(b)
	return b
}

func hashEntry(b []byte) {
	binary.LittleEndian.PutUint64(b[24:], marvin32(b[entryHeader:]))
	binary.LittleEndian.PutUint64(b[32:], marvin32(b[:32]))
}

// Rehash makes the checksum and the hashes of a log file right, in place, as far as it has entries.
func Rehash(b []byte) {
	if len(b) < sector {
		return
	}
	n := binary.LittleEndian.Uint32(b[4:])
	Seal(b, n, n)
	for at := sector; at+sector <= len(b); {
		size := binary.LittleEndian.Uint32(b[at+4:])
		if size < sector || size%sector != 0 || int64(size) > int64(len(b)-at) {
			return
		}
		hashEntry(b[at : at+int(size)])
		at += int(size)
	}
}

// marvin32 is the hash of entries, by the description of its author.
func marvin32(b []byte) uint64 {
	state := [2]uint32{0x7a4e55c5, 0x82ef4d88}
	words := make([]uint32, 0, len(b)/4+2)
	for ; len(b) >= 4; b = b[4:] {
		words = append(words, binary.LittleEndian.Uint32(b))
	}
	for _, w := range append(words, 0x80, 0) {
		state[0] += w
		state[1] ^= state[0]
		state[0] = bits.RotateLeft32(state[0], 20) + state[1]
		state[1] = bits.RotateLeft32(state[1], 9) ^ state[0]
		state[0] = bits.RotateLeft32(state[0], 27) + state[1]
		state[1] = bits.RotateLeft32(state[1], 19)
	}
	return uint64(state[1])<<32 | uint64(state[0])
}

// OldLog is a log file of Windows before 8.1 that makes one hive of another of the same size.
func OldLog(before, after []byte) []byte {
	b := append(logBlock(after, 1, binary.LittleEndian.Uint32(before[4:])), "DIRT"...)
	var pages []byte
	for at := bins; at < len(after); at += page {
		bitmap := byte(0)
		for i := range page / sector {
			if s := at + i*sector; !bytes.Equal(before[s:s+sector], after[s:s+sector]) {
				bitmap |= 1 << i
				pages = append(pages, after[s:s+sector]...)
			}
		}
		b = append(b, bitmap)
	}
	b = append(b, make([]byte, (sector-len(b)%sector)%sector)...)
	return append(b, pages...)
}
