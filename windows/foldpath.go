// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"errors"
	"io/fs"
	"path"
	"strings"
	"sync"
)

// A FoldFS finds files of a Windows volume by name without regard to case, on a system that minds
// it. Its root is the drive: C:/Windows is Windows, or WINDOWS, at the volume's root. It is safe
// for concurrent use.
type FoldFS struct {
	fsys  fs.FS
	drive string

	mu   sync.Mutex
	dirs map[string]map[string]string // directory → folded name → name
}

// maxFoldDirs is how many directories' names are kept.
const maxFoldDirs = 1024

// NewFoldFS makes fsys, the root of a volume, appear as the given drive, such as "C:".
func NewFoldFS(fsys fs.FS, drive string) *FoldFS {
	return &FoldFS{fsys: fsys, drive: drive, dirs: map[string]map[string]string{}}
}

// Resolve returns the volume's own spelling of name. What does not exist is kept as it is, for the
// error of whoever opens it.
func (f *FoldFS) Resolve(name string) (string, error) {
	if !fs.ValidPath(name) {
		return "", fs.ErrInvalid
	}
	if name == "." {
		return ".", nil
	}
	drive, rest, _ := strings.Cut(name, "/")
	if !strings.EqualFold(drive, f.drive) {
		return "", fs.ErrNotExist
	}
	if rest == "" {
		return ".", nil
	}
	at := "."
	for part := range strings.SplitSeq(rest, "/") {
		at = path.Join(at, f.spelling(at, part))
	}
	return at, nil
}

func (f *FoldFS) spelling(dir, part string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	names, ok := f.dirs[dir]
	if !ok {
		entries, err := fs.ReadDir(f.fsys, dir)
		if err != nil && !errors.Is(err, fs.ErrPermission) && len(entries) == 0 {
			return part
		}
		names = make(map[string]string, len(entries))
		for _, e := range entries {
			names[fold(e.Name())] = e.Name()
		}
		for _, e := range entries { // an exact name wins over one that differs in case
			if e.Name() == part {
				names[fold(part)] = part
			}
		}
		if len(f.dirs) >= maxFoldDirs {
			clear(f.dirs)
		}
		f.dirs[dir] = names
	}
	if own, ok := names[fold(part)]; ok {
		return own
	}
	return part
}
