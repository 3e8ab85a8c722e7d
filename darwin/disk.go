// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
)

// A Disk is what is on disk of the extensions: bundles, kernel collections, system extensions.
type Disk struct {
	// Bundles are by bundle id; of several with one id, that of the highest version is first, as
	// the system chooses. A bundle that could not be read is not here.
	Bundles map[string][]Bundle
	// BadBundles could not be read; their Problems say why.
	BadBundles []Bundle
	// Collections are in the order of FindCollections; compressed ones have no members.
	Collections []Collection
	// Members are by bundle id.
	Members map[string][]Membership
	// Extensions are the system extensions by bundle id, the one in force first.
	Extensions map[string][]SystemExtension
	// Views says of the sources bundles, collections and system_extensions whether they were read
	// whole: seen (read), unchecked (not, or not whole).
	Views map[string]fact.View
	// Errors are why a source was not read, by its name.
	Errors map[string]error
	// Problems are what was lost of sources; those of one bundle are with it.
	Problems []fact.Problem
}

// A DiskReader says what to read of a machine's disk.
type DiskReader struct {
	BundleReader
	// Personalities keeps the personalities of members of collections.
	Personalities bool
}

// Read reads it all. Only the end of ctx makes it stop early, which Problems then say.
func (r DiskReader) Read(ctx context.Context) *Disk {
	d := &Disk{
		Bundles: map[string][]Bundle{}, Members: map[string][]Membership{}, Extensions: map[string][]SystemExtension{},
		Views:  map[string]fact.View{SourceBundles: fact.ViewSeen, SourceCollections: fact.ViewSeen, SourceSysExt: fact.ViewSeen},
		Errors: map[string]error{},
	}
	r.readBundles(ctx, d)
	r.readCollections(ctx, d)
	r.readSystemExtensions(d)
	return d
}

func (d *Disk) lose(source string, problems ...fact.Problem) {
	if len(problems) > 0 {
		d.Views[source] = fact.ViewUnchecked
		d.Problems = append(d.Problems, problems...)
	}
}

func (r DiskReader) readBundles(ctx context.Context, d *Disk) {
	for b := range r.Bundles(ctx) {
		switch {
		case b.Path == "":
			d.lose(SourceBundles, b.Problems...)
		case b.Identifier == "":
			if len(b.Problems) == 0 {
				b.Problems = []fact.Problem{fact.ProblemOf(SourceBundles, b.Path, "bundle.identifier", &fact.ParseError{Source: b.Path, Field: "CFBundleIdentifier", Reason: "there is none"})}
			}
			d.BadBundles = append(d.BadBundles, b)
			d.Views[SourceBundles] = fact.ViewUnchecked
		default:
			d.Bundles[b.Identifier] = append(d.Bundles[b.Identifier], b)
		}
	}
	for _, list := range d.Bundles {
		slices.SortStableFunc(list, func(a, b Bundle) int {
			return cmp.Or(cmp.Compare(rank(a.Path), rank(b.Path)), -CompareVersions(a.Version, b.Version))
		})
	}
	if len(d.Bundles) == 0 && d.Views[SourceBundles] == fact.ViewSeen {
		if err := noFolder(r.FS); err != nil {
			d.Views[SourceBundles] = fact.ViewUnchecked
			d.Errors[SourceBundles] = err
		}
	}
}

// rank puts staged copies behind what they are copies of.
func rank(name string) int {
	if strings.HasPrefix(name, "/Library/StagedExtensions/") {
		return 1
	}
	return 0
}

// noFolder returns why no folder of extensions can be read; nil when one is there.
func noFolder(fsys fs.FS) error {
	var first error
	for _, dir := range extensionFolders {
		_, err := fs.Stat(fsys, dir)
		if err == nil {
			return nil
		}
		if first == nil {
			first = err
		}
	}
	return first
}

func (r DiskReader) readCollections(ctx context.Context, d *Disk) {
	files, problems := FindCollections(r.FS)
	d.lose(SourceCollections, problems...)
	reader := CollectionReader{Architecture: r.Architecture, Personalities: r.Personalities}
	for _, name := range files {
		if err := ctx.Err(); err != nil {
			d.lose(SourceCollections, fact.ProblemOf(SourceCollections, "/"+name, "", fmt.Errorf("%w: %w", fact.ErrBudget, err)))
			break
		}
		c, problems, err := reader.OpenCollection(r.FS, name)
		if err != nil {
			d.lose(SourceCollections, fact.ProblemOf(SourceCollections, "/"+name, "", err))
		}
		d.Problems = append(d.Problems, problems...)
		d.Collections = append(d.Collections, c)
	}
	if len(files) == 0 && len(problems) == 0 {
		d.Views[SourceCollections] = fact.ViewUnchecked
		d.Errors[SourceCollections] = fmt.Errorf("kernel collections: %w", fs.ErrNotExist)
	}
	MarkStale(d.Collections)
	for _, c := range d.Collections {
		for _, m := range c.Members {
			d.Members[m.Identifier] = append(d.Members[m.Identifier], Membership{Path: c.Path, Kind: c.Kind, Version: m.Version, UUID: m.UUID, Stale: c.Stale})
		}
	}
}

func (r DiskReader) readSystemExtensions(d *Disk) {
	db, err := ReadSystemExtensions(r.FS)
	switch {
	case errors.Is(err, fs.ErrNotExist): // none was ever activated, or macOS is older than 10.15
		d.Views[SourceSysExt] = fact.ViewUnchecked
		d.Errors[SourceSysExt] = err
		return
	case err != nil:
		d.Errors[SourceSysExt] = err
		d.lose(SourceSysExt, fact.ProblemOf(SourceSysExt, "/"+SysExtFile, "", err))
		return
	}
	d.lose(SourceSysExt, db.Problems...)
	for _, e := range db.Extensions {
		d.Extensions[e.BundleID] = append(d.Extensions[e.BundleID], e)
	}
	for _, list := range d.Extensions {
		slices.SortStableFunc(list, newest)
	}
}

// Member returns a member of the collections by bundle id, from the collection that is not stale.
func (d *Disk) Member(bundleID string) (Member, Collection, bool) {
	for _, stale := range []bool{false, true} {
		for _, c := range d.Collections {
			if (c.Stale == fact.Yes) != stale {
				continue
			}
			for _, m := range c.Members {
				if m.Identifier == bundleID {
					return m, c, true
				}
			}
		}
	}
	return Member{}, Collection{}, false
}

// Attach adds to a kext what the disk has of it. path is where the kernel says the bundle is, ""
// for a kext that is not loaded; version is the loaded one. It returns the bundle chosen, or nil.
func (d *Disk) Attach(k *Kext, where, version string) *Bundle {
	if k.Views == nil {
		k.Views = map[string]fact.View{}
	}
	list := d.Bundles[k.BundleID]
	b := chooseBundle(list, where, k.UUID)
	if b != nil {
		k.Bundle, k.CodeSignature = b, b.Signature
		k.PackageType = cmp.Or(k.PackageType, b.PackageType)
		if len(b.Slices) > 0 {
			k.Architectures = architectures(b.Slices)
		}
		for i := range list {
			if list[i].Path != b.Path {
				k.Copies = append(k.Copies, list[i].Path)
			}
		}
	}
	k.Collections = d.Members[k.BundleID]
	if k.Collection == "" && len(k.Collections) > 0 {
		k.Collection = k.Collections[0].Kind
	}
	if list := d.Extensions[k.BundleID]; len(list) > 0 {
		e := list[0]
		k.SystemExtension = &e
	}
	d.view(k, SourceBundles, b != nil)
	d.view(k, SourceCollections, len(k.Collections) > 0)
	if version != "" && b != nil {
		k.PendingReboot = pendingReboot(b, version, k.UUID)
	}
	return b
}

func architectures(all []Slice) []string {
	names := make([]string, len(all))
	for i, s := range all {
		names[i] = s.Architecture
	}
	return names
}

func (d *Disk) view(k *Kext, source string, seen bool) {
	switch {
	case seen:
		k.Views[source] = fact.ViewSeen
	case d.Views[source] == fact.ViewSeen:
		k.Views[source] = fact.ViewMissing
	default:
		k.Views[source] = fact.ViewUnchecked
	}
}

// chooseBundle takes the bundle that the kernel names, else the one with the loaded code, else the
// first. A staged copy stands for its original, which people look for.
func chooseBundle(list []Bundle, where, uuid string) *Bundle {
	original := strings.TrimPrefix(where, "/Library/StagedExtensions")
	for _, p := range []string{original, where} {
		for i := range list {
			if p != "" && path.Clean(list[i].Path) == path.Clean(p) {
				return &list[i]
			}
		}
	}
	for i := range list {
		if uuid != "" && list[i].hasUUID(uuid) {
			return &list[i]
		}
	}
	if len(list) == 0 {
		return nil
	}
	return &list[0]
}

func (b *Bundle) hasUUID(uuid string) bool {
	return slices.ContainsFunc(b.Slices, func(s Slice) bool { return s.UUID == uuid })
}

// pendingReboot says whether the bundle on disk is newer than the loaded code.
func pendingReboot(b *Bundle, version, uuid string) fact.Tri {
	loaded, err := ParseVersion(version)
	if err != nil {
		return ""
	}
	disk, err := ParseVersion(b.Version)
	switch {
	case err != nil:
		return ""
	case disk > loaded:
		return fact.Yes
	case len(b.Slices) > 0 && uuid != "" && disk == loaded && !b.hasUUID(uuid):
		return "" // other code of the same version: newer or older cannot be told
	}
	return fact.No
}
