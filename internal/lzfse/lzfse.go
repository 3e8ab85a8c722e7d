// SPDX-License-Identifier: Apache-2.0

// Package lzfse unpacks the three compressions that Apple wraps kernels and kernel collections in: LZFSE, LZVN and
// LZSS.
//
// The formats are from Apple's published sources (lzfse, kext_tools). Input is hostile: nothing is allocated by a
// number in the stream alone, every block is bounded, and a plain image of any size needs some 4 MB, for it is
// unpacked as it is read.
package lzfse

import (
	"errors"
	"fmt"
	"hash/adler32"
	"io"

	"github.com/kernelext/kernelext/fact"
)

// A Kind is a compression.
type Kind string

// The compressions.
const (
	LZFSE Kind = "lzfse" // blocks with a magic, to "bvx$"
	LZVN  Kind = "lzvn"  // opcodes without any header
	LZSS  Kind = "lzss"  // Okumura's, with a ring of 4096 bytes
)

const (
	// MaxSize is how large a plain image may be.
	MaxSize = 1 << 30
	// maxRewinds is how often unpacking begins anew for a read behind what is kept.
	maxRewinds = 4
	// bytesPerStep is how many bytes are unpacked in a step of the budget: what expands most is copied, not looked at.
	bytesPerStep = 8
)

// An Image is the plain image of a compressed payload. It unpacks as it is read: reads at ascending offsets cost one
// pass, a read more than 256 KiB behind the last costs another. It is not safe for concurrent use.
type Image struct {
	kind    Kind
	src     io.ReaderAt
	packed  int64
	size    int64
	out     window
	decoder decoder
	err     error // why nothing more can be unpacked; io.EOF at the end
	rewinds int
	sum     adler // of the first pass
	item    *fact.Item
}

// A decoder unpacks some more bytes into the window. It returns io.EOF at the end.
type decoder interface{ step(out *window) error }

// Open returns the image of a payload of packed bytes. size is that of the plain image, which LZVN and LZSS streams do
// not say; for LZFSE it is taken from the blocks. Unpacking takes what item allows.
func Open(kind Kind, src io.ReaderAt, packed, size int64, item *fact.Item) (*Image, error) {
	if kind == LZFSE {
		var err error
		if size, err = lzfseSize(src, packed); err != nil {
			return nil, err
		}
	}
	if size < 0 || size > MaxSize {
		return nil, fmt.Errorf("%w: a plain image of %d bytes, more than %d", fact.ErrTooLarge, size, MaxSize)
	}
	m := &Image{kind: kind, src: src, packed: packed, size: size, item: item}
	return m, m.restart()
}

// Size is the size of the plain image.
func (m *Image) Size() int64 { return m.size }

// restart begins at the image's start.
func (m *Image) restart() error {
	in := &input{r: io.NewSectionReader(m.src, 0, m.packed), size: int(min(m.packed, inputSize))}
	m.out.reset(m.size)
	m.err = nil
	switch m.kind {
	case LZFSE:
		m.decoder = &blocks{in: in}
	case LZVN:
		m.decoder = &lzvnStream{in: in, size: m.size}
	case LZSS:
		m.decoder = newLZSS(in, m.size)
	default:
		return fmt.Errorf("compression %q: %w", m.kind, errors.ErrUnsupported)
	}
	return nil
}

// more unpacks some more.
func (m *Image) more() {
	m.out.slide()
	from := len(m.out.buf)
	if m.err = m.decoder.step(&m.out); m.err == io.EOF && m.out.total() != m.size {
		m.err = malformed("%d bytes instead of %d", m.out.total(), m.size)
	}
	if err := m.item.Work(int64(len(m.out.buf)-from) / bytesPerStep); err != nil && m.err == nil {
		m.err = err
	}
	if m.rewinds == 0 {
		m.sum.add(m.out.buf[from:])
	}
}

// ReadAt reads the plain image.
func (m *Image) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, malformed("offset %d", off)
	}
	if off < m.out.gone {
		if m.rewinds++; m.rewinds > maxRewinds {
			return 0, malformed("its parts are in no order: more than %d passes", maxRewinds)
		}
		if err := m.restart(); err != nil {
			return 0, err
		}
	}
	done := 0
	for done < len(p) {
		if n := m.out.copyAt(p[done:], off+int64(done)); n > 0 {
			done += n
			continue
		}
		if m.err != nil {
			return done, m.err
		}
		m.more()
	}
	return done, nil
}

// Adler32 returns the checksum of the plain image, which it unpacks to its end.
func (m *Image) Adler32() (uint32, error) {
	if m.rewinds > 0 { // the sum of the first pass is not whole
		m.rewinds, m.sum = 0, adler{}
		if err := m.restart(); err != nil {
			return 0, err
		}
	}
	for m.err == nil {
		m.more()
	}
	if m.err != io.EOF {
		return 0, m.err
	}
	return m.sum.value(), nil
}

// An adler is a running Adler-32 checksum.
type adler struct{ h interface{ Sum32() uint32 } }

func (a *adler) add(b []byte) {
	if a.h == nil {
		a.h = adler32.New()
	}
	a.h.(io.Writer).Write(b) // a hash never fails
}

func (a *adler) value() uint32 {
	a.add(nil)
	return a.h.Sum32()
}

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", fact.ErrMalformed, fmt.Sprintf(format, args...))
}
