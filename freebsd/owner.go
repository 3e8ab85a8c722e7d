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

// owners returns the packages of the files below /boot, and of all klds.
func (k *Kernel) owners(ctx context.Context) (map[string]pkgdb.Owner, error) {
	return pkgdb.ReadPkg(ctx, k.machine, func(path string) bool {
		return strings.HasPrefix(path, "/boot/") || strings.HasSuffix(uncompressed(path), ".ko")
	})
}

// addPackages says of each file which package of pkg(8) it belongs to, and whose it is by that. A machine without pkg,
// and a recording, which leaves the large database out, say nothing.
func (k *Kernel) addPackages(ctx context.Context, records []Record, r *fact.Report) {
	owners, err := k.owners(ctx)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fact.ErrUnrecorded), errors.Is(err, fact.ErrOlder):
		return
	case err != nil:
		r.Problem(SourcePackages, "", "package", err)
		r.Source(SourcePackages, "", fact.Count{}, err)
		return
	}
	r.Done(SourcePackages, fact.CountOf(int64(len(owners))))
	for i := range records {
		m := &records[i]
		if m.Path == "" {
			continue
		}
		o, owned := owners[m.Path]
		m.Package = &fact.Package{Manager: "pkg", Name: o.Name, Version: o.Version, Arch: o.Arch}
		if !owned {
			continue
		}
		m.Origin.Class = fact.OriginThirdParty
		if o.Base() {
			m.Origin.Class = fact.OriginOS
		}
		m.Origin.Evidence = append(m.Origin.Evidence,
			fact.Evidence{Fact: "package", Value: o.Name, Source: SourcePackages})
	}
}
