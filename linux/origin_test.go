// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/linuxtest"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// ownersOf reads whose files are.
func ownersOf(fsys fs.FS, release string, r *fact.Report) *fileOwners {
	return readOwners(fsys, release, readPackages(fsys, true, r), r)
}

func TestOrigin(t *testing.T) {
	var r fact.Report
	o := ownersOf(fstest.MapFS{
		"var/lib/dpkg/info/linux-image-6.1.list":        linuxtest.File("/.\n/lib/modules/6.1/kernel/a.ko\n"),
		"var/lib/dpkg/info/vendor-drivers:amd64.list":   linuxtest.File("/usr/lib/modules/6.1/extra/v.ko.xz\n"),
		"var/lib/dkms/zfs/2.1.0/6.1/x86_64/module/z.ko": linuxtest.File(""),
		"var/lib/dkms/zfs/2.1.0/source/x":               linuxtest.File(""),
	}, "6.1", &r)
	for _, c := range []struct {
		name, file string
		intree     fact.Tri
		want       fact.OriginClass
		pkg        string
	}{
		{"a", "kernel/a.ko", fact.Yes, fact.OriginOS, "linux-image-6.1"},
		{"v", "extra/v.ko.xz", fact.No, fact.OriginThirdParty, "vendor-drivers"},
		{"z", "updates/dkms/z.ko", fact.Yes, fact.OriginThirdParty, "none"},
		{"u", "updates/u.ko", fact.Yes, "", "none"},
		{"planted", "kernel/planted.ko", fact.Yes, "", "none"},
		{"planted", "planted.ko", fact.Yes, "", "none"},
		{"n", "kernel/n.ko", fact.No, fact.OriginThirdParty, "none"},
	} {
		got := o.Origin(&Module{Intree: c.intree}, c.name, c.file, "lib/modules/6.1/"+c.file)
		i := slices.IndexFunc(got.Evidence, func(e fact.Evidence) bool { return e.Fact == "package" })
		if got.Class != c.want || i < 0 || got.Evidence[i].Value != c.pkg {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}

// TestOriginOfDKMSBuild: a build of a module's name does not make a file DKMS's that is elsewhere or is the kernel's.
func TestOriginOfDKMSBuild(t *testing.T) {
	var r fact.Report
	o := ownersOf(fstest.MapFS{
		"var/lib/dpkg/info/linux-image-6.1.list": linuxtest.File("/lib/modules/6.1/kernel/net/" +
			"dummy.ko\n/lib/modules/6.1/kernel/net/late.ko\n"),
		"var/lib/dkms/dummy/1.0/6.1/x86_64/module/dummy.ko": linuxtest.File(""),
		"var/lib/dkms/dummy/1.0/source/dkms.conf": linuxtest.File("PACKAGE_NAME=dummy\n" +
			"DEST_MODULE_LOCATION[0]=\"/kernel/net\"\n"),
		"var/lib/dkms/late/2.0/6.1/x86_64/module/late.ko.xz": linuxtest.File(""),
		"usr/src/late-2.0/dkms.conf": linuxtest.File("  DEST_MODULE_LOCATION[0]='/kernel/" +
			"drivers/late/'\nDEST_MODULE_LOCATION[1]=/$x\nDEST_MODULE_LOCATION[2]=/\n"),
		"var/lib/dkms/bare/3.0/6.1/x86_64/module/bare.ko":      linuxtest.File(""),
		"var/lib/dkms/other/4.0/5.10/x86_64/module/another.ko": linuxtest.File(""),
	}, "6.1", &r)
	for _, c := range []struct {
		name, file string
		want       fact.OriginClass
		dkms       string
	}{
		{"dummy", "kernel/net/dummy.ko", fact.OriginOS, ""},
		{"dummy", "updates/dkms/dummy.ko", fact.OriginThirdParty, "dummy/1.0"},
		{"dummy", "extra/dummy.ko.xz", fact.OriginThirdParty, "dummy/1.0"},
		{"late", "kernel/net/late.ko", fact.OriginOS, ""},
		{"late", "kernel/drivers/late/late.ko.xz", fact.OriginThirdParty, "late/2.0"},
		{"late", "kernel/drivers/late.ko", "", ""},
		{"bare", "kernel/bare.ko", "", ""},
		{"bare", "bare.ko", "", ""},
		{"bare", "updates/bare.ko", fact.OriginThirdParty, "bare/3.0"},
		{"another", "updates/another.ko", "", ""},
	} {
		got := o.Origin(&Module{Intree: fact.Yes}, c.name, c.file, "lib/modules/6.1/"+c.file)
		build := ""
		for _, e := range got.Evidence {
			if e.Fact == "dkms" {
				build = e.Value
			}
		}
		if got.Class != c.want || build != c.dkms {
			t.Errorf("%s: %+v, want %s, build %q", c.file, got, c.want, c.dkms)
		}
	}
	if len(r.Problems) > 0 {
		t.Errorf("lost %v", r.Problems)
	}
}

// TestOriginWithoutPackages: where nothing says whose files are, the file's own word and its place do.
func TestOriginWithoutPackages(t *testing.T) {
	none := ownersOf(fstest.MapFS{}, "6.1", new(fact.Report))
	for file, want := range map[string]fact.OriginClass{"kernel/a.ko": fact.OriginOS, "a.ko": fact.OriginOS,
		"extra/a.ko": "", "": ""} {
		if got := none.Origin(&Module{Intree: fact.Yes}, "a", file, "x/a.ko"); got.Class != want {
			t.Errorf("%q: %+v, want %q", file, got, want)
		}
	}
}

// TestOriginWithPackagesElsewhere: where /var is not mounted, whose files are was not read.
func TestOriginWithPackagesElsewhere(t *testing.T) {
	for mount, want := range map[string]fact.OriginClass{"/var": "", "/srv": fact.OriginOS} {
		var lost fact.Report
		fsys := fstest.MapFS{"etc/fstab": linuxtest.File("UUID=x " + mount + " ext4 defaults 0 2\n")}
		o := ownersOf(fsys, "6.1", &lost)
		got := o.Origin(&Module{Intree: fact.Yes}, "a", "kernel/a.ko", "lib/modules/6.1/kernel/a.ko")
		if got.Class != want || len(lost.Problems) != map[bool]int{true: 1}[want == ""] {
			t.Errorf("%s: %+v, want %q: %v", mount, got, want, lost.Problems)
		}
	}
}

// TestOriginWithDiversionsLost: a file that another package may have renamed is not its package's for sure.
func TestOriginWithDiversionsLost(t *testing.T) {
	fsys := fstest.MapFS{"var/lib/dpkg/info/linux-image-1.list": linuxtest.File("/lib/modules/1/kernel/a.ko\n"),
		"var/lib/dpkg/diversions": linuxtest.File("")}
	for name, want := range map[string]fact.OriginClass{"": fact.OriginOS, "var/lib/dpkg/diversions": ""} {
		o := ownersOf(refuses{fsys, name}, "1", new(fact.Report))
		got := o.Origin(&Module{Intree: fact.Yes}, "a", "kernel/a.ko", "lib/modules/1/kernel/a.ko")
		if got.Class != want {
			t.Errorf("%q refused: %+v", name, got)
		}
	}
}

func TestInRelease(t *testing.T) {
	for name, want := range map[string][2]string{
		"lib/modules/6.1/extra/a.ko": {"6.1", "extra/a.ko"}, "usr/lib/modules/6.1/a.ko": {"6.1", "a.ko"},
		"lib/modules/a.ko":        {"a.ko", ""},
		"vendor/lib/modules/a.ko": {"", "a.ko"}, "root/lib/modules/6.1/a.ko": {"", ""}, "lib/modules": {"", ""},
	} {
		if release, file := inRelease(name); release != want[0] || file != want[1] {
			t.Errorf("%s: %q, %q", name, release, file)
		}
	}
}

// TestOriginWithALostList: no package owns a file only if all lists were read.
func TestOriginWithALostList(t *testing.T) {
	fsys := fstest.MapFS{
		"var/lib/dpkg/info/bash.list":          linuxtest.File("/bin/bash\n"),
		"var/lib/dpkg/info/linux-image-1.list": linuxtest.File("/lib/modules/1/kernel/a.ko\n"),
		"var/lib/dpkg/info/vendor.list":        linuxtest.File("/lib/modules/1/extra/v.ko\n"),
		"lib/modules/1/modules.dep":            linuxtest.File("kernel/a.ko:\nextra/v.ko:\nextra/x.ko:\n"),
		"lib/modules/1/kernel/a.ko":            linuxtest.File(""), "lib/modules/1/extra/v.ko": linuxtest.File(""),
		"lib/modules/1/extra/x.ko": linuxtest.File(""),
	}
	packageOf := func(o *fileOwners) string {
		for _, e := range o.Origin(&Module{Intree: fact.Yes}, "a", "kernel/a.ko",
			"lib/modules/1/kernel/a.ko").Evidence {
			if e.Fact == "package" {
				return e.Value
			}
		}
		return ""
	}
	tree := modprobe.OpenTree(fsys, modprobe.ReleaseDir{Release: "1", Dir: "lib/modules/1"}, false)
	var lost fact.Report
	whole := ownersOf(fsys, "1", &lost)
	if got := packageOf(whole); got != "linux-image-1" || len(lost.Problems) > 0 {
		t.Errorf("package %q, lost %v", got, lost.Problems)
	}
	if found, err := unownedFiles(tree, whole, &lost, new(fact.Report)); err != nil || len(found) != 1 ||
		found[0].Name != "x" {
		t.Errorf("%+v, %v", found, err)
	}
	part := ownersOf(refuses{fsys, "var/lib/dpkg/info/linux-image-1.list"}, "1", &lost)
	if got := part.Origin(&Module{Intree: fact.Yes}, "a", "kernel/a.ko", "lib/modules/1/kernel/a.ko"); got.Class != "" {
		t.Errorf("its owner is in a list that is lost: %+v", got)
	}
	if got := packageOf(part); got != "" || !part.Found || len(lost.Problems) != 1 {
		t.Errorf("package %q, lost %v", got, lost.Problems)
	}
	if found, err := unownedFiles(tree, part, &lost, new(fact.Report)); !errors.Is(err, fs.ErrPermission) ||
		found != nil {
		t.Errorf("%+v, %v", found, err)
	}
}

// refuses refuses to open one file.
type refuses struct {
	fstest.MapFS
	name string
}

func (r refuses) Open(name string) (fs.File, error) {
	if name == r.name {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return r.MapFS.Open(name)
}

func TestOwnersOfEveryPackageManager(t *testing.T) {
	var r fact.Report
	o := ownersOf(fstest.MapFS{
		"var/lib/pacman/local/linux-lts-6.6.1-1/files": linuxtest.File("%FILES%\nusr/\n" +
			"usr/lib/modules/6.1/kernel/p.ko.zst\n\n%BACKUP%\n"),
		"var/lib/pacman/local/ALPM_DB_VERSION": linuxtest.File("9\n"),
		"var/lib/pacman/local/odd/files":       linuxtest.File("%FILES%\nusr/lib/modules/6.1/odd.ko\n"),
		"lib/apk/db/installed": linuxtest.File("C:Q1\nP:linux-virt\nV:6.1-r0\n" +
			"F:lib/modules/6.1/kernel\nR:a.ko.gz\na:0:0:644\n\nP:other\nR:lost.ko\n" +
			"F:usr/lib/modules/6.1/extra\nR:b.ko\n\n"),
	}, "6.1", &r)
	for file, want := range map[string]string{
		"lib/modules/6.1/kernel/p.ko.zst": "linux-lts", "lib/modules/6.1/odd.ko": "odd",
		"usr/lib/modules/6.1/kernel/a.ko.gz": "linux-virt",
		"lib/modules/6.1/extra/b.ko":         "other", "lib/modules/6.1/lost.ko": "",
	} {
		if got := o.Package(file); got != want {
			t.Errorf("%s: %q, want %q", file, got, want)
		}
	}
	if !o.Found || len(r.Problems) > 0 {
		t.Errorf("%+v", o)
	}
}

func FuzzAPK(f *testing.F) {
	f.Add("P:linux-virt\nF:lib/modules/6.1/kernel\nR:a.ko.gz\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		o := ownersOf(fstest.MapFS{"lib/apk/db/installed": linuxtest.File(text)}, "6.1", new(fact.Report))
		if len(o.Files) > strings.Count(text, "\n")+1 {
			t.Fatalf("%d files in %q", len(o.Files), text)
		}
	})
}
