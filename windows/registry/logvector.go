// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"encoding/binary"
	"math/bits"
)

// vector reads the changes of logs of the old form, of which the one that was written last counts, and LOG1 if both
// were at once. It is a log of this hive's state if both were written at the same time; the first bin has the time of a
// hive whose base block is damaged.
func (r *replay) vector(logs []*logFile) error {
	l := logs[0]
	if len(logs) > 1 && logs[1].written() > l.written() {
		l = logs[1]
	}
	at := 12
	if !r.block {
		at = hiveBins + 20
	}
	if binary.LittleEndian.Uint64(r.hive[at:]) != l.written() {
		return l.fail("it was not written with the hive")
	}
	if err := r.fits(l); err != nil {
		return err
	}
	r.from, r.size, r.last = l, l.size(), l.sequence()
	return r.vectorPages(l)
}

// vectorPages adds the pages of a log, one of a sector for each bit of its bitmap.
func (r *replay) vectorPages(l *logFile) error {
	const mark = "DIRT"
	bitmap := l.b[sectorSize:]
	n := int(r.size / binSize) // a byte for eight sectors
	if len(bitmap) < len(mark)+n || string(bitmap[:len(mark)]) != mark {
		return l.fail("it has no bitmap of pages")
	}
	data := bitmap[min((len(mark)+n+sectorSize-1)/sectorSize*sectorSize, len(bitmap)):]
	if err := r.item.Work(int64(n)); err != nil {
		return err
	}
	for i, set := range bitmap[len(mark) : len(mark)+n] {
		for ; set != 0; set &= set - 1 {
			if len(data) < sectorSize {
				return l.fail("it lacks pages")
			}
			at := int64(i)*binSize + int64(bits.TrailingZeros8(set))*sectorSize
			if err := r.add(at, data[:sectorSize]); err != nil {
				return err
			}
			data = data[sectorSize:]
		}
	}
	if len(r.pages) == 0 {
		return l.fail("it holds no page")
	}
	return nil
}
