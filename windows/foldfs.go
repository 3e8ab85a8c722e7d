// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"fmt"
	"io/fs"
	"path"
	"strings"
	"sync"
)

// A foldFS finds files of a Windows volume by name without regard to case, on a system that minds
// it. Its root is the drive: C:/Windows is Windows, or WINDOWS, at the volume's root. It is safe
// for concurrent use.
type foldFS struct {
	fsys  fs.FS
	drive string

	mu   sync.Mutex
	dirs map[string]map[string]string // directory → folded name → name
}

// maxFoldDirs is how many directories' names are kept.
const maxFoldDirs = 1024

// newFoldFS makes fsys, the root of a volume, appear as the given drive, such as "C:".
func newFoldFS(fsys fs.FS, drive string) *foldFS {
	return &foldFS{fsys: fsys, drive: drive, dirs: map[string]map[string]string{}}
}

// resolve returns the volume's own spelling of name. What does not exist is kept as it is, for the
// error of whoever opens it. A name of another drive is an error that does not match fs.ErrNotExist.
func (f *foldFS) resolve(name string) (string, error) {
	if !fs.ValidPath(name) {
		return "", fs.ErrInvalid
	}
	if name == "." {
		return ".", nil
	}
	drive, rest, _ := strings.Cut(name, "/")
	if !strings.EqualFold(drive, f.drive) { // whether it is on another volume is not known
		return "", fmt.Errorf("the image has drive %s alone, not %s", f.drive, drive)
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

// spelling returns the directory's own spelling of a name. A name that was not there when the
// directory was listed is looked for again.
func (f *foldFS) spelling(dir, part string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if own, ok := f.dirs[dir][fold(part)]; ok {
		return own
	}
	names, err := f.list(dir, part)
	if err != nil {
		return part
	}
	if len(f.dirs) >= maxFoldDirs {
		clear(f.dirs)
	}
	f.dirs[dir] = names
	if own, ok := names[fold(part)]; ok {
		return own
	}
	return part
}

// list reads a directory's names; an exact name wins over one that differs in case.
func (f *foldFS) list(dir, exact string) (map[string]string, error) {
	entries, err := fs.ReadDir(f.fsys, dir)
	if err != nil && len(entries) == 0 {
		return nil, err
	}
	names := make(map[string]string, len(entries))
	for _, e := range entries {
		if own := fold(e.Name()); names[own] != exact {
			names[own] = e.Name()
		}
	}
	return names, nil
}
