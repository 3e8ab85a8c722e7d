// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/kernelext/kernelext/internal/hostfs"
	"github.com/kernelext/kernelext/internal/limit"
)

// A mark identifies the root of an operating system: one of its paths exists. Patterns are those of path.Match.
type mark struct {
	os     OS
	weight int
	paths  []string
}

// system32 is the folder of Windows' system in any case, as Wine and volumes that were copied spell it.
const system32 = "[Ww][Ii][Nn][Dd][Oo][Ww][Ss]/[Ss][Yy][Ss][Tt][Ee][Mm]32"

// marks are what is looked for in a root. No single one decides: each adds its weight, and what two systems may have
// weighs less than what only one has. The first of equals wins.
var marks = []mark{
	{Darwin, 8, []string{"System/Library/CoreServices/SystemVersion.plist"}},
	{Darwin, 8, []string{"System/Library/Extensions"}},
	{Windows, 8, []string{"Windows/System32/drivers", system32 + "/[Dd][Rr][Ii][Vv][Ee][Rr][Ss]"}},
	{Windows, 4, []string{"Windows/System32/config", "Windows/System32/DriverStore",
		system32 + "/[Cc][Oo][Nn][Ff][Ii][Gg]", system32 + "/[Dd][Rr][Ii][Vv][Ee][Rr][Ss][Tt][Oo][Rr][Ee]"}},
	{DragonFly, 6, []string{"sbin/mount_hammer2", "sbin/mount_hammer", "sbin/hammer2", "libexec/ld-elf.so.2"}},
	{DragonFly, 1, []string{"boot/kernel/kernel"}},
	{FreeBSD, 3, []string{"libexec/ld-elf.so.1"}},
	{FreeBSD, 3, []string{"bin/freebsd-version", "etc/freebsd-update.conf"}},
	{FreeBSD, 3, []string{"boot/kernel*/kernel", "boot/kernel*/kernel.gz", "boot/kernel*/*.ko"}},
	{FreeBSD, 2, []string{"boot/defaults/loader.conf", "boot/loader.conf", "boot/loader.conf.local",
		"boot/device.hints"}},
	{FreeBSD, 2, []string{"boot/modules/*.ko", "usr/local/etc/rc.d", "var/db/pkg/local.sqlite"}},
	{FreeBSD, 1, []string{"etc/defaults/rc.conf", "etc/rc.conf"}},
	{OpenBSD, 4, []string{"bsd.rd", "bsd.sp", "bsd.mp"}},
	{NetBSD, 4, []string{"netbsd", "netbsd.gz"}},
	{NetBSD, 4, []string{"stand/*/*/modules", "libexec/ld.elf_so"}},
	{NetBSD, 1, []string{"etc/defaults/rc.conf", "etc/rc.conf", "etc/modules.conf"}},
	{Illumos, 4, []string{"etc/name_to_major"}},
	{Illumos, 4, []string{"kernel/drv", "platform/*/kernel", "usr/kernel/drv"}},
	{Illumos, 2, []string{"etc/driver_aliases", "etc/system.d", "boot/platform"}},
	{AIX, 6, []string{"etc/objrepos"}},
	{AIX, 2, []string{"usr/lib/drivers", "usr/lib/boot/unix*"}},
	{Linux, 3, []string{"usr/lib/modules/*", "lib/modules/*"}},
	{Linux, 2, []string{"usr/lib/modules", "lib/modules"}},
	{Linux, 2, []string{"etc/modprobe.d", "usr/lib/modprobe.d", "lib/modprobe.d"}},
	{Linux, 2, []string{"boot/grub", "boot/grub2", "boot/vmlinuz*", "boot/loader/entries"}},
	{Linux, 2, []string{"lib/ld-linux*", "lib64/ld-linux*", "lib/ld-musl*", "usr/lib64/ld-linux*", "usr/lib/systemd"}},
	{Linux, 2, []string{"ostree/deploy", "ostree/repo"}}, // the disk of an ostree, not yet a root
	{Linux, 2, []string{ // Android, whose partitions have modules of their own
		"vendor/lib/modules", "vendor_dlkm/lib/modules", "system_dlkm/lib/modules", "odm/lib/modules",
		"system/lib/modules",
		"system/build.prop", "vendor/build.prop"}},
	{Linux, 1, []string{"etc/modules", "etc/modules-load.d", "usr/lib/modules-load.d", "etc/NIXOS"}},
	{Linux, 1, []string{"var/lib/dpkg", "var/lib/rpm", "usr/lib/sysimage/rpm", "lib/apk/db", "var/lib/pacman"}},
}

// releaseOS returns the system other than Linux that the ID or the ID_LIKE of an os-release names; empty for any other.
func releaseOS(id string) OS {
	switch strings.ToLower(id) {
	case "freebsd", "ghostbsd", "hardenedbsd", "midnightbsd", "pfsense", "opnsense":
		return FreeBSD
	case "dragonfly":
		return DragonFly
	case "netbsd":
		return NetBSD
	case "openbsd":
		return OpenBSD
	case "illumos", "omnios", "openindiana", "smartos", "tribblix":
		return Illumos
	case "solaris":
		return Solaris
	}
	return ""
}

// releaseWeight is what an os-release weighs, which containers and images of any kind have.
const releaseWeight = 3

// detectOS returns the operating system whose root fsys looks like; empty if it looks like none.
func detectOS(fsys fs.FS) OS {
	if _, ok := fsys.(Machine); !ok {
		fsys = hostfs.Of(fsys)
	}
	score := map[OS]int{}
	var order []OS
	add := func(os OS, weight int) {
		if score[os] == 0 {
			order = append(order, os)
		}
		score[os] += weight
	}
	for _, m := range marks {
		if m.in(fsys) {
			add(m.os, m.weight)
		}
	}
	if os := releasedAs(fsys); os != "" {
		add(os, releaseWeight)
	}
	if score[Illumos] > 0 && (score[Solaris] > 0 || isSolaris(fsys)) {
		add(Solaris, score[Illumos]+1)
	}
	best := OS("")
	for _, os := range order {
		if score[os] > score[best] {
			best = os
		}
	}
	return best
}

// errUnknownRoot returns why the system of an image is unknown.
func errUnknownRoot(fsys fs.FS) error {
	name := nameOf(fsys)
	if name == "" {
		name = "the file system"
	}
	if _, err := fs.ReadDir(fsys, "."); err != nil {
		return fmt.Errorf("%s could not be read to detect its system; Options.OS (--os) gives it: %w", name, err)
	}
	return fmt.Errorf("%s looks like the root of no known system; Options.OS (--os) gives it: %w",
		name, errors.ErrUnsupported)
}

// in reports whether one of the mark's paths is there.
func (m *mark) in(fsys fs.FS) bool {
	for _, p := range m.paths {
		if !strings.ContainsAny(p, "*[") {
			if _, err := fs.Stat(fsys, p); err == nil {
				return true
			}
		} else if found, err := fs.Glob(fsys, p); err == nil && len(found) > 0 {
			return true
		}
	}
	return false
}

// releasedAs returns the system that os-release(5) names; empty if there is no such file.
func releasedAs(fsys fs.FS) OS {
	for _, name := range []string{"etc/os-release", "usr/lib/os-release", "var/run/os-release"} {
		b, err := limit.ReadFile(fsys, name, limit.Attr)
		if err != nil {
			continue
		}
		os := Linux
		for line := range strings.Lines(string(b)) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			if key != "ID" && key != "ID_LIKE" {
				continue
			}
			for word := range strings.FieldsSeq(strings.Trim(value, `"'`)) {
				if named := releaseOS(word); named != "" {
					os = named
				}
			}
		}
		return os
	}
	return ""
}

// isSolaris reports whether /etc/release names Oracle's Solaris or its forerunner, not an illumos.
func isSolaris(fsys fs.FS) bool {
	b, err := limit.ReadFile(fsys, "etc/release", limit.Attr)
	text := string(b)
	return err == nil && strings.Contains(text, "Solaris") && !strings.Contains(text, "illumos") &&
		!strings.Contains(text, "OpenIndiana") && !strings.Contains(text, "OmniOS")
}
