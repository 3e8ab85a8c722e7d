// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"strings"

	"github.com/kernelext/kernelext/fact"
)

// linkStaged links the files of the store whose package the database of packages does not have with what their INF
// says of it.
func (k *Kernel) linkStaged(ctx context.Context, f *fileList, r *fact.Report) {
	if !k.options.Asks(fact.DetailFiles) {
		return
	}
	type read struct {
		pack Package
		err  error
	}
	known := map[string]read{}
	for i := range f.entries {
		e := &f.entries[i]
		if _, ok := f.packages[fold(e.Store)]; ok || e.Store == "" || len(e.Driver.Packages) >= maxPackages {
			continue
		}
		p, ok := known[e.Store]
		if !ok {
			staged, err := k.staged(ctx, f.inv, e.Store, r)
			if p.err = err; err == nil {
				p.pack, p.err = staged.asPackage()
			}
			known[e.Store] = p
		}
		if p.pack.Name != "" {
			e.Driver.Packages = append(e.Driver.Packages, p.pack)
		}
		if p.err != nil && !errors.Is(p.err, fs.ErrNotExist) && !unasked(p.err) {
			e.Problems = append(e.Problems, fact.ProblemOf(SourceStore, safe(e.Path), "packages", p.err))
		}
	}
}

// asPackage returns what the INF says of the package. The error says why it is not known whether Windows knows it.
func (p *stagedPackage) asPackage() (Package, error) {
	pack := p.inf.asPackage(p.published)
	pack.Name, pack.OriginalINF = p.folder, baseName(p.path)
	for _, s := range p.inf.Services {
		pack.Services = append(pack.Services, s.Name)
	}
	ids := p.ids()
	pack.HardwareIDs = ids[:min(len(ids), maxTriggers)]
	if p.unsure != "" {
		return pack, errors.New(p.unsure)
	}
	return pack, nil
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
		b, item, err := k.readSmall(paths, x.dir+`\`+name, r)
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
