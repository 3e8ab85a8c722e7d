// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"io/fs"

	"github.com/kernelext/kernelext/fact"
)

// Regular returns a caller's file system, of which folders and regular files alone are opened: to open a pipe waits
// for its other side, and to open a device may do something. Links lead where they lead for the caller, unlike those
// of a machine's root (see Of). A file system that does not say what a file is without opening it is returned as it
// is, as is one of this library's own, which has its own way.
func Regular(fsys fs.FS) fs.FS {
	stat, ok := fsys.(fs.StatFS)
	if _, own := fsys.(fact.Accelerated); own || !ok {
		return fsys
	}
	return regular{stat}
}

type regular struct{ fs.StatFS }

func (r regular) Open(name string) (fs.File, error) {
	info, err := r.Stat(name)
	if err == nil {
		err = notSpecial(info)
	}
	if err != nil {
		return nil, pathError("open", name, err)
	}
	return r.StatFS.Open(name)
}

func (r regular) ReadDir(name string) ([]fs.DirEntry, error) { return fs.ReadDir(r.StatFS, name) }
func (r regular) ReadLink(name string) (string, error)       { return fs.ReadLink(r.StatFS, name) }
func (r regular) Lstat(name string) (fs.FileInfo, error)     { return fs.Lstat(r.StatFS, name) }
