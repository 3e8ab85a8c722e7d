// SPDX-License-Identifier: Apache-2.0

// Package hostfs is the file system of a machine: the running one ([Live]), one whose root is
// mounted in a directory ([Mounted]), or any other ([Of]). It only reads.
//
// Neither os.DirFS nor os.Root fits a mounted root: an absolute symbolic link in it means the
// mounted root, while os.DirFS follows it into the host's own root and os.Root refuses it. Mounted
// resolves links itself, and opens what it found through os.Root, which cannot be led outside even
// when the tree changes meanwhile.
package hostfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/hostfs/inroot"
	"github.com/kernelext/kernelext/internal/limit"
)

// An FS is what Live and Mounted return.
type FS interface {
	fs.ReadLinkFS
	fs.ReadDirFS
	fs.StatFS
	// FileReader returns the FS itself if self is the FS, and else nil: what embeds an FS is read through its own Open.
	fact.Accelerated
	// AppendFile and AppendAttr do not wait for a file that is not ready.
	fact.FileReader
	// Close releases the root. Open files stay open.
	Close() error
}

// Mounted returns the file system of the machine whose root is mounted at dir. It is safe for concurrent use, Close
// included: after Close every call's error matches fs.ErrClosed. Mounted's own error is the error of opening dir.
func Mounted(dir string) (FS, error) {
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		err = &fs.PathError{Op: "open", Path: dir, Err: errors.New("not a directory")} // to open a pipe waits
	}
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	m := &mounted{root: root, name: dir}
	if d, err := root.Open("."); err == nil {
		if m.kernel = inroot.Of(d); m.kernel == nil {
			d.Close()
		}
	}
	return m, nil
}

// A mounted root is resolved by the kernel where that can, else one link at a time.
type mounted struct {
	name   string
	root   *os.Root
	kernel *inroot.Root // nil where the kernel cannot
}

// Name returns the directory, as the caller named it.
func (m *mounted) Name() string { return m.name }

func (m *mounted) Close() error {
	if m.kernel != nil {
		m.kernel.Close()
	}
	return m.root.Close()
}

// Open opens a file or a folder. It opens no device, because opening one may already have an effect, and no pipe or
// socket: an untrusted image can contain any of them in place of a file. A file that is a link to /dev/null is empty.
func (m *mounted) Open(name string) (fs.File, error) {
	if m.kernel != nil && fs.ValidPath(name) { // nearly all are regular files, and take fewer steps
		f, err := m.kernel.OpenFile(name)
		if err != nil {
			return nil, pathError("open", name, err)
		}
		if f != nil {
			return f, nil
		}
	}
	return m.openAny(name)
}

// openAny is Open for a folder, for the link to /dev/null, and where the kernel cannot resolve a path. It returns a
// rootFile.
func (m *mounted) openAny(name string) (fs.File, error) {
	st, err := m.stat("open", name, true)
	if err != nil {
		return nil, err
	}
	if err := notSpecial(st); err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	f, err := m.openFile(name)
	if err != nil {
		return nil, err
	}
	if st, err = f.Stat(); err == nil { // something else may have taken its place
		err = notSpecial(st)
	}
	if err != nil {
		f.Close()
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return f, nil
}

// The device numbers of /dev/null, of Linux and of macOS.
const (
	nullLinux = 0x103
	nullMac   = 0x3000002
)

// notSpecial returns an error for what is neither a file nor a folder.
func notSpecial(st fs.FileInfo) error {
	what := "a device"
	switch mode := st.Mode(); {
	case mode&(fs.ModeNamedPipe|fs.ModeSocket|fs.ModeDevice) == 0:
		return nil
	case mode&fs.ModeNamedPipe != 0:
		what = "a pipe"
	case mode&fs.ModeSocket != 0:
		what = "a socket"
	case mode&fs.ModeCharDevice != 0:
		if sys, ok := SysStat(st); ok {
			if n := StatNumber(sys, "Rdev"); n == nullLinux || n == nullMac {
				return nil
			}
		}
	}
	return fmt.Errorf("%w: %s, not a regular file", fact.ErrMalformed, what)
}

func (m *mounted) openFile(name string) (fs.File, error) {
	if m.kernel != nil && fs.ValidPath(name) {
		f, err := m.kernel.Open(name)
		if err != nil {
			return nil, pathError("open", name, err)
		}
		return &rootFile{f, m, name}, nil
	}
	p, err := resolve(rootLinks{m.root}, "open", name, true)
	if err != nil {
		return nil, err
	}
	f, err := m.root.OpenFile(p, os.O_RDONLY|nonblock, 0)
	if err != nil {
		return nil, pathError("open", name, err)
	}
	return &rootFile{f, m, name}, nil
}

// A rootFile is a file below the root. The entries of a directory describe themselves through the root again: os.File
// would look for them under the path that it was opened by.
type rootFile struct {
	*os.File
	m    *mounted
	name string
}

func (f *rootFile) ReadDir(n int) ([]fs.DirEntry, error) {
	entries, err := f.File.ReadDir(n)
	for i, e := range entries {
		entries[i] = rootEntry{e, f.m, f.name}
	}
	return entries, err
}

type rootEntry struct {
	fs.DirEntry
	m   *mounted
	dir string
}

func (e rootEntry) Info() (fs.FileInfo, error) { return e.m.Lstat(path.Join(e.dir, e.Name())) }

func (m *mounted) ReadDir(name string) ([]fs.DirEntry, error) {
	f, err := m.openDir(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	d, ok := f.(fs.ReadDirFile)
	if !ok {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errors.ErrUnsupported}
	}
	return readDir(d, name)
}

// openDir opens a folder. For anything else, it returns what openAny returns.
func (m *mounted) openDir(name string) (fs.File, error) {
	if m.kernel != nil && fs.ValidPath(name) {
		if f, err := m.kernel.OpenFolder(name); err == nil {
			return &rootFile{f, m, name}, nil
		}
	}
	return m.openAny(name)
}

// readDir reads a directory whole, sorted, at most limit.Dir entries.
func readDir(d fs.ReadDirFile, name string) ([]fs.DirEntry, error) {
	entries, err := d.ReadDir(limit.Dir + 1)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	if len(entries) > limit.Dir {
		entries, err = entries[:limit.Dir], fmt.Errorf("%w: more than %d entries", fact.ErrTooLarge, limit.Dir)
	}
	sortEntries(entries)
	if err != nil {
		return entries, pathError("readdir", name, err)
	}
	return entries, nil
}

func (m *mounted) Stat(name string) (fs.FileInfo, error) { return m.stat("stat", name, true) }

func (m *mounted) Lstat(name string) (fs.FileInfo, error) { return m.stat("lstat", name, false) }

func (m *mounted) stat(op, name string, follow bool) (info fs.FileInfo, err error) {
	if m.kernel != nil && fs.ValidPath(name) {
		info, err = m.kernel.Stat(name, follow)
	} else {
		var p string
		if p, err = resolve(rootLinks{m.root}, op, name, follow); err != nil {
			return nil, err
		}
		if info, err = m.root.Lstat(p); err == nil {
			info = asked{info, path.Base(name)}
		}
	}
	if err != nil {
		return nil, pathError(op, name, err)
	}
	return info, nil
}

// asked describes a file by the name that was asked for, not that of what it leads to.
type asked struct {
	fs.FileInfo
	name string
}

func (a asked) Name() string { return a.name }

func (m *mounted) ReadLink(name string) (target string, err error) {
	if m.kernel != nil && fs.ValidPath(name) {
		target, err = m.kernel.ReadLink(name)
	} else {
		var p string
		if p, err = resolve(rootLinks{m.root}, "readlink", name, false); err != nil {
			return "", err
		}
		target, err = m.root.Readlink(p)
	}
	if err != nil {
		return "", pathError("readlink", name, err)
	}
	return target, nil
}

func (m *mounted) FileReader(self fs.FS) fact.FileReader {
	if self != fs.FS(m) {
		return nil
	}
	return m
}

func (m *mounted) AppendFile(dst []byte, name string, max int64) ([]byte, error) {
	return m.read(dst, name, max, false)
}

func (m *mounted) AppendAttr(dst []byte, name string, max int64) ([]byte, error) {
	return m.read(dst, name, max, true)
}

// Attrs implements [limit.AttrReader]. It holds the directory open meanwhile: an entry that is a regular file is found
// there, and anything else, such as a link, by its whole path.
func (m *mounted) Attrs(buf []byte, dir string, names []string) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		var held *inroot.Dir
		if m.kernel != nil && fs.ValidPath(dir) && len(names) > 1 {
			if d, err := m.kernel.OpenDir(dir); err == nil {
				held = d
				defer d.Close()
			}
		}
		read := func(dst []byte, name string) ([]byte, error) {
			entry := name[len(dir)+1:]
			if held != nil && entry != "" && entry != ".." && !strings.Contains(entry, "/") {
				if dst, ok, err := appendOpen(held.OpenRegular, entry, dst, name, limit.Attr, true); ok {
					return dst, err
				}
			}
			return m.read(dst, name, limit.Attr, true)
		}
		limit.EachAttr(buf, dir, names, read)(yield)
	}
}

func (m *mounted) read(dst []byte, name string, max int64, once bool) ([]byte, error) {
	if m.kernel != nil && fs.ValidPath(name) {
		if dst, ok, err := appendOpen(m.kernel.OpenRegular, name, dst, name, max, once); ok {
			return dst, err
		}
	}
	f, err := m.openAny(name)
	if err != nil {
		return dst, err
	}
	defer f.Close()
	dst, err = readFile(f.(*rootFile).File, dst, name, max, once)
	if err != nil {
		return dst, pathError("read", name, err)
	}
	return dst, nil
}

// pathError names the path as the caller knows it, and gives the error a meaning that every
// system shares.
func pathError(op, name string, err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return &fs.PathError{Op: op, Path: name, Err: meaning(err)}
}

// An errnoMeaning is a system's error that stands for one of the shared sentinels, although the
// standard library does not say so.
type errnoMeaning struct {
	error
	is error
}

func (e errnoMeaning) Is(target error) bool { return target == e.is }
func (e errnoMeaning) Unwrap() error        { return e.error }

func sortEntries(entries []fs.DirEntry) {
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
}
