// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/hostfs"
	"github.com/kernelext/kernelext/internal/limit"
)

// maxWhole is how much of a file is read into memory when it cannot be read at an offset.
const maxWhole = 64 << 20

// A file is an open file that is read at offsets.
type file struct {
	io.ReaderAt
	size   int64
	closer io.Closer
	item   *fact.Item // pays for what is read of it
}

func (f *file) Close() error {
	f.item.Done()
	return f.closer.Close()
}

// openFile opens a regular file. Where the file system cannot read at an offset, the file is read
// whole, up to a cap.
func openFile(fsys fs.FS, name string, budget *fact.Budget) (*file, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if !st.Mode().IsRegular() {
		err := &fact.ParseError{Source: name, Reason: fmt.Sprintf("not a regular file: %v", st.Mode())}
		return nil, errors.Join(err, f.Close())
	}
	id := hostfs.FileID(nil, name, st)
	if r, ok := f.(io.ReaderAt); ok {
		return &file{ReaderAt: r, size: st.Size(), closer: f, item: budget.File(id, st.Size())}, nil
	}
	data, err := limit.AppendAll(f, nil, name, maxWhole)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	size := int64(len(data))
	whole := &file{ReaderAt: bytes.NewReader(data), size: size, closer: f, item: budget.File(id, size)}
	if err := cmp.Or(whole.item.Hold(size), whole.item.Work(size)); err != nil {
		return nil, errors.Join(err, whole.Close())
	}
	return whole, nil
}
