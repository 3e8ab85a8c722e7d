// SPDX-License-Identifier: Apache-2.0

package bomb

import (
	"encoding/binary"
	"strings"
	"testing/fstest"

	"github.com/kernelext/kernelext/internal/testing/rpmtest"
)

// Packages are the databases of package managers.
const Packages = "packages"

// packageBombs are what package managers keep.
func packageBombs() []Bomb {
	const modules, dpkg, pacman = "/lib/modules/6.1.0/", "var/lib/dpkg/", "var/lib/pacman/local/a-1-1/"
	digest := strings.Repeat("ab", 32)
	// one package with n files, or with n directories of long names, or n packages
	files := func(n int) []rpmtest.Package {
		p := rpmtest.Package{Name: "a", Version: "1", Release: "1", Algorithm: 8}
		for i := range n {
			p.Files = append(p.Files, rpmtest.File{Dir: modules, Base: number(i) + ".ko", Digest: digest})
		}
		return []rpmtest.Package{p}
	}
	dirs := func(n int) []rpmtest.Package {
		p := rpmtest.Package{Name: "a", Version: "1", Release: "1"}
		for i := range n {
			dir := modules + strings.Repeat("x", 2000) + number(i) + "/"
			p.Files = append(p.Files, rpmtest.File{Dir: dir, Base: "a.ko"})
		}
		return []rpmtest.Package{p}
	}
	packages := func(n int) []rpmtest.Package {
		var all []rpmtest.Package
		for i := range n {
			p := rpmtest.Package{Name: number(i), Version: "1", Release: "1"}
			p.Files = []rpmtest.File{{Dir: modules + number(i) + "/", Base: "a.ko"}}
			all = append(all, p)
		}
		return all
	}
	little := func(p ...rpmtest.Package) []byte { return rpmtest.BDB(binary.LittleEndian, p...) }
	var bombs []Bomb
	for _, f := range []struct {
		name, path string
		build      func(...rpmtest.Package) []byte
	}{
		{"sqlite", "var/lib/rpm/rpmdb.sqlite", rpmtest.SQLite}, {"ndb", "var/lib/rpm/Packages.db", rpmtest.NDB},
		{"bdb", "var/lib/rpm/Packages", little},
	} {
		of := func(list func(n int) []rpmtest.Package) func(int) []byte {
			return func(n int) []byte { return f.build(list(n)...) }
		}
		bombs = append(bombs,
			Bomb{Name: "rpm files, " + f.name, Of: Packages, Path: f.path, Make: of(files), Small: 500, Big: 10_000},
			Bomb{Name: "rpm directories, " + f.name, Of: Packages, Path: f.path, Make: of(dirs), Small: 50, Big: 500},
			Bomb{Name: "rpm packages, " + f.name, Of: Packages, Path: f.path, Make: of(packages), Small: 100,
				Big: 2000})
	}
	list := dpkg + "info/a.list"
	return append(bombs,
		Bomb{Name: "rpm slots of one package", Of: Packages, Path: "var/lib/rpm/Packages.db", Make: slots, Small: 20,
			Big: 250},
		Bomb{Name: "dpkg list", Of: Packages, Path: list, Make: numbered("", modules+"%.ko\n", ""), Small: 500,
			Big: 40_000},
		Bomb{Name: "dpkg status", Of: Packages, Tree: func(n int) fstest.MapFS {
			return fstest.MapFS{list: file([]byte(modules + "a.ko\n")), dpkg + "status": file(repeat("",
				"Package: a\nStatus: install ok installed\n\nPackage: b\nStatus: install ok installed\n\n", "")(n))}
		}, Small: 200, Big: 10_000},
		Bomb{Name: "dpkg diversions", Of: Packages, Path: dpkg + "diversions",
			Make: numbered("", modules+"%.ko\n/x\na\n", ""), Small: 500, Big: 20_000},
		Bomb{Name: "dpkg architectures", Of: Packages, Tree: architectures, Small: 100, Big: 3000},
		Bomb{Name: "dpkg diversions of nothing", Of: Packages, Path: dpkg + "diversions", Make: repeat("", "\n", ""),
			Small: 20_000, Big: 20_000_000},
		Bomb{Name: "pacman escapes", Of: Packages, Tree: escapes, Small: 64, Big: 60_000},
		Bomb{Name: "apk files", Of: Packages, Path: "lib/apk/db/installed",
			Make:  numbered("P:a\nF:lib/modules/6.1.0\n", "R:%.ko\nZ:Q1q6urq6urq6urq6urq6urq6urq6s=\n", "\n"),
			Small: 500, Big: 20_000},
		Bomb{Name: "apk long directory", Of: Packages, Path: "lib/apk/db/installed",
			Make: numbered("P:a\nF:lib/modules/"+strings.Repeat("x", 4000)+"\n", "R:%.ko\n", "\n"), Small: 100,
			Big: 20_000},
		Bomb{Name: "pacman digests of zeros", Of: Packages, Tree: func(n int) fstest.MapFS {
			return fstest.MapFS{pacman + "files": file([]byte("usr" + modules + "a.ko\n")),
				pacman + "mtree": file(zipped([]byte("./a\n"), n))}
		}, Small: 500, Big: 500_000})
}

// architectures are n lists of one package, each with a module, and a status with stanzas of it, 100 for each list.
func architectures(n int) fstest.MapFS {
	m := fstest.MapFS{"var/lib/dpkg/status": file(repeat("", "Package: a\nStatus: i ok h\n\n", "")(100 * n))}
	for i := range n {
		m["var/lib/dpkg/info/a:"+number(i)+".list"] = file([]byte("/lib/modules/6.1.0/" + number(i) + ".ko\n"))
	}
	return m
}

// escapes are ten packages, each with a path of n KiB escapes in its list of digests.
func escapes(n int) fstest.MapFS {
	m := fstest.MapFS{}
	tree := file(packed("./", strings.Repeat(`\000`, 256), n))
	for i := range 10 {
		dir := "var/lib/pacman/local/" + number(i) + "-1-1/"
		m[dir+"files"] = file([]byte("%FILES%\nusr/lib/modules/6.1.0/" + number(i) + ".ko\n\n"))
		m[dir+"mtree"] = tree
	}
	return m
}

// slots is a database of rpm in which n packages are one: each slot has the blob of the first.
func slots(n int) []byte {
	p := rpmtest.Package{Name: "a", Version: "1", Release: "1"}
	for range 300 {
		p.Files = append(p.Files, rpmtest.File{Dir: "/lib/modules/6.1.0/", Base: "a.ko"})
	}
	all := []rpmtest.Package{p}
	for len(all) < n {
		all = append(all, rpmtest.Package{Name: "b"})
	}
	b := rpmtest.NDB(all...)
	for i := 1; i < n; i++ {
		copy(b[32+16*i+4:32+16*i+16], b[36:48])
	}
	return b
}
