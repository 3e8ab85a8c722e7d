// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/linuxtest"
	"github.com/kernelext/kernelext/internal/testing/rpmtest"
)

// fedoraRoot is a made-up disk whose package has three modules: one is as it was, one was changed, one is gone; and one
// more that no package has.
func fedoraRoot() fstest.MapFS {
	const dir = "lib/modules/6.8/kernel/"
	p := rpmtest.Package{Name: "kernel-core", Version: "6.8", Release: "1.fc40", Arch: "x86_64",
		Vendor: "Fedora Project", Algorithm: 8}
	for _, name := range []string{"same", "changed", "gone"} {
		sum := sha256.Sum256([]byte(name))
		p.Files = append(p.Files, rpmtest.File{Dir: "/" + dir, Base: name + ".ko", Digest: hex.EncodeToString(sum[:])})
	}
	return fstest.MapFS{dir + "same.ko": linuxtest.File("same"), dir + "changed.ko": linuxtest.File("other"),
		dir + "planted.ko":            linuxtest.File(""),
		"lib/modules/6.8/modules.dep": linuxtest.File("kernel/same.ko:\nkernel/changed.ko:\nkernel/planted.ko:\n"),
		"var/lib/rpm/rpmdb.sqlite":    {Data: rpmtest.SQLite(p)},
	}
}

// findings returns the discrepancies of a disk: KIND NAME; and the codes of what was not checked of the packages.
func findings(t *testing.T, files fstest.MapFS, detail fact.Detail) []string {
	t.Helper()
	k := Open(machineOf(files), fact.Options{Image: true, Detail: detail})
	found, err := k.FileDiscrepancies(t.Context(), new(fact.Report))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range found {
		for _, e := range d.Evidence {
			if d.Kind == KindUnchecked && e.Source == SourcePackages {
				got = append(got, "unchecked "+e.Fact)
			}
		}
		if d.Kind != KindUnchecked {
			got = append(got, d.Kind+" "+d.Name)
		}
	}
	return got
}

// TestChangedFiles: only Detail Hashes compares files with their packages. What a database does not say, or what of it
// cannot be read, is unchecked.
func TestChangedFiles(t *testing.T) {
	all := []string{"unowned_file planted", "changed_file changed", "missing_file gone"}
	if got := findings(t, fedoraRoot(), fact.DetailHashes); !slices.Equal(got, all) {
		t.Errorf("%q", got)
	}
	if got := findings(t, fedoraRoot(), fact.DetailFiles); !slices.Equal(got, all[:1]) {
		t.Errorf("nobody asked for hashes: %q", got)
	}
	files := fedoraRoot()
	files["lib/apk/db/installed"] = linuxtest.File("P:a\nF:lib/modules/6.8/kernel\nR:planted.ko\n\n")
	want := append([]string{"unchecked absent"}, all[1:]...)
	if got := findings(t, files, fact.DetailHashes); !slices.Equal(got, want) {
		t.Errorf("a package without digests: %q", got)
	}
	files = fedoraRoot()
	files["var/lib/rpm/rpmdb.sqlite"].Data = files["var/lib/rpm/rpmdb.sqlite"].Data[:9000]
	if got := findings(t, files, fact.DetailHashes); !slices.Equal(got, []string{"unchecked malformed"}) {
		t.Errorf("a database that is cut: %q", got)
	}
}

// TestOriginByRPM: the owner is the kernel's package, with its vendor; without a database that can be read a file is
// not the system's.
func TestOriginByRPM(t *testing.T) {
	var r fact.Report
	o := ownersOf(fedoraRoot(), "6.8", &r)
	p := o.PackageOf("usr/lib/modules/6.8/kernel/same.ko")
	if got := fmt.Sprint(*p); got != "{rpm kernel-core 6.8-1.fc40 x86_64 Fedora Project}" {
		t.Error(got)
	}
	own := &Module{Intree: fact.Yes}
	class := func(o *fileOwners, file string) fact.OriginClass {
		return o.Origin(own, strings.TrimSuffix(file, ".ko"), "kernel/"+file, "lib/modules/6.8/kernel/"+file).Class
	}
	if same, planted := class(o, "same.ko"), class(o, "planted.ko"); same != fact.OriginOS || planted != "" {
		t.Errorf("%q, %q", same, planted)
	}
	o = ownersOf(refuses{fedoraRoot(), "var/lib/rpm/rpmdb.sqlite"}, "6.8", &r)
	if same := class(o, "same.ko"); same != "" || o.PackageOf("lib/modules/6.8/kernel/same.ko") != nil {
		t.Errorf("an unread database: %q", same)
	}
}
