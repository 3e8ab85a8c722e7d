// SPDX-License-Identifier: Apache-2.0

package netbsd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"github.com/kernelext/kernelext/fact"
)

// A DiskFile is one .kmod file below a module path.
type DiskFile struct {
	// Path is where it lies, with a leading "/".
	Path string
	// Modules are the modules that it declares; nil when it could not be read.
	Modules []Metadata
	// Problems are the records of it that make no sense.
	Problems []fact.Problem
	// Err is why it could not be read; nil when it was.
	Err error
}

// maxDirEntries is how many modules one module path may hold.
const maxDirEntries = 64 << 10

// ReadDisk reads the modules below the directory dir: NAME/NAME.kmod for each NAME, sorted. A file
// that cannot be read costs itself; the error is that of reading the directory.
func ReadDisk(ctx context.Context, fsys fs.ReadDirFS, dir string, max int64) ([]DiskFile, error) {
	root := path.Clean("/" + dir)
	entries, err := fsys.ReadDir(root[1:])
	if err != nil {
		return nil, err
	}
	if len(entries) > maxDirEntries {
		return nil, fmt.Errorf("%s: %w: %d entries", root, fact.ErrTooLarge, len(entries))
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	slices.Sort(names)
	out := []DiskFile{}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		f := DiskFile{Path: root + "/" + name + "/" + name + ".kmod"}
		f.Modules, f.Problems, f.Err = ReadMetadata(fsys, f.Path[1:], max)
		if errors.Is(f.Err, fs.ErrNotExist) {
			continue // a directory of something else
		}
		out = append(out, f)
	}
	return out, nil
}
