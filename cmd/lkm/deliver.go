// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// deliver writes text to standard output, or to the file that an argument names.
func (a *app) deliver(name string, text []byte) error {
	put := func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	}
	if name == "" || name == "-" {
		return put(a.stdout)
	}
	return a.writeFile(name, put)
}

// writeFile writes the file that an argument names. A regular file is replaced in one step when all is written, behind
// a link, too; it keeps its permissions. A device or a pipe is written to, as a shell does it for >.
func (a *app) writeFile(name string, write func(io.Writer) error) error {
	info, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Readlink(name); err == nil { // a link to a file that is still to be made
			return a.writeInto(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, write)
		}
		return replaceFile(name, nil, write)
	case err != nil:
		return err
	}
	if std := standard(info); std != nil { // /dev/stdout, say, which may be open for appending, or be a socket
		return errors.Join(a.stdout.Flush(), write(std))
	}
	if !info.Mode().IsRegular() {
		return a.writeInto(name, os.O_WRONLY, write)
	}
	target, err := filepath.EvalSymlinks(name)
	if err != nil { // a link of /proc to a file that has no name any more
		return a.writeInto(name, os.O_WRONLY|os.O_TRUNC, write)
	}
	return replaceFile(target, info, write)
}

// standard returns the standard stream of this process that a file is; nil if it is neither.
func standard(info fs.FileInfo) *os.File {
	for _, f := range []*os.File{os.Stdout, os.Stderr} {
		if open, err := f.Stat(); err == nil && os.SameFile(info, open) {
			return f
		}
	}
	return nil
}

// writeInto writes to what is there. A pipe from which nobody reads is an error after a while.
func (a *app) writeInto(name string, flag int, write func(io.Writer) error) error {
	var f *os.File
	info, err := os.Stat(name)
	if err == nil && info.Mode()&fs.ModeNamedPipe != 0 {
		f, err = openPipe(a.ctx, name, flag, a.wait)
	} else {
		f, err = os.OpenFile(name, flag, 0o644)
	}
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}

// replaceFile writes a file beside the one of that name, and gives it the name when all is written. It has the
// permissions and, where that is allowed, the owner of old, the file that it replaces; everybody may read a new one. A
// file that may be written and not replaced, as where something is mounted on it, is written in its place. On a full
// disk the old file stays as it is.
func replaceFile(name string, old fs.FileInfo, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".lkm-*")
	if err != nil {
		if old == nil || noRoom(err) {
			return err
		}
		return overwrite(name, old, write)
	}
	defer os.Remove(f.Name()) // fails once it has the other name
	perm := fs.FileMode(0o644)
	if old != nil {
		if perm = old.Mode().Perm(); !keepOwner(f, old) {
			perm &^= 0o070 // those of another group
		}
	}
	if err := errors.Join(write(f), f.Chmod(perm), f.Close()); err != nil {
		return err
	}
	err = os.Rename(f.Name(), name)
	if err == nil || old == nil || noRoom(err) {
		return err
	}
	return overwrite(name, old, func(w io.Writer) error {
		written, err := os.Open(f.Name())
		if err != nil {
			return err
		}
		defer written.Close()
		_, err = io.Copy(w, written)
		return err
	})
}

// overwrite writes a file in its place. If something else has taken the name since old was looked at, as a link to
// another file, nothing is written.
func overwrite(name string, old fs.FileInfo, write func(io.Writer) error) error {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	now, err := f.Stat()
	switch {
	case err != nil:
	case !os.SameFile(old, now):
		err = notOpened(name, "another file has taken its place")
	default:
		err = f.Truncate(0)
	}
	if err == nil {
		err = write(f)
	}
	return errors.Join(err, f.Close())
}
