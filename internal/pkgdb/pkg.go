// SPDX-License-Identifier: Apache-2.0

package pkgdb

import (
	"cmp"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/sqlite"
)

// PkgFile is the database of FreeBSD's and DragonFly's pkg(8), below the root.
const PkgFile = "var/db/pkg/local.sqlite"

// maxPkg is the largest database that is read, in bytes: a system with thousands of packages has some 50 MB.
const maxPkg = 256 << 20

// pkg reads the database of pkg(8). Columns are found by their names, which differ between versions of pkg.
func (d *reader) pkg() {
	db, err := sqlite.Open(d.FS, PkgFile, maxPkg, d.report.Budget)
	if err != nil {
		d.lose(err)
		return
	}
	defer db.Close()
	if err := d.readPkg(db); err != nil {
		d.loseOf(err)
	}
}

func (d *reader) readPkg(db *sqlite.DB) error {
	item := db.Item()
	packages := map[int64]Owner{}
	var stop error
	columns := []string{"id", "name", "version", "arch", "origin", "maintainer"}
	err := db.Scan("packages", columns, func(row []sqlite.Value) bool {
		if id, ok := row[0].Int(); ok {
			p := &fact.Package{Manager: string(Pkg), Name: row[1].Text(), Version: row[2].Text(), Arch: row[3].Text(),
				Vendor: row[5].Text()}
			stop = item.Keep(ownerSize + int64(len(p.Name)+len(p.Version)+len(p.Arch)+len(p.Vendor)))
			base := strings.HasPrefix(row[4].Text(), "base/") || strings.HasPrefix(p.Name, "FreeBSD-")
			packages[id] = Owner{Package: p, Base: base}
		}
		return stop == nil && d.ctx.Err() == nil
	})
	if err != nil || stop != nil {
		return cmp.Or(err, stop)
	}
	d.Found = true
	err = db.Scan("files", []string{"path", "sha256", "package_id"}, func(row []sqlite.Value) bool {
		if id, ok := row[2].Int(); ok {
			o, known := packages[id]
			if !known {
				o.Package = &fact.Package{Manager: string(Pkg)}
			}
			o.Sum = pkgSum(row[1].Text())
			stop = d.own(item, row[0].Text(), o)
		}
		return stop == nil && d.ctx.Err() == nil
	})
	return cmp.Or(err, stop, d.ctx.Err())
}

// pkgSum returns the SHA-256 in a column, which newer versions of pkg write with the number of the algorithm: "1$HEX".
// It is empty for another algorithm.
func pkgSum(text string) Sum {
	if kind, rest, ok := strings.Cut(text, "$"); ok {
		if kind != "1" {
			return Sum{}
		}
		text = rest
	}
	return sumOf("sha256", text)
}
