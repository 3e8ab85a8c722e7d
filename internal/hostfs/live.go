// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"io/fs"
	"iter"
	"os"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
)

// Live returns the file system of the running machine. On Windows it is rooted at the drives:
// "C:/Windows".
func Live() FS { return live{} }

// live names files as the process sees them. It goes straight to the system: absolute links are
// right here.
type live struct{}

func (live) Close() error { return nil }

// host returns the system's own path for name.
func host(op, name string) (string, error) {
	if !fs.ValidPath(name) {
		return "", &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	return hostPath(name), nil
}

func (live) Open(name string) (fs.File, error) {
	p, err := host("open", name)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(p, os.O_RDONLY|nonblock, 0)
	if err != nil {
		return nil, pathError("open", name, err)
	}
	return f, nil
}

func (l live) ReadDir(name string) ([]fs.DirEntry, error) {
	f, err := l.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readDir(f.(*os.File), name)
}

func (live) Stat(name string) (fs.FileInfo, error) {
	p, err := host("stat", name)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(p)
	if err != nil {
		return nil, pathError("stat", name, err)
	}
	return info, nil
}

func (live) Lstat(name string) (fs.FileInfo, error) {
	p, err := host("lstat", name)
	if err != nil {
		return nil, err
	}
	info, err := os.Lstat(p)
	if err != nil {
		return nil, pathError("lstat", name, err)
	}
	return info, nil
}

func (live) ReadLink(name string) (string, error) {
	p, err := host("readlink", name)
	if err != nil {
		return "", err
	}
	target, err := os.Readlink(p)
	if err != nil {
		return "", pathError("readlink", name, err)
	}
	return target, nil
}

func (l live) FileReader(self fs.FS) fact.FileReader {
	if self != fs.FS(l) {
		return nil
	}
	return l
}

func (live) AppendFile(dst []byte, name string, max int64) ([]byte, error) {
	return readLive(dst, name, max, false)
}

func (live) AppendAttr(dst []byte, name string, max int64) ([]byte, error) {
	return readLive(dst, name, max, true)
}

// Attrs implements [limit.AttrReader]. The whole path of each is one call of the system.
func (live) Attrs(buf []byte, dir string, names []string) iter.Seq2[[]byte, error] {
	return limit.EachAttr(buf, dir, names, func(dst []byte, name string) ([]byte, error) {
		return readLive(dst, name, limit.Attr, true)
	})
}
