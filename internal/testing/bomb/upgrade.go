// SPDX-License-Identifier: Apache-2.0

package bomb

import (
	"testing/fstest"
)

// lintBombs are configurations of which no line does anything.
func lintBombs() []Bomb {
	b := func(name string, make func(int) []byte) Bomb {
		return Bomb{Name: "lint of " + name, Of: LinuxLint, Path: "etc/modprobe.d/a.conf", Make: make, Small: 200,
			Big: 20_000}
	}
	return []Bomb{
		b("names that nothing has", numbered("", "blacklist %\n", "")),
		b("options of aliases", numbered("", "alias x%* a\noptions x%* a=1\n", "")),
		b("one line again and again", repeat("", "install a /bin/true\n", "")),
		b("words", repeat("blacklist a", " b", "\n")),
		b("carriage returns", numbered("", "alias % a\r\n", "")),
		b("softdeps of softdeps", numbered("softdep a pre: a\n", "softdep a pre: %\ninstall a %\n", "")),
	}
}

// upgradeBombs are what a machine with two kernels has.
func upgradeBombs() []Bomb {
	b := func(name, path string, make func(int) []byte, big int) Bomb {
		return Bomb{Name: "upgrade with " + name, Of: LinuxUpgrade, Path: path, Make: make, Small: 200, Big: big}
	}
	return []Bomb{
		b("loaded modules", "proc/modules", numbered("", "% 1 0 - Live 0x0\n", ""), 10_000),
		b("mounts", "proc/1/mountinfo", numbered("", "1 0 8:1 / / rw - % /dev/% rw\n", ""), 15_000),
		b("file systems", "etc/fstab", numbered("", "/dev/% /% %,% rw 0 0\n", ""), 10_000),
		b("encrypted disks", "etc/crypttab", numbered("", "% /dev/% none\n", ""), 10_000),
		b("drivers of an initial file system", "etc/dracut.conf", numbered("add_drivers+=\" ", "% ", "\"\n"), 20_000),
		b("wanted units", "etc/systemd/system/a.service", numbered("Wants=", "modprobe@%.service ", "\n"), 20_000),
		{Name: "upgrade with devices", Of: LinuxUpgrade, Tree: devices, Small: 50, Big: 4000},
		{Name: "upgrade with disks on disks", Of: LinuxUpgrade, Tree: stacked, Small: 10, Big: 2000},
		{Name: "upgrade with packages of DKMS", Of: LinuxUpgrade, Tree: dkmsTrees, Small: 50, Big: 3000},
	}
}

// devices are n devices with a driver that two kernels know.
func devices(n int) fstest.MapFS {
	alias := file([]byte("alias pci:* a\n"))
	tree := fstest.MapFS{"lib/modules/6.1.0/modules.alias": alias, "sys/module/a/x": file(nil)}
	for i := range n {
		dir := "sys/bus/pci/devices/" + number(i)
		tree[dir+"/modalias"] = file([]byte("pci:" + number(i) + "\n"))
		tree[dir+"/driver"] = link("../../drivers/a")
	}
	return tree
}

// stacked are n block devices, each below the next and below the first.
func stacked(n int) fstest.MapFS {
	tree := fstest.MapFS{"sys/dev/block/8:1": link("../../devices/virtual/block/" + number(0))}
	for i := range n {
		dir := "sys/devices/virtual/block/" + number(i)
		tree[dir+"/dm/uuid"] = file([]byte("CRYPT-" + number(i) + "\n"))
		for _, next := range []string{number((i + 1) % n), number(0)} {
			tree[dir+"/slaves/"+next] = link("../../" + next)
		}
	}
	return tree
}

// dkmsTrees are n packages of DKMS for a module that the other kernel lacks.
func dkmsTrees(n int) fstest.MapFS {
	tree := fstest.MapFS{"proc/modules": file([]byte("gone 1 0 - Live 0x0\n"))}
	for i := range n {
		tree["var/lib/dkms/"+number(i)+"/1/6.1.0/x86_64/module/gone.ko"] = file(nil)
	}
	return tree
}
