// SPDX-License-Identifier: Apache-2.0

// Package pkgdb reads the databases of package managers: which package a file belongs to.
package pkgdb

import (
	"context"
	"io/fs"
	"strings"

	"github.com/kernelext/kernelext/internal/sqlite"
)

// PkgFile is the database of FreeBSD's and DragonFly's pkg(8), below the root.
const PkgFile = "var/db/pkg/local.sqlite"

// maxPkg is the largest database that is read, in bytes: a system with thousands of packages has some 50 MB.
const maxPkg = 256 << 20

// An Owner is the package of a file.
type Owner struct {
	// Name, Version and Arch are the package's, as pkg writes them; empty where the database has no such column.
	Name, Version, Arch string
	// Origin is its place in the tree of ports; "base/…" for a part of the system itself (pkgbase(8)).
	Origin string
	// SHA256 is the sum of the file as the package has it, in lower-case hexadecimal; empty if the database has none.
	SHA256 string
}

// Base reports whether the package is a part of the system itself.
func (o *Owner) Base() bool {
	return strings.HasPrefix(o.Origin, "base/") || strings.HasPrefix(o.Name, "FreeBSD-")
}

// ReadPkg returns the packages of the files that wanted chooses, by path. Columns are found by their names, which
// differ between versions of pkg. The error is fs.ErrNotExist if the machine has no such database; beside owners it
// says that they are not all.
func ReadPkg(ctx context.Context, fsys fs.FS, wanted func(path string) bool) (map[string]Owner, error) {
	db, err := sqlite.Open(fsys, PkgFile, maxPkg)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	packages := map[int64]Owner{}
	columns := []string{"id", "name", "version", "arch", "origin"}
	err = db.Scan("packages", columns, func(row []sqlite.Value) bool {
		if id, ok := row[0].Int(); ok {
			packages[id] = Owner{Name: row[1].Text(), Version: row[2].Text(), Arch: row[3].Text(), Origin: row[4].Text()}
		}
		return ctx.Err() == nil
	})
	if err != nil {
		return nil, err
	}
	owners := map[string]Owner{}
	err = db.Scan("files", []string{"path", "sha256", "package_id"}, func(row []sqlite.Value) bool {
		path := row[0].Text()
		if id, ok := row[2].Int(); ok && wanted(path) {
			o := packages[id]
			o.SHA256 = sum(row[1].Text())
			owners[path] = o
		}
		return ctx.Err() == nil
	})
	if err == nil {
		err = ctx.Err()
	}
	return owners, err
}

// sum returns the SHA-256 in a column, which newer versions of pkg write with the number of the algorithm: "1$HEX".
// It is empty for another algorithm.
func sum(text string) string {
	if kind, rest, ok := strings.Cut(text, "$"); ok {
		if kind != "1" {
			return ""
		}
		text = rest
	}
	if len(text) != 64 {
		return ""
	}
	return strings.ToLower(text)
}
