// SPDX-License-Identifier: Apache-2.0

// Package limit bounds what reading may cost. Everything that kernelext reads goes through it:
// whole files with a cap on their size, and guards that look at a file before a library that
// trusts it does.
package limit

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"

	"github.com/kernelext/kernelext/fact"
)

// Caps for what is read whole, in bytes.
const (
	Attr = 64 << 10 // a sysfs attribute or a one-line file: the kernel's own limit is a page, of up to 64 KiB
	Proc = 8 << 20  // a generated list such as /proc/modules
	Text = 32 << 20 // an index or a configuration file
	File = 512 << 20
)

// Dir is how many entries of one directory are read: the largest that a kernel or a package makes
// have some ten thousand.
const Dir = 1 << 18

// readerOf returns what reads the files of fsys in fewer steps than Open, Read and Close; nil if nothing does. What
// only embeds an Accelerated file system is read through its own Open.
func readerOf(fsys fs.FS) fact.FileReader {
	if a, ok := fsys.(fact.Accelerated); ok {
		return a.FileReader(fsys)
	}
	return nil
}

// AppendFile appends the content of the named file to dst, at most max bytes. For a longer file, it appends the first
// max bytes, or fewer, and returns an error that matches fact.ErrTooLarge.
func AppendFile(fsys fs.FS, dst []byte, name string, max int64) ([]byte, error) {
	if r := readerOf(fsys); r != nil {
		return r.AppendFile(dst, name, max)
	}
	return open(fsys, dst, name, max, false)
}

// AppendAttr is AppendFile with a single read, for a sysfs attribute.
func AppendAttr(fsys fs.FS, dst []byte, name string, max int64) ([]byte, error) {
	if r := readerOf(fsys); r != nil {
		return r.AppendAttr(dst, name, max)
	}
	return open(fsys, dst, name, max, true)
}

// An AttrReader is a fact.FileReader that reads several sysfs attributes in fewer steps than one by one.
type AttrReader interface {
	fact.FileReader
	// Attrs does what the function Attrs does.
	Attrs(buf []byte, dir string, names []string) iter.Seq2[[]byte, error]
}

// Attrs yields the content of each of the named files below the directory dir, in the order of names, as AppendAttr
// reads it. It uses the memory of buf, and what it yields is valid until the next one.
func Attrs(fsys fs.FS, buf []byte, dir string, names []string) iter.Seq2[[]byte, error] {
	if r, ok := readerOf(fsys).(AttrReader); ok {
		return r.Attrs(buf, dir, names)
	}
	return EachAttr(buf, dir, names, func(dst []byte, name string) ([]byte, error) {
		return AppendAttr(fsys, dst, name, Attr)
	})
}

// EachAttr is Attrs by a function that appends one attribute to dst.
func EachAttr(
	buf []byte, dir string, names []string, read func(dst []byte, name string) ([]byte, error),
) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for _, name := range names {
			text, err := read(buf[:0], dir+"/"+name)
			if cap(text) > cap(buf) {
				buf = text
			}
			if !yield(text, err) {
				return
			}
		}
	}
}

// ReadFile returns the content of the named file, as AppendFile.
func ReadFile(fsys fs.FS, name string, max int64) ([]byte, error) {
	return AppendFile(fsys, nil, name, max)
}

// ReadItem is ReadFile for what a call counts: it returns the budget of what is read from the file, too, which holds
// the file's bytes until it is Done. A file that was read before, under whatever name, takes the work of reading it
// again, and allows no more.
func ReadItem(fsys fs.FS, name string, max int64, b *fact.Budget) ([]byte, *fact.Item, error) {
	return AppendItem(fsys, nil, name, max, b)
}

// AppendItem is ReadItem into the space of dst, which has no bytes in it.
func AppendItem(fsys fs.FS, dst []byte, name string, max int64, b *fact.Budget) ([]byte, *fact.Item, error) {
	if err := b.Err(); err != nil {
		return nil, nil, err
	}
	data, err := AppendFile(fsys, dst[:0], name, max)
	if err != nil {
		return data, nil, err
	}
	item := b.Content(data)
	if err = item.Hold(int64(len(data))); err == nil {
		err = item.Work(int64(len(data)))
	}
	if err != nil {
		return nil, item, fmt.Errorf("%s: %w", name, err)
	}
	return data, item, nil
}

func open(fsys fs.FS, dst []byte, name string, max int64, once bool) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return dst, err
	}
	defer f.Close()
	if once {
		return readOnce(f, dst, max)
	}
	return AppendAll(f, dst, name, max)
}

func readOnce(r io.Reader, dst []byte, max int64) ([]byte, error) {
	dst, buf := Room(dst, int(min(max, Attr)))
	n, err := r.Read(buf[:min(int64(len(buf)), max)])
	dst = dst[:len(dst)+max0(n)]
	if err != nil && !errors.Is(err, io.EOF) {
		return dst, err
	}
	return dst, nil
}

// AppendAll appends what r gives to dst until it ends, at most max bytes; for more, the error matches fact.ErrTooLarge.
// A file that says that it is longer is not read to there. name is for the error's text.
func AppendAll(r io.Reader, dst []byte, name string, max int64) ([]byte, error) {
	start := len(dst)
	for asked := false; ; {
		if read := int64(len(dst) - start); !asked && read >= trusted && cap(dst)-len(dst) < 512 {
			length := lengthOf(r)
			if length > max {
				return dst, TooLarge(name, max)
			}
			if asked = length <= trustedTimes*read; asked {
				dst = fit(dst, start, length)
			}
		}
		var buf []byte
		dst, buf = Room(dst, 512)
		left := max - int64(len(dst)-start)
		// One byte more than allowed may be read, to distinguish a full file from one that is too large.
		if int64(len(buf)) > left+1 {
			buf = buf[:left+1]
		}
		n, err := r.Read(buf)
		dst = dst[:len(dst)+max0(n)]
		if int64(len(dst)-start) > max {
			return dst[:start+int(max)], TooLarge(name, max)
		}
		if errors.Is(err, io.EOF) || (n == 0 && err == nil) {
			return dst, nil
		}
		if err != nil {
			return dst, err
		}
	}
}

// When a file is believed how long it is, so that memory is taken for all of it.
const (
	trusted      = 64 << 10 // so many bytes of it were read,
	trustedTimes = 16       // and the whole is at most so many times what was read
)

// lengthOf returns how long an open file says that it is; 0 for what does not say it. The Size of an io.SectionReader
// is its bound and not the length of what is read.
func lengthOf(r io.Reader) int64 {
	switch f := r.(type) {
	case *io.SectionReader:
		return 0
	case interface{ Size() int64 }:
		return f.Size()
	case fs.File:
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			return info.Size()
		}
	}
	return 0
}

// fit gives dst the capacity for a file of that length behind start, and for what says that it is not longer. Memory
// that is used for one file after another grows by half, at least.
func fit(dst []byte, start int, length int64) []byte {
	if want := int64(start) + length + 512; want > int64(cap(dst)) {
		whole := make([]byte, len(dst), max(want, int64(cap(dst))*3/2))
		copy(whole, dst)
		return whole
	}
	return dst
}

// Room grows dst so that at least n more bytes fit, and returns it with the free space after it.
func Room(dst []byte, n int) (grown, free []byte) {
	if cap(dst)-len(dst) < n {
		bigger := make([]byte, len(dst), max(2*cap(dst), len(dst)+n))
		copy(bigger, dst)
		dst = bigger
	}
	return dst, dst[len(dst):cap(dst)]
}

func max0(n int) int { return max(n, 0) }

// Most returns the first max elements of a list, and an error that matches fact.ErrTooLarge if there are more. what
// names the elements in its text.
func Most[T any](list []T, max int, what string) ([]T, error) {
	if len(list) <= max {
		return list, nil
	}
	return list[:max], fmt.Errorf("%s: %w: more than %d", what, fact.ErrTooLarge, max)
}

// TooLarge is the error for a file of more than max bytes.
func TooLarge(name string, max int64) error {
	return &fs.PathError{Op: "read", Path: name, Err: fmt.Errorf("%w: more than %d bytes", fact.ErrTooLarge, max)}
}

// Problems is how many problems one source may report one by one; what comes after is counted.
const Problems = 100
