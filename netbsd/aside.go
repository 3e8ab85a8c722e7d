// SPDX-License-Identifier: Apache-2.0

package netbsd

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
)

// moduleFiles are the names of the modules in files, by the path of a file, and by its name in the module path: NAME of
// NAME/NAME.kmod. A module may have another name than its file.
type moduleFiles map[string][]string

// filesOf returns the files of modules.
func filesOf(modules []Record) moduleFiles {
	f := moduleFiles{}
	for _, m := range modules {
		f[m.Path] = append(f[m.Path], m.Name)
		file, ok := strings.CutSuffix(path.Base(m.Path), ".kmod")
		if ok && file == path.Base(path.Dir(m.Path)) {
			f[file] = append(f[file], m.Name)
		}
	}
	return f
}

// missing returns the paths that lines name and that are not among the files, each once.
func (f moduleFiles) missing(lists ...[]confLine) []string {
	var out []string
	seen := map[string]bool{"": true}
	for _, lines := range lists {
		for _, l := range lines {
			if !seen[l.path] && f[l.path] == nil && f[l.module] == nil {
				seen[l.path] = true
				out = append(out, l.path)
			}
		}
	}
	return out
}

// maxAside is how many files outside of the module path are read.
const maxAside = 256

// readAside returns the modules in files outside of the module path. A file that does not exist is passed over, as the
// system does. The error says that something could not be read, or is invalid.
func (k *Kernel) readAside(ctx context.Context, paths []string, r *fact.Report) ([]Record, error) {
	own := r.Part() // the list of those in the module path is done
	paths, err := limit.Most(paths, maxAside, "modules outside of the module path")
	if err != nil {
		own.Problem(SourceModulePath, "", "modules", err)
	}
	var out []Record
	for _, p := range paths {
		if err := ctx.Err(); err != nil {
			return out, err
		}
		list, err := readMetadata(k.machine, p[1:], k.options.FileCap(), p, own)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			own.Problem(SourceModulePath, p, "modules", err)
		}
		for i := range list {
			out = append(out, fileRecord(&list[i], p))
		}
	}
	for _, p := range own.Problems {
		r.Add(p)
	}
	if p, ok := own.First(SourceModulePath); ok {
		return out, p
	}
	return out, nil
}
