// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/hostfs"
	"github.com/kernelext/kernelext/internal/sentinel"
	"github.com/kernelext/kernelext/internal/xz"
	"github.com/kernelext/kernelext/linux/ko"
)

// SourceKernelImage is the file of a kernel that a boot loader starts, with the certificates in it.
const SourceKernelImage = "kernel_image"

// A KernelImage is what the file of a kernel holds that bears on the signatures of modules.
type KernelImage struct {
	// File is the file, as a path below the root.
	File string
	// Compression is how the kernel in it is packed: none, gzip, xz, zstd, bzip2, lz4 or lzma.
	Compression string
	// BuildIDs are the GNU build ids in it, in hexadecimal: the kernel's own, and those of the vDSOs that it holds.
	BuildIDs []string
	// Lists are the lists of certificates in it whose length is confirmed. A kernel without certificates shows none;
	// neither does one whose list has another form.
	Lists []CertificateList
}

// Caps of a kernel image.
const (
	maxKernelFile  = 512 << 20 // bytes of the file
	maxKernelPlain = 256 << 20 // bytes of the kernel in it
	maxPayload     = 128 << 20 // bytes of an xz stream, which is read whole
	maxXZWindow    = 64 << 20  // bytes of dictionary
	maxXZHistory   = 36 << 20  // bytes of memory that a dictionary of 32 MiB takes, which the kernel's build asks for
	maxHistory     = 64 << 20
	bzip2Memory    = 8 << 20
	historyRatio   = 5
	sizeWord       = 4 // bytes of the plain size after a packed kernel (size_append)
	kernelHead     = 0x250
)

// errPlainSize is for a kernel that unpacks to more than any has.
var errPlainSize error = &sentinel.Error{Before: "the kernel in it is larger than 256 MiB", Cause: fact.ErrTooLarge}

// ReadKernelImage reads the file of a kernel as a stream: bzImage, the EFI form with a packed kernel, a unified kernel
// image, a plain or packed vmlinux or Image. The error matches errors.ErrUnsupported for another form or packing.
func ReadKernelImage(fsys fs.FS, name string, r *fact.Report) (*KernelImage, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	in, ok := f.(io.ReaderAt)
	switch {
	case !ok:
		return nil, errNoReaderAt
	case info.Size() > maxKernelFile:
		return nil, &fact.ParseError{Source: name, Reason: "is larger than any kernel", Err: fact.ErrTooLarge}
	}
	item := r.Budget.File(hostfs.FileID(fsys, name, info), info.Size())
	defer item.Done()
	p := &kernelFile{name: name, part: part{in, 0, info.Size()}, item: item}
	image := &KernelImage{File: name}
	plain, err := p.open(image)
	if err != nil {
		return nil, err
	}
	if err := item.Hold(scanWindow); err != nil {
		return nil, err
	}
	s := &kernelScanner{in: plain, item: item, image: image}
	if err := s.scan(); err != nil {
		return nil, p.fail(s, err)
	}
	return image, nil
}

// fail makes the error of a scan that did not come to the kernel's end.
func (p *kernelFile) fail(s *kernelScanner, err error) error {
	if errors.Is(err, fact.ErrTooLarge) || errors.Is(err, fact.ErrBudget) {
		return &fact.ParseError{Source: p.name, Field: "kernel", Reason: err.Error(), Err: err}
	}
	return ko.CompressionError(err, p.name, s.base+int64(len(s.buf)))
}

// A part is a range of a file.
type part struct {
	in          io.ReaderAt
	start, size int64
}

// reader returns a reader of the part.
func (p part) reader() io.Reader {
	return bufio.NewReaderSize(io.NewSectionReader(p.in, p.start, p.size), 64<<10)
}

// head returns the first bytes of the part, with zeros after its end.
func (p part) head() ([]byte, error) {
	b := make([]byte, kernelHead)
	n, err := p.in.ReadAt(b[:min(kernelHead, p.size)], p.start)
	if n < int(min(kernelHead, p.size)) {
		return nil, err
	}
	return b, nil
}

// cut returns a range of the part. ok is false for one that is not within it.
func (p part) cut(start, size int64) (c part, ok bool) {
	if start < 0 || size < 0 || start > p.size || size > p.size-start {
		return part{}, false
	}
	return part{p.in, p.start + start, size}, true
}

// A kernelFile is the file of a kernel, of which part is what is left to unpack.
type kernelFile struct {
	name  string
	part  part
	plain int64 // the size of the kernel, which the part ends in; 0 if it does not
	item  *fact.Item
}

// open returns a reader of the plain kernel.
func (p *kernelFile) open(image *KernelImage) (io.Reader, error) {
	for range 2 { // a unified image, and what is in it
		head, err := p.part.head()
		if err != nil {
			return nil, err
		}
		le := binary.LittleEndian
		switch {
		case string(head[0x202:0x206]) == "HdrS":
			return p.bzImage(image, head)
		case string(head[:2]) == "MZ" && string(head[4:8]) == "zimg":
			if p.part, err = p.within(int64(le.Uint32(head[8:])), int64(le.Uint32(head[12:]))); err != nil {
				return nil, err
			}
			return p.unpack(image)
		case isRawKernel(head):
			image.Compression = ko.CompressionNone
			return p.part.reader(), nil
		case string(head[:2]) != "MZ":
			return p.unpack(image)
		}
		if err := p.linuxSection(); err != nil {
			return nil, err
		}
	}
	return nil, malformed(p.name, "is a unified kernel image within another")
}

// isRawKernel reports whether the kernel is in the file as it will be in memory: an ELF file, or the Image of arm64,
// RISC-V and LoongArch.
func isRawKernel(head []byte) bool {
	mark := string(head[56:60])
	return string(head[:4]) == "\x7fELF" || mark == "ARM\x64" || mark == "RSC\x05" || mark == "\xcd\x23\x82\x81"
}

// within returns a range of the part that a header names.
func (p *kernelFile) within(start, size int64) (part, error) {
	c, ok := p.part.cut(start, size)
	if !ok || size == 0 {
		return c, malformed(p.name, "names a packed kernel that is not within the file")
	}
	return c, nil
}

// linuxSection goes on with the section .linux of a unified kernel image.
func (p *kernelFile) linuxSection() error {
	ranges, err := peRanges(io.NewSectionReader(p.part.in, p.part.start, p.part.size), p.name)
	if err != nil {
		return err
	}
	for _, s := range ranges {
		if s.name == ".linux" {
			p.part, err = p.within(s.offset, s.size)
			return err
		}
	}
	return fmt.Errorf("/%s: an EFI program without a kernel in a known form: %w", p.name, errors.ErrUnsupported)
}

// bzImage goes on with the packed kernel of an x86 bzImage (Documentation/arch/x86/boot.rst, protocol 2.08). Its plain
// size follows it; only gzip contains that itself.
func (p *kernelFile) bzImage(image *KernelImage, head []byte) (io.Reader, error) {
	const version, setup, offset, length = 0x206, 0x1f1, 0x248, 0x24c
	le := binary.LittleEndian
	if le.Uint16(head[version:]) < 0x208 {
		return nil, fmt.Errorf("/%s: a bzImage of before Linux 2.6.26: %w", p.name, errors.ErrUnsupported)
	}
	sectors := int64(head[setup])
	if sectors == 0 {
		sectors = 4
	}
	start, size := (sectors+1)*512+int64(le.Uint32(head[offset:])), int64(le.Uint32(head[length:]))
	var err error
	if p.part, err = p.within(start, size); err != nil {
		return nil, err
	}
	var word [sizeWord]byte
	if err := readAt(p.part.in, word[:], p.part.start+p.part.size-sizeWord); err == nil {
		p.plain = int64(le.Uint32(word[:]))
	}
	return p.unpack(image)
}

// packings are the marks that a packed kernel begins with (scripts/Makefile.lib).
var packings = [...]struct{ mark, name string }{
	{"\x1f\x8b", ko.CompressionGzip},
	{"\xfd7zXZ\x00", ko.CompressionXZ},
	{"\x28\xb5\x2f\xfd", ko.CompressionZstd},
	{"BZh", packedBzip2},
	{lz4Magic, packedLZ4},
	{"\x5d\x00\x00", packedLZMA},
	{"\x89LZO\x00\x0d\x0a\x1a\x0a", packedLZO},
	{"\x7fELF", ko.CompressionNone},
}

// The packings that only kernels have, beside those of modules.
const (
	packedBzip2 = "bzip2"
	packedLZ4   = "lz4"
	packedLZMA  = "lzma"
	packedLZO   = "lzo"
)

// unpack returns a reader of what is packed in the part.
func (p *kernelFile) unpack(image *KernelImage) (io.Reader, error) {
	head, err := p.part.head()
	if err != nil {
		return nil, err
	}
	for _, k := range packings {
		if strings.HasPrefix(string(head), k.mark) {
			image.Compression = k.name
		}
	}
	if p.plain > 0 && image.Compression != ko.CompressionGzip && image.Compression != ko.CompressionNone {
		p.part.size = max(p.part.size-sizeWord, 0)
	}
	if err := p.holds(image.Compression); err != nil {
		return nil, &fact.ParseError{Source: p.name, Field: "kernel", Reason: err.Error(), Err: err}
	}
	switch image.Compression {
	case ko.CompressionNone:
		return p.part.reader(), nil
	case ko.CompressionGzip:
		return ko.DecompressStream(image.Compression, p.part.reader(), p.name)
	case ko.CompressionZstd:
		return ko.DecompressStream(image.Compression, p.smallWindow(head), p.name)
	case ko.CompressionXZ, packedLZMA:
		return p.unpackXZ(image.Compression)
	case packedBzip2:
		return bzip2.NewReader(p.part.reader()), nil
	case packedLZ4:
		return newLZ4Reader(p.part.reader()), nil
	case "":
		return nil, fmt.Errorf("/%s: a kernel in no known form or packing: %w", p.name, errors.ErrUnsupported)
	}
	return nil, fmt.Errorf("/%s: a kernel packed with %s, which this library does not decode: %w", p.name,
		image.Compression, errors.ErrUnsupported)
}

// smallWindow returns a reader of a zstd frame whose head asks for no more history than the kernel is long: the
// kernel's build asks for 128 MiB, all of which a decoder allocates, and a kernel is half as long. The head is in no
// checksum (RFC 8878, 3.1.1.1.2).
func (p *kernelFile) smallWindow(head []byte) io.Reader {
	const mark, descriptor, singleSegment, least = 4, 5, 0x20, 1 << 10
	in := p.part.reader()
	if p.plain <= 0 || head[mark]&singleSegment != 0 {
		return in
	}
	for b := range head[descriptor] {
		base := int64(least) << (b >> 3)
		if base+base/8*int64(b&7) >= p.plain {
			first := bytes.Clone(head[:descriptor+1])
			first[descriptor] = b
			rest, _ := p.part.cut(int64(len(first)), p.part.size-int64(len(first))) // a head is within the part
			return io.MultiReader(bytes.NewReader(first), rest.reader())
		}
	}
	return in
}

// holds asks for the memory of a decoder: its history, which is no longer than the kernel, and what it reads whole.
func (p *kernelFile) holds(packing string) error {
	history := min(maxHistory, historyRatio*p.part.size)
	switch packing {
	case ko.CompressionXZ, packedLZMA:
		if p.part.size > maxPayload {
			return fact.ErrTooLarge
		}
		return p.item.Hold(p.part.size + min(history, maxXZHistory))
	case ko.CompressionZstd:
		return p.item.Hold(history)
	case packedLZ4:
		return p.item.Hold(lz4Block + min(lz4Block, p.part.size))
	case packedBzip2:
		return p.item.Hold(bzip2Memory)
	}
	return nil
}

// unpackXZ returns a reader of an xz or lzma stream, which is read whole.
func (p *kernelFile) unpackXZ(packing string) (io.Reader, error) {
	data := make([]byte, p.part.size)
	if _, err := io.ReadFull(io.NewSectionReader(p.part.in, p.part.start, p.part.size), data); err != nil {
		return nil, err
	}
	if packing == packedLZMA {
		r, err := xz.NewAlone(data, maxXZWindow)
		if err != nil {
			return nil, ko.CompressionError(err, p.name, 0)
		}
		return r, nil
	}
	r := new(xz.Reader)
	r.Reset(data, maxXZWindow)
	return r, nil
}
