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

// A disk is what is on disk of the extensions: bundles, kernel collections, system extensions.
type disk struct {
	// bundles are by bundle id; of several with one id, that of the highest version is first, as the system chooses.
	bundles map[string][]Record
	// unread are the bundles that could not be read; their Problems say why.
	unread []Record
	// collections are in the order of findCollections.
	collections []collection
	// members are by bundle id.
	members map[string][]Membership
	// extensions are the system extensions by bundle id, the one in force first.
	extensions map[string][]SystemExtension
	// sources say how reading each of the three went, as it was reported.
	sources []fact.Source
}

// A diskReader says what to read of a machine's disk.
type diskReader struct {
	bundleReader
	// Personalities keeps the personalities of members of collections.
	Personalities bool
	// Image says that the files are an image's, in which a volume may be missing.
	Image bool
}

// read reads it all and reports the sources. Only the end of ctx makes it stop early, which is reported. The error is
// why no folder of extensions can be read; what else there is on disk is returned all the same.
func (r diskReader) read(ctx context.Context, report *fact.Report) (*disk, error) {
	d := &disk{
		bundles: map[string][]Record{}, members: map[string][]Membership{}, extensions: map[string][]SystemExtension{},
	}
	bundles, err := r.readBundles(ctx, d, report)
	collections := r.readCollections(ctx, d, report)
	extensions := r.readSystemExtensions(d, report)
	d.sources = []fact.Source{bundles, collections, extensions}
	report.Sources = append(report.Sources, d.sources...)
	return d, err
}

// whole reports whether the source was read to its end.
func (d *disk) whole(name string) bool {
	s, _ := fact.FindSource(d.sources, name)
	return s.Outcome == fact.OutcomeOK
}

// sourceSince returns the source of a read that began when the report held from problems: partial with the code of the
// first problem of the source since then, else ok.
func sourceSince(report *fact.Report, from int, name string, count int) fact.Source {
	s := fact.Source{Name: name, Outcome: fact.OutcomeOK, Count: fact.CountOf(int64(count))}
	for _, p := range report.Problems[from:] {
		if p.Source == name {
			s.Outcome, s.Code = fact.OutcomePartial, p.Code
			break
		}
	}
	return s
}

// unreadSource returns the source of a read that failed.
func unreadSource(name string, err error) fact.Source {
	return fact.Source{Name: name, Outcome: fact.OutcomeOf(err), Code: fact.CodeOf(err)}
}

// outOfTime is the problem of a read that the end of its context stopped.
func outOfTime(err error) error { return fmt.Errorf("%w: %w", fact.ErrBudget, err) }

// readBundles reads the bundles. Problems of one bundle are its record's. The error is why no folder of extensions can
// be read.
func (r diskReader) readBundles(ctx context.Context, d *disk, report *fact.Report) (fact.Source, error) {
	from := len(report.Problems)
	dirs := findBundles(ctx, r.FS, report)
	if r.Image && len(dirs) > 0 {
		reportUnmounted(r.FS, report)
	}
	slices.Sort(dirs)
	count := 0
	for _, dir := range slices.Compact(dirs) {
		err := report.Budget.Err()
		if ctx.Err() != nil {
			err = outOfTime(ctx.Err())
		}
		if err != nil {
			report.Problem(SourceBundles, "/"+dir, "", err)
			break
		}
		own := report.Part() // its problems are the record's
		b, err := r.bundleReader.read(dir, own)
		if err != nil {
			own.Problem(SourceBundles, b.Path, "", err)
		}
		if b.Identifier != "" {
			count++
			d.bundles[b.Identifier] = append(d.bundles[b.Identifier], bundleRecord(&b, own.Problems))
			continue
		}
		if len(own.Problems) == 0 {
			own.Problem(SourceBundles, b.Path, "bundle.identifier",
				&fact.ParseError{Source: b.Path, Field: "CFBundleIdentifier", Reason: "missing"})
		}
		d.unread = append(d.unread, unreadRecord(b.Path, own.Problems))
	}
	for _, list := range d.bundles {
		slices.SortStableFunc(list, func(a, b Record) int {
			return cmp.Or(cmp.Compare(rank(a.Path), rank(b.Path)), -CompareVersions(a.Version, b.Version))
		})
	}
	source := sourceSince(report, from, SourceBundles, count)
	if len(d.unread) > 0 && (source.Outcome == fact.OutcomeOK || source.Code == fact.CodeOther) {
		source.Outcome, source.Code = fact.OutcomePartial, d.unread[0].Problems[0].Code
	}
	if len(d.bundles) == 0 && source.Outcome == fact.OutcomeOK {
		if err := noFolder(r.FS); err != nil {
			return unreadSource(SourceBundles, err), err
		}
	}
	return source, nil
}

// reportUnread reports the bundles that could not be read, where they are not records of the result.
func (d *disk) reportUnread(r *fact.Report) {
	for i := range d.unread {
		for _, p := range d.unread[i].Problems {
			r.Add(p)
		}
	}
}

// rank puts copies that are not in a folder where the system looks, such as staged ones, behind those that are.
func rank(name string) int {
	for _, dir := range extensionFolders {
		if strings.HasPrefix(name, "/"+dir+"/") {
			return 0
		}
	}
	return 1
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

// readCollections reads the kernel collections. Problems of one member do not make the source partial.
func (r diskReader) readCollections(ctx context.Context, d *disk, report *fact.Report) fact.Source {
	from := len(report.Problems)
	files := findCollections(r.FS, report)
	source := sourceSince(report, from, SourceCollections, 0)
	absent := len(files) == 0 && source.Outcome == fact.OutcomeOK
	lose := func(name string, err error) {
		report.Problem(SourceCollections, "/"+name, "", err)
		source.Outcome = fact.OutcomePartial
	}
	reader := collectionReader{Architecture: r.Architecture, Personalities: r.Personalities}
	count := 0
	for _, name := range files {
		if err := ctx.Err(); err != nil {
			lose(name, outOfTime(err))
			break
		}
		c, err := reader.open(r.FS, name, report)
		if err != nil {
			lose(name, err)
		}
		count += len(c.Members)
		d.collections = append(d.collections, c)
	}
	markStale(d.collections)
	for _, c := range d.collections {
		for _, m := range c.Members {
			d.members[m.Identifier] = append(d.members[m.Identifier],
				Membership{Path: c.Path, Kind: c.Kind, Version: m.Version, UUID: m.UUID, Stale: c.Stale})
		}
	}
	if absent {
		return unreadSource(SourceCollections, fs.ErrNotExist)
	}
	source.Count = fact.CountOf(int64(count))
	if source.Outcome == fact.OutcomePartial {
		source.Code = sourceSince(report, from, SourceCollections, count).Code
	}
	return source
}

// readSystemExtensions reads the database of system extensions. It does not exist if none was ever activated, or if
// macOS is older than 10.15.
func (r diskReader) readSystemExtensions(d *disk, report *fact.Report) fact.Source {
	from := len(report.Problems)
	db, err := readSystemExtensions(r.FS, report)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			report.Problem(SourceSysExt, "/"+sysExtFile, "", err)
		}
		return unreadSource(SourceSysExt, err)
	}
	for _, e := range db.Extensions {
		d.extensions[e.BundleID] = append(d.extensions[e.BundleID], e)
	}
	for _, list := range d.extensions {
		slices.SortStableFunc(list, newest)
	}
	return sourceSince(report, from, SourceSysExt, len(db.Extensions))
}

// member returns a member of the collections by bundle id, from the collection that is not stale.
func (d *disk) member(bundleID string) (member, collection, bool) {
	for _, stale := range []bool{false, true} {
		for _, c := range d.collections {
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
	return member{}, collection{}, false
}

// place returns which of the copies of one bundle id a record is, in the order in which the system prefers them.
func (d *disk) place(m *Record) int {
	return slices.IndexFunc(d.bundles[m.Name], func(r Record) bool { return r.Path == m.Path })
}

// attach adds to a kext what the disk has of it. path is where the kernel says the bundle is, ""
// for a kext that is not loaded; version is the loaded one. It returns the record of the bundle chosen, or nil.
func (d *disk) attach(k *Kext, where, version string) *Record {
	if k.Views == nil {
		k.Views = map[string]fact.View{}
	}
	list := d.bundles[k.BundleID]
	chosen := chooseBundle(list, where, k.UUID)
	if chosen != nil {
		b := chosen.Own.Bundle
		k.Bundle, k.CodeSignature = b, b.signature
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
	k.Collections = d.members[k.BundleID]
	if k.Collection == "" && len(k.Collections) > 0 {
		k.Collection = k.Collections[0].Kind
	}
	if list := d.extensions[k.BundleID]; len(list) > 0 {
		e := list[0]
		k.SystemExtension = &e
	}
	d.view(k, SourceBundles, chosen != nil)
	d.view(k, SourceCollections, len(k.Collections) > 0)
	if version != "" && chosen != nil {
		k.PendingReboot = pendingReboot(k.Bundle, version, k.UUID)
	}
	return chosen
}

// architectures returns the slices' architectures; nil if the file has no slices.
func architectures(all []Slice) []string {
	var names []string
	for _, s := range all {
		names = append(names, s.Architecture)
	}
	return names
}

func (d *disk) view(k *Kext, source string, seen bool) {
	switch {
	case seen:
		k.Views[source] = fact.ViewSeen
	case d.whole(source):
		k.Views[source] = fact.ViewMissing
	default:
		k.Views[source] = fact.ViewUnchecked
	}
}

// chooseBundle takes the bundle that the kernel names, else the one with the loaded code, else the
// first. A staged copy stands for its original, which people look for.
func chooseBundle(list []Record, where, uuid string) *Record {
	original := strings.TrimPrefix(where, "/Library/StagedExtensions")
	for _, p := range []string{original, where} {
		for i := range list {
			if p != "" && path.Clean(list[i].Path) == path.Clean(p) {
				return &list[i]
			}
		}
	}
	for i := range list {
		if uuid != "" && list[i].Own.Bundle.hasUUID(uuid) {
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
	loaded, err := parseVersion(version)
	if err != nil {
		return ""
	}
	disk, err := parseVersion(b.Version)
	switch {
	case err != nil:
		return ""
	case disk > loaded:
		return fact.Yes
	case len(b.Slices) > 0 && uuid != "" && disk == loaded && !b.hasUUID(uuid):
		return "" // other code of the same version: whether it is newer or older is unknown
	}
	return fact.No
}
