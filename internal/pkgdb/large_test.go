// SPDX-License-Identifier: Apache-2.0

package pkgdb

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/linuxtest"
	"github.com/kernelext/kernelext/internal/testing/rpmtest"
)

// TestLargeRPM reads a database with many large packages, of which one has modules: it asks for less than 10 MB of
// memory in all, in each format. .ci/run full has one of 100 MB, and a tenth of it otherwise.
func TestLargeRPM(t *testing.T) {
	n := 7
	if os.Getenv("KERNELEXT_FULL") != "" {
		n = 90
	}
	var all []rpmtest.Package
	for i := range n {
		p := rpmtest.Package{Name: fmt.Sprintf("p%d", i), Version: "1", Release: "1", Arch: "x86_64", Algorithm: 8}
		for j := range 10_000 {
			p.Files = append(p.Files, rpmtest.File{Dir: fmt.Sprintf("/usr/share/p%d/%d/", i, j%50),
				Base: fmt.Sprintf("%d-%s", j, strings.Repeat("x", 40)), Digest: sha})
		}
		all = append(all, p)
	}
	all = append(all, fedora()...)
	for name, build := range map[string]func() []byte{
		"var/lib/rpm/rpmdb.sqlite": func() []byte { return rpmtest.SQLite(all...) },
		"var/lib/rpm/Packages.db":  func() []byte { return rpmtest.NDB(all...) },
		"var/lib/rpm/Packages":     func() []byte { return rpmtest.BDB(binary.BigEndian, all...) },
	} {
		root := t.TempDir()
		file := filepath.Join(root, name)
		db := build()
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, db, 0o644); err != nil {
			t.Fatal(err)
		}
		r := fact.Report{Budget: fact.NewBudget(0)}
		var o *Owners
		asked := linuxtest.Allocated(func() { o = Read(t.Context(), modules(os.DirFS(root)), &r, RPM) })
		t.Logf("%s: %d MB, %d KB asked for", name, len(db)>>20, asked>>10)
		if len(o.Files) != 307 || !o.Whole || len(r.Problems) > 0 || asked > 10<<20 {
			t.Errorf("%s: %d files, whole %v, %d bytes asked for, %v", name, len(o.Files), o.Whole, asked, r.Problems)
		}
	}
}
