// SPDX-License-Identifier: Apache-2.0

package ko

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/internal/xz"
)

// Glance reads only as much of a module file as shows whether it can be whole: its size, its first bytes, and where
// these say that it ends. It fills in Path, Size, ModTime and Compression, decodes nothing, and costs a tenth of
// ReadFile. The error comes from opening the file, or matches fact.ErrMalformed for a file that is empty, is neither
// ELF nor a container, or was cut off. It matches fact.ErrTooLarge for a file that has, or decompresses to, more than
// max bytes (0: 512 MiB). A gzip file does not show that it was cut off.
func (r *Reader) Glance(fsys fs.FS, name string, max int64) (File, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return File{Path: name}, err
	}
	defer f.Close()
	o := Options{MaxFile: max}
	info, err := f.Stat()
	if err != nil {
		return File{Path: name}, err
	}
	file, err := describeFile(info, name, o.max())
	if err != nil {
		return file, err
	}
	at, ok := f.(io.ReaderAt)
	if !ok {
		return file, nil
	}
	n, err := at.ReadAt(r.head[:], 0)
	if err != nil && err != io.EOF {
		return file, err
	}
	head := r.head[:n]
	file.Compression = CompressionOf(head)
	if file.Compression == CompressionNone {
		return file, glanceELF(head, &file)
	}
	plain, err := r.plainSize(at, head, &file)
	var pe *fs.PathError
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return file, nil // only decoding it shows more
	case errors.As(err, &pe):
		return file, err
	case err != nil:
		return file, &fact.ParseError{Source: name, Field: "compression", Reason: err.Error()}
	case plain > o.max():
		return file,
			&fact.ParseError{Source: name, Field: "compression",
				Reason: fmt.Sprintf("decompresses to more than %d bytes", o.max()), Err: fact.ErrTooLarge}
	}
	return file, nil
}

// describeFile starts a File with what the file system says of it.
func describeFile(info fs.FileInfo, name string, max int64) (File, error) {
	if !info.Mode().IsRegular() {
		return File{Path: name}, &fact.ParseError{Source: name, Reason: "not a regular file"}
	}
	file := File{Path: name, Size: info.Size(), ModTime: info.ModTime()}
	if file.Size > max {
		return file, limit.TooLarge(name, max)
	}
	return file, nil
}

// glanceELF looks at the header of a plain module.
func glanceELF(head []byte, file *File) error {
	e := elfImage{src: memorySource(head), path: file.Path}
	shoff, entry, count, _, err := e.header()
	if err != nil {
		return err
	}
	if shoff == 0 {
		return e.bad("sections", 0, "no section headers")
	}
	if end := shoff + entry*int64(count); end > file.Size {
		return e.bad("sections", shoff, "section headers beyond the end of the file")
	}
	return nil
}

var errCutOff = errors.New("the compressed data end early")

// plainSize returns what a container says that it decompresses to.
func (r *Reader) plainSize(at io.ReaderAt, head []byte, file *File) (int64, error) {
	ends := fileEnds{r: at, head: head}
	switch file.Compression {
	case CompressionZstd:
		return zstdSize(&ends, file.Size)
	case CompressionGzip:
		if file.Size < 18 { // the shortest gzip file
			return 0, errCutOff
		}
	}
	ends.tailAt = max(file.Size-int64(len(r.tail)), 0)
	n, err := at.ReadAt(r.tail[:], ends.tailAt)
	if err != nil && err != io.EOF {
		return 0, err
	}
	ends.tail = r.tail[:n]
	if file.Compression == CompressionXZ {
		return xz.PlainSize(&ends, file.Size)
	}
	var size [4]byte
	if _, err := ends.ReadAt(size[:], file.Size-4); err != nil {
		return 0, err
	}
	return int64(binary.LittleEndian.Uint32(size[:])), nil
}

// A fileEnds is a file of which the first and the last bytes are in memory.
type fileEnds struct {
	r      io.ReaderAt
	head   []byte
	tail   []byte
	tailAt int64
}

func (f *fileEnds) ReadAt(b []byte, offset int64) (int, error) {
	n := int64(len(b))
	if offset >= 0 && offset+n <= int64(len(f.head)) {
		return copy(b, f.head[offset:]), nil
	}
	if offset >= f.tailAt && offset+n <= f.tailAt+int64(len(f.tail)) {
		return copy(b, f.tail[offset-f.tailAt:]), nil
	}
	return f.r.ReadAt(b, offset)
}
