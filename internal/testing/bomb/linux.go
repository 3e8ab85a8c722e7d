// SPDX-License-Identifier: Apache-2.0

package bomb

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing/fstest"

	"github.com/kernelext/kernelext/internal/testing/linuxtest"
)

// The readers of Linux.
const (
	LinuxImage   = "linux image"   // the check of a module of a mounted disk
	LinuxFile    = "linux file"    // a module's file
	LinuxLint    = "linux lint"    // the lines of a mounted disk's configuration that do nothing
	LinuxUpgrade = "linux upgrade" // the comparison of two kernels of a running machine
)

// bootBombs are what a boot loader's files hold.
func bootBombs() []Bomb {
	const grub, bls = "boot/grub/grub.cfg", "boot/loader/entries/a.conf"
	variable := `set a="` + strings.Repeat("b ", 1000) + "\"\n"
	return []Bomb{
		{Name: "grub variable", Of: LinuxImage, Path: grub, Make: repeat(variable, "x $a\n", ""), Small: 500,
			Big: 100_000},
		{Name: "grub kernel lines", Of: LinuxImage, Path: grub, Make: repeat(variable,
			"linux /vmlinuz-6.1.0 $a\n", ""),
			Small: 50, Big: 30_000},
		{Name: "grub initrd lines", Of: LinuxImage, Path: grub,
			Make: repeat(variable+"linux /vmlinuz-6.1.0\n", "initrd $a\n", ""), Small: 50, Big: 100_000},
		{Name: "grub command in a variable", Of: LinuxImage, Path: grub, Make: repeat(variable, "$a\n", ""),
			Small: 500,
			Big:   100_000},
		{Name: "grub continued lines", Of: LinuxImage, Path: grub, Make: repeat("", "a\\\n", "\n"), Small: 2000,
			Big: 300_000},
		{Name: "grub if if", Of: LinuxImage, Path: grub, Make: repeat("", "if ", "\n"), Small: 2000, Big: 300_000},
		{Name: "grub open braces", Of: LinuxImage, Path: grub, Make: repeat("linux /vmlinuz-6.1.0 ", "${",
			"\n"), Small: 1000,
			Big: 400_000},
		{Name: "grub brace commands", Of: LinuxImage, Path: grub, Make: repeat("", "${;", "\n"), Small: 1000,
			Big: 300_000},
		{Name: "grub many variables", Of: LinuxImage, Path: grub, Make: numbered("linux /vmlinuz-6.1.0 ", "$% ",
			"\n"),
			Small: 1000, Big: 100_000},
		{Name: "grub many values", Of: LinuxImage, Path: grub, Make: numbered("", "set a=%\nlinux /v $a\n", ""),
			Small: 1000,
			Big:   40_000},
		{Name: "grub sources", Of: LinuxImage, Path: grub, Make: numbered("", "source /%.cfg\n", ""),
			Small: 500, Big: 50_000},
		{Name: "grub entries", Of: LinuxImage, Path: grub,
			Make: numbered("", "menuentry % {\nlinux /vmlinuz-6.1.0 a=%\ninitrd /%\n}\n", ""), Small: 200,
			Big: 15_000},
		{Name: "loader entry options", Of: LinuxImage, Path: bls,
			Make: repeat("linux /vmlinuz-6.1.0\n", "options x=1\n", ""), Small: 1000, Big: 80_000},
		{Name: "loader entry initrds", Of: LinuxImage, Path: bls,
			Make: numbered("linux /vmlinuz-6.1.0\n", "initrd /%\n", ""), Small: 1000, Big: 60_000},
		{Name: "extlinux labels", Of: LinuxImage, Path: "boot/extlinux/extlinux.conf",
			Make: numbered("", "label %\nlinux /vmlinuz-6.1.0\nappend a=%\ninitrd %\n", ""), Small: 200, Big: 15_000},
		{Name: "command line", Of: LinuxImage, Path: "etc/kernel/cmdline", Make: numbered("", "%.x=1 ", "\n"),
			Small: 1000,
			Big:   80_000},
		{Name: "initrd of zeros", Of: LinuxImage, Path: "boot/initrd.img-6.1.0",
			Make: func(n int) []byte { return zipped(linuxtest.Archive(), n) }, Small: 500,
			Big: 500_000},
		{Name: "initrd of archives", Of: LinuxImage, Path: "boot/initrd.img-6.1.0",
			Make: func(n int) []byte { return bytes.Repeat(linuxtest.Archive("a", ""), n) }, Small: 100, Big: 4000},
		{Name: "initrd of packed archives", Of: LinuxImage, Path: "boot/initrd.img-6.1.0",
			Make: func(n int) []byte { return bytes.Repeat(zipped(linuxtest.Archive(), 0), n) }, Small: 100,
			Big: 15_000},
		{Name: "initrd of configuration", Of: LinuxImage, Path: "boot/initrd.img-6.1.0", Make: func(n int) []byte {
			return zipped(linuxtest.Archive("etc/modprobe.d/a.conf", strings.Repeat("blacklist a\n", n)), 0)
		}, Small: 1000, Big: 300_000},
		{Name: "initrd of names", Of: LinuxImage, Path: "boot/initrd.img-6.1.0", Make: func(n int) []byte {
			var texts []string
			for i := range n {
				texts = append(texts, "etc/modprobe.d/"+strings.Repeat("x", 500)+number(i)+".conf", "")
			}
			return zipped(linuxtest.Archive(texts...), 0)
		}, Small: 200, Big: 30_000},
		{Name: "initrd of deep paths", Of: LinuxImage, Path: "boot/initrd.img-6.1.0", Make: func(n int) []byte {
			var texts []string
			for i := range n {
				texts = append(texts, "etc/"+number(i)+strings.Repeat("/a", 1900)+"/etc/modprobe.d/a.conf", "")
			}
			return zipped(linuxtest.Archive(texts...), 0)
		}, Small: 5, Big: 250},
		{Name: "grub defaults that grow", Of: LinuxImage, Path: "etc/default/grub",
			Make: repeat("GRUB_CMDLINE_LINUX=x\n", "GRUB_CMDLINE_LINUX+=x\n", ""), Small: 1000, Big: 50_000},
		{Name: "grub defaults that double", Of: LinuxImage, Path: "etc/default/grub",
			Make:  repeat("GRUB_CMDLINE_LINUX=x\nA=x\n", "A=$A$A\nGRUB_CMDLINE_LINUX=$A\n", ""),
			Small: 1000, Big: 30_000},
		{Name: "grub defaults of names", Of: LinuxImage, Path: "etc/default/grub",
			Make: numbered("", "%=\"x\"\n", ""), Small: 1000, Big: 80_000},
		{Name: "command line directory", Of: LinuxImage, Path: "etc/cmdline.d/a.conf",
			Make: numbered("", "% ", "\n"), Small: 1000, Big: 100_000},
		{Name: "bootconfig keys", Of: LinuxImage, Tree: bootconfig(numbered("kernel {\n", "%\n", "}\n")),
			Small: 500, Big: 3000},
		{Name: "bootconfig below a long key", Of: LinuxImage,
			Tree:  bootconfig(numbered("kernel."+strings.Repeat("x", 8000)+" {\n", "%\n", "}\n")),
			Small: 500, Big: 3000},
		{Name: "bootconfig values", Of: LinuxImage,
			Tree: bootconfig(repeat("kernel."+strings.Repeat("x", 200)+" = ", "a,", "a\n")), Small: 1000, Big: 8000},
		{Name: "symbol versions", Of: LinuxImage,
			Tree: symvers(numbered("", "0x00000011\t%\tvmlinux\tEXPORT_SYMBOL\n", "")), Small: 500, Big: 25_000},
		{Name: "symbol versions of one name", Of: LinuxImage,
			Tree: symvers(repeat("", "0x00000011\ta\tvmlinux\tEXPORT_SYMBOL\n", "")), Small: 500, Big: 25_000},
		{Name: "symbol versions, packed", Of: LinuxImage, Tree: symvers(func(n int) []byte {
			return zipped([]byte(strings.Repeat("0x00000011\ta\n", n)), 0)
		}), Small: 1000, Big: 1_000_000},
		{Name: "unified images and addons", Of: LinuxImage, Tree: unified, Small: 10, Big: 500},
	}
}

// bootconfig is an initial file system followed by a text of n parts, which the command line makes the kernel read.
func bootconfig(text func(int) []byte) func(int) fstest.MapFS {
	return func(n int) fstest.MapFS {
		data, sum := text(n), uint32(0)
		for _, b := range data {
			sum += uint32(b)
		}
		size := uint32(len(data))
		data = append(linuxtest.Archive(), data...)
		data = binary.LittleEndian.AppendUint32(data, size)
		data = append(binary.LittleEndian.AppendUint32(data, sum), "#BOOTCONFIG\n"...)
		return fstest.MapFS{"boot/initrd.img-6.1.0": file(data),
			"boot/config-6.1.0":  linuxtest.File("CONFIG_MODULES=y\nCONFIG_BOOT_CONFIG=y\n"),
			"boot/grub/grub.cfg": linuxtest.File("linux /vmlinuz-6.1.0 bootconfig\ninitrd /initrd.img-6.1.0\n")}
	}
}

// symvers is a list of symbols' checksums with n parts, and a module whose own are compared with it.
func symvers(text func(int) []byte) func(int) fstest.MapFS {
	const dir = "lib/modules/6.1.0/"
	module := linuxtest.ModuleOf(binary.LittleEndian, true, linuxtest.EntriesOf("6.0.0", "a")...)
	versions := append(binary.LittleEndian.AppendUint64(nil, 0x11), make([]byte, 56)...)
	copy(versions[8:], "module_layout")
	module.Sections = append(module.Sections, linuxtest.Section{Name: "__versions", Kind: 1, Data: versions})
	return func(n int) fstest.MapFS {
		return fstest.MapFS{dir + "build/Module.symvers": file(text(n)), dir + "extra/a.ko": file(module.Bytes()),
			dir + "modules.dep": linuxtest.File("extra/a.ko:\n"),
			"boot/config-6.1.0": linuxtest.File("CONFIG_MODULES=y\nCONFIG_MODVERSIONS=y\n")}
	}
}

// unified is n unified kernel images with n addons for all of them.
func unified(n int) fstest.MapFS {
	tree := make(fstest.MapFS)
	text := linuxtest.Image(".linux", "", ".cmdline", strings.Repeat("a=1 ", 500))
	for i := range n {
		tree["boot/efi/EFI/Linux/"+number(i)+".efi"] = file(text)
		tree["boot/efi/loader/addons/"+number(i)+".addon.efi"] = file(text)
	}
	return tree
}

// modprobeBombs are what modprobe and depmod read.
func modprobeBombs() []Bomb {
	const conf, dir = "etc/modprobe.d/a.conf", "lib/modules/6.1.0/"
	b := func(name, path string, make func(int) []byte, big int) Bomb {
		return Bomb{Name: name, Of: LinuxImage, Path: path, Make: make, Small: 500, Big: big}
	}
	return []Bomb{
		b("blacklist lines", conf, repeat("", "blacklist a\n", ""), 80_000),
		b("options lines", conf, numbered("", "options a %=1\n", ""), 60_000),
		b("install lines", conf, repeat("", "install a /bin/true\n", ""), 50_000),
		b("alias patterns", conf, numbered("", "alias *%*a*b* a\n", ""), 50_000),
		b("aliases of aliases", conf, numbered("alias a aaaaaaa\n", "alias % %\n", ""), 40_000),
		b("softdeps", conf, numbered("", "softdep a pre: %\n", ""), 40_000),
		b("one softdep", conf, numbered("softdep a pre: ", "% ", "\n"), 100_000),
		b("install of install", conf, repeat("install a ", "/sbin/modprobe -i a; ", "\n"), 40_000),
		b("continued configuration", conf, repeat("options a ", "x\\\n", "\n"), 300_000),
		b("nonsense", conf, numbered("", "nonsense %\n", ""), 50_000),
		{Name: "links to one configuration", Of: LinuxImage, Tree: links, Small: 4, Big: 400},
		b("dependencies", dir+"modules.dep", numbered("kernel/a.ko:\n", "kernel/%.ko: kernel/a.ko\n", ""), 30_000),
		b("one long dependency", dir+"modules.dep", numbered("kernel/a.ko:", " kernel/%.ko", "\n"), 60_000),
		b("dependencies on each other", dir+"modules.dep",
			numbered("kernel/a.ko: kernel/aaaaaaa.ko\n", "kernel/%.ko: kernel/a.ko kernel/%.ko\n", ""), 25_000),
		b("aliases", dir+"modules.alias", numbered("", "alias pci:%* a\n", ""), 50_000),
		b("one alias", dir+"modules.alias", repeat("", "alias a a\n", ""), 80_000),
		b("builtin modules", dir+"modules.builtin", numbered("", "kernel/%.ko\n", ""), 60_000),
		b("builtin modinfo", dir+"modules.builtin.modinfo", repeat("", "a.parm=x:y\x00", ""), 80_000),
		b("order", dir+"modules.order", numbered("", "kernel/%.ko\n", ""), 60_000),
		b("index softdeps", dir+"modules.softdep", numbered("", "softdep % pre: a\n", ""), 50_000),
		b("depmod overrides", "etc/depmod.d/a.conf", numbered("", "override % 6.1.0 x\n", ""), 40_000),
		b("depmod searches", "etc/depmod.d/a.conf", numbered("", "search % built-in\n", ""), 40_000),
		b("load lists", "etc/modules-load.d/a.conf", numbered("", "%\n", ""), 100_000),
		b("sysctl settings", "etc/sysctl.d/a.conf", numbered("", "kernel.% = 1\n", ""), 50_000),
		b("sysctl of modules", "etc/sysctl.d/a.conf", repeat("", "kernel.modules_disabled = 1\n", ""), 30_000),
	}
}

// links is one configuration of 64 KiB and n links to it.
func links(n int) fstest.MapFS {
	tree := fstest.MapFS{"etc/modprobe.d/a.conf": file([]byte(strings.Repeat("options a b=1\n", 64<<10/14)))}
	for i := range n {
		tree["etc/modprobe.d/"+number(i)+".conf"] = link("a.conf")
	}
	return tree
}

// moduleBombs are files of modules.
func moduleBombs() []Bomb {
	elf := func(entry string) func(int) []byte {
		return func(n int) []byte {
			entries := make([]string, n)
			for i := range entries {
				entries[i] = strings.ReplaceAll(entry, "%", number(i))
			}
			return linuxtest.ModuleOf(order, true, linuxtest.Entries("a", entries...)...).Bytes()
		}
	}
	return []Bomb{
		{Name: "module of zeros", Of: LinuxFile, Path: "a.ko.gz", Make: func(n int) []byte {
			b := linuxtest.ModuleOf(order, true, linuxtest.Entries("a")...).Bytes()
			return zipped(b, n)
		}, Small: 500, Big: 500_000},
		{Name: "module of parameters", Of: LinuxFile, Path: "a.ko", Make: elf("parm=%:x"), Small: 500, Big: 60_000},
		{Name: "module of one parameter", Of: LinuxFile, Path: "a.ko", Make: elf("parm=a:x"), Small: 500,
			Big: 80_000},
		{Name: "module of aliases", Of: LinuxFile, Path: "a.ko", Make: elf("alias=%"), Small: 500, Big: 60_000},
		{Name: "module of firmware", Of: LinuxFile, Path: "a.ko", Make: elf("firmware=%"), Small: 500, Big: 60_000},
		{Name: "module of names", Of: LinuxFile, Path: "a.ko", Make: elf("name=%"), Small: 500, Big: 60_000},
		{Name: "module of sections", Of: LinuxFile, Path: "a.ko", Make: func(n int) []byte {
			m := linuxtest.ModuleOf(order, true, linuxtest.Entries("a")...)
			for range n {
				m.Sections = append(m.Sections, linuxtest.Section{Name: ".x", Kind: 1})
			}
			return m.Bytes()
		}, Small: 500, Big: 15_000},
		{Name: "packed module of magic", Of: LinuxFile, Path: "a.ko.gz",
			Make: func(n int) []byte { return zipped(elf("vermagic=%")(n), 0) }, Small: 500, Big: 60_000},
	}
}
