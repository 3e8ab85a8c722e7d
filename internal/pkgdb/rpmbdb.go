// SPDX-License-Identifier: Apache-2.0

package pkgdb

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The hash format of BerkeleyDB (db_page.h): keys and values alternate on pages, and a long value is a chain of pages.
const (
	bdbMagic        = 0x061561
	bdbHeadSize     = 26
	bdbMetaPage     = 8
	bdbHashUnsorted = 2
	bdbHash         = 13
	bdbOverflow     = 7
	bdbInline       = 1 // the value is on the page
	bdbOffPage      = 3 // it is a chain of pages
	bdbMaxPage      = 64 << 10
)

// A bdb is a database that is being read.
type bdb struct {
	*rpmBlobs
	order binary.ByteOrder
	size  int    // of a page
	last  uint32 // the number of the last page
	page  []byte
	more  []byte
}

// rpmBDB reads the format before rpm 4.16: every header, because the indexes are files of their own.
func (d *reader) rpmBDB(name string) error {
	blobs, err := d.openBlobs(name)
	if err != nil {
		return err
	}
	defer blobs.close()
	b := &bdb{rpmBlobs: blobs}
	if err := b.meta(); err != nil {
		return err
	}
	for number := uint32(1); number <= b.last; number++ {
		err := b.read(number, b.page)
		if kind := b.page[25]; err == nil && (kind == bdbHash || kind == bdbHashUnsorted) {
			err = b.values(number)
		}
		if err = b.lost(cmp.Or(err, b.ctx.Err())); err != nil {
			return err
		}
		if err := b.item.Work(int64(b.size) / 16); err != nil {
			return err
		}
	}
	return b.done()
}

// meta reads the first page.
func (b *bdb) meta() error {
	head := make([]byte, 72)
	if _, err := b.file.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	b.order = binary.LittleEndian
	if binary.BigEndian.Uint32(head[12:]) == bdbMagic {
		b.order = binary.BigEndian
	}
	if b.order.Uint32(head[12:]) != bdbMagic || head[25] != bdbMetaPage {
		return b.malformed(12, "not a hash database of BerkeleyDB")
	}
	version, encrypted, flags := b.order.Uint32(head[16:]), head[24], head[26]
	if version < 8 || version > 10 || encrypted != 0 || flags&1 != 0 {
		return fmt.Errorf("%s: BerkeleyDB hash version %d, encryption %d, flags %d: %w", b.name, version, encrypted,
			flags, errors.ErrUnsupported)
	}
	size := b.order.Uint32(head[20:])
	if size < 512 || size > bdbMaxPage || size&(size-1) != 0 {
		return b.malformed(20, "page size %d", size)
	}
	b.size, b.last = int(size), b.order.Uint32(head[32:])
	if (int64(b.last)+1)*int64(size) > b.file.Size() {
		return b.malformed(32, "%d pages in %d bytes", b.last, b.file.Size())
	}
	b.page, b.more = make([]byte, size), make([]byte, size)
	return nil
}

// read reads a page.
func (b *bdb) read(number uint32, page []byte) error {
	if number == 0 || number > b.last {
		return b.malformed(0, "page %d of %d", number, b.last)
	}
	at := int64(number) * int64(b.size)
	n, err := b.file.ReadAt(page, at)
	switch {
	case n < len(page) && (err == nil || errors.Is(err, io.EOF)):
		return b.malformed(at, "the file ends within page %d", number)
	case n < len(page):
		return err
	}
	// A page that was never written is empty: it has no number.
	if own := b.order.Uint32(page[8:]); own != number && (own != 0 || page[25] != 0) {
		return b.malformed(at, "page %d says that it is page %d", number, own)
	}
	return nil
}

// values reads the packages on a page: every second entry is a value.
func (b *bdb) values(number uint32) error {
	at := int64(number) * int64(b.size)
	entries := int(b.order.Uint16(b.page[20:]))
	if bdbHeadSize+2*entries > b.size || entries%2 != 0 {
		return b.malformed(at, "%d entries on a page", entries)
	}
	offset := func(i int) int { return int(b.order.Uint16(b.page[bdbHeadSize+2*i:])) }
	for i := 1; i < entries; i += 2 {
		from, end := offset(i), offset(i-1)
		if from < bdbHeadSize+2*entries || from >= end || end > b.size {
			return b.malformed(at, "entry %d from %d to %d", i, from, end)
		}
		var err error
		switch value := b.page[from:end]; {
		case value[0] == bdbInline && len(value) <= 8: // the counter of packages
		case value[0] == bdbInline:
			if err = b.take(int64(len(value))); err == nil {
				err = b.rpmHeader(b.item, b.name, value[1:])
			}
		case value[0] == bdbOffPage && len(value) >= 12:
			err = b.chain(b.order.Uint32(value[4:]), int64(b.order.Uint32(value[8:])))
		default:
			err = b.malformed(at, "a value of %d bytes and of kind %d", len(value), value[0])
		}
		if err = b.lost(err); err != nil {
			return err
		}
	}
	return nil
}

// chain reads a package whose header is in a chain of pages. Each adds bytes, so its size bounds how many are read.
func (b *bdb) chain(next uint32, size int64) error {
	if err := b.take(size); err != nil {
		return err
	}
	blob := b.blob[:0]
	for int64(len(blob)) < size {
		number := next
		if err := b.read(number, b.more); err != nil {
			return err
		}
		n := int(b.order.Uint16(b.more[22:]))
		if b.more[25] != bdbOverflow || n == 0 || n > b.size-bdbHeadSize || int64(len(blob)+n) > size {
			return b.malformed(int64(number)*int64(b.size), "page %d of kind %d with %d bytes in a chain", number,
				b.more[25], n)
		}
		blob, next = append(blob, b.more[bdbHeadSize:bdbHeadSize+n]...), b.order.Uint32(b.more[16:])
	}
	return b.rpmHeader(b.item, b.name, blob)
}
