// SPDX-License-Identifier: Apache-2.0

package pkgdb

import (
	"encoding/binary"
	"hash/adler32"
	"io"
)

// The format of SUSE (rpmpkg.c): slots of 16 bytes in the first pages say where each package's blob is, in blocks of 16
// bytes.
const (
	ndbMagic    = "RpmP"
	ndbSlot     = "Slot"
	ndbBlob     = "BlbS"
	ndbBlobEnd  = "BlbE"
	ndbPage     = 4096
	ndbBlock    = 16
	ndbHeadSize = 32
	ndbTailSize = 12
)

// rpmNDB reads the format of SUSE: every header, because its index has no directories.
func (d *reader) rpmNDB(name string) error {
	b, err := d.openBlobs(name)
	if err != nil {
		return err
	}
	defer b.close()
	head := make([]byte, ndbHeadSize)
	if _, err := b.file.ReadAt(head, 0); err != nil || string(head[:4]) != ndbMagic {
		return b.malformed(0, "not a package database of rpm: %q", head[:4])
	}
	if version := binary.LittleEndian.Uint32(head[4:]); version != 0 {
		return b.malformed(4, "version %d", version)
	}
	pages := int64(binary.LittleEndian.Uint32(head[12:]))
	if pages == 0 || pages*ndbPage > b.file.Size() {
		return b.malformed(12, "%d pages of slots in %d bytes", pages, b.file.Size())
	}
	page := make([]byte, ndbPage)
	for i := range pages {
		if _, err := b.file.ReadAt(page, i*ndbPage); err != nil {
			return err
		}
		from := 0
		if i == 0 {
			from = ndbHeadSize
		}
		for at := from; at < ndbPage; at += ndbBlock {
			if err := b.lost(b.slot(page[at:at+ndbBlock], i*ndbPage+int64(at), pages)); err != nil {
				return err
			}
		}
	}
	again := make([]byte, ndbHeadSize)
	if _, err := b.file.ReadAt(again, 0); err != nil || string(again) != string(head) { // a new generation
		return b.changed()
	}
	return b.done()
}

// slot reads the package of a slot at that offset, if it has one.
func (b *rpmBlobs) slot(slot []byte, at, pages int64) error {
	if string(slot[:4]) != ndbSlot {
		return b.malformed(at, "not a slot: %q", slot[:4])
	}
	index := binary.LittleEndian.Uint32(slot[4:])
	if index == 0 {
		return nil
	}
	from := int64(binary.LittleEndian.Uint32(slot[8:])) * ndbBlock
	size := int64(binary.LittleEndian.Uint32(slot[12:])) * ndbBlock
	if from < pages*ndbPage || size < ndbBlock+ndbTailSize || from+size > b.file.Size() {
		return b.malformed(at, "package %d: %d bytes at %d", index, size, from)
	}
	if err := b.take(size); err != nil {
		return err
	}
	blob := b.blob[:size]
	if _, err := b.file.ReadAt(blob, from); err != nil && err != io.EOF {
		return err
	}
	length := int64(binary.LittleEndian.Uint32(blob[12:]))
	tail := blob[size-ndbTailSize:]
	if string(blob[:4]) != ndbBlob || binary.LittleEndian.Uint32(blob[4:]) != index ||
		string(tail[8:]) != ndbBlobEnd || int64(binary.LittleEndian.Uint32(tail[4:])) != length ||
		size != (ndbBlock+length+ndbTailSize+ndbBlock-1)/ndbBlock*ndbBlock {
		return b.malformed(from, "package %d: not a blob of %d bytes", index, length)
	}
	if adler32.Checksum(blob[:size-ndbTailSize]) != binary.LittleEndian.Uint32(tail) {
		return b.malformed(from, "package %d: the checksum is wrong", index)
	}
	return b.rpmHeader(b.item, b.name, blob[ndbBlock:ndbBlock+length])
}
