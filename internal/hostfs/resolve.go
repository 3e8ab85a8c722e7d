// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/sentinel"
)

const (
	maxHops     = 40   // symbolic links that one path may lead through, as in the Linux kernel
	maxElements = 1024 // elements of one path with those of its links; a path that is not an attack has some twenty
)

// links are what a path is resolved through: one element at a time, none of which is followed.
type links interface {
	Lstat(name string) (fs.FileInfo, error)
	ReadLink(name string) (string, error)
}

// rootLinks are those of a root.
type rootLinks struct{ *os.Root }

func (r rootLinks) ReadLink(name string) (string, error) { return r.Readlink(name) }

// resolve returns the path without links that name leads to; a link at its end is followed only when follow is set.
// It walks as the kernel does (path_resolution(7)): an element before another, or before a "/" at the end, must be a
// directory that exists, and ".." leads up from the directory that was reached, not from the text before it. The last
// element may not exist, for the caller's own error.
func resolve(l links, op, name string, follow bool) (string, error) {
	if !fs.ValidPath(name) {
		return "", &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	done, rest, hops := ".", name, 0
	for elements := 0; rest != ""; elements++ {
		if elements == maxElements {
			return "", tooLong(op, name, maxElements, "elements")
		}
		elem, tail, more := strings.Cut(rest, "/")
		rest = tail
		if elem == "" || elem == "." {
			continue
		}
		if elem == ".." {
			done = path.Dir(done) // done is a directory without links
			continue
		}
		next := path.Join(done, elem)
		if !more && !follow {
			return next, nil
		}
		target, err := step(l, next, more)
		if err != nil {
			return "", pathError(op, name, err)
		}
		if target == "" {
			done = next
			continue
		}
		if hops++; hops > maxHops {
			return "", tooLong(op, name, maxHops, "symbolic links")
		}
		if strings.HasPrefix(target, "/") {
			done = "."
		}
		if rest = target; more {
			rest += "/" + tail
		}
	}
	return done, nil
}

func tooLong(op, name string, most int, what string) error {
	return &fs.PathError{Op: op, Path: name, Err: fmt.Errorf("%w: more than %d %s", fact.ErrMalformed, most, what)}
}

// step returns the target of the link p; "" if p is not a link. It returns an error if p must be a directory and is not
// one, or if p cannot be examined and more of the path follows.
func step(l links, p string, directory bool) (string, error) {
	info, err := l.Lstat(p)
	switch {
	case err != nil && directory:
		return "", err
	case err != nil:
		return "", nil // the caller's call will say
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := l.ReadLink(p)
		if err == nil && target == "" {
			err = fs.ErrNotExist
		}
		return target, err
	case directory && !info.IsDir():
		return "", errNotDirectory
	}
	return "", nil
}

// errNotDirectory is what meaning makes of ENOTDIR.
var errNotDirectory error = &sentinel.Error{Before: "not a directory", Cause: fs.ErrNotExist}
