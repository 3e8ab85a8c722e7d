// SPDX-License-Identifier: Apache-2.0

package ko

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/xz"
)

// The containers that a module file comes in; Linux calls them compression.
const (
	CompressionNone = "none"
	CompressionGzip = "gzip"
	CompressionXZ   = "xz"
	CompressionZstd = "zstd"
)

// The most memory that a container may ask for as its window: 128 MiB is what the kernel's zstd takes at most, 64 MiB
// what xz -9 needs.
const (
	maxWindow   = 128 << 20
	maxXZWindow = 64 << 20
)

// maxReused is how many bytes of memory a Reader keeps for the next file: most modules are smaller.
const maxReused = 1 << 20

// CompressionOf detects a file's container by its first bytes, whatever its name says.
func CompressionOf(head []byte) string {
	switch {
	case bytes.HasPrefix(head, []byte("\x1f\x8b")):
		return CompressionGzip
	case bytes.HasPrefix(head, []byte("\xfd7zXZ\x00")):
		return CompressionXZ
	case bytes.HasPrefix(head, []byte("\x28\xb5\x2f\xfd")):
		return CompressionZstd
	}
	return CompressionNone
}

// An expander decompresses one file after another and keeps the decoders' memory between them. It
// is not for concurrent use.
type expander struct {
	gz  *gzip.Reader
	xz  xz.Reader
	zst *zstd.Decoder

	compression string
	data        []byte // the current file
	src         bytes.Reader
	from        io.Reader // the decoder in use
	path        string
	out         []byte // what was decoded of the current file, from off on
	off         int64
	max         int64
	done        bool
	item        *fact.Item // pays for what is decoded
}

// open starts on a file's compressed bytes; at most max bytes will be decoded, and no more than the item allows: a
// module is at most some ten times as long as its file.
func (x *expander) open(compression string, data []byte, path string, max int64, item *fact.Item) error {
	x.compression, x.data, x.path, x.max, x.item = compression, data, path, max, item
	if item != nil {
		x.max = min(max, item.MaxMemory())
	}
	_ = item.Hold(int64(cap(x.out))) // of the file before; one of no more than the limit
	return x.start()
}

// start begins to decode the file, or begins again.
func (x *expander) start() (err error) {
	x.src.Reset(x.data)
	x.out, x.off, x.done = x.out[:0], 0, false
	switch x.compression {
	case CompressionGzip:
		if x.gz == nil {
			x.gz, err = gzip.NewReader(&x.src)
		} else {
			err = x.gz.Reset(&x.src)
		}
		x.from = gzipMembers{x}
	case CompressionXZ:
		x.xz.Reset(x.data, maxXZWindow)
		x.from = &x.xz
	case CompressionZstd:
		if x.zst == nil {
			x.zst, err = newZstd(&x.src)
		} else {
			err = x.zst.Reset(&x.src)
		}
		x.from = x.zst
	default:
		return fmt.Errorf("compression %q: %w", x.compression, errors.ErrUnsupported)
	}
	if err != nil {
		return x.fail(err)
	}
	return nil
}

// gzipMembers reads the members of a gzip file. Like zlib's gzread and the kernel, it ignores other bytes after the
// last member.
type gzipMembers struct{ x *expander }

func (g gzipMembers) Read(b []byte) (int, error) {
	g.x.gz.Multistream(false)
	n, err := g.x.gz.Read(b)
	if err != io.EOF {
		return n, err
	}
	rest := make([]byte, 2)
	if got, _ := g.x.src.ReadAt(rest, g.x.src.Size()-int64(g.x.src.Len())); got < 2 ||
		CompressionOf(rest) != CompressionGzip {
		return n, io.EOF
	}
	return n, g.x.gz.Reset(&g.x.src)
}

// more decodes about n more bytes, fewer at the end, where done becomes true.
func (x *expander) more(n int) error {
	if x.done {
		return nil
	}
	n = int(min(int64(n), x.max+1-x.decoded()))
	if err := x.reserve(n); err != nil {
		return err
	}
	end := len(x.out) + n
	for len(x.out) < end {
		got, err := x.from.Read(x.out[len(x.out):end])
		x.out = x.out[:len(x.out)+got]
		if x.decoded() > x.max {
			x.out = x.out[:x.max-x.off]
			return &fact.ParseError{Source: x.path, Field: "compression",
				Reason: fmt.Sprintf("decompresses to more than %d bytes", x.max), Err: fact.ErrTooLarge}
		}
		if err == io.EOF {
			x.done = true
			return nil
		}
		if err != nil {
			return x.fail(err)
		}
	}
	return nil
}

// decoded returns how many bytes of the file were decoded.
func (x *expander) decoded() int64 { return x.off + int64(len(x.out)) }

// drop forgets the first n bytes of what was decoded.
func (x *expander) drop(n int) {
	x.out = x.out[:copy(x.out, x.out[n:])]
	x.off += int64(n)
}

// all decodes the rest.
func (x *expander) all() error {
	for step := 256 << 10; !x.done; step = min(step*2, 16<<20) {
		if err := x.more(step); err != nil {
			return err
		}
	}
	return nil
}

// reserve makes room for n more bytes.
func (x *expander) reserve(n int) error {
	if err := x.item.Work(int64(n)); err != nil {
		return x.refused(err)
	}
	if cap(x.out)-len(x.out) >= n {
		return nil
	}
	size := max(len(x.out)+n, int(min(int64(cap(x.out)+cap(x.out)/2), x.max+1)))
	if err := x.item.Hold(int64(size - cap(x.out))); err != nil {
		return x.refused(err)
	}
	bigger := make([]byte, len(x.out), size)
	copy(bigger, x.out)
	x.out = bigger
	return nil
}

// refused makes the error for a file that is too much.
func (x *expander) refused(err error) error {
	return &fact.ParseError{Source: x.path, Field: "compression", Reason: err.Error(), Err: err}
}

// Decompress returns a reader of what is in a container of the kind xz, zstd or gzip that is in memory; at
// most max bytes come of an xz. path is for errors.
func Decompress(compression string, data []byte, path string, max int64) (io.Reader, error) {
	x := new(expander)
	if err := x.open(compression, data, path, max, nil); err != nil {
		return nil, err
	}
	return x.from, nil
}

// DecompressStream returns a reader of what is in a zstd or gzip stream, of which it reads one frame or member. path is
// for errors. The zstd decoder keeps as much history as the stream asks for, at most 128 MiB.
func DecompressStream(compression string, in io.Reader, path string) (io.Reader, error) {
	var out io.Reader
	var err error
	switch compression {
	case CompressionGzip:
		var z *gzip.Reader
		if z, err = gzip.NewReader(in); err == nil {
			z.Multistream(false)
			out = z
		}
	case CompressionZstd:
		out, err = newZstd(in)
	default:
		return nil, fmt.Errorf("compression %q: %w", compression, errors.ErrUnsupported)
	}
	if err != nil {
		return nil, CompressionError(err, path, 0)
	}
	return out, nil
}

// newZstd returns a zstd decoder that works in the caller's goroutine.
func newZstd(in io.Reader) (*zstd.Decoder, error) {
	return zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow),
		zstd.WithDecoderLowmem(true))
}

// fail makes the error for a container that is invalid.
func (x *expander) fail(err error) error { return CompressionError(err, x.path, x.decoded()) }

// CompressionError returns the error for a container that is invalid, found at an offset of what is
// in it; errors of the file below pass.
func CompressionError(err error, path string, offset int64) error {
	var pe *fact.ParseError
	if errors.As(err, &pe) || fact.CodeOf(err) != fact.CodeOther {
		return err
	}
	kind := error(nil)
	if errors.Is(err, xz.ErrMemory) || errors.Is(err, zstd.ErrWindowSizeExceeded) ||
		errors.Is(err, zstd.ErrDecoderSizeExceeded) {
		kind = fact.ErrTooLarge
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || err == io.EOF {
		err = errors.New("the compressed data end early")
	}
	return &fact.ParseError{Source: path, Field: "compression", Offset: offset, Reason: err.Error(), Err: kind}
}

// close gives back what a decoder keeps of its input.
func (x *expander) close() {
	if cap(x.out) > maxReused {
		x.out = nil
	}
	x.from, x.data = nil, nil
	x.item.Done()
	x.item = nil
}
