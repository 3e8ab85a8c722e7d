// SPDX-License-Identifier: Apache-2.0

package netbsd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/lazy"
)

// maxDirEntries is how many modules one module path may hold.
const maxDirEntries = 64 << 10

// Installed yields the modules below the directory that the running kernel loads from, of an image those of every
// release on disk unless one was chosen, sorted by path.
func (k *Kernel) Installed(ctx context.Context, r *fact.Report) iter.Seq2[Record, error] {
	return lazy.Seq(func() ([]Record, error) { return k.installed(ctx, r) })
}

func (k *Kernel) installed(ctx context.Context, r *fact.Report) ([]Record, error) {
	dirs, err := k.dirs(ctx, r)
	if err != nil {
		return nil, err
	}
	modules := []Record{}
	for _, dir := range dirs {
		list, err := readDisk(ctx, k.machine, dir, k.options.FileCap(), r)
		if err != nil {
			return nil, err
		}
		if len(list) == 0 && k.options.Image { // the file system of the modules may be another one
			r.Problem(SourceModulePath, "", "modules", fmt.Errorf("%s has no module: "+
				"its modules are on another disk, or were removed: %w", dir, fs.ErrNotExist))
		}
		modules = append(modules, list...)
	}
	r.Done(SourceModulePath, fact.CountOf(int64(len(modules))))
	return modules, nil
}

// readDisk returns the modules in the files below the directory dir: NAME/NAME.kmod for each NAME, sorted. max is the
// largest file that is read, in bytes. A file that cannot be read costs itself, which is reported; the error is that
// of reading the directory.
func readDisk(ctx context.Context, fsys fs.ReadDirFS, dir string, max int64, r *fact.Report) ([]Record, error) {
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
		if mayBeDir(e) {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	out := []Record{}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		file := root + "/" + name + "/" + name + ".kmod"
		list, err := readMetadata(fsys, file[1:], max, file, r)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a directory of something else
		}
		if err != nil {
			r.Problem(SourceModulePath, file, "modules", err)
		}
		for i := range list {
			out = append(out, fileRecord(&list[i], file))
		}
	}
	return out, nil
}

// ReadFile reads a module's file by itself, within r's budget. ok is false for a file that is not of NetBSD. head is
// the file's beginning, nil for a folder.
func ReadFile(
	_ context.Context, fsys fs.FS, name string, head []byte, o fact.Options, r *fact.Report,
) (m []Record, ok bool, err error) {
	if !strings.HasPrefix(string(head), "\x7fELF") {
		return nil, false, nil
	}
	own := r.Part() // its problems are the first record's
	list, err := readMetadata(fsys, name, o.FileCap(), "", own)
	if errors.Is(err, fact.ErrBudget) {
		return nil, true, err
	}
	if err != nil || len(list) == 0 {
		return nil, false, nil // whoever else may know it says what is wrong with it
	}
	for i := range list {
		m = append(m, fileRecord(&list[i], name))
	}
	m[0].Problems = own.Problems
	return m, true, nil
}
