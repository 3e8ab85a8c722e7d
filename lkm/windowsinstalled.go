// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"iter"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/kernelext/kernelext/windows"
)

// maxDriverFiles is how many files of a folder, or packages of the store, are listed.
const maxDriverFiles = 100_000

// installed yields what is registered, and the *.sys files of System32\drivers and of the driver
// store that nobody registered.
func (b *windowsBackend) installed(ctx context.Context, r *report) iter.Seq2[Module, error] {
	return func(yield func(Module, error) bool) {
		list, err := b.listInstalled(ctx, r)
		if err != nil {
			yield(Module{}, err)
			return
		}
		for _, m := range list {
			if !yield(m, nil) {
				return
			}
		}
	}
}

func (b *windowsBackend) listInstalled(ctx context.Context, r *report) ([]Module, error) {
	inv, err := b.inventory(ctx, r, false)
	if err != nil {
		return nil, err
	}
	if inv.Registered == nil && inv.Statuses == nil {
		return nil, errors.New("neither the registry nor the service manager could be read")
	}
	b.readPackages(inv, r)
	entries := inv.Join()
	for i := range entries {
		entries[i].Loaded, entries[i].Pending = false, ""
	}
	entries = b.addFiles(entries, inv, r)
	now, _ := b.clock(ctx)
	if b.image {
		now = time.Time{}
	}
	modules, err := b.modules(ctx, entries, inv, now, r)
	slices.SortStableFunc(modules, func(x, y Module) int {
		return cmp.Or(cmp.Compare(strings.ToLower(x.Path), strings.ToLower(y.Path)), cmp.Compare(x.ID, y.ID))
	})
	return modules, err
}

// sourceFolders is the source of the listing of driver files.
const sourceFolders = windows.SourceFolders

// addFiles adds an entry for each driver file that no service names. Of several files of one name in
// the store, or one that was copied to System32\drivers, only one is listed.
func (b *windowsBackend) addFiles(entries []windows.Entry, inv *windows.Inventory, r *report) []windows.Entry {
	known := make(map[string]bool, 2*len(entries)) // keys and paths
	for i := range entries {
		known[entries[i].Key] = true
		known[inv.Paths.FullKey(entries[i].OwnPath())] = true
	}
	root := inv.Paths.SystemRoot
	if root == "" {
		r.source(sourceFolders, OutcomeFailed, Count{}, ErrUnrecorded)
		return entries
	}
	n, outcome := 0, OutcomeOK
	drivers := root + `\System32\drivers`
	add := func(dir, name string) {
		dos := dir + `\` + name
		key, full := inv.Paths.Key(dos), inv.Paths.FullKey(dos)
		if !strings.EqualFold(path.Ext(name), ".sys") || known[full] || known[key] && dir != drivers || n == maxDriverFiles {
			return
		}
		if known[key] {
			key = full
		}
		known[key], known[full] = true, true
		n++
		entries = append(entries, windows.Entry{Key: key, Name: name, Path: dos, Driver: unnamed(inv)})
	}
	folders := []string{drivers}
	store := root + `\System32\DriverStore\FileRepository`
	packages, err := b.readFolder(inv.Paths, store)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, ErrUnrecorded):
	case err != nil:
		outcome = OutcomePartial
		r.problem(sourceFolders, store, "", err)
	}
	for _, e := range packages {
		if e.IsDir() && len(folders) < maxDriverFiles {
			folders = append(folders, store+`\`+e.Name())
		}
	}
	for _, dir := range folders {
		files, err := b.readFolder(inv.Paths, dir)
		if err != nil {
			outcome = OutcomePartial
			r.problem(sourceFolders, dir, "", err)
			continue
		}
		for _, f := range files {
			if !f.IsDir() {
				add(dir, f.Name())
			}
		}
	}
	r.source(sourceFolders, outcome, CountOf(int64(n)), nil)
	return entries
}

// unnamed is a driver that no service is seen to name; where the registry was not read, that says
// nothing.
func unnamed(inv *windows.Inventory) *windows.Driver {
	d := &windows.Driver{}
	if inv.Registered != nil {
		d.Services = []windows.Service{}
	}
	return d
}

func (b *windowsBackend) readFolder(p windows.Paths, dos string) ([]fs.DirEntry, error) {
	name, err := p.File(dos)
	if err != nil {
		return nil, err
	}
	return b.guard.ReadDir(name)
}

// readPackages adds the services that published INF files register to the packages of the store:
// an image is then linked with its package even without a device.
func (b *windowsBackend) readPackages(inv *windows.Inventory, r *report) {
	if !b.asked(DetailFiles) || inv.Paths.SystemRoot == "" {
		return
	}
	dir := inv.Paths.SystemRoot + `\INF`
	files, err := b.readFolder(inv.Paths, dir)
	if err != nil {
		if !errors.Is(err, ErrUnrecorded) && !errors.Is(err, fs.ErrNotExist) {
			r.problem(windows.SourceStore, dir, "", err)
		}
		return
	}
	b.readINFs(inv, dir, files, r)
}
