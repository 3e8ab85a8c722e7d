// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/kernelext/kernelext/fact"
)

const (
	entryHeader = 40
	pageRef     = 8
	marvinSeed  = 0x82ef4d887a4e55c5 // of the hashes of entries
)

// entries reads the changes of logs of the new form. Each has a run of entries, whose first has the sequence number of
// the log's base block; one run continues the other.
//
// A log that begins before the hive's secondary sequence number was written back already. The run that is applied first
// begins with that number. It begins with a later one if the kernel filled both logs again: then the hive has what came
// before, and the first of the two runs, but its base block does not say so. Only both logs together are then a whole.
func (r *replay) entries(logs []*logFile) error {
	if len(logs) > 1 && later(logs[0].sequence(), logs[1].sequence()) {
		logs = []*logFile{logs[1], logs[0]}
	}
	newest := logs[len(logs)-1]
	if !r.block { // the kernel has no sequence number to begin at, and uses the last log alone
		r.from = newest
		return r.only(newest)
	}
	first := binary.LittleEndian.Uint32(r.hive[8:])
	if later(first, newest.sequence()) {
		return newest.fail("it begins at change %d, but the hive has all before %d", newest.sequence(), first)
	}
	if later(first, logs[0].sequence()) {
		logs = logs[1:]
	}
	if err := r.only(logs[0]); err != nil {
		return err
	}
	if len(logs) > 1 {
		if newest.sequence() != r.last+1 {
			return newest.fail("it begins at change %d, but %s ends at %d", newest.sequence(), logs[0].name, r.last)
		}
		_, err := r.run(newest)
		return err
	}
	if logs[0].sequence() != first {
		return logs[0].fail("it begins at change %d, and those from %d on are missing", logs[0].sequence(), first)
	}
	return nil
}

// later reports whether a sequence number is later than another. They begin again after the largest.
func later(a, b uint32) bool { return int32(a-b) > 0 }

// only is run for a log that has to have an entry.
func (r *replay) only(l *logFile) error {
	if n, err := r.run(l); n == 0 && err == nil {
		return l.fail("its first entry is damaged")
	} else if err != nil {
		return err
	}
	return nil
}

// run reads the entries of a log, and returns how many: it ends before one that is damaged or does not have the next
// sequence number, as the kernel does. Behind the last one there may be older ones.
func (r *replay) run(l *logFile) (n int, err error) {
	if err := r.fits(l); err != nil {
		return 0, err
	}
	next := l.sequence()
	for at := sectorSize; ; n++ {
		e, err := r.entry(l.b[at:], next)
		if e == nil || err != nil {
			return n, err
		}
		if err := r.entryPages(l, e); err != nil {
			return n, err
		}
		r.last, r.size = next, binary.LittleEndian.Uint32(e[16:])
		at += len(e)
		next++
	}
}

// entry returns the entry with which b begins; nil if it is not the one with that sequence number, or is damaged.
func (r *replay) entry(b []byte, sequence uint32) ([]byte, error) {
	le := binary.LittleEndian
	if len(b) < sectorSize || string(b[:4]) != "HvLE" || le.Uint32(b[12:]) != sequence {
		return nil, nil
	}
	size, bins := le.Uint32(b[4:]), le.Uint32(b[16:])
	if size < sectorSize || size%sectorSize != 0 || int64(size) > int64(len(b)) || bins < binSize || bins%binSize != 0 {
		return nil, nil
	}
	if err := r.item.Work(int64(size)); err != nil {
		return nil, err
	}
	if marvin(marvinSeed, b[:32]) != le.Uint64(b[32:]) || marvin(marvinSeed, b[entryHeader:size]) != le.Uint64(b[24:]) {
		return nil, nil
	}
	if !validSize(bins) {
		return nil, fmt.Errorf("%w: an entry of a hive of %d bytes", fact.ErrTooLarge, bins)
	}
	return b[:size:size], nil
}

// entryPages adds the pages of an entry. Its hashes are right, so that a page which is nowhere is an error.
func (r *replay) entryPages(l *logFile, e []byte) error {
	le := binary.LittleEndian
	count, bins := int64(le.Uint32(e[20:])), int64(le.Uint32(e[16:]))
	if count == 0 || count > int64(len(e)-entryHeader)/pageRef {
		return l.fail("an entry of %d pages in %d bytes", count, len(e))
	}
	refs, data := e[entryHeader:entryHeader+pageRef*count], e[entryHeader+pageRef*count:]
	for ; len(refs) > 0; refs = refs[pageRef:] {
		at, size := int64(le.Uint32(refs)), int64(le.Uint32(refs[4:]))
		if size == 0 || at%sectorSize != 0 || size%sectorSize != 0 || at+size > bins || size > int64(len(data)) {
			return l.fail("a page of %d bytes at %#x, of a hive of %d", size, at, bins)
		}
		if err := r.add(at, data[:size]); err != nil {
			return err
		}
		data = data[size:]
	}
	return nil
}

// marvin returns the Marvin32 hash of bytes whose number is a multiple of four.
func marvin(seed uint64, b []byte) uint64 {
	lo, hi := uint32(seed), uint32(seed>>32)
	mix := func(v uint32) {
		lo += v
		hi ^= lo
		lo = bits.RotateLeft32(lo, 20) + hi
		hi = bits.RotateLeft32(hi, 9) ^ lo
		lo = bits.RotateLeft32(lo, 27) + hi
		hi = bits.RotateLeft32(hi, 19)
	}
	for ; len(b) >= 4; b = b[4:] {
		mix(binary.LittleEndian.Uint32(b))
	}
	mix(0x80)
	mix(0)
	return uint64(hi)<<32 | uint64(lo)
}
