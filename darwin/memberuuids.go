// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"cmp"
	"maps"
	"slices"
)

// memberUUIDs reads the headers of members that have no entry of a fileset, as in prelinked kernels: their code lies
// in a segment, at the address that the property list names. A member whose address is in no segment of the file has
// no UUID.
func (r *collectionReading) memberUUIDs() {
	offsets := make(map[int]int64, len(r.codes))
	for i, address := range r.codes {
		if at, ok := r.slice.fileOffset(address); ok {
			offsets[i] = at
		}
	}
	last := int64(-1) // the offset of the header that s and err are of
	var s Slice
	var err error
	for _, i := range slices.SortedFunc(maps.Keys(offsets), func(a, b int) int {
		return cmp.Or(cmp.Compare(offsets[a], offsets[b]), cmp.Compare(a, b))
	}) {
		m, at := &r.c.Members[i], offsets[i]
		if at != last { // several members may be one image
			s, err = readSlice(r.name, r.in, r.slice.offset+at, r.slice.size-at, r.item)
			last = at
		}
		if err != nil {
			r.lose(m.Identifier, "uuid", err)
			continue
		}
		m.UUID, m.SourceVersion = cmp.Or(s.UUID, m.UUID), s.SourceVersion
	}
}

// fileOffset returns where the code at an address is in the file.
func (s *Slice) fileOffset(address uint64) (int64, bool) {
	for _, seg := range s.segments {
		if address < seg.address || seg.name == "__PRELINK_INFO" {
			continue
		}
		if at := address - seg.address; at < uint64(max(seg.extent.size, 0)) {
			offset := seg.extent.offset + int64(at)
			return offset, offset >= 0 && offset < s.size
		}
	}
	return 0, false
}
