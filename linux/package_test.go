// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"errors"
	"io/fs"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/linuxtest"
)

// Each package manager's own words, as far as they are in files that are read anyway, and in dpkg's status.
func TestPackageOf(t *testing.T) {
	var r fact.Report
	o := ownersOf(fstest.MapFS{
		"var/lib/dpkg/info/linux-image-6.1.list": linuxtest.File("/lib/modules/6.1/kernel/a.ko\n"),
		"var/lib/dpkg/info/removed.list":         linuxtest.File("/lib/modules/6.1/removed.ko\n"),
		"var/lib/dpkg/info/both:amd64.list":      linuxtest.File("/lib/modules/6.1/both.ko\n"),
		"var/lib/dpkg/info/both:i386.list":       linuxtest.File("/.\n"),
		"var/lib/dpkg/info/other.list":           linuxtest.File("/.\n"),
		"var/lib/dpkg/info/unknown.list":         linuxtest.File("/lib/modules/6.1/unknown.ko\n"),
		"var/lib/dpkg/status": linuxtest.File("Package: linux-image-6.1\nStatus: install ok installed\n" +
			"Architecture: amd64\nVersion: 6.1.1-1\nDescription: x\n Version: 9\n\n" +
			"Package: other\nStatus: install ok installed\nVersion: 3\n\n" +
			"Package: removed\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 1\n\n" +
			"Package: both\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2\n\n" +
			"Package: both\nStatus: install ok installed\nArchitecture: i386\nVersion: 2\n"),
		"usr/lib/opkg/info/kmod-fs.list": linuxtest.File("/lib/modules/6.1/fs.ko\n"),
		"lib/apk/db/installed": linuxtest.File("P:linux-virt\nV:6.1-r0\nA:x86_64\nF:lib/modules/6.1\nR:v.ko\n\n" +
			"P:plain\nF:lib/modules/6.1\nR:plain.ko\n\n"),
		"var/lib/pacman/local/linux-lts-6.6.1-1/files": linuxtest.File("%FILES%\nusr/lib/modules/6.1/p.ko\n"),
		"var/lib/pacman/local/odd/files":               linuxtest.File("%FILES%\nusr/lib/modules/6.1/odd.ko\n"),
	}, "6.1", &r)
	for file, want := range map[string]fact.Package{
		"kernel/a.ko": {Manager: "dpkg", Name: "linux-image-6.1", Version: "6.1.1-1", Arch: "amd64"},
		"removed.ko":  {Manager: "dpkg", Name: "removed"},
		"both.ko":     {Manager: "dpkg", Name: "both", Version: "2", Arch: "amd64"},
		"unknown.ko":  {}, // dpkg -S says so, too
		"fs.ko":       {Manager: "opkg", Name: "kmod-fs"},
		"v.ko":        {Manager: "apk", Name: "linux-virt", Version: "6.1-r0", Arch: "x86_64"},
		"plain.ko":    {Manager: "apk", Name: "plain"},
		"p.ko":        {Manager: "pacman", Name: "linux-lts", Version: "6.6.1-1"},
		"odd.ko":      {Manager: "pacman", Name: "odd"},
		"nobodys.ko":  {},
	} {
		if got := o.PackageOf("lib/modules/6.1/" + file); got == nil || *got != want {
			t.Errorf("%s: %+v, want %+v", file, got, want)
		}
	}
	if len(r.Problems) > 0 {
		t.Error(r.Problems)
	}
	var none *packages
	if none.PackageOf("lib/modules/6.1/a.ko") != nil {
		t.Error("a file by itself has a package")
	}
	if got := ownersOf(fstest.MapFS{}, "6.1", &r).PackageOf("lib/modules/6.1/a.ko"); got != nil {
		t.Errorf("without a list: %+v", got)
	}
}

// A status that cannot be read costs the version alone, with a Problem.
func TestPackageWithoutStatus(t *testing.T) {
	files := fstest.MapFS{
		"var/lib/dpkg/info/a.list": linuxtest.File("/lib/modules/6.1/kernel/a.ko\n"),
		"var/lib/dpkg/status":      linuxtest.File("Package: a\nStatus: install ok installed\nVersion: 1\n"),
	}
	var r fact.Report
	o := ownersOf(refuses{files, "var/lib/dpkg/status"}, "6.1", &r)
	got := o.PackageOf("lib/modules/6.1/kernel/a.ko")
	if got == nil || *got != (fact.Package{Manager: "dpkg", Name: "a"}) {
		t.Errorf("%+v", got)
	}
	if !o.Whole || len(r.Problems) != 1 || !errors.Is(r.Problems[0], fs.ErrPermission) {
		t.Errorf("whole %v, %v", o.Whole, r.Problems)
	}
	delete(files, "var/lib/dpkg/status")
	r = fact.Report{}
	if ownersOf(files, "6.1", &r); len(r.Problems) > 0 {
		t.Errorf("a system without a status: %v", r.Problems)
	}
}
