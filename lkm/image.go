// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/hostfs"
	"github.com/kernelext/kernelext/internal/limit"
)

// Dir returns a directory as the root of an image, for OpenImage: a mounted disk, the root of a container. Symbolic
// links in it lead within it, absolute ones too, and never out of it. The error is that of opening the directory. The
// result implements fs.ReadLinkFS and io.Closer; it closes itself when nobody uses it any more.
func Dir(path string) (fs.FS, error) {
	root, err := hostfs.Mounted(path)
	if err != nil {
		return nil, fmt.Errorf("lkm: open: %w", err)
	}
	return root, nil
}

// OpenImage returns the System of a machine that does not run: its files alone, of any system on any system. fsys is
// the machine's root: a directory (see Dir), a zip file, a test's fstest.MapFS; on Windows it is the volume with the
// folder Windows. It must be safe for concurrent use, and is not closed by Close. Symbolic links are followed within
// it if it implements fs.ReadLinkFS. If fsys is a Machine, such as a tape, its files are asked as a Machine's are, and
// no call is made.
//
// Options.OS says which system it is; if it is empty, the system is detected by several marks; if that fails, the error
// matches errors.ErrUnsupported. If fsys has a method Name() string, as that of Dir, error texts and Snapshot.Root say
// it.
func OpenImage(fsys fs.FS, o Options) (*System, error) {
	os := o.OS
	if os == "" {
		if os = detectOS(fsys); os == "" {
			return nil, fmt.Errorf("lkm: open: %w", errUnknownRoot(fsys))
		}
	}
	r, err := rowOf(os)
	if err != nil {
		return nil, fmt.Errorf("lkm: open: %w", err)
	}
	return r.system(r.image(fsys), machineOf{image: true, root: nameOf(fsys)}, o)
}

// nameOf returns what a file system says that it is called.
func nameOf(fsys fs.FS) string {
	if named, ok := fsys.(interface{ Name() string }); ok {
		return named.Name()
	}
	return ""
}

// image returns the machine of an image of the row's system.
func (r *row) image(fsys fs.FS) Machine {
	if m, ok := fsys.(Machine); ok {
		return image{m, r.os}
	}
	root := hostfs.Of(fsys)
	if r.root != nil {
		root = r.root(root)
	}
	return image{&liveMachine{FS: root, call: noCall}, r.os}
}

// An image is a machine that runs no kernel. What its proc and sys directories hold, should they hold anything, is
// another machine's.
type image struct {
	files Machine
	os    OS
}

func (i image) refuse(op, name string) error {
	top, _, _ := strings.Cut(name, "/")
	if i.os != Linux || (top != "proc" && top != "sys") {
		return nil
	}
	return &fs.PathError{Op: op, Path: name, Err: fmt.Errorf("an image has no running kernel: %w",
		errors.ErrUnsupported)}
}

func (i image) Open(name string) (fs.File, error) {
	if err := i.refuse("open", name); err != nil {
		return nil, err
	}
	return i.files.Open(name)
}

func (i image) ReadDir(name string) ([]fs.DirEntry, error) {
	if err := i.refuse("readdir", name); err != nil {
		return nil, err
	}
	return i.files.ReadDir(name)
}

func (i image) Stat(name string) (fs.FileInfo, error) {
	if err := i.refuse("stat", name); err != nil {
		return nil, err
	}
	return fs.Stat(i.files, name)
}

func (i image) Lstat(name string) (fs.FileInfo, error) {
	if err := i.refuse("lstat", name); err != nil {
		return nil, err
	}
	return i.files.Lstat(name)
}

func (i image) ReadLink(name string) (string, error) {
	if err := i.refuse("readlink", name); err != nil {
		return "", err
	}
	return i.files.ReadLink(name)
}

// FileReader implements [fact.Accelerated].
func (i image) FileReader(self fs.FS) fact.FileReader {
	if _, ok := self.(image); !ok { // a type that embeds it
		return nil
	}
	return i
}

func (i image) AppendFile(dst []byte, name string, max int64) ([]byte, error) {
	if err := i.refuse("open", name); err != nil {
		return dst, err
	}
	return limit.AppendFile(i.files, dst, name, max)
}

func (i image) AppendAttr(dst []byte, name string, max int64) ([]byte, error) {
	if err := i.refuse("open", name); err != nil {
		return dst, err
	}
	return limit.AppendAttr(i.files, dst, name, max)
}

// Call answers nothing: an image runs no kernel.
func (i image) Call(ctx context.Context, op string, args ...string) ([]byte, error) {
	return noCall(ctx, op, args...)
}

// Redacted reports whether something was taken out of a recorded image.
func (i image) Redacted(key string) bool { return fact.IsRedacted(i.files, key) }
