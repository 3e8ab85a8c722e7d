// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"context"
	"fmt"
	"io/fs"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/pkgdb"
	"github.com/kernelext/kernelext/linux/ko"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// packageQuery asks for the packages of the files in module directories.
func packageQuery(fsys fs.FS, sums bool) pkgdb.Query {
	return pkgdb.Query{FS: fsys, Source: SourcePackages, Sums: sums, Dirs: []string{"lib/modules/", "usr/lib/modules/"},
		Wanted: ko.IsModuleFile}
}

// packagesDir is below where most databases of packages are.
const packagesDir = "var/lib/packages"

// packageManagers are the package managers of Linux systems.
var packageManagers = []pkgdb.Manager{pkgdb.Dpkg, pkgdb.Opkg, pkgdb.RPM, pkgdb.APK, pkgdb.Pacman}

// packages are the owners of module files by their paths below the root, with usr/ cut: where /lib is a link to
// usr/lib, a package may name either.
type packages struct {
	*pkgdb.Owners
	byPath map[string]string // the path that the package has
}

// unmerged cuts the usr/ of systems where /lib is a link to usr/lib.
func unmerged(file string) string { return strings.TrimPrefix(file, "usr/") }

// readPackages reads what package databases say of module files.
func readPackages(fsys fs.FS, sums bool, r *fact.Report) *packages {
	p := &packages{Owners: pkgdb.Read(context.Background(), packageQuery(fsys, sums), r, packageManagers...)}
	if mount := modprobe.MountedElsewhere(fsys, packagesDir); mount != "" && !p.Found {
		r.Problem(SourcePackages, "", pkgdb.FieldOrigin,
			fmt.Errorf("/etc/fstab names %s, which is not mounted: %w", mount, fs.ErrNotExist))
		p.Found, p.Whole = true, false // there may be one
	}
	p.byPath = make(map[string]string, len(p.Files))
	for path := range p.Files {
		if at := unmerged(path); p.byPath[at] == "" || path < p.byPath[at] {
			p.byPath[at] = path
		}
	}
	return p
}

// Owner returns the owner of a file, a path below the machine's root.
func (p *packages) Owner(file string) (pkgdb.Owner, bool) {
	if p == nil {
		return pkgdb.Owner{}, false
	}
	o, ok := p.Files[p.byPath[unmerged(file)]]
	return o, ok
}

// Package returns the name of the package that owns a file, a path below the machine's root; "" for none.
func (p *packages) Package(file string) string {
	if o, ok := p.Owner(file); ok {
		return o.Name
	}
	return ""
}

// PackageOf returns the package that owns a file, a path below the machine's root. It is nil if that is unknown, and
// has no name if every database was read and none names the file.
func (p *packages) PackageOf(file string) *fact.Package {
	if o, ok := p.Owner(file); ok {
		return o.Package
	}
	if p.noneOwns() {
		return new(fact.Package)
	}
	return nil
}

// noneOwns reports whether a file that no database names has no package.
func (p *packages) noneOwns() bool { return p != nil && p.Found && p.Whole }
