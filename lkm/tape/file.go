// SPDX-License-Identifier: Apache-2.0

package tape

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/kernelext/kernelext/fact"
)

// opened is what an open file and an open directory have in common.
type opened struct {
	tape *Tape
	e    *entry
	name string // as the caller wrote it

	mu     sync.Mutex
	closed bool
}

func (o *opened) Stat() (fs.FileInfo, error) { return o.tape.fileInfo(o.e, opStat, o.name) }

func (o *opened) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return o.fail("close", fs.ErrClosed)
	}
	o.closed = true
	return nil
}

func (o *opened) fail(op string, err error) error {
	return &fs.PathError{Op: op, Path: o.name, Err: err}
}

// An openFile reads a file's entry. It is an io.ReaderAt and an io.Seeker too.
type openFile struct {
	opened
	pos int64
}

func (f *openFile) Read(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return 0, f.fail("read", fs.ErrClosed)
	}
	if len(p) == 0 {
		return 0, nil
	}
	n := f.e.copyAt(p, f.pos)
	f.pos += int64(n)
	if n == 0 {
		return 0, f.wrap(f.e.after(f.pos))
	}
	return n, nil
}

func (f *openFile) ReadAt(p []byte, off int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.closed:
		return 0, f.fail("read", fs.ErrClosed)
	case off < 0:
		return 0, f.fail("read", fs.ErrInvalid)
	}
	n := f.e.copyAt(p, off)
	if n == len(p) {
		return n, nil
	}
	return n, f.wrap(f.e.after(off + int64(n)))
}

func (f *openFile) Seek(offset int64, whence int) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	base := int64(0)
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		base = f.pos
	case io.SeekEnd:
		i, ok := f.e.stat()
		if !ok {
			return 0, f.fail("seek", f.tape.unanswered(opStat, f.name))
		}
		base = i.size
	default:
		return 0, f.fail("seek", fs.ErrInvalid)
	}
	switch {
	case f.closed:
		return 0, f.fail("seek", fs.ErrClosed)
	case offset < -base || offset > math.MaxInt64-base:
		return 0, f.fail("seek", fs.ErrInvalid)
	}
	f.pos = base + offset
	return f.pos, nil
}

func (f *openFile) wrap(err error) error {
	switch {
	case err == io.EOF:
		return err
	case errors.Is(err, fact.ErrUnrecorded):
		err = f.tape.unanswered(opRead, f.name)
	}
	return f.fail(opRead, err)
}

// copyAt copies the recorded content from off on, without a gap.
func (e *entry) copyAt(p []byte, off int64) int {
	if e.pieces == nil {
		if off >= int64(len(e.data)) {
			return 0
		}
		return copy(p, e.data[off:])
	}
	for _, pc := range e.pieces {
		if off >= pc.off && off < pc.off+int64(len(pc.data)) {
			return copy(p, pc.data[off-pc.off:])
		}
	}
	return 0
}

// after returns what a read at off gives where there is no content: the end of the file, or why
// it is not known.
func (e *entry) after(off int64) error {
	if e.end == (failure{}) || e.pieces != nil && e.info != nil && off >= e.info.size {
		return io.EOF
	}
	return e.end.err()
}

// An openDir lists a directory's entry.
type openDir struct {
	opened
	list []fs.DirEntry
	read bool
}

func (d *openDir) Read([]byte) (int, error) { return 0, d.fail("read", errIsDir) }

func (d *openDir) ReadDir(n int) ([]fs.DirEntry, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, d.fail(opReadDir, fs.ErrClosed)
	}
	if !d.read {
		d.read = true
		d.list = d.tape.list(d.name, d.e.data)
	}
	var err error
	if d.e.end != (failure{}) {
		err = d.fail(opReadDir, d.e.end.err())
	}
	if n <= 0 {
		list := d.list
		d.list = nil
		return list, err
	}
	if len(d.list) == 0 {
		if err == nil {
			err = io.EOF
		}
		return nil, err
	}
	n = min(n, len(d.list))
	list := d.list[:n:n]
	d.list = d.list[n:]
	return list, nil
}

// list makes the directory entries of a listing that was checked.
func (t *Tape) list(dir string, data []byte) []fs.DirEntry {
	list := make([]fs.DirEntry, 0, strings.Count(string(data), "\n"))
	for s := range strings.Lines(string(data)) {
		mode, name, err := parseDirLine(s)
		if err != nil {
			break
		}
		list = append(list, &dirEntry{t, dir, name, mode})
	}
	return list
}

// parseDirLine reads one line of a listing, "TYPE NAME".
func parseDirLine(s string) (mode fs.FileMode, name string, err error) {
	letter, word, _ := strings.Cut(strings.TrimSuffix(s, "\n"), " ")
	mode, ok := typeOf(letter)
	if !ok {
		return 0, "", fmt.Errorf("%q is not the type of a directory's entry", letter)
	}
	if name, err = unescape(word); err != nil {
		return 0, "", err
	}
	if word == "" || !isDirName(name) {
		return 0, "", fmt.Errorf("%q is not a name in a directory", name)
	}
	return mode, name, nil
}

func isDirName(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/\x00")
}

// appendDirLine writes one line of a listing.
func appendDirLine(b []byte, mode fs.FileMode, name string) []byte {
	b = append(b, typeLetter(mode), ' ')
	return append(append(b, escapeWord(name)...), '\n')
}

// A dirEntry is one name in a directory. Info asks the tape.
type dirEntry struct {
	tape *Tape
	dir  string
	name string
	mode fs.FileMode
}

func (d *dirEntry) Name() string               { return d.name }
func (d *dirEntry) IsDir() bool                { return d.mode.IsDir() }
func (d *dirEntry) Type() fs.FileMode          { return d.mode }
func (d *dirEntry) Info() (fs.FileInfo, error) { return d.tape.Lstat(path.Join(d.dir, d.name)) }
func (d *dirEntry) String() string             { return fs.FormatDirEntry(d) }

// A fileInfo is an info with a name.
type fileInfo struct {
	name string
	info
}

func (t *Tape) fileInfo(e *entry, op, name string) (fs.FileInfo, error) {
	i, ok := e.stat()
	if !ok {
		return nil, &fs.PathError{Op: op, Path: name, Err: t.unanswered(op, name)}
	}
	return &fileInfo{path.Base(name), i}, nil
}

func (i *fileInfo) Name() string       { return i.name }
func (i *fileInfo) Size() int64        { return i.size }
func (i *fileInfo) Mode() fs.FileMode  { return i.mode }
func (i *fileInfo) ModTime() time.Time { return i.mtime }
func (i *fileInfo) IsDir() bool        { return i.mode.IsDir() }
func (i *fileInfo) Sys() any           { return nil }
func (i *fileInfo) String() string     { return fs.FormatFileInfo(i) }
