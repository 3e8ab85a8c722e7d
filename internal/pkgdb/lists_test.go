// SPDX-License-Identifier: Apache-2.0

package pkgdb

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
)

func file(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }

func gzipped(text string) *fstest.MapFile {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write([]byte(text))
	z.Close()
	return file(b.String())
}

// debianRoot has dpkg's database with a package that another one diverts, made up.
func debianRoot() fstest.MapFS {
	return fstest.MapFS{
		"var/lib/dpkg/info/linux-image-6.1.list": file("/.\n/lib/modules/6.1/kernel/a.ko\n/lib/modules/6.1/b.ko\n"),
		"var/lib/dpkg/info/linux-image-6.1.md5sums": file(md5 + "  lib/modules/6.1/kernel/a.ko\n" + md5 +
			"  lib/modules/6.1/b.ko\nodd\n"),
		"var/lib/dpkg/info/vendor:arm64.list": file("/lib/modules/6.1/b.ko\n"),
		"var/lib/dpkg/info/half.list":         file("/lib/modules/6.1/half.ko\n"),
		"var/lib/dpkg/info/gone.list":         file("/lib/modules/6.1/gone.ko\n"),
		"var/lib/dpkg/diversions": file("/lib/modules/6.1/b.ko\n/lib/modules/6.1/b.ko.orig\nvendor\n" +
			"/bin/sh\n/bin/sh.distrib\ndash\n"),
		"var/lib/dpkg/status": file("Package: linux-image-6.1\nStatus: install ok installed\nMaintainer: Debian\n" +
			"Version: 6.1.1-1\nArchitecture: amd64\n\nPackage: vendor\nStatus: install ok installed\nOrigin: Vendor\n" +
			"Maintainer: M\nVersion: 2\nArchitecture: arm64\n\nPackage: half\nStatus: install ok half-configured\n" +
			"Version: 3\nArchitecture: all\n\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 4\n"),
	}
}

// TestDpkg: diverted files are where the diversion says, as dpkg -S and dpkg -V have it, and each list is of one
// architecture.
func TestDpkg(t *testing.T) {
	const want = "lib/modules/6.1/b.ko: dpkg vendor 2 arm64 Vendor\n" +
		"lib/modules/6.1/b.ko.orig: dpkg linux-image-6.1 6.1.1-1 amd64 Debian md5=cdcd\n" +
		"lib/modules/6.1/gone.ko: dpkg gone   \n" +
		"lib/modules/6.1/half.ko: dpkg half 3 all \n" +
		"lib/modules/6.1/kernel/a.ko: dpkg linux-image-6.1 6.1.1-1 amd64 Debian md5=cdcd\n"
	var r fact.Report
	if o := Read(t.Context(), modules(debianRoot()), &r, Dpkg); dump(o) != want || !o.Whole || len(r.Problems) > 0 {
		t.Errorf("%s %v", dump(o), r.Problems)
	}
	q := modules(debianRoot())
	q.Sums = false
	if o := Read(t.Context(), q, &r, Dpkg); strings.Contains(dump(o), "md5=") {
		t.Errorf("nobody asked for digests: %s", dump(o))
	}
	// An installed package without a list may own any file.
	m := debianRoot()
	delete(m, "var/lib/dpkg/info/half.list")
	m["var/lib/dpkg/status"].Data = bytes.Replace(m["var/lib/dpkg/status"].Data, []byte("half-configured"),
		[]byte("installed"), 1)
	r = fact.Report{}
	if o := Read(t.Context(), modules(m), &r, Dpkg); o.Whole || len(r.Problems) != 1 ||
		!strings.Contains(r.Problems[0].Text, "half is installed") {
		t.Errorf("whole %v, %v", o.Whole, r.Problems)
	}
}

// TestOtherLists reads apk, pacman and opkg, with digests.
func TestOtherLists(t *testing.T) {
	const root = "lib/modules/6.1/"
	m := fstest.MapFS{
		"lib/apk/db/installed": file("C:Q1x\nP:linux-lts\nV:6.1-r0\nA:x86_64\nm:Natanael\nF:lib/modules/6.1/kernel\n" +
			"R:a.ko.gz\na:0:0:644\nZ:Q1q6urq6urq6urq6urq6urq6urq6s=\nR:b.ko.gz\nF:lib/modules\nM:0:0:700\n\n" +
			"P:other\nV:1\nF:lib/modules/6.1/extra\nR:last.ko\nZ:Q2" + strings.Repeat("q6ur", 10) + "q6s=\n\n"),
		"usr/lib/apk/db/installed": file("P:three\nV:3\nF:usr/lib/modules/6.1\nR:three.ko\nZ:Q9x\n\n"),
		"var/lib/pacman/local/linux-lts-6-1/files": file("%FILES%\nusr/\n" +
			"usr/lib/modules/6.1/p q.ko.zst\nusr/lib/modules/6.1/r.ko\n\n%BACKUP%\n"),
		"var/lib/pacman/local/linux-lts-6-1/desc": file("%NAME%\nlinux-lts\n\n%VERSION%\n6-1\n\n%ARCH%\nx86_64\n\n" +
			"%PACKAGER%\nAndreas\n"),
		"var/lib/pacman/local/linux-lts-6-1/mtree": gzipped("#mtree\n/set type=file uid=0\n" +
			`./usr/lib/modules/6.1/p\040q.ko.zst time=1.0 size=3 md5digest=` + md5 + " sha256digest=" + sha + "\n" +
			"./usr/lib/modules/6.1/r.ko time=1.0 size=3 md5digest=" + md5 + "\n./.PKGINFO\n"),
		"var/lib/pacman/local/bare/files": file("%FILES%\nusr/lib/modules/6.1/bare.ko\n"),
		"usr/lib/opkg/info/kmod-fs.list":  file("/lib/modules/6.1/fs.ko\n/lib/modules/6.1/tab.ko\t" + sha + "\n"),
		"usr/lib/opkg/info/kmod-fs.control": file("Package: kmod-fs\nVersion: 6.1-1\nArchitecture: mips\n" +
			"Maintainer: O\n"),
	}
	var r fact.Report
	o := Read(t.Context(), modules(m), &r, Opkg, APK, Pacman)
	want := root + "extra/last.ko: apk other 1   sha256=abab\n" +
		root + "fs.ko: opkg kmod-fs 6.1-1 mips O\n" +
		root + "kernel/a.ko.gz: apk linux-lts 6.1-r0 x86_64 Natanael sha1=abab\n" +
		root + "kernel/b.ko.gz: apk linux-lts 6.1-r0 x86_64 Natanael\n" +
		root + "tab.ko: opkg kmod-fs 6.1-1 mips O\n" +
		"usr/" + root + "bare.ko: pacman bare   \n" +
		"usr/" + root + "p q.ko.zst: pacman linux-lts 6-1 x86_64 Andreas sha256=abab\n" +
		"usr/" + root + "r.ko: pacman linux-lts 6-1 x86_64 Andreas md5=cdcd\n" +
		"usr/" + root + "three.ko: apk three 3  \n"
	if dump(o) != want || !o.Whole || len(r.Problems) > 0 {
		t.Errorf("%s\n%s %v", dump(o), want, r.Problems)
	}
	// A list of digests that is damaged costs the digests alone.
	m["var/lib/pacman/local/linux-lts-6-1/mtree"] = file("no gzip")
	if o := Read(t.Context(), modules(m), &r, Pacman); !o.Whole || len(r.Problems) != 1 ||
		r.Problems[0].Field != FieldHashes {
		t.Errorf("whole %v, %v", o.Whole, r.Problems)
	}
}

// listsRoot has a database of each manager whose form is lines, each with a module, made up.
func listsRoot() map[string]string {
	return map[string]string{
		"var/lib/dpkg/info/a.list":    "/.\n/lib/modules/6.1/a.ko\n/lib/modules/6.1/b.ko\n",
		"var/lib/dpkg/info/a.md5sums": md5 + "  lib/modules/6.1/a.ko\n" + md5 + "  lib/modules/6.1/b.ko\n",
		"var/lib/dpkg/diversions":     "/lib/modules/6.1/b.ko\n/lib/modules/6.1/b.orig.ko\nother\n",
		"var/lib/dpkg/status": "Package: other\nStatus: install ok unpacked\n\n" +
			"Package: a\nStatus: install ok installed\nVersion: 1\n\n",
		"usr/lib/opkg/info/o.list":        "/lib/modules/6.1/o.ko\n",
		"lib/apk/db/installed":            "P:k\nV:1\nA:x86_64\nF:lib/modules/6.1\nR:k.ko\n\n",
		"var/lib/pacman/local/p-1-1/desc": "%NAME%\np\n\n%VERSION%\n1-1\n\n",
		"var/lib/pacman/local/p-1-1/files": "%FILES%\nusr/lib/modules/6.1/p.ko\n" +
			"usr/lib/modules/6.1/kernel/p2.ko\n\n",
	}
}

// TestCutLists cuts each database after each of its bytes: what was cut within a line is reported, and no file is said
// to have no package, to be elsewhere, or to be of another package than that of the whole databases.
func TestCutLists(t *testing.T) {
	read := func(name string, size int) (*Owners, []fact.Problem) {
		m := fstest.MapFS{}
		for other, content := range listsRoot() {
			if other == name {
				content = content[:size]
			}
			m[other] = file(content)
		}
		var r fact.Report
		return Read(t.Context(), modules(m), &r, Dpkg, Opkg, APK, Pacman), r.Problems
	}
	whole, problems := read("", 0)
	if len(whole.Files) != 6 || !whole.Whole || len(problems) > 0 {
		t.Fatalf("%s%v", dump(whole), problems)
	}
	for name, content := range listsRoot() {
		field := FieldOrigin
		switch {
		case strings.HasSuffix(name, ".md5sums"):
			field = FieldHashes
		case strings.HasSuffix(name, "/desc"):
			field = FieldPackage
		}
		for size := 1; size < len(content); size++ {
			o, problems := read(name, size)
			for path, f := range o.Files {
				moved := strings.HasSuffix(name, "/diversions") && path == "lib/modules/6.1/b.ko"
				if w := whole.Files[path]; w.Package == nil && !moved || w.Package != nil && w.Name != f.Name ||
					moved && (!f.Optional || f.Sum != Sum{}) {
					t.Errorf("%s cut at %d: %s is of %s", name, size, path, f.Name)
				}
			}
			ends := strings.HasSuffix(name, "/installed") || strings.HasSuffix(name, "/diversions")
			if content[size-1] == '\n' && !ends {
				continue // a text that may be whole
			}
			if o.Whole != (field != FieldOrigin) || !o.Found || len(problems) == 0 ||
				problems[0].Field != field || problems[0].Code != fact.CodeMalformed {
				t.Errorf("%s cut at %d: whole %v, found %v, %+v", name, size, o.Whole, o.Found, problems)
			}
		}
	}
	m := fstest.MapFS{"var/lib/dpkg/info/a.list": file("/lib/modules/6.1/a.ko\n")}
	for _, status := range []string{"Package: a\n", "Status: install ok installed\nVersion: 1\n", "\nPackage: a\n\n"} {
		m["var/lib/dpkg/status"] = file(status)
		var r fact.Report
		if o := Read(t.Context(), modules(m), &r, Dpkg); o.Whole || len(r.Problems) != 1 {
			t.Errorf("%q: whole %v, %v", status, o.Whole, r.Problems)
		}
	}
}

// TestTreePaths: a path of a list of digests may be escaped, and one that is too long is passed over.
func TestTreePaths(t *testing.T) {
	for escaped, want := range map[string]string{`a`: "a", `\040`: " ", `\377\000x`: "\xff\x00x", `\400`: `\400`,
		`\0`: `\0`, `\09a`: `\09a`, `\\040`: `\ `, `a\`: `a\`, `\0401`: " 1"} {
		if got := unescape(escaped); got != want {
			t.Errorf("%q: %q, want %q", escaped, got, want)
		}
	}
	long := "usr/lib/modules/6.1/" + strings.Repeat("x", maxPath-23) + ".ko"
	every := ""
	for i := range len(long) {
		every += fmt.Sprintf(`\%03o`, long[i])
	}
	for name, path := range map[string]string{"plain": long, "each byte escaped": every} {
		m := fstest.MapFS{"var/lib/pacman/local/p-1-1/files": file("%FILES%\n" + long + "\n\n"),
			"var/lib/pacman/local/p-1-1/mtree": gzipped("./" + strings.Repeat(`\000`, 1<<16) + "\n./" + path +
				"\tsha256digest=" + sha + "\n./cut")}
		r := fact.Report{Budget: fact.NewBudget(0)}
		if o := Read(t.Context(), modules(m), &r, Pacman); o.Files[long].Sum.Hex != sha || len(r.Problems) > 0 {
			t.Errorf("%s: %d files, %v", name, len(o.Files), r.Problems)
		}
	}
}

// TestManyArchitectures: of many lists whose packages have names alike, a stanza of the status is about its own.
func TestManyArchitectures(t *testing.T) {
	m := fstest.MapFS{"var/lib/dpkg/status": file("Package: a\nStatus: install ok installed\nArchitecture: x2\n" +
		"Version: 2\n\nPackage: a\nStatus: install ok installed\nArchitecture: x3\nVersion: 3\n\n")}
	for _, arch := range []string{"x1", "x2", "x3"} {
		m["var/lib/dpkg/info/a:"+arch+".list"] = file("/lib/modules/6.1/" + arch + ".ko\n")
	}
	var r fact.Report
	const want = "lib/modules/6.1/x1.ko: dpkg a  x1 \nlib/modules/6.1/x2.ko: dpkg a 2 x2 \n" +
		"lib/modules/6.1/x3.ko: dpkg a 3 x3 \n"
	if o := Read(t.Context(), modules(m), &r, Dpkg); dump(o) != want || !o.Whole || len(r.Problems) > 0 {
		t.Errorf("%s %v", dump(o), r.Problems)
	}
}

// TestTooManyLists: more lists than are read are said, and no file is without a package.
func TestTooManyLists(t *testing.T) {
	m := fstest.MapFS{}
	for i := range maxLists + 2 {
		m[fmt.Sprintf("var/lib/dpkg/info/p%06d.list", i)] = file("/x\n")
	}
	var r fact.Report
	if o := Read(t.Context(), modules(m), &r, Dpkg); o.Whole || len(r.Problems) != 1 ||
		!errors.Is(r.Problems[0], fact.ErrTooLarge) {
		t.Errorf("%+v, %v", o, r.Problems)
	}
}

// TestCompare finds what is not as its package brought it, and nothing that may differ.
func TestCompare(t *testing.T) {
	abc := map[string]string{"md5": "900150983cd24fb0d6963f7d28e17f72",
		"sha1":   "a9993e364706816aba3e25717850c26c9cd0d89d",
		"sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}
	m := fstest.MapFS{"link.ko": {Mode: fs.ModeSymlink, Data: []byte("md5.ko")}, "dir.ko/x": file("")}
	o := Owners{Files: map[string]Owner{}}
	own := func(path string, sum Sum, change func(o *Owner)) {
		f := Owner{Package: &fact.Package{Name: "p", Version: "1"}, Sum: sum}
		if change != nil {
			change(&f)
		}
		o.Files[path] = f
	}
	for algorithm, hex := range abc {
		m[algorithm+".ko"], m["bad-"+algorithm+".ko"] = file("abc"), file("abd")
		own(algorithm+".ko", Sum{algorithm, hex}, nil)
		own("bad-"+algorithm+".ko", Sum{algorithm, hex}, nil)
	}
	m["config.ko"], m["none.ko"], m["odd.ko"], m["large.ko"] = file("x"), file("x"), file("x"), file("xxxxxxxxx")
	own("config.ko", Sum{"md5", abc["md5"]}, func(o *Owner) { o.Config = true })
	own("ghost.ko", Sum{}, func(o *Owner) { o.Optional = true })
	own("none.ko", Sum{}, nil)
	own("missing.ko", Sum{"md5", abc["md5"]}, nil)
	own("link.ko", Sum{"md5", abc["md5"]}, nil)
	own("dir.ko", Sum{"md5", abc["md5"]}, nil)
	own("odd.ko", Sum{"crc32", "00"}, nil)
	own("large.ko", Sum{"md5", abc["md5"]}, nil)
	own("other", Sum{"md5", abc["md5"]}, nil)
	var r fact.Report
	c := o.Compare(t.Context(), m, "packages", func(path string) bool { return path != "other" }, 8, &r)
	var got []string
	for _, f := range c.Found {
		got = append(got, f.Kind+" "+f.Path)
	}
	const want = "changed_file bad-md5.ko, changed_file bad-sha1.ko, changed_file bad-sha256.ko, " +
		"changed_file dir.ko, missing_file missing.ko"
	if text := strings.Join(got, ", "); text != want || c.Unstated != 1 || len(c.More) > 0 {
		t.Errorf("%s\n%s\n%+v", text, want, c)
	}
	if len(r.Problems) != 2 || !errors.Is(r.Problems[0], fact.ErrTooLarge) ||
		!errors.Is(r.Problems[1], errors.ErrUnsupported) {
		t.Errorf("%v", r.Problems)
	}
	if d := c.Found[0].Discrepancy("tree", "packages"); len(d.Evidence) != 4 || d.Evidence[3].Value !=
		"4911e516e5aa21d327512e0c8b197616" {
		t.Errorf("%+v", d)
	}
}

func FuzzLists(f *testing.F) {
	for name, file := range debianRoot() {
		f.Add(name, file.Data)
	}
	f.Add("lib/apk/db/installed", []byte("P:linux-virt\nF:lib/modules/6.1/kernel\nR:a.ko.gz\n"+
		"Z:Q1q6urq6urq6urq6urq6urq6urq6s=\n\n"))
	f.Add("var/lib/pacman/local/a-1-1/mtree", gzipped("./usr/lib/modules/6.1/p\\040q.ko md5digest="+md5+"\n").Data)
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		if !fs.ValidPath(name) || name == "." {
			return
		}
		m := debianRoot()
		m["var/lib/pacman/local/a-1-1/files"] = file("%FILES%\nusr/lib/modules/6.1/p q.ko\n")
		m[name] = &fstest.MapFile{Data: data}
		r := fact.Report{Budget: fact.NewBudget(0)}
		o := Read(t.Context(), modules(m), &r, Dpkg, Opkg, APK, Pacman)
		if len(o.Files) > len(data)+10 {
			t.Fatalf("%d files in %d bytes", len(o.Files), len(data))
		}
	})
}
