// SPDX-License-Identifier: Apache-2.0

package pkgdb

import (
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/sqlitetest"
)

// packages is the database of pkg 1.21, made up.
func packages(files ...[]any) []byte {
	return sqlitetest.Build(4096,
		sqlitetest.Table{Name: "packages",
			SQL: "CREATE TABLE packages (id INTEGER PRIMARY KEY, origin TEXT NOT NULL, " +
				"name TEXT NOT NULL, version TEXT NOT NULL, arch TEXT NOT NULL, UNIQUE(name))",
			Rows: [][]any{{nil, "base/FreeBSD-kernel-generic", "FreeBSD-kernel-generic", "14.2", "FreeBSD:14:amd64"},
				{nil, "graphics/drm-61-kmod", "drm-61-kmod", "6.1.92_2", "FreeBSD:14:amd64"}}},
		sqlitetest.Table{Name: "files", SQL: "CREATE TABLE files (path TEXT PRIMARY KEY, sha256 TEXT, " +
			"package_id INTEGER REFERENCES packages(id))", Rows: files})
}

func TestPkg(t *testing.T) {
	hex := strings.Repeat("aB", 32)
	db := packages([]any{"/boot/kernel/zfs.ko", "1$" + hex, 1}, []any{"/boot/modules/drm.ko", hex, 2},
		[]any{"/boot/modules/x.ko", "2$" + hex, 9}, []any{"/usr/bin/vi", hex, 1}, []any{"/boot/odd", nil, nil})
	boot := func(fsys fs.FS) Query {
		wanted := func(path string) bool { return strings.HasPrefix(path, "boot/") }
		return Query{FS: fsys, Source: "packages", Wanted: wanted}
	}
	var r fact.Report
	got := Read(t.Context(), boot(fstest.MapFS{PkgFile: {Data: db}}), &r, Pkg)
	want := "boot/kernel/zfs.ko: pkg FreeBSD-kernel-generic 14.2 FreeBSD:14:amd64  sha256=abab\n" +
		"boot/modules/drm.ko: pkg drm-61-kmod 6.1.92_2 FreeBSD:14:amd64  sha256=abab\nboot/modules/x.ko: pkg    \n"
	if dump(got) != want || !got.Whole || !got.Found {
		t.Errorf("%s %v", dump(got), r.Problems)
	}
	for path, base := range map[string]bool{"boot/kernel/zfs.ko": true, "boot/modules/drm.ko": false} {
		if o := got.Files[path]; o.Base != base {
			t.Errorf("%s: %+v", path, o)
		}
	}
	// What was added since is in the log.
	more := packages([]any{"/boot/kernel/new.ko", hex, 1})
	got = Read(t.Context(), boot(fstest.MapFS{PkgFile: {Data: db},
		PkgFile + "-wal": {Data: sqlitetest.WAL(db, more, 4096)}}), &r, Pkg)
	if keys := slices.Collect(maps.Keys(got.Files)); !got.Whole || len(keys) != 1 || keys[0] != "boot/kernel/new.ko" {
		t.Errorf("%v %v", keys, r.Problems)
	}
}

func TestNoPkg(t *testing.T) {
	all := func(string) bool { return true }
	other := sqlitetest.Build(4096, sqlitetest.Table{Name: "x", SQL: "CREATE TABLE x (a TEXT)"})
	half := sqlitetest.Build(4096, sqlitetest.Table{Name: "packages", SQL: "CREATE TABLE packages (id INTEGER)"})
	for name, c := range map[string]struct {
		fsys fstest.MapFS
		want error
	}{
		"none":  {fstest.MapFS{}, fs.ErrNotExist},
		"text":  {fstest.MapFS{PkgFile: {Data: []byte("x")}}, fact.ErrMalformed},
		"cut":   {fstest.MapFS{PkgFile: {Data: packages([]any{"/a", nil, 1})[:9000]}}, fact.ErrMalformed},
		"other": {fstest.MapFS{PkgFile: {Data: other}}, fact.ErrMalformed},
		"half":  {fstest.MapFS{PkgFile: {Data: half}}, fact.ErrMalformed},
	} {
		var r fact.Report
		got := Read(t.Context(), Query{FS: c.fsys, Source: "packages", Wanted: all}, &r, Pkg)
		if err := got.Unsure("packages", &r); !errors.Is(err, c.want) || len(got.Files) != 0 {
			t.Errorf("%s: %v %v", name, got, err)
		}
	}
}
