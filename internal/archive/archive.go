// SPDX-License-Identifier: Apache-2.0

// Package archive walks through tar and zip files, compressed or not, as a stream: nothing is written to a disk, no
// link is followed, and what is decompressed is bounded by what was read.
package archive

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/internal/xz"
)

// Limits: the entries of an archive, the bytes of a name, the memory for an archive that is not a file (a zip, or one
// packed with xz), and what decompressing may give: a base, and so many times what was read.
const (
	maxEntries = 400_000
	maxName    = 4096
	maxMemory  = 128 << 20
	basePlain  = 32 << 20
	maxRatio   = 64
	maxWindow  = 64 << 20
)

// An Entry is one file of an archive.
type Entry struct {
	// Name is the file's path below the top, without empty parts, "." and "..".
	Name string
	// Size is how long the archive says that it is, in bytes.
	Size int64
	// Link is set for a symbolic or a hard link, which has no content.
	Link bool
}

// Skipped is what a walk left out.
type Skipped struct {
	// Names counts entries whose names are invalid or lead out of the archive.
	Names int
	// Special counts devices, pipes and their like.
	Special int
}

var (
	magicGzip  = []byte{0x1f, 0x8b}
	magicBzip2 = []byte("BZh")
	magicXZ    = []byte{0xfd, '7', 'z', 'X', 'Z', 0}
	magicZstd  = []byte{0x28, 0xb5, 0x2f, 0xfd}
	magicZip   = []byte("PK\x03\x04")
	magicEmpty = []byte("PK\x05\x06")
	magicTar   = []byte("ustar")
)

// Head is how much of a file Is looks at, in bytes.
const Head = 512

// Is reports whether a file with that beginning is an archive, or compressed as archives are.
func Is(head []byte) bool {
	for _, m := range [][]byte{magicGzip, magicXZ, magicZstd, magicZip, magicEmpty} {
		if bytes.HasPrefix(head, m) {
			return true
		}
	}
	if bytes.HasPrefix(head, magicBzip2) && len(head) > 10 && bytes.Equal(head[4:7], []byte{0x31, 0x41, 0x59}) {
		return true
	}
	return len(head) >= 263 && bytes.Equal(head[257:262], magicTar)
}

// Walk gives each file of an archive to visit, which reads as much of it as it wants. An error of visit ends the walk.
// The error is that of reading, fact.ErrTooLarge for one that decompresses to more than is allowed, and
// errors.ErrUnsupported for a file that is not an archive.
func Walk(r io.Reader, visit func(e Entry, r io.Reader) error) (Skipped, error) {
	w := walk{visit: visit}
	head := make([]byte, Head)
	n, err := io.ReadFull(r, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return w.skipped, err
	}
	head = head[:n]
	if bytes.HasPrefix(head, magicZip) || bytes.HasPrefix(head, magicEmpty) {
		return w.skipped, w.zip(r, head, &w.skipped)
	}
	packed := &counter{r: io.MultiReader(bytes.NewReader(head), r)}
	plain, done, err := unpack(packed, head)
	if err != nil {
		return w.skipped, err
	}
	defer done()
	b := &bounded{r: plain, packed: packed}
	if err := w.tar(b); err != nil {
		return w.skipped, err
	}
	_, err = io.Copy(io.Discard, b) // what is packed has its checksum at its end
	return w.skipped, err
}

// unpack returns the content of a compressed stream; one that is not compressed as it is.
func unpack(r *counter, head []byte) (plain io.Reader, done func(), err error) {
	done = func() {}
	switch {
	case bytes.HasPrefix(head, magicGzip):
		plain, err = gzip.NewReader(r)
	case bytes.HasPrefix(head, magicBzip2):
		plain = bzip2.NewReader(r)
	case bytes.HasPrefix(head, magicZstd):
		var z *zstd.Decoder
		z, err = zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow),
			zstd.WithDecoderMaxMemory(maxWindow))
		if err == nil {
			plain, done = z, z.Close
		}
	case bytes.HasPrefix(head, magicXZ):
		var data []byte
		if data, err = limit.AppendAll(r, nil, "archive", maxMemory); err == nil {
			x := new(xz.Reader)
			x.Reset(data, maxWindow)
			plain = x
		}
	default:
		plain = r
	}
	return plain, done, err
}

// A counter counts what is read of the packed stream.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// A bounded reader ends what decompresses to more than is allowed.
type bounded struct {
	r      io.Reader
	packed *counter
	n      int64
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	b.n += int64(n)
	if err == nil && b.n > basePlain+maxRatio*b.packed.n {
		return n, fmt.Errorf("%w: it decompresses to more than %d times its size", fact.ErrTooLarge, maxRatio)
	}
	return n, err
}

type walk struct {
	visit   func(e Entry, r io.Reader) error
	skipped Skipped
	entries int
}

func errEntries() error { return fmt.Errorf("%w: more than %d files", fact.ErrTooLarge, maxEntries) }

func (w *walk) tar(r io.Reader) error {
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		switch {
		case errors.Is(err, io.EOF) && w.entries > 0:
			return nil
		case errors.Is(err, io.EOF), errors.Is(err, tar.ErrHeader) && w.entries == 0:
			return fmt.Errorf("no archive of files: %w", errors.ErrUnsupported)
		case err != nil && h == nil:
			return err
		}
		if w.entries++; w.entries > maxEntries {
			return errEntries()
		}
		if err := w.tarEntry(t, h); err != nil {
			return err
		}
	}
}

func (w *walk) tarEntry(t *tar.Reader, h *tar.Header) error {
	switch h.Typeflag {
	case tar.TypeDir, tar.TypeXGlobalHeader:
		return nil
	case tar.TypeReg, tar.TypeGNUSparse, tar.TypeLink, tar.TypeSymlink:
	default:
		w.skipped.Special++
		return nil
	}
	name, ok := cleanName(h.Name)
	if !ok {
		w.skipped.Names++
		return nil
	}
	return w.visit(Entry{Name: name, Size: h.Size, Link: h.Typeflag == tar.TypeLink || h.Typeflag == tar.TypeSymlink},
		t)
}

// zip reads a zip file: of a file by itself, else of a copy in memory.
func (w *walk) zip(r io.Reader, head []byte, skipped *Skipped) error {
	at, size, err := readerAt(r, head)
	if err != nil {
		return err
	}
	z, err := zip.NewReader(at, size)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return err
	}
	total := int64(0)
	for _, f := range z.File {
		if w.entries++; w.entries > maxEntries {
			return errEntries()
		}
		mode := f.Mode()
		name, ok := cleanName(strings.ReplaceAll(f.Name, `\`, "/"))
		switch {
		case mode.IsDir():
			continue
		case !ok:
			skipped.Names++
			continue
		case !mode.IsRegular() && mode.Type() != 1<<27: // fs.ModeSymlink
			skipped.Special++
			continue
		}
		b := &bounded{packed: &counter{n: size}, n: total}
		if err := w.zipEntry(f, b, Entry{Name: name, Size: int64(f.UncompressedSize64),
			Link: !mode.IsRegular()}); err != nil {
			return err
		}
		total = b.n
	}
	return nil
}

func (w *walk) zipEntry(f *zip.File, b *bounded, e Entry) error {
	if e.Link {
		return w.visit(e, bytes.NewReader(nil))
	}
	r, err := f.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	b.r = r
	return w.visit(e, b)
}

// readerAt returns random access to what r reads, whose first bytes are head.
func readerAt(r io.Reader, head []byte) (io.ReaderAt, int64, error) {
	type file interface {
		io.ReaderAt
		io.Seeker
	}
	if f, ok := r.(file); ok {
		if size, err := f.Seek(0, io.SeekEnd); err == nil {
			return f, size, nil
		}
	}
	data, err := limit.AppendAll(r, bytes.Clone(head), "archive", maxMemory)
	if err != nil {
		return nil, 0, err
	}
	return bytes.NewReader(data), int64(len(data)), nil
}

// cleanName returns a name as a path below the top; false for one that leads out of it.
func cleanName(name string) (string, bool) {
	if len(name) > maxName || strings.ContainsRune(name, 0) {
		return "", false
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", false
		}
	}
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	return name, name != ""
}
