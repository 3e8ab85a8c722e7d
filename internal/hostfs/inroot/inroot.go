// SPDX-License-Identifier: Apache-2.0

// Package inroot opens files below a directory as if that were the root: absolute symbolic links
// and ".." stay below it. It asks the kernel to resolve the whole path in one call (openat2 with
// RESOLVE_IN_ROOT, Linux 5.6), which nothing that happens to the tree meanwhile can lead outside.
// Where the kernel has no such call [Of] returns nil.
package inroot

import (
	"io/fs"
	"os"
	"syscall"
)

// A Root is a directory that paths are resolved below. It is safe for concurrent use, Close included: a call that is
// running keeps the descriptor, and a later call returns an error that matches fs.ErrClosed.
type Root struct {
	dir  *os.File
	conn syscall.RawConn
}

// Of returns the Root at dir, which it then owns. It returns nil when the kernel does not have the call, or does not
// let this process use it: dir is then still the caller's.
func Of(dir *os.File) *Root { return rootOf(dir) }

// Close releases the directory. Files that were opened stay open.
func (r *Root) Close() error { return r.dir.Close() }

// Open opens a file for reading, without waiting for a FIFO's or a device's other side.
func (r *Root) Open(name string) (*os.File, error) { return r.open(name) }

// Stat describes a file; a link at the end of the path is followed only when follow is set.
func (r *Root) Stat(name string, follow bool) (fs.FileInfo, error) { return r.stat(name, follow) }

// ReadLink returns where the link at the end of the path leads to.
func (r *Root) ReadLink(name string) (string, error) { return r.readLink(name) }

// OpenFile opens a regular file for reading. It does not open anything else: the file is then nil. It implements
// io.ReaderAt and io.Seeker, and is safe for concurrent use, Close included.
func (r *Root) OpenFile(name string) (fs.File, error) { return r.openFile(name) }

// OpenRegular is OpenFile for what reads the file's descriptor itself, which is -1 for anything else.
func (r *Root) OpenRegular(name string) (fd int, err error) { return r.openRegular(name) }

// OpenFolder opens a directory for reading. It does not open anything else, and returns an error for it.
func (r *Root) OpenFolder(name string) (*os.File, error) { return r.openFolder(name) }

// OpenDir holds a directory below the root open, so that its files are found in fewer steps.
func (r *Root) OpenDir(name string) (*Dir, error) { return r.openDir(name) }

// A Dir is a directory below a Root. It is not for concurrent use.
type Dir struct{ fd int }

// OpenRegular is that of the Root for an entry of the directory, which is no path. The descriptor is -1 for a symbolic
// link, too.
func (d *Dir) OpenRegular(entry string) (fd int, err error) { return d.openRegular(entry) }

// Close releases the directory. Files that were opened stay open.
func (d *Dir) Close() { d.close() }
