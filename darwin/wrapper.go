// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/kernelext/kernelext/fact"
)

// A wrapped file is a kernel collection inside other formats: an Image4 file, Apple's old "comp"
// header.
type wrapped struct {
	names       []string // from the outside
	compression string   // "" for none
	extent      extent   // the payload
}

// compHeader is the size of the header of a compressed kernel.
const compHeader = 0x180

// maxWrappers bounds how deep formats are nested; a real file has two.
const maxWrappers = 4

// unwrap finds the payload of a kernel collection's file. A compressed payload is
// errors.ErrUnsupported, naming the compression; the wrapped value is filled all the same.
func unwrap(source string, r io.ReaderAt, size int64, architecture string) (wrapped, error) {
	w := wrapped{extent: extent{0, size}}
	for range maxWrappers {
		head, err := readAt(source, r, size, w.extent.offset, min(w.extent.size, 16))
		if err != nil {
			return w, err
		}
		switch {
		case len(head) < 16:
			return w, machoError(source, "header", w.extent.offset, "%d bytes are no kernel collection", len(head))
		case isMachO(head) && isFat(head):
			if err := w.fat(source, r, head, architecture); err != nil {
				return w, err
			}
		case isMachO(head):
			return w, nil
		case string(head[:4]) == "comp":
			return w, w.comp(source, r, size)
		case string(head[:3]) == "bvx":
			w.compression = "lzfse"
			return w, compressed(source, w.compression)
		case head[0] == 0x30:
			if err := w.image4(source, r, size); err != nil {
				return w, err
			}
		default:
			return w, machoError(source, "header", w.extent.offset, "magic %x is no kernel collection", head[:4])
		}
	}
	return w, machoError(source, "header", w.extent.offset, "more than %d formats around it", maxWrappers)
}

// fat enters the slice of the architecture, or the first.
func (w *wrapped) fat(source string, r io.ReaderAt, head []byte, architecture string) error {
	w.names = append(w.names, "fat")
	all, err := fatEntries(source, io.NewSectionReader(r, w.extent.offset, w.extent.size), w.extent.size, head)
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

// compressed is the error for a payload that this library does not unpack.
func compressed(source, name string) error {
	return fmt.Errorf("%s: %s-compressed payload is not read by this version; unpack it first (kmutil emit-macho): %w",
		source, name, errors.ErrUnsupported)
}

// comp reads the header of an old compressed kernel: all numbers are big-endian.
func (w *wrapped) comp(source string, r io.ReaderAt, size int64) error {
	w.names = append(w.names, "comp")
	h, err := readAt(source, r, size, w.extent.offset, compHeader)
	if err != nil {
		return err
	}
	kind := string(h[4:8])
	plain, packed := int64(be32(h, 12)), int64(be32(h, 16))
	if packed > w.extent.size-compHeader {
		return machoError(source, "comp", w.extent.offset, "%d compressed bytes in %d", packed, w.extent.size)
	}
	switch kind {
	case "lzss", "lzvn":
		w.compression = kind
		return compressed(source, kind)
	}
	return machoError(source, "comp", w.extent.offset, "compression %q of %d bytes", kind, plain)
}

// image4 enters the payload of an Image4 file: IMG4 holds IM4P, which holds its type, a
// description, and the payload.
func (w *wrapped) image4(source string, r io.ReaderAt, size int64) error {
	d := der{source: source, r: r, size: size, at: w.extent.offset, end: w.extent.offset + w.extent.size}
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
		return machoError(source, "image4", w.extent.offset, "%q is no payload", magic)
	}
	w.names = append(w.names, "im4p")
	kind, err := d.text()
	if err != nil {
		return err
	}
	if _, err := d.text(); err != nil { // the description
		return err
	}
	if err := d.enter(derOctets); err != nil {
		return err
	}
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
