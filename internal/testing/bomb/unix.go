// SPDX-License-Identifier: Apache-2.0

package bomb

import (
	"strings"
	"testing/fstest"

	"github.com/kernelext/kernelext/internal/testing/kotest"
)

// The readers of the disks of NetBSD and illumos, and of the digests of FreeBSD's klds.
const (
	NetBSDImage  = "netbsd image"
	SolarisImage = "solaris image"
	BSDHashes    = "freebsd hashes"
)

// unixBombs are what the boot of NetBSD and of illumos reads, and files to hash.
func unixBombs() []Bomb {
	netbsd := func(name, path string, make func(int) []byte, big int) Bomb {
		return Bomb{Name: "netbsd: " + name, Of: NetBSDImage, Path: path, Make: make, Small: 500, Big: big}
	}
	illumos := func(name, path string, make func(int) []byte, big int) Bomb {
		return Bomb{Name: "illumos: " + name, Of: SolarisImage, Path: path, Make: make, Small: 500, Big: big}
	}
	return []Bomb{
		netbsd("rc.conf", "etc/rc.conf", numbered("", "%=YES\n", ""), 60_000),
		{Name: "netbsd: rc.conf of itself", Of: NetBSDImage, Path: "etc/rc.conf", Small: 4000, Big: 30_000,
			Make: repeat("", "modules=\"${modules} a\"\n", "")},
		netbsd("sysctl.conf", "etc/sysctl.conf", numbered("", "%?=1\n", ""), 60_000),
		netbsd("boot.cfg of loads", "boot.cfg", numbered("", "load=/%\n", ""), 60_000),
		netbsd("boot.cfg of one entry", "boot.cfg", numbered("menu=a:", "load %;", "boot\n"), 60_000),
		netbsd("boot.cfg of devices", "boot.cfg", repeat("", "userconf=disable a\n", ""), 60_000),
		netbsd("modules.conf", "etc/modules.conf", repeat("", "a\n", ""), 500_000),
		netbsd("module of modules", "stand/amd64/10.0/modules/b/b.kmod",
			func(n int) []byte { return kotest.KMODs(n, "a", "b,c") }, 4000),
		netbsd("module that requires", "stand/amd64/10.0/modules/a/a.kmod",
			func(n int) []byte { return kotest.KMODOf("a", strings.Repeat("b,", n)) }, 100_000),
		{Name: "netbsd: chain of modules", Of: NetBSDImage, Small: 20, Big: 3000,
			Tree: func(n int) fstest.MapFS { return kmods(n, number) }},
		{Name: "netbsd: files of one module", Of: NetBSDImage, Small: 20, Big: 3000,
			Tree: func(n int) fstest.MapFS {
				tree := kmods(n, func(int) string { return "a" })
				tree["etc/modules.conf"] = file([]byte(strings.Repeat("a\n", 10*n)))
				return tree
			}},
		illumos("system", "etc/system", numbered("", "exclude: drv/%\n", ""), 60_000),
		illumos("system of one driver", "etc/system", repeat("", "forceload: drv/a\n", ""), 60_000),
		illumos("system of directories", "etc/system", numbered("moddir:", " /%", "\n"), 100_000),
		illumos("driver_aliases", "etc/driver_aliases", numbered("", "% \"a\"\n", ""), 100_000),
		illumos("driver_aliases of one driver", "etc/driver_aliases", numbered("", "a \"%\"\n", ""), 100_000),
		illumos("name_to_major", "etc/name_to_major", numbered("", "% 1\n", ""), 100_000),
		illumos("path_to_inst", "etc/path_to_inst", numbered("", "\"/%\" 0 \"a\"\n", ""), 60_000),
		{Name: "illumos: files of system.d", Of: SolarisImage, Small: 20, Big: 3000,
			Tree: names("etc/system.d/", "exclude: drv/a\n")},
		{Name: "illumos: files of modules", Of: SolarisImage, Small: 50, Big: 20_000, Tree: driverFiles},
		{Name: "freebsd: links to one kld", Of: BSDHashes, Small: 4, Big: 4000, Tree: kldLinks},
		{Name: "freebsd: kld to hash", Of: BSDHashes, Path: "boot/kernel/a.ko", Small: 100, Big: 20_000,
			Make: func(n int) []byte { return append(plainKLD(), make([]byte, n<<10)...) }},
	}
}

// kmods are n files of modules with those names, each requiring the next.
func kmods(n int, name func(int) string) fstest.MapFS {
	tree := fstest.MapFS{}
	for i := range n {
		dir := "stand/amd64/10.0/modules/" + number(i) + "/"
		tree[dir+number(i)+".kmod"] = file(kotest.KMODOf(name(i), name(i+1)))
	}
	return tree
}

// names are n files of that text.
func names(dir, text string) func(n int) fstest.MapFS {
	return func(n int) fstest.MapFS {
		tree := fstest.MapFS{}
		for i := range n {
			tree[dir+number(i)] = file([]byte(text))
		}
		return tree
	}
}

// driverFiles are n drivers of one device.
func driverFiles(n int) fstest.MapFS {
	tree := names("kernel/drv/amd64/", "x")(n)
	tree["etc/driver_aliases"] = file(numbered("", "% \"a\"\n", "")(n))
	return tree
}

// kldLinks are a kld of 64 KiB and n links to it.
func kldLinks(n int) fstest.MapFS {
	tree := fstest.MapFS{"boot/kernel/a.ko": file(append(plainKLD(), make([]byte, 64<<10)...))}
	for i := range n {
		tree["boot/kernel/"+number(i)+".ko"] = link("a.ko")
	}
	return tree
}

// plainKLD is a kld with one module.
func plainKLD() []byte {
	k := kotest.AMD64()
	k.Modules = []kotest.Module{{Record: "a", Name: "a"}}
	return k.Bytes()
}
