// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
)

// TestDetect detects systems by several marks: no single file decides.
func TestDetect(t *testing.T) {
	for _, c := range []struct {
		name  string
		files string // with "=" the text of a file
		want  OS
	}{
		{"FreeBSD", "boot/kernel/kernel boot/loader.conf etc/rc.conf", FreeBSD},
		{"FreeBSD, another kernel", "boot/kernel.GENERIC/pf.ko boot/kernel.GENERIC/kernel boot/loader.conf", FreeBSD},
		{"FreeBSD, compressed", "boot/kernel/kernel.gz etc/rc.conf", FreeBSD},
		{"FreeBSD's jail", "etc/os-release=ID=freebsd etc/rc.conf", FreeBSD},
		{"pfSense", "boot/kernel/kernel.gz boot/defaults/loader.conf cf/conf/config.xml etc/rc", FreeBSD},
		{"OPNsense", "boot/kernel/kernel usr/local/opnsense/version/core usr/local/etc/rc.d/x etc/rc.conf", FreeBSD},
		{"TrueNAS CORE", "boot/kernel/kernel boot/modules/x.ko data/x etc/os-release=ID=freebsd", FreeBSD},
		{"TrueNAS SCALE", "usr/lib/modules/6.12/modules.dep boot/grub/x etc/os-release=ID=debian data/x", Linux},
		{"FreeBSD with Linux's root", "boot/kernel/kernel boot/loader.conf compat/linux/lib/modules/x", FreeBSD},
		{"DragonFly", "boot/kernel/kernel boot/defaults/loader.conf sbin/mount_hammer2 etc/rc.conf", DragonFly},
		{"NetBSD", "netbsd stand/amd64/10.0/modules/x etc/rc.conf etc/modules.conf", NetBSD},
		{"NetBSD without a kernel", "stand/evbarm/10.0/modules/x etc/defaults/rc.conf etc/rc.conf", NetBSD},
		{"OmniOS", "etc/name_to_major kernel/drv/amd64/sd etc/os-release=ID=omnios etc/release=OmniOS", Illumos},
		{"SmartOS", "etc/driver_aliases platform/i86pc/kernel/drv/x usr/kernel/drv/y", Illumos},
		{"Solaris", "etc/name_to_major kernel/drv/sd etc/release=Oracle_Solaris_11.4", Solaris},
		{"OpenBSD", "bsd bsd.rd etc/rc.conf", OpenBSD},
		{"macOS", "System/Library/CoreServices/SystemVersion.plist", Darwin},
		{"Windows", "Windows/System32/drivers/x.sys", Windows},
		{"Windows in capitals", "WINDOWS/SYSTEM32/DRIVERS/X.SYS", Windows},
		{"a drive of Wine", "windows/system32/drivers/mountmgr.sys windows/system32/config/SYSTEM", Windows},
		{"a drive of Wine, hives alone", "windows/system32/config/SOFTWARE", Windows},
		{"a store alone", "Windows/system32/driverstore/FileRepository/x.inf_1/x.sys", Windows},
		{"a folder that is called so", "windows/readme.txt", ""},
		{"Linux with Wine's files beside it",
			"usr/lib/modules/6.12/modules.dep home/u/.wine/drive_c/windows/system32/drivers/x", Linux},
		{"Debian", "lib/modules/6.1/modules.dep etc/os-release=ID=debian", Linux},
		{"Android", "vendor/lib/modules/modules.load system/etc/x", Linux},
		{"Android, another partition", "system_dlkm/lib/modules/modules.load", Linux},
		{"an ostree's disk", "ostree/deploy/fedora/deploy/1.0/etc/x boot/loader.1/entries/x.conf", Linux},
		{"a container", "etc/os-release=ID=alpine etc/rc.conf", Linux},
		{"Linux with a file netbsd", "usr/lib/modules/6.1/modules.dep boot/vmlinuz-6.1 netbsd etc/os-release=ID=arch",
			Linux},
		{"Android", "system/etc/hosts vendor/lib/modules/modules.load", Linux},
		{"Android's vendor partition", "vendor_dlkm/lib/modules/modules.dep", Linux},
		{"the disk of an ostree", "ostree/deploy/fedora/deploy/0.0/x boot/loader.1/entries/a.conf", Linux},
		{"a container without os-release", "var/lib/dpkg/status etc/passwd", Linux},
		{"modprobe's configuration alone", "etc/modules-load.d/a.conf", Linux},
		{"hives without drivers", "Windows/System32/config/SYSTEM", Windows},
		{"FreeBSD with Linux's packages", "boot/kernel/kernel boot/loader.conf var/lib/rpm/x", FreeBSD},
		{"nothing", "x", ""},
		{"a file that many have", "etc/passwd etc/fstab bin/sh", ""},
	} {
		root := fstest.MapFS{}
		for _, f := range strings.Fields(c.files) {
			name, text, _ := strings.Cut(f, "=")
			root[name] = &fstest.MapFile{Data: []byte(strings.ReplaceAll(text, "_", " ") + "\n")}
		}
		if got := detectOS(root); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// An image that looks like no system is not taken for one of the running system; Options.OS gives it.
func TestUnknownRoot(t *testing.T) {
	plain, denied := fstest.MapFS{"etc/passwd": {}}, closedRoot{}
	for _, c := range []struct {
		name string
		fsys fs.FS
		want error
	}{
		{"empty", fstest.MapFS{}, errors.ErrUnsupported},
		{"plain", plain, errors.ErrUnsupported},
		{"unreadable", denied, fs.ErrPermission},
	} {
		s, err := OpenImage(c.fsys, Options{})
		if s != nil || !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
			continue
		}
		if !strings.Contains(err.Error(), "--os") || !strings.Contains(err.Error(), "Options.OS") {
			t.Errorf("%s: no remedy in %q", c.name, err)
		}
		for _, os := range []OS{Linux, FreeBSD, Windows} {
			s, err := OpenImage(c.fsys, Options{OS: os})
			if err != nil || s.OS() != os {
				t.Errorf("%s as %s: %v", c.name, os, err)
			}
		}
	}
}

// A closedRoot is a file system that nothing of can be read.
type closedRoot struct{}

func (closedRoot) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
}
