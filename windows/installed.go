// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/lazy"
	"github.com/kernelext/kernelext/internal/limit"
)

const (
	// maxDriverFiles is how many files of a folder, or packages of the store, are listed.
	maxDriverFiles = 100_000
	// maxINF is the largest INF file that is read, in bytes.
	maxINF = 8 << 20
)

// Installed yields what is registered, and the *.sys files of System32\drivers and of the driver store that no
// service names.
func (k *Kernel) Installed(ctx context.Context, r *fact.Report) iter.Seq2[Record, error] {
	return lazy.Seq(func() ([]Record, error) { return k.installed(ctx, r) })
}

func (k *Kernel) installed(ctx context.Context, r *fact.Report) ([]Record, error) {
	inv, err := k.inventory(ctx, false, r)
	if err != nil {
		return nil, err
	}
	if inv.Registered == nil && inv.Statuses == nil && !k.options.Image { // an image has its folders all the same
		p, _ := r.First(SourceRegistry)
		return nil, fmt.Errorf("neither the registry nor the service manager could be read: %w", p)
	}
	k.readINFs(inv, r)
	entries := inv.join()
	for i := range entries {
		entries[i].Loaded, entries[i].Pending = false, ""
	}
	entries = k.addFiles(ctx, entries, inv, r)
	list, err := k.records(ctx, fact.ScopeInstalled, entries, inv, k.now(ctx), r)
	slices.SortStableFunc(list, func(x, y Record) int {
		return cmp.Or(cmp.Compare(strings.ToLower(x.Path), strings.ToLower(y.Path)), cmp.Compare(x.ID, y.ID))
	})
	return list, err
}

// unnamed returns an entry of a file that no service is seen to name. If the registry was not read, that says
// nothing.
func (inv *inventory) unnamed(key, name, dos string) entry {
	e := newEntry(key, name, dos)
	if inv.Registered != nil {
		e.Driver.Services = []Service{}
	}
	return e
}

func (k *Kernel) readFolder(p ntPaths, dos string) ([]fs.DirEntry, error) {
	if len(dos) == len("C:") {
		dos += `\`
	}
	name, err := p.file(dos)
	if err != nil {
		return nil, err
	}
	return k.machine.ReadDir(name)
}

// readINFs reads the published INF files (oemNN.inf) and adds what they say to the packages of the store: an image is
// then linked with its package even without a device. A package that the store does not list is added.
func (k *Kernel) readINFs(inv *inventory, r *fact.Report) {
	if !k.options.Asks(fact.DetailFiles) || inv.Paths.SystemRoot == "" {
		return
	}
	dir := inv.Paths.SystemRoot + `\INF`
	files, err := k.readFolder(inv.Paths, dir)
	if err != nil {
		if !errors.Is(err, fact.ErrUnrecorded) && !errors.Is(err, fs.ErrNotExist) {
			r.Problem(SourceStore, dir, "", err)
		}
		return
	}
	byINF := make(map[string]int)
	for i, p := range inv.Packages {
		byINF[strings.ToLower(p.INF)] = i
	}
	for _, f := range files {
		if f.IsDir() || !isOEMInf(f.Name()) {
			continue
		}
		inf, err := k.readINF(inv.Paths, dir+`\`+f.Name(), r)
		if err != nil {
			r.Problem(SourceStore, f.Name(), "packages", err)
			continue
		}
		i, ok := byINF[strings.ToLower(f.Name())]
		if !ok {
			i = len(inv.Packages)
			inv.Packages = append(inv.Packages, inf.asPackage(f.Name()))
		}
		for _, s := range inf.Services {
			inv.Packages[i].Services = append(inv.Packages[i].Services, s.Name)
		}
	}
}

func (inf *inf) asPackage(name string) Package {
	return Package{
		Name: name, INF: name, Class: inf.Class, ClassGUID: inf.ClassGUID, Provider: inf.Provider, Date: inf.Date,
		Version: inf.Version,
	}
}

func (k *Kernel) readINF(p ntPaths, dos string, r *fact.Report) (*inf, error) {
	name, err := p.file(dos)
	if err != nil {
		return nil, err
	}
	raw, item, err := limit.ReadItem(k.machine, name, maxINF, r.Budget)
	defer item.Done()
	if err != nil {
		return nil, err
	}
	return parseINF(raw, item)
}
