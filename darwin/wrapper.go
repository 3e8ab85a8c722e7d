// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/lzfse"
)

// A wrapped file is a kernel collection inside other formats: an Image4 file, Apple's old "comp"
// header, a compression.
type wrapped struct {
	names       []string // from the outside
	compression string   // "" for none
	r           io.ReaderAt
	extent      extent // the payload in r
	item        *fact.Item
	image       *lzfse.Image // r, if the payload was compressed
	checksum    uint32       // Adler-32 of the image; 0 if the format has none
	locked      bool         // an Image4 payload with the keys to decrypt it
}

// compHeader is the size of the header of a compressed kernel.
const compHeader = 0x180

// maxWrappers bounds how deep formats are nested; a real file has three.
const maxWrappers = 5

// unwrap finds the payload of a kernel collection's file, a Mach-O file. What is compressed is unpacked as it is read.
func unwrap(source string, r io.ReaderAt, size int64, architecture string, item *fact.Item) (wrapped, error) {
	w := wrapped{r: r, item: item, extent: extent{0, size}}
	for range maxWrappers {
		head, err := w.read(source, min(w.extent.size, 16))
		if err != nil {
			return w, err
		}
		switch {
		case len(head) < 16:
			return w, machoError(source, "header", w.extent.offset, "%d bytes are not a kernel collection", len(head))
		case isMachO(head) && !isFat(head):
			return w, nil
		case isMachO(head):
			err = w.fat(source, head, architecture)
		case string(head[:4]) == "comp":
			err = w.comp(source)
		case string(head[:3]) == "bvx":
			err = w.unpack(source, lzfse.LZFSE, 0)
		case head[0] == 0x30:
			err = w.image4(source)
		case w.locked:
			err = fmt.Errorf("%s: its payload is encrypted: %w", source, errors.ErrUnsupported)
		default:
			err = machoError(source, "header", w.extent.offset, "magic %x is not a kernel collection", head[:4])
		}
		if err != nil {
			return w, err
		}
	}
	return w, machoError(source, "header", w.extent.offset, "more than %d formats around it", maxWrappers)
}

// read returns the first n bytes of the payload.
func (w *wrapped) read(source string, n int64) ([]byte, error) {
	return readAt(source, w.r, w.extent.offset+w.extent.size, w.extent.offset, n)
}

// unpack enters a compressed payload. plain is the size that it unpacks to; LZFSE says it itself.
func (w *wrapped) unpack(source string, kind lzfse.Kind, plain int64) error {
	if w.image != nil {
		return machoError(source, string(kind), w.extent.offset, "it is compressed twice")
	}
	w.compression = string(kind)
	m, err := lzfse.Open(kind, io.NewSectionReader(w.r, w.extent.offset, w.extent.size), w.extent.size, plain,
		w.item)
	if err != nil {
		return fmt.Errorf("%s: %s: %w", source, kind, err)
	}
	w.image, w.r, w.extent = m, m, extent{0, m.Size()}
	return nil
}

// verify compares a compressed payload with its checksum, if the format has one. It unpacks all of it.
func (w *wrapped) verify(source string) error {
	if w.image == nil || w.checksum == 0 {
		return nil
	}
	sum, err := w.image.Adler32()
	if err != nil {
		return fmt.Errorf("%s: %s: %w", source, w.compression, err)
	}
	if sum != w.checksum {
		return machoError(source, "comp", 8, "the checksum is %08x, not %08x", sum, w.checksum)
	}
	return nil
}

// fat enters the slice of the architecture, or the first.
func (w *wrapped) fat(source string, head []byte, architecture string) error {
	w.names = append(w.names, "fat")
	all, err := fatEntries(source, io.NewSectionReader(w.r, w.extent.offset, w.extent.size), w.extent.size, head)
	if err != nil {
		return err
	}
	e := all[0]
	for _, other := range all {
		if baseArch(other.architecture) == baseArch(architecture) {
			e = other
			break
		}
	}
	w.extent = extent{w.extent.offset + e.extent.offset, e.extent.size}
	return e.err
}

// comp reads the header of an old compressed kernel, and enters the payload: all numbers are big-endian.
func (w *wrapped) comp(source string) error {
	w.names = append(w.names, "comp")
	h, err := w.read(source, compHeader)
	if err != nil {
		return err
	}
	kind := lzfse.Kind(h[4:8])
	plain, packed := int64(be32(h, 12)), int64(be32(h, 16))
	if packed > w.extent.size-compHeader {
		return machoError(source, "comp", w.extent.offset, "%d compressed bytes in %d", packed, w.extent.size)
	}
	if kind != lzfse.LZSS && kind != lzfse.LZVN {
		return machoError(source, "comp", w.extent.offset, "compression %q of %d bytes", string(kind), plain)
	}
	w.checksum = be32(h, 8)
	w.extent = extent{w.extent.offset + compHeader, packed}
	return w.unpack(source, kind, plain)
}

// image4 enters the payload of an Image4 file: IMG4 holds IM4P, which holds its type, a
// description, the payload, and the keys of an encrypted one.
func (w *wrapped) image4(source string) error {
	end := w.extent.offset + w.extent.size
	d := der{source: source, r: w.r, size: end, at: w.extent.offset, end: end}
	if err := d.enter(derSequence); err != nil {
		return err
	}
	magic, err := d.text()
	if err != nil {
		return err
	}
	if magic == "IMG4" {
		w.names = append(w.names, "img4")
		if err := d.enter(derSequence); err != nil {
			return err
		}
		if magic, err = d.text(); err != nil {
			return err
		}
	}
	if magic != "IM4P" {
		return machoError(source, "image4", w.extent.offset, "%q is not a payload", magic)
	}
	w.names = append(w.names, "im4p")
	kind, err := d.text()
	if err != nil {
		return err
	}
	if _, err := d.text(); err != nil { // the description
		return err
	}
	outer := d
	if err := d.enter(derOctets); err != nil {
		return err
	}
	outer.at = d.end
	_, err = outer.header(derOctets)
	w.locked = err == nil
	if d.end == d.at {
		return machoError(source, "image4", d.at, "payload %q is empty", kind)
	}
	w.extent = extent{d.at, d.end - d.at}
	return nil
}

// DER tags.
const (
	derOctets   = 0x04
	derIA5      = 0x16
	derSequence = 0x30
)

// A der reads DER from a file without reading values whole.
type der struct {
	source  string
	r       io.ReaderAt
	size    int64
	at, end int64
}

// header reads a tag and a definite length; at is then the value's start.
func (d *der) header(tag byte) (length int64, err error) {
	h, err := readAt(d.source, d.r, d.size, d.at, min(d.end-d.at, 10))
	if err != nil {
		return 0, err
	}
	if len(h) < 2 || h[0] != tag {
		return 0, machoError(d.source, "image4", d.at, "expected tag 0x%02x", tag)
	}
	n := int(h[1])
	d.at += 2
	if n >= 0x80 {
		digits := n & 0x7f
		if digits == 0 || digits > 7 || len(h) < 2+digits {
			return 0, machoError(d.source, "image4", d.at, "length of %d bytes", digits)
		}
		var wide [8]byte
		copy(wide[8-digits:], h[2:2+digits])
		length = int64(binary.BigEndian.Uint64(wide[:]))
		d.at += int64(digits)
	} else {
		length = int64(n)
	}
	if length > d.end-d.at {
		return 0, machoError(d.source, "image4", d.at, "value of %d bytes in %d", length, d.end-d.at)
	}
	return length, nil
}

// enter goes into a value: reading goes on with what is inside.
func (d *der) enter(tag byte) error {
	n, err := d.header(tag)
	d.end = d.at + n
	return err
}

// text reads a short IA5 string.
func (d *der) text() (string, error) {
	n, err := d.header(derIA5)
	if err != nil {
		return "", err
	}
	if n > 1024 {
		return "", &fact.ParseError{Source: d.source, Field: "image4",
			Reason: "a text of more than 1024 bytes", Err: fact.ErrTooLarge}
	}
	b, err := readAt(d.source, d.r, d.size, d.at, n)
	d.at += n
	return string(b), err
}
