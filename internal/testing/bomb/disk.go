// SPDX-License-Identifier: Apache-2.0

package bomb

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing/fstest"

	"github.com/kernelext/kernelext/internal/testing/fakedarwin"
	"github.com/kernelext/kernelext/internal/testing/petest"
	"github.com/kernelext/kernelext/internal/testing/sqlitetest"
)

// The readers of what else lies on a disk.
const (
	WindowsImage = "windows image" // what is installed on a disk of Windows, its policy and its checks
	PkgPackages  = "pkg database"  // the packages of pkg(8)
)

const (
	infPath = "C:/Windows/System32/DriverStore/FileRepository/a.inf_amd64_0/a.inf"
	infHead = "[Version]\r\nSignature=\"$WINDOWS NT$\"\r\nClass=Net\r\nProvider=x\r\nDriverVer=01/01/2020,1.0.0.0\r\n"
	pkgPath = "var/db/pkg/local.sqlite"
)

// diskBombs are files of disks, driver packages and databases.
func diskBombs() []Bomb {
	inf := func(name string, make func(int) []byte, big int) Bomb {
		return Bomb{Name: name, Of: WindowsImage, Path: infPath, Make: make, Small: 200, Big: big}
	}
	long := "[Strings]\r\na=\"" + strings.Repeat("x", 30_000) + "\"\r\n"
	models := infHead + "[Manufacturer]\r\nx=m\r\n[m.services]\r\nAddService=s,2,s\r\n[s]\r\nServiceBinary=s.sys\r\n"
	script := func(name string, make func(int) []byte, big int) Bomb {
		return Bomb{Name: name, Of: BSDImage, Path: "etc/rc.d/a", Make: make, Small: 500, Big: big}
	}
	const rc = "#!/bin/sh\nname=a\nrcvar=a_enable\n"
	return []Bomb{
		inf("INF of models", numbered(models+"[m]\r\n", "x=m,PCI\\%\r\n", ""), 90_000),
		inf("INF of long models", repeat(models+long+"[m]\r\n", "%a%=m,%a%,%a%,%a%\r\n", ""), 50_000),
		inf("INF of identifiers", repeat(models+long+"[m]\r\nx=m", ",%a%", "\r\n"), 100_000),
		inf("INF of services", numbered(infHead+"[m.services]\r\n", "AddService=%,2,s\r\n",
			"[s]\r\nServiceBinary=s.sys\r\n"), 60_000),
		inf("INF of sections", numbered(infHead+"[Manufacturer]\r\n",
			"%=%\r\n[%.services]\r\nAddService=%,2,%\r\n", ""), 4000),
		inf("INF of makers", numbered(infHead+"[Manufacturer]\r\n", "%=m,a,b\r\n", "[m]\r\nx=m,PCI\\x\r\n"), 80_000),
		inf("INF of continued lines", repeat(infHead+"[m]\r\na=", "x\\\r\n", "\r\n"), 100_000),
		inf("INF of one maker", numbered(infHead+"[Manufacturer]\r\nx=m", ",%", "\r\n"), 60_000),
		{Name: "links to one INF", Of: WindowsImage, Tree: func(n int) fstest.MapFS {
			tree := fstest.MapFS{infPath: file(numbered(models+"[m]\r\n", "x=m,PCI\\%\r\n", "")(1000))}
			for i := range n {
				tree["C:/Windows/System32/DriverStore/FileRepository/a.inf_amd64_"+number(i)+"/a.inf"] =
					link("../a.inf_amd64_0/a.inf")
			}
			return tree
		}, Small: 10, Big: 2000},
		{Name: "links to one driver", Of: WindowsImage, Tree: drivers, Small: 20, Big: 4000},
		script("rc script of commands", repeat(rc, "load_kld a\n", ""), 80_000),
		script("rc script of conditions", func(n int) []byte {
			return []byte(rc + strings.Repeat("if true; then\n", 64) + strings.Repeat("kldload a\n", n))
		}, 90_000),
		script("rc script of lists", repeat(rc, "a && ", "kldload a\n"), 150_000),
		script("rc script of open quotes", repeat(rc, "'\\''\n", ""), 200_000),
		script("rc script of documents", repeat(rc, "cat <<x\n", ""), 100_000),
		script("rc script of variables", repeat(rc+"a=x\n", "a=\"$a$a\"\n", ""), 90_000),
		script("rc script of modules", numbered(rc+"required_modules=\"", "% ", "\"\n"), 100_000),
		script("rc script of held commands", numbered(rc, "a%=kldload\n$a%\n", ""), 60_000),
		script("rc script of variables that hold", numbered(rc+": ", "${a%:=kldload} ", "\n"), 60_000),
		script("rc script of functions", numbered(rc, "f%() { f`g%`; }\nf%\n", ""), 50_000),
		{Name: "links to one rc script", Of: BSDImage, Tree: func(n int) fstest.MapFS {
			tree := fstest.MapFS{"etc/rc.d/a": file(repeat(rc, "kldload a\n", "")(5000))}
			for i := range n {
				tree["etc/rc.d/"+number(i)] = link("a")
			}
			return tree
		}, Small: 10, Big: 1000},
		{Name: "fstab", Of: BSDImage, Path: "etc/fstab", Make: numbered("", "/dev/% /% nullfs rw 0 0\n", ""),
			Small: 500, Big: 60_000},
		{Name: "fstab of options", Of: BSDImage, Path: "etc/fstab", Make: repeat("/dev/a /a nullfs rw", ",x", " 0 0\n"),
			Small: 500, Big: 300_000},
		{Name: "fstab of nonsense", Of: BSDImage, Path: "etc/fstab", Make: numbered("", "%\n", ""), Small: 500,
			Big: 120_000},
		{Name: "Linux fstab", Of: LinuxImage, Path: "etc/fstab", Make: numbered("", "/dev/% /% ext4 rw 0 0\n", ""),
			Small: 500, Big: 60_000},
		{Name: "packages", Of: PkgPackages, Path: pkgPath, Make: func(n int) []byte { return packages(n, n) },
			Small: 500, Big: 20_000},
		{Name: "database of overlapping rows", Of: PkgPackages, Path: pkgPath, Make: overlapping, Small: 8, Big: 2000},
		{Name: "database of shared pages", Of: PkgPackages, Path: pkgPath, Make: sharedPages, Small: 100, Big: 2000},
		{Name: "database of a cut tree", Of: PkgPackages, Path: pkgPath, Make: func(n int) []byte {
			b := packages(n, n)
			for at := len(b) / 8 &^ 4095; at < len(b); at += 2 * 4096 {
				b[at] = 0xff
			}
			return b
		}, Small: 500, Big: 20_000},
		collection("LZSS of zeros", func(n int) []byte {
			group := append([]byte{0}, bytes.Repeat([]byte{0xee, 0xff}, 8)...)
			return compressed("lzss", fakedarwin.LZSS, bytes.Repeat(group, n), n*8*18)
		}, 500_000),
		collection("LZVN of zeros", func(n int) []byte {
			return compressed("lzvn", func(b []byte) []byte { b = fakedarwin.LZVN(b); return b[:len(b)-8] },
				append(bytes.Repeat([]byte{0xf0, 0xff}, 100*n), 6, 0, 0, 0, 0, 0, 0, 0), 100*n*271)
		}, 30_000),
		collection("LZFSE of zeros", func(n int) []byte {
			block := fakedarwin.LZFSEBlocks(make([]byte, 200_000), 2)
			return slicesOf(fakedarwin.LZFSEBlocks(fakedarwin.Collection("x86_64", noMembers), 2),
				bytes.Repeat(block, n), fakedarwin.LZFSEEnd())
		}, 5000),
		collection("LZFSE of empty blocks", func(n int) []byte {
			return slicesOf(bytes.Repeat(fakedarwin.RawBlock(nil), n),
				fakedarwin.RawBlock(fakedarwin.Collection("x86_64", noMembers)), fakedarwin.LZFSEEnd())
		}, 300_000),
	}
}

func collection(name string, make func(int) []byte, big int) Bomb {
	return Bomb{Name: name, Of: MacFile, Path: "a.kc", Make: make, Small: 50, Big: big}
}

const noMembers = "<dict><key>_PrelinkInfoDictionary</key><array></array></dict>"

// compressed is an old compressed collection without members, and more after it that a checksum covers.
func compressed(kind string, compress func([]byte) []byte, more []byte, plain int) []byte {
	b := fakedarwin.Collection("x86_64", noMembers)
	h := make([]byte, 0x180)
	copy(h, "comp"+kind)
	payload := append(compress(b), more...)
	binary.BigEndian.PutUint32(h[8:], 1) // of nothing
	binary.BigEndian.PutUint32(h[12:], uint32(len(b)+plain))
	binary.BigEndian.PutUint32(h[16:], uint32(len(payload)))
	return append(h, payload...)
}

// packages is pkg(8)'s database with so many packages and files.
func packages(n, files int) []byte {
	var list, rows [][]any
	for i := range n {
		list = append(list, []any{nil, "p" + number(i), "1.0", "FreeBSD:14:amd64", "base/x"})
	}
	for i := range files {
		rows = append(rows, []any{"/boot/modules/" + number(i) + ".ko", "1$" + strings.Repeat("0", 64), i % max(n, 1)})
	}
	return packagesOf(list, rows)
}

// packagesOf is pkg(8)'s database with these rows.
func packagesOf(packages, files [][]any) []byte {
	return sqlitetest.Build(4096,
		sqlitetest.Table{Name: "packages", Rows: packages,
			SQL: "CREATE TABLE packages(id INTEGER PRIMARY KEY, name TEXT, version TEXT, arch TEXT, origin TEXT)"},
		sqlitetest.Table{Name: "files", Rows: files,
			SQL: "CREATE TABLE files(path TEXT, sha256 TEXT, package_id INTEGER)"})
}

// drivers are n services, the file of each a link to one driver.
func drivers(n int) fstest.MapFS {
	im := petest.Sample()
	im.Trailing = make([]byte, 1<<20)
	const dir = "C:/Windows/System32/drivers/"
	tree := fstest.MapFS{"C:/Windows/System32/config/SYSTEM": file(hiveOf(n, 0, nil)), dir + "a.sys": file(im.Build())}
	for i := range n {
		tree[dir+number(i)+".sys"] = link("a.sys")
	}
	return tree
}

// overlapping is a database of n leaves whose cells are all the same bytes.
func overlapping(n int) []byte {
	b := packages(1, 25*n)
	for at := 4096; at+4096 <= len(b); at += 4096 {
		p := b[at : at+4096]
		if p[0] != 0x0d {
			continue
		}
		first := binary.BigEndian.Uint16(p[8:])
		cells := (int(first) - 100) / 2
		if cells < 10 || int(binary.BigEndian.Uint16(p[3:])) < 10 {
			continue
		}
		lowest := binary.BigEndian.Uint16(p[5:])
		cells = (int(lowest) - 8) / 2
		binary.BigEndian.PutUint16(p[3:], uint16(cells))
		for i := range cells {
			binary.BigEndian.PutUint16(p[8+2*i:], first)
		}
	}
	return b
}

// sharedPages is a database of n rows that all go on in the same overflow pages.
func sharedPages(n int) []byte {
	var rows [][]any
	for range n {
		rows = append(rows, []any{strings.Repeat("/x", 5000), "", 1})
	}
	b := packagesOf(nil, rows)
	for at := 4096; at+4096 <= len(b); at += 4096 { // the size of each row: fifteen times what it has
		if p := b[at : at+4096]; p[0] == 0x0d {
			for i := range int(binary.BigEndian.Uint16(p[3:])) {
				cell := p[binary.BigEndian.Uint16(p[8+2*i:]):]
				if cell[0]&0x80 != 0 && cell[1]&0x80 == 0 {
					cell[0] |= 0x40
				}
			}
		}
	}
	return b
}
