// SPDX-License-Identifier: Apache-2.0

package lkmtest_test

import (
	"debug/elf"
	"testing/fstest"

	"github.com/kernelext/kernelext/internal/testing/kotest"
	"github.com/kernelext/kernelext/lkm"
)

// netbsdImage is an image of NetBSD: modules that the boot loads, by name and by path, that only another one requires,
// that the kernel has compiled in (also on disk, with a requirement that nothing meets), that lack what they require,
// and that nothing loads after the boot.
func netbsdImage() fstest.MapFS {
	const dir = "stand/amd64/10.0/modules/"
	files := fstest.MapFS{
		"netbsd":                           {Data: kotest.KMODOf("solaris", "")},
		dir + "solaris/solaris.kmod":       {Data: kotest.KMODOf("solaris", "nowhere")},
		dir + "zfs/zfs.kmod":               {Data: kotest.KMODOf("zfs", "solaris,xcall")},
		dir + "xcall/xcall.kmod":           {Data: kotest.KMODOf("xcall", "")},
		dir + "lost/lost.kmod":             {Data: kotest.KMODOf("lost", "nowhere")},
		dir + "other/other.kmod":           {Data: kotest.KMODOf("named", "")},
		"stand/amd64/9.3/modules/a/a.kmod": {Data: kotest.KMODOf("a", "b")},
		"stand/amd64/9.3/modules/b/b.kmod": {Data: kotest.KMODOf("b", "")},
		"usr/pkg/lib/modules/evil.kmod":    {Data: kotest.KMODOf("evil", "zfs")},
		"usr/pkg/lib/modules/off.kmod":     {Data: kotest.KMODOf("off", "")},
	}
	for name, text := range map[string]string{
		"boot.cfg":              "menu=a:load other;load /usr/pkg/lib/modules/evil.kmod;boot netbsd\nmenu=b:boot\n",
		"etc/modules.conf":      "zfs\n/usr/pkg/lib/modules/off.kmod\n",
		"etc/sysctl.conf":       "kern.module.autoload=0\n",
		"etc/defaults/rc.conf":  "modules=YES\n",
		"etc/rc.conf":           "securelevel=1\n",
		"etc/rc.conf.d/modules": "modules=NO\n",
		"etc/rc.d/modules":      "modload \"$@\" \"$name\"\n",
		"etc/rc.d/local":        "# modload /x\n",
		"etc/rc.local":          "echo modloads\n",
		"etc/ifconfig.wm0":      "up\n",
	} {
		files[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return files
}

// solarisImage is an image of illumos or Solaris: drivers that a device asks for, that are forced to load, or that have
// no number; modules that are excluded by name or by kind; and more directories to load from.
func solarisImage() fstest.MapFS {
	files := fstest.MapFS{}
	for _, name := range []string{
		"kernel/drv/amd64/e1000g", "kernel/drv/e1000g.conf", "kernel/drv/amd64/sd", "kernel/drv/amd64/fd",
		"kernel/fs/amd64/zfs", "kernel/misc/scsi_vhci/amd64/f_sym", "usr/kernel/fs/amd64/pcfs",
		"usr/kernel/misc/amd64/pcfs", "platform/i86pc/kernel/misc/amd64/acpi", "opt/kernel/drv/amd64/extra",
	} {
		files[name] = &fstest.MapFile{Data: []byte("x")}
	}
	for name, text := range map[string]string{
		"etc/system":         "exclude: fs/pcfs\nexclude: fd\nmoddir: /kernel /usr/kernel:/opt/kernel\n",
		"etc/system.d/mine":  "forceload: drv/sd\n",
		"etc/driver_aliases": "e1000g \"pci8086,10d3\"\nfd \"pnpPNP,700\"\nextra \"x\"\n",
		"etc/name_to_major":  "e1000g 1\nsd 2\nfd 3\n",
		"etc/path_to_inst":   "\"/pci@0,0/disk@0,0\" 0 \"sd\"\n",
	} {
		files[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return files
}

// freebsdImage is an image of FreeBSD or DragonFly at a raised securelevel: klds that the boot loads, by name, by path
// and from a directory of its own, that only another one requires, that the kernel has compiled in, that drive a device
// that devmatch(8) does not ask for, that only the boot loader unpacks, and that nothing loads.
func freebsdImage() fstest.MapFS {
	kld := func(name string, needs ...string) []byte {
		k := kotest.AMD64()
		k.Modules, k.Versions = []kotest.Module{{Record: name, Name: name}}, []kotest.Version{{Name: name, Version: 1}}
		k.Depends = []kotest.Depend{{Name: "kernel", Min: 1402000, Preferred: 1402000, Max: 1499999}}
		for _, n := range needs {
			k.Depends = append(k.Depends, kotest.Depend{Name: n, Min: 1, Preferred: 1, Max: 1})
		}
		if name == "dev" {
			k.PNP = []kotest.PNP{{Bus: "pci", Descr: "U32:vendor;U32:device;", EntryLen: 8,
				Rows: []byte{0x86, 0x80, 0, 0, 0xd3, 0x10, 0, 0}, Num: 1}}
		}
		return k.Bytes()
	}
	kernel := kotest.KLD{Type: elf.ET_EXEC, Machine: elf.EM_X86_64, Class: elf.ELFCLASS64, Order: kotest.AMD64().Order}
	kernel.Versions = []kotest.Version{{Name: "kernel", Version: 1402000}, {Name: "inside", Version: 1}}
	kernel.Modules = []kotest.Module{{Record: "in", Name: "in"}}
	files := fstest.MapFS{}
	for name, b := range map[string][]byte{
		"boot/kernel/kernel": kernel.Bytes(), "boot/kernel/in.ko": kld("in"), "boot/kernel/a.ko": kld("a", "b"),
		"boot/kernel/b.ko": kld("b"), "boot/kernel/lost.ko": kld("lost", "nowhere"), "boot/kernel/c.ko": kld("c"),
		"boot/kernel/dev.ko": kld("dev", "inside"), "boot/modules/c.ko": kld("c"), "boot/modules/off.ko": kld("off"),
		"boot/mine/mine.ko": kld("mine"), "opt/e.ko": kld("e", "off"), "boot/kernel/svc.ko": kld("svc"),
		"etc/rc.d/kld": nil, "etc/rc.d/devmatch": nil, "boot/lua/loader.lua": nil,
		"boot/defaults/loader.conf": []byte("loader_conf_files=\"/boot/loader.conf\"\n" +
			"loader_conf_dirs=\"/boot/loader.conf.d\"\n"),
		"boot/loader.conf":          []byte("a_load=\"YES\"\nmodule_path=\"/boot/modules;/boot/mine\"\n"),
		"boot/loader.conf.d/x.conf": []byte("c_load=\"YES\"\nmodule_blacklist=\"c\"\n"),
		"etc/defaults/rc.conf": []byte("kld_list=\"\"\nkern_securelevel_enable=\"NO\"\ndevmatch_enable=\"YES\"\n" +
			"rc_conf_files=\"/etc/rc.conf /etc/rc.conf.local\"\n"),
		"etc/rc.conf": []byte("kern_securelevel_enable=\"YES\"\nkern_securelevel=\"1\"\n" +
			"devmatch_blocklist=\"dev\"\n"),
		"etc/rc.conf.local": []byte("kld_list=\"/opt/e.ko\"\n"), "etc/sysctl.conf": []byte("kern.hz=1\n"),
		"etc/fstab": []byte("/dev/ada0p2 / ufs rw 1 1\n"), "etc/rc.d/s": []byte("#!/bin/sh\n. /etc/rc.subr\n" +
			"name=\"s\"\nrcvar=\"s_enable\"\nrequired_modules=\"svc\"\n"),
	} {
		files[name] = &fstest.MapFile{Data: b}
	}
	return files
}

// unixRoots are the subjects that are images of other systems than Linux. They are small: each of their inputs is
// damaged in every way in a check, whatever else is tested.
func unixRoots(detail lkm.Detail) []*subject {
	solaris := []string{"e1000g", "sd", "drv/sd", "fd", "zfs", "f_sym", "pcfs", "/usr/kernel/fs/amd64/pcfs", "acpi",
		"extra", "pci8086,10d3", "pnpPNP,700", "x"}
	freebsd := []string{"in", "in.ko", "a", "b", "lost", "nowhere", "inside", "c", "dev", "off", "mine", "e",
		"/opt/e.ko", "svc", "pci:vendor=0x8086 device=0x10d3"}
	var list []*subject
	for _, r := range []struct {
		os      lkm.OS
		files   func() fstest.MapFS
		queries []string
	}{
		{lkm.NetBSD, netbsdImage, []string{"solaris", "zfs", "xcall", "lost", "nowhere", "named", "other", "a", "b",
			"evil", "off", "/usr/pkg/lib/modules/evil.kmod", "/usr/pkg/lib/modules/off.kmod"}},
		{lkm.FreeBSD, freebsdImage, freebsd}, {lkm.DragonFly, freebsdImage, freebsd},
		{lkm.Illumos, solarisImage, solaris}, {lkm.Solaris, solarisImage, solaris},
	} {
		open := func(m *faulty) (*lkm.System, error) {
			return lkm.OpenImage(m, lkm.Options{OS: r.os, Detail: detail})
		}
		list = append(list, &subject{name: string(r.os) + " root", open: open, whole: true, only: "check",
			queries: r.queries, machine: func() lkm.Machine { return root{r.files()} }})
	}
	return list
}
