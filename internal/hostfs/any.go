// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
)

// Of returns any file system as a machine's root. Symbolic links lead within it if it implements fs.ReadLinkFS; else a
// path through one gives an error that matches errors.ErrUnsupported. A file system that Mounted returned is returned
// unchanged. Close does nothing: the file system is the caller's.
func Of(fsys fs.FS) FS {
	if m, ok := fsys.(*mounted); ok {
		return borrowed{m}
	}
	links, _ := fsys.(fs.ReadLinkFS)
	return &anyFS{fsys, links}
}

// A borrowed root is closed by its owner.
type borrowed struct{ *mounted }

func (borrowed) Close() error { return nil }

func (b borrowed) FileReader(self fs.FS) fact.FileReader {
	if self != fs.FS(b) {
		return nil
	}
	return b
}

type anyFS struct {
	fsys  fs.FS
	links fs.ReadLinkFS // nil where links cannot be read
}

func (a *anyFS) Close() error { return nil }

// at returns where name leads, and what is there.
func (a *anyFS) at(op, name string, follow bool) (string, fs.FileInfo, error) {
	if !fs.ValidPath(name) {
		return "", nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	if a.links == nil {
		info, err := fs.Stat(a.fsys, name)
		if errors.Is(err, fs.ErrNotExist) && a.throughLink(name) {
			err = errLink()
		}
		if err != nil {
			return "", nil, pathError(op, name, err)
		}
		return name, info, nil
	}
	p, err := resolve(a.links, op, name, follow)
	if err != nil {
		return "", nil, err
	}
	info, err := a.links.Lstat(p)
	if err != nil {
		return "", nil, pathError(op, name, err)
	}
	return p, asked{info, path.Base(name)}, nil
}

// errLink is the error for a symbolic link of a file system that does not say where it leads.
func errLink() error {
	return fmt.Errorf("a symbolic link, which this file system cannot read: %w", errors.ErrUnsupported)
}

// throughLink reports whether the deepest part of name that exists is a symbolic link.
func (a *anyFS) throughLink(name string) bool {
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		info, err := fs.Stat(a.fsys, dir)
		if err == nil {
			return info.Mode()&fs.ModeSymlink != 0
		}
	}
	return false
}

// Open does not wait for the other side of a pipe: it opens directories and regular files alone.
func (a *anyFS) Open(name string) (fs.File, error) {
	p, info, err := a.at("open", name, true)
	if err != nil {
		return nil, err
	}
	switch mode := info.Mode(); {
	case mode&fs.ModeSymlink != 0:
		return nil, &fs.PathError{Op: "open", Path: name, Err: errLink()}
	case !mode.IsDir() && !mode.IsRegular():
		return nil, &fs.PathError{Op: "open", Path: name, Err: fmt.Errorf("%w: not a regular file", fact.ErrMalformed)}
	}
	f, err := a.fsys.Open(p)
	if err != nil {
		return nil, pathError("open", name, err)
	}
	return f, nil
}

func (a *anyFS) ReadDir(name string) ([]fs.DirEntry, error) {
	f, err := a.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	d, ok := f.(fs.ReadDirFile)
	if !ok {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errors.New("not a directory")}
	}
	return readDir(d, name)
}

func (a *anyFS) Stat(name string) (fs.FileInfo, error) {
	_, info, err := a.at("stat", name, true)
	if err == nil && info.Mode()&fs.ModeSymlink != 0 {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: errLink()}
	}
	return info, err
}

func (a *anyFS) Lstat(name string) (fs.FileInfo, error) {
	_, info, err := a.at("lstat", name, false)
	return info, err
}

func (a *anyFS) ReadLink(name string) (string, error) {
	p, info, err := a.at("readlink", name, false)
	switch {
	case err != nil:
		return "", err
	case info.Mode()&fs.ModeSymlink == 0:
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	case a.links == nil:
		return "", &fs.PathError{Op: "readlink", Path: name, Err: errLink()}
	}
	target, err := a.links.ReadLink(p)
	if err != nil {
		return "", pathError("readlink", name, err)
	}
	return target, nil
}

func (a *anyFS) FileReader(self fs.FS) fact.FileReader {
	if self != fs.FS(a) {
		return nil
	}
	return a
}

func (a *anyFS) AppendFile(dst []byte, name string, max int64) ([]byte, error) {
	f, err := a.Open(name)
	if err != nil {
		return dst, err
	}
	defer f.Close()
	dst, err = limit.AppendAll(f, dst, name, max)
	if err != nil {
		return dst, pathError("read", name, err)
	}
	return dst, nil
}

func (a *anyFS) AppendAttr(dst []byte, name string, max int64) ([]byte, error) {
	f, err := a.Open(name)
	if err != nil {
		return dst, err
	}
	defer f.Close()
	dst, buf := limit.Room(dst, int(min(max, limit.Attr)))
	n, err := f.Read(buf[:min(int64(len(buf)), max)])
	if err != nil && !errors.Is(err, io.EOF) {
		return dst, pathError("read", name, err)
	}
	return dst[:len(dst)+n], nil
}
