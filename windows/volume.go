// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/hostfs"
)

// Volume returns a mounted Windows volume as its own machine shows it: drive C:, names without regard to case. Reparse
// points that the host shows as symbolic links lead within the volume.
func Volume(root hostfs.FS) hostfs.FS { return volume{root, newFoldFS(root, "C:")} }

type volume struct {
	hostfs.FS
	fold *foldFS
}

func (v volume) resolve(op, name string) (string, error) {
	own, err := v.fold.resolve(name)
	if err != nil {
		return "", &fs.PathError{Op: op, Path: name, Err: err}
	}
	return own, nil
}

// missing returns the error of a name that is not there. Behind a reparse point that leads nowhere in the image the
// name may be on another volume: that error does not match fs.ErrNotExist.
func (v volume) missing(own string, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for i := range len(own) + 1 {
		if i < len(own) && own[i] != '/' {
			continue
		}
		info, e := v.FS.Lstat(own[:i])
		if e != nil {
			return err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			continue
		}
		if _, e := v.FS.Stat(own[:i]); errors.Is(e, fs.ErrNotExist) {
			return fmt.Errorf("%s is a reparse point that leads nowhere in the image", dosPath("C:/"+own[:i]))
		}
	}
	return err
}

func (v volume) Open(name string) (fs.File, error) {
	own, err := v.resolve("open", name)
	if err != nil {
		return nil, err
	}
	file, err := v.FS.Open(own)
	return file, v.missing(own, err)
}

func (v volume) ReadDir(name string) ([]fs.DirEntry, error) {
	own, err := v.resolve("readdir", name)
	if err != nil {
		return nil, err
	}
	entries, err := v.FS.ReadDir(own)
	return entries, v.missing(own, err)
}

func (v volume) Stat(name string) (fs.FileInfo, error) {
	own, err := v.resolve("stat", name)
	if err != nil {
		return nil, err
	}
	info, err := v.FS.Stat(own)
	return info, v.missing(own, err)
}

func (v volume) Lstat(name string) (fs.FileInfo, error) {
	own, err := v.resolve("lstat", name)
	if err != nil {
		return nil, err
	}
	return v.FS.Lstat(own)
}

func (v volume) ReadLink(name string) (string, error) {
	own, err := v.resolve("readlink", name)
	if err != nil {
		return "", err
	}
	return v.FS.ReadLink(own)
}

func (v volume) FileReader(self fs.FS) fact.FileReader {
	if _, ok := self.(volume); !ok { // a type that embeds it
		return nil
	}
	return v
}

func (v volume) AppendFile(dst []byte, name string, max int64) ([]byte, error) {
	own, err := v.resolve("open", name)
	if err != nil {
		return dst, err
	}
	dst, err = v.FS.AppendFile(dst, own, max)
	return dst, v.missing(own, err)
}

func (v volume) AppendAttr(dst []byte, name string, max int64) ([]byte, error) {
	own, err := v.resolve("open", name)
	if err != nil {
		return dst, err
	}
	dst, err = v.FS.AppendAttr(dst, own, max)
	return dst, v.missing(own, err)
}
