// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"context"
	"errors"
	"io/fs"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/pkgdb"
)

// packages returns the owners of the files below /boot, and of all klds. What could not be read is reported.
func (k *Kernel) packages(ctx context.Context, r *fact.Report) *pkgdb.Owners {
	q := pkgdb.Query{FS: k.machine, Source: SourcePackages, Wanted: func(path string) bool {
		return strings.HasPrefix(path, "boot/") || strings.HasSuffix(uncompressed(path), ".ko")
	}}
	return pkgdb.Read(ctx, q, r, pkgdb.Pkg)
}

// addPackages says of each file which package of pkg(8) it belongs to, and whose it is by that. A machine without pkg,
// and a recording, which leaves the large database out, say nothing.
func (k *Kernel) addPackages(ctx context.Context, records []Record, r *fact.Report) {
	part := r.Part()
	owners := k.packages(ctx, part)
	switch err := owners.Unsure(SourcePackages, part); {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fact.ErrUnrecorded), errors.Is(err, fact.ErrOlder):
		return
	case err != nil:
		r.Problem(SourcePackages, "", "package", err)
		r.Source(SourcePackages, "", fact.Count{}, err)
		return
	}
	r.Done(SourcePackages, fact.CountOf(int64(len(owners.Files))))
	for i := range records {
		m := &records[i]
		if m.Path == "" {
			continue
		}
		o, owned := owners.Files[strings.TrimPrefix(m.Path, "/")]
		m.Package = &fact.Package{Manager: string(pkgdb.Pkg)}
		if !owned {
			continue
		}
		m.Package, m.Origin.Class = o.Package, fact.OriginThirdParty
		if o.Base {
			m.Origin.Class = fact.OriginOS
		}
		m.Origin.Evidence = append(m.Origin.Evidence,
			fact.Evidence{Fact: "package", Value: o.Name, Source: SourcePackages})
	}
}
