// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"io/fs"
	"path"
	"reflect"
	"strconv"
	"strings"
)

// SysStat returns the structure with the system's information about a file; false if the file system has no such
// structure.
func SysStat(info fs.FileInfo) (reflect.Value, bool) {
	if info == nil {
		return reflect.Value{}, false
	}
	sys := reflect.ValueOf(info.Sys())
	if sys.Kind() == reflect.Pointer {
		sys = sys.Elem()
	}
	return sys, sys.Kind() == reflect.Struct
}

// StatNumber returns an integer field of that structure; 0 if it is missing.
func StatNumber(v reflect.Value, field string) uint64 {
	f := v.FieldByName(field)
	switch {
	case !f.IsValid():
		return 0
	case f.CanUint():
		return f.Uint()
	case f.CanInt():
		return uint64(f.Int())
	}
	return 0
}

// maxLinks is how many symbolic links a kernel follows for one name.
const maxLinks = 40

// FileID returns an identification of the file of that name, the same for all of its names: its device and inode, else
// its path with links followed.
func FileID(fsys fs.FS, name string, info fs.FileInfo) string {
	if sys, ok := SysStat(info); ok {
		if inode := StatNumber(sys, "Ino"); inode != 0 {
			return strconv.FormatUint(StatNumber(sys, "Dev"), 16) + ":" + strconv.FormatUint(inode, 16)
		}
	}
	done, rest := "", name
	for links := 0; rest != "" && links <= maxLinks; {
		first, more, _ := strings.Cut(rest, "/")
		next := path.Join(done, first)
		target, err := fs.ReadLink(fsys, next)
		if err != nil { // no link
			done, rest = next, more
			continue
		}
		if links++; !path.IsAbs(target) {
			target = path.Join("/", done, target)
		}
		done, rest = "", strings.Trim(path.Join(target, more), "/")
	}
	return path.Join(done, rest)
}
