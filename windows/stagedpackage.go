// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
)

// A described package is what describeStaged found out once for all files of a folder.
type described struct {
	pack Package
	err  error
}

// describeStaged adds what the INF in the store says to the files of the store whose package waits for a device, or is
// not in the database of packages. It costs an INF for each such package: only where files are read.
func (k *Kernel) describeStaged(ctx context.Context, f *fileList, r *fact.Report) {
	if !k.options.Asks(fact.DetailFiles) {
		return
	}
	folders := map[string]described{}
	for i := range f.entries {
		e := &f.entries[i]
		known := slices.IndexFunc(e.Driver.Packages, func(p Package) bool { return strings.EqualFold(p.Name, e.Store) })
		if e.Store == "" || known >= 0 && !e.Staged {
			continue
		}
		d, ok := folders[e.Store]
		if !ok {
			d = k.describe(ctx, f.inv, e.Store, r)
			folders[e.Store] = d
		}
		switch {
		case d.pack.Name == "":
		case known >= 0:
			e.Driver.Packages[known].HardwareIDs = d.pack.HardwareIDs
		case len(e.Driver.Packages) < maxPackages:
			e.Driver.Packages = append(e.Driver.Packages, d.pack)
		}
		if d.err != nil {
			e.Problems = append(e.Problems, fact.ProblemOf(SourceStore, safe(e.Path), "packages", d.err))
		}
	}
}

// describe returns a package of the store by its INF. Without an INF its name is empty.
func (k *Kernel) describe(ctx context.Context, inv *inventory, folder string, r *fact.Report) described {
	p, err := k.staged(ctx, inv, folder, r)
	switch {
	case errors.Is(err, fs.ErrNotExist), err != nil && unasked(err):
		return described{}
	case err != nil:
		return described{err: err}
	}
	return p.asPackage()
}

// asPackage returns what the INF says of the package. The error says why it is not known whether Windows knows it.
func (p *stagedPackage) asPackage() described {
	pack := p.inf.asPackage(p.published)
	pack.Name, pack.OriginalINF = p.folder, baseName(p.path)
	for _, s := range p.inf.Services {
		pack.Services = append(pack.Services, s.Name)
	}
	ids := p.ids()
	pack.HardwareIDs = ids[:min(len(ids), maxTriggers)]
	d := described{pack: pack}
	switch {
	case p.unsure != "":
		d.err = errors.New(p.unsure)
	case p.inf.Cut:
		d.err = fmt.Errorf("%w: the ids of devices in the INF", fact.ErrTooLarge)
	}
	return d
}

// An infIndex finds the files below Windows\INF by what is in them. Each is read at most once.
type infIndex struct {
	dir      string
	bySize   map[int64][]string // names that are not read yet
	byDigest map[[sha256.Size]byte]string
	unread   map[int64]error // why a file of a size could not be read
	err      error           // of the folder
}

// readINFIndex lists the folder.
func (k *Kernel) readINFIndex(inv *inventory) *infIndex {
	x := &infIndex{dir: inv.Paths.SystemRoot + `\INF`, bySize: map[int64][]string{},
		byDigest: map[[sha256.Size]byte]string{}, unread: map[int64]error{}}
	files, err := k.readFolder(inv.Paths, x.dir)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			x.err = err
		}
		return x
	}
	for _, f := range files {
		if f.IsDir() || !strings.HasSuffix(fold(f.Name()), ".inf") {
			continue
		}
		info, err := f.Info()
		if err != nil {
			x.err = err
			continue
		}
		x.bySize[info.Size()] = append(x.bySize[info.Size()], f.Name())
	}
	return x
}

// named returns the name of the file that has the bytes of a package's INF; empty if none has.
func (x *infIndex) named(k *Kernel, paths ntPaths, raw []byte, r *fact.Report) (string, error) {
	size := int64(len(raw))
	for _, name := range x.bySize[size] {
		b, item, err := k.readSmall(paths, x.dir+`\`+name, maxINF, r)
		item.Done()
		if err != nil {
			x.unread[size] = err
			continue
		}
		if sum := sha256.Sum256(b); x.byDigest[sum] == "" {
			x.byDigest[sum] = name
		}
	}
	delete(x.bySize, size)
	if name := x.byDigest[sha256.Sum256(raw)]; name != "" {
		return name, nil
	}
	if err := x.unread[size]; err != nil {
		return "", err
	}
	return "", x.err
}
