// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
)

// reader returns what to read of the disk for the details asked for.
func (k *Kernel) reader(ctx context.Context) diskReader {
	signatures := k.options.Asks(fact.DetailSignatures)
	return diskReader{Image: k.options.Image, bundleReader: bundleReader{
		FS: k.machine, Architecture: k.architecture(ctx), Code: signatures || k.options.Asks(fact.DetailFiles),
		Signatures: signatures, Verify: signatures, Keys: keySets(k.options), MaxBytes: k.options.MaxFile,
	}}
}

// readWithin reads the disk within the call's budget.
func (r diskReader) readWithin(ctx context.Context, report *fact.Report) (*disk, error) {
	if limit := report.Budget.Time(); limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	return r.read(ctx, report)
}

// addDisk joins the loaded kexts with the disk.
func (k *Kernel) addDisk(ctx context.Context, modules []Record, source string, r *fact.Report) {
	d, _ := k.reader(ctx).readWithin(ctx, r) // the error is reported as the source's
	d.reportUnread(r)
	approvals := k.approvals(r)
	for i := range modules {
		m := &modules[i]
		m.Own.Views = map[string]fact.View{source: fact.ViewSeen}
		found := d.attach(m.Own, m.Path, m.Version)
		if found != nil {
			addBundle(m, found.Own.Bundle)
			m.Problems = append(m.Problems, found.Problems...)
		}
		approvals.join(m.Own)
		m.OnDisk = onDisk(m.Own, found != nil)
		if m.OnDisk.Match == "" && m.Own.Pseudo == "" {
			m.Problem(SourceBundles, "onDisk.match",
				fmt.Errorf("no UUID to compare, or not all of the disk was read: %w", errors.ErrUnsupported))
		}
	}
}

// onDisk compares the loaded code with that of its bundle, and if it has none with that in the kernel collections.
func onDisk(k *Kext, bundle bool) fact.OnDisk {
	switch {
	case k.Pseudo != "":
		return fact.OnDisk{} // it is the kernel's own code
	case bundle && len(k.Bundle.Slices) > 0 && k.UUID != "":
		return compareSlices(k)
	case !bundle && len(k.Collections) > 0:
		for _, c := range k.Collections {
			if c.UUID != "" && c.UUID == k.UUID {
				return fact.OnDisk{Match: fact.MatchSame, Path: c.Path, ContentID: c.UUID, By: "macho_uuid"}
			}
		}
		if c := k.Collections[0]; c.UUID != "" && k.UUID != "" {
			return fact.OnDisk{Match: fact.MatchDifferent, Path: c.Path, ContentID: c.UUID, By: "macho_uuid"}
		}
	case !bundle && k.Views[SourceBundles] == fact.ViewMissing && k.Views[SourceCollections] == fact.ViewMissing:
		return fact.OnDisk{Match: fact.MatchAbsent}
	}
	return fact.OnDisk{}
}

// compareSlices compares the loaded code with the slices of its bundle.
func compareSlices(k *Kext) fact.OnDisk {
	o := fact.OnDisk{Match: fact.MatchDifferent, Path: k.Bundle.ExecutablePath, By: "macho_uuid"}
	for _, s := range k.Bundle.Slices {
		if s.UUID == k.UUID {
			o.Match, o.ContentID = fact.MatchSame, s.UUID
		}
	}
	if o.Match == fact.MatchDifferent && len(k.Bundle.Slices) == 1 {
		o.ContentID = k.Bundle.Slices[0].UUID
	}
	return o
}

// Installed yields the bundles on disk by path, and the members of kernel collections and the system extensions that
// have no bundle.
func (k *Kernel) Installed(ctx context.Context, r *fact.Report) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		d, err := k.reader(ctx).readWithin(ctx, r)
		if err != nil && len(d.members) == 0 {
			yield(Record{}, err)
			return
		}
		approvals := k.approvals(r)
		for _, m := range d.records() {
			approvals.join(m.Own)
			if !yield(m, nil) {
				return
			}
		}
		if err := ctx.Err(); err != nil {
			yield(Record{}, err)
		}
	}
}

// records returns what is on disk as records, sorted by path.
func (d *disk) records() []Record {
	var modules []Record
	for id, list := range d.bundles {
		for i := range list {
			bundle := list[i].Own.Bundle
			own := &Kext{BundleID: id}
			d.attach(own, bundle.Path, "")
			m := Record{Kind: fact.KindMacOSKext, Name: id, State: fact.StateInstalled, Own: own}
			addBundle(&m, bundle)
			m.Problems = slices.Clone(list[i].Problems)
			modules = append(modules, m)
		}
	}
	for id := range d.members {
		if len(d.bundles[id]) > 0 {
			continue
		}
		if m, c, ok := d.member(id); ok {
			own := &Kext{BundleID: id}
			d.attach(own, "", "")
			modules = append(modules, memberRecord(&m, &c, own))
		}
	}
	for id, list := range d.extensions {
		if len(d.bundles[id]) == 0 {
			for i := range list {
				m := extensionRecord(&list[i])
				if i > 0 { // an older version, which stays until a restart
					m.ID = "#" + cmp.Or(list[i].UniqueID, list[i].Version)
				}
				modules = append(modules, m)
			}
		}
	}
	modules = append(modules, d.unread...)
	finish(modules, "")
	slices.SortStableFunc(modules, func(a, b Record) int {
		return strings.Compare(a.Path+"\x00"+a.ID, b.Path+"\x00"+b.ID)
	})
	return modules
}
