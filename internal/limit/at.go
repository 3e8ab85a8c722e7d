// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"bytes"
	"io"
	"io/fs"

	"github.com/kernelext/kernelext/fact"
)

// A ReadAtFile is an open file that is read by need.
type ReadAtFile struct {
	io.ReaderAt
	file fs.File
	info fs.FileInfo
	size int64
}

// OpenAt opens a regular file of at most max bytes to be read by need. One that cannot be is read whole. It must be
// closed.
func OpenAt(fsys fs.FS, name string, max int64) (*ReadAtFile, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = &fact.ParseError{Source: name, Reason: "not a regular file"}
	case info.Size() > max:
		err = TooLarge(name, max)
	}
	var whole []byte
	at, ok := f.(io.ReaderAt)
	if err == nil && !ok {
		whole, err = AppendAll(f, nil, name, max)
		at = bytes.NewReader(whole)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	size := info.Size()
	if !ok {
		size = int64(len(whole))
	}
	return &ReadAtFile{ReaderAt: at, file: f, info: info, size: size}, nil
}

// Size returns the file's size in bytes when it was opened.
func (f *ReadAtFile) Size() int64 { return f.size }

// Steady reports whether the file's size and time are the same as when it was opened.
func (f *ReadAtFile) Steady() bool {
	now, err := f.file.Stat()
	return err == nil && now.Size() == f.info.Size() && now.ModTime().Equal(f.info.ModTime())
}

// Close closes the file.
func (f *ReadAtFile) Close() error { return f.file.Close() }
