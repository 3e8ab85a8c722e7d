// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/pkgdb"
	"github.com/kernelext/kernelext/internal/testing/fakeunix"
	"github.com/kernelext/kernelext/internal/testing/kotest"
	"github.com/kernelext/kernelext/internal/testing/sqlitetest"
)

// pkgDatabase is the database of pkg(8) with the owner of each path.
func pkgDatabase(owners map[string]string) *fstest.MapFile {
	packages := sqlitetest.Table{Name: "packages",
		SQL: "CREATE TABLE packages (id INTEGER PRIMARY KEY, origin TEXT, name TEXT, version TEXT, arch TEXT)"}
	files := sqlitetest.Table{Name: "files",
		SQL: "CREATE TABLE files (path TEXT PRIMARY KEY, sha256 TEXT, package_id INTEGER)"}
	for path, name := range owners {
		packages.Rows = append(packages.Rows, []any{nil, "base/" + name, name, "14.2", "FreeBSD:14:amd64"})
		files.Rows = append(files.Rows, []any{path, nil, len(packages.Rows)})
	}
	return &fstest.MapFile{Data: sqlitetest.Build(4096, packages, files)}
}

// found returns the findings as "KIND NAME", sorted, and the views that were not compared.
func found(list []fact.Discrepancy) (findings, unchecked []string) {
	for _, d := range list {
		if d.Kind == KindUnchecked {
			for _, e := range d.Evidence {
				unchecked = append(unchecked, e.Source)
			}
			continue
		}
		findings = append(findings, d.Kind+" "+d.Name)
	}
	slices.Sort(findings)
	return findings, unchecked
}

// TestDiscrepancies changes a machine in one respect, and looks for what is found besides.
func TestDiscrepancies(t *testing.T) {
	// gone.ko has no file and nobody asks for it, linux_common.ko comes with linux.ko.
	usual := []string{"loaded_not_asked gone.ko", "no_file gone.ko"}
	for name, c := range map[string]struct {
		change    func(m *fakeunix.FreeBSD)
		more      []string
		unchecked []string
	}{
		"as it is": {func(*fakeunix.FreeBSD) {}, nil, []string{SourcePackages}},
		"another module": {func(m *fakeunix.FreeBSD) {
			m.Files[1].Modules = append(m.Files[1].Modules, fakeunix.Mod{ID: 999, Refs: 1, Name: "evil"})
		}, []string{"undeclared_module aesni.ko"}, []string{SourcePackages}},
		"file is gone": {func(m *fakeunix.FreeBSD) { delete(m.Disk, "boot/modules/drm.ko") },
			[]string{"no_file drm.ko", "loaded_not_asked drm.ko"}, []string{SourcePackages}},
		"unloaded again": {func(m *fakeunix.FreeBSD) { m.Files = slices.Delete(m.Files, 1, 2) },
			[]string{"preloaded_gone aesni.ko", "asked_not_loaded aesni.ko"}, []string{SourcePackages}},
		"not loaded": {func(m *fakeunix.FreeBSD) {
			m.Disk["etc/rc.conf"].Data = append(m.Disk["etc/rc.conf"].Data, "kld_list=\"linux drm if_em\"\n"...)
		}, []string{"asked_not_loaded if_em.ko"}, []string{SourcePackages}},
		"compiled in": {func(m *fakeunix.FreeBSD) {
			m.Disk["etc/rc.conf"].Data = append(m.Disk["etc/rc.conf"].Data, "kld_list=\"linux drm if_vtnet\"\n"...)
		}, nil, []string{SourcePackages}},
		"another minor": {func(m *fakeunix.FreeBSD) { m.Numbers["kern.osreldate"] = 1403000 },
			[]string{"built_for_other aesni.ko", "built_for_other drm.ko", "built_for_other if_em.ko",
				"built_for_other if_vtnet.ko", "built_for_other linux.ko", "built_for_other linux_common.ko"},
			[]string{SourcePackages}},
		"packages": {func(m *fakeunix.FreeBSD) {
			m.Disk[pkgdb.PkgFile] = pkgDatabase(map[string]string{"/boot/modules/drm.ko": "drm-61-kmod",
				"/boot/kernel/aesni.ko": "FreeBSD-kernel-generic", "/boot/kernel/if_em.ko": "FreeBSD-kernel-generic",
				"/boot/kernel/if_vtnet.ko": "FreeBSD-kernel-generic",
				"/boot/kernel/linux.ko":    "FreeBSD-kernel-generic"})
		}, []string{"unowned_file broken.ko", "unowned_file linux_common.ko"}, nil},
		"damaged database": {func(m *fakeunix.FreeBSD) {
			m.Disk[pkgdb.PkgFile] = &fstest.MapFile{Data: []byte("no database")}
		}, nil, []string{SourcePackages}},
	} {
		m := fakeunix.GENERIC()
		c.change(m)
		list, err := Open(m.Machine(), fact.Options{}).Discrepancies(t.Context(), new(fact.Report))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, unchecked := found(list)
		want := slices.Concat(usual, c.more)
		slices.Sort(want)
		if strings.Join(got, "\n") != strings.Join(want, "\n") || strings.Join(unchecked,
			" ") != strings.Join(c.unchecked, " ") {
			t.Errorf("%s: %q, unchecked %q\nwant %q, %q", name, got, unchecked, want, c.unchecked)
		}
	}
}

// TestHidden leaves a file out of kldnext alone: its id still answers.
func TestHidden(t *testing.T) {
	m := fakeunix.GENERIC()
	list, err := Open(skipping{m.Machine()}, fact.Options{}).Discrepancies(t.Context(), new(fact.Report))
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := found(list); !slices.Contains(got, "unlisted_file linux.ko") {
		t.Errorf("%q", got)
	}
}

// A skipping machine is one whose kldnext leaves out id 5.
type skipping struct{ *fakeunix.Machine }

func (s skipping) Call(ctx context.Context, op string, args ...string) ([]byte, error) {
	b, err := s.Machine.Call(ctx, op, args...)
	if op == OpKldNext && string(b) == "5" {
		return s.Machine.Call(ctx, op, "5")
	}
	return b, err
}

// TestRefusedViews refuses each view: no finding appears or vanishes without the view being named.
func TestRefusedViews(t *testing.T) {
	for _, key := range []string{"etc/rc.conf", "boot/loader.conf", "sysctl " + sysctlPreloaded, "boot/modules"} {
		m := fakeunix.GENERIC()
		list, err := Open(refusing{m.Machine(), key}, fact.Options{}).Discrepancies(t.Context(), new(fact.Report))
		if err != nil {
			t.Fatal(err)
		}
		got, unchecked := found(list)
		for _, d := range got {
			if !strings.HasSuffix(d, " gone.ko") && !strings.HasPrefix(d, KindNotAsked) {
				t.Errorf("%s is refused: %s", key, d)
			}
		}
		if key != "boot/modules" && len(unchecked) < 2 {
			t.Errorf("%s is refused: unchecked %q", key, unchecked)
		}
	}
	if _, err := Open(refusing{fakeunix.GENERIC().Machine(), "kldnext 0"}, fact.Options{}).
		Discrepancies(t.Context(), new(fact.Report)); err == nil {
		t.Error("a result without the kernel's list")
	}
}

func TestFileDiscrepancies(t *testing.T) {
	root := freebsdRoot(1402000, nil)
	old := kotest.AMD64()
	old.Modules = []kotest.Module{{Record: "old", Name: "old"}}
	old.Depends = []kotest.Depend{{Name: "kernel", Min: 1400000, Preferred: 1401000, Max: 1499999}}
	root["boot/modules/old.ko"] = &fstest.MapFile{Data: old.Bytes()}
	root[pkgdb.PkgFile] = pkgDatabase(map[string]string{"/boot/modules/c.ko": "x-kmod", "/boot/kernel/a.ko": "x",
		"/boot/kernel/b.ko": "x", "/boot/kernel/c.ko": "x", "/boot/kernel/c_saver.ko": "x", "/boot/kernel/d.ko.gz": "x",
		"/boot/kernel/if_c.ko": "x"})
	list, err := Open(rootDisk{root}, fact.Options{Image: true}).FileDiscrepancies(t.Context(), new(fact.Report))
	got, unchecked := found(list)
	if err != nil || fmt.Sprint(got) != "[built_for_other old.ko unowned_file old.ko]" ||
		fmt.Sprint(unchecked) != "[kldstat]" {
		t.Errorf("%q %q %v", got, unchecked, err)
	}
}

// TestPackageSums compares files with the sums of their packages, if hashes are asked for.
func TestPackageSums(t *testing.T) {
	root := freebsdRoot(1402000, nil)
	sum := func(path string) string {
		b := sha256.Sum256(root[path].Data)
		return "1$" + hex.EncodeToString(b[:])
	}
	other := strings.Repeat("ab", 32)
	rows := [][]any{{"/boot/kernel/a.ko", sum("boot/kernel/a.ko"), 1}, {"/boot/kernel/b.ko", other, 1},
		{"/boot/kernel/c.ko", "2$" + other, 1}, {"/boot/kernel/d.ko.gz", sum("boot/kernel/d.ko.gz"), 1},
		{"/boot/kernel/if_c.ko", nil, 1}, {"/boot/kernel/c_saver.ko", nil, 1}, {"/boot/modules/c.ko", other, 1}}
	root[pkgdb.PkgFile] = &fstest.MapFile{Data: sqlitetest.Build(4096, sqlitetest.Table{Name: "packages",
		SQL:  "CREATE TABLE packages (id INTEGER PRIMARY KEY, name TEXT, version TEXT)",
		Rows: [][]any{{nil, "FreeBSD-kernel-generic", "14.2"}}},
		sqlitetest.Table{Name: "files", SQL: "CREATE TABLE files (path TEXT PRIMARY KEY, sha256 TEXT, " +
			"package_id INTEGER)", Rows: rows})}
	for detail, want := range map[fact.Detail]string{
		0: "[]", fact.DetailHashes: "[changed_file b.ko changed_file c.ko]",
	} {
		k := Open(rootDisk{root}, fact.Options{Image: true, Detail: detail})
		list, err := k.FileDiscrepancies(t.Context(), new(fact.Report))
		got, unchecked := found(list)
		if err != nil || fmt.Sprint(got) != want || fmt.Sprint(unchecked) != "[kldstat]" {
			t.Errorf("%v: %q %q %v", detail, got, unchecked, err)
		}
	}
}

// TestPackages says whose each file is.
func TestPackages(t *testing.T) {
	root := freebsdRoot(1402000, nil)
	root[pkgdb.PkgFile] = pkgDatabase(map[string]string{"/boot/kernel/a.ko": "FreeBSD-kernel-generic",
		"/boot/modules/c.ko": "x-kmod"})
	k := Open(rootDisk{root}, fact.Options{Image: true, Detail: fact.DetailFiles})
	got := map[string]Record{}
	for m, err := range k.Installed(t.Context(), new(fact.Report)) {
		if err != nil {
			t.Fatal(err)
		}
		got[m.Path] = m
	}
	for path, want := range map[string]struct {
		name  string
		class fact.OriginClass
	}{
		"/boot/kernel/a.ko": {"FreeBSD-kernel-generic", fact.OriginOS}, "/boot/kernel/b.ko": {"", fact.OriginOS},
	} {
		m := got[path]
		if m.Package == nil || m.Package.Manager != "pkg" || m.Package.Name != want.name ||
			m.Origin.Class != want.class {
			t.Errorf("%s: %+v %+v", path, m.Package, m.Origin)
		}
	}
	root[pkgdb.PkgFile].Data = []byte("no database")
	var r fact.Report
	for m := range Open(rootDisk{root}, fact.Options{Image: true, Detail: fact.DetailFiles}).Installed(t.Context(),
		&r) {
		if m.Package != nil {
			t.Errorf("%+v", m.Package)
		}
	}
	if r.Count(SourcePackages) != 1 {
		t.Errorf("%+v", r.Problems)
	}
}

// TestChangedFiles: only Detail Hashes compares klds with what their packages brought.
func TestChangedFiles(t *testing.T) {
	root := freebsdRoot(1402000, nil)
	sum := sha256.Sum256(root["boot/kernel/a.ko"].Data)
	packages := sqlitetest.Table{Name: "packages", SQL: "CREATE TABLE packages (id INTEGER PRIMARY KEY, name TEXT)",
		Rows: [][]any{{nil, "FreeBSD-kernel-generic"}}}
	files := sqlitetest.Table{Name: "files", SQL: "CREATE TABLE files (path TEXT, sha256 TEXT, package_id INTEGER)",
		Rows: [][]any{{"/boot/kernel/a.ko", "1$" + hex.EncodeToString(sum[:]), 1},
			{"/boot/kernel/b.ko", "1$" + strings.Repeat("00", 32), 1}, {"/boot/kernel/gone.ko", nil, 1},
			{"/boot/loader.efi", nil, 1}}}
	root[pkgdb.PkgFile] = &fstest.MapFile{Data: sqlitetest.Build(4096, packages, files)}
	for detail, want := range map[fact.Detail]string{0: "",
		fact.DetailHashes: "changed_file b.ko missing_file gone.ko"} {
		list, err := Open(rootDisk{root}, fact.Options{Image: true, Detail: detail}).FileDiscrepancies(t.Context(),
			new(fact.Report))
		got, _ := found(list)
		got = slices.DeleteFunc(got, func(s string) bool { return strings.HasPrefix(s, "unowned_file") })
		if text := strings.Join(got, " "); err != nil || text != want {
			t.Errorf("%v: %q, want %q: %v", detail, text, want, err)
		}
	}
}
