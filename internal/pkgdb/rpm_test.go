// SPDX-License-Identifier: Apache-2.0

package pkgdb

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/bomb"
	"github.com/kernelext/kernelext/internal/testing/rpmtest"
	"github.com/kernelext/kernelext/internal/testing/sqlitetest"
)

// modules asks for the files below the directories of modules.
func modules(fsys fs.FS) Query {
	return Query{FS: fsys, Source: "packages", Dirs: []string{"lib/modules/", "usr/lib/modules/"}, Sums: true,
		Wanted: func(path string) bool { return strings.Contains(path, ".ko") }}
}

// dump returns owners as lines: path, package, digest, marks.
func dump(o *Owners) string {
	var b strings.Builder
	for _, path := range slices.Sorted(maps.Keys(o.Files)) {
		f := o.Files[path]
		fmt.Fprintf(&b, "%s: %s %s %s %s %s", path, f.Manager, f.Name, f.Version, f.Arch, f.Vendor)
		if f.Sum.Algorithm != "" {
			fmt.Fprintf(&b, " %s=%.4s", f.Sum.Algorithm, f.Sum.Hex)
		}
		for mark, set := range map[string]bool{" config": f.Config, " optional": f.Optional} {
			if set {
				b.WriteString(mark)
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

var (
	sha = strings.Repeat("ab", 32)
	md5 = strings.Repeat("cd", 16)
)

// fedora are packages as a Fedora has them, made up.
func fedora() []rpmtest.Package {
	long := rpmtest.Package{Name: "kernel-modules", Version: "6.8", Release: "1.fc40", Arch: "x86_64",
		Vendor: "Fedora Project", Algorithm: 8}
	for i := range 300 {
		long.Files = append(long.Files, rpmtest.File{Dir: fmt.Sprintf("/lib/modules/6.8/kernel/%d/", i%30),
			Base: fmt.Sprintf("m%03d.ko.xz", i), Digest: sha})
	}
	long.Files = append(long.Files,
		rpmtest.File{Dir: "/lib/modules/6.8/", Base: "ghost.ko", Digest: sha, Flags: 1 << 6},
		rpmtest.File{Dir: "/lib/modules/6.8/", Base: "missingok.ko", Digest: sha, Flags: 1 << 3},
		rpmtest.File{Dir: "/lib/modules/6.8/", Base: "config.ko", Digest: sha, Flags: 1},
		rpmtest.File{Dir: "/lib/modules/6.8/", Base: "replaced.ko", Digest: sha, State: 1},
		rpmtest.File{Dir: "/lib/modules/6.8/", Base: "absent.ko", Digest: sha, State: 2},
		rpmtest.File{Dir: "/lib/modules/6.8/", Base: "shared.ko", Digest: sha, State: 3},
		rpmtest.File{Dir: "/lib/modules/6.8/", Base: "wrongcolor.ko", Digest: sha, State: 4},
		rpmtest.File{Dir: "/lib/modules/6.8/", Base: "link.ko"})
	return []rpmtest.Package{
		{Name: "bash", Version: "5", Release: "1", Arch: "x86_64",
			Files: []rpmtest.File{{Dir: "/usr/bin/", Base: "bash"}}},
		long,
		{Name: "gpg-pubkey", Version: "1", Release: "2"},
		{Name: "old", Epoch: 2, Version: "1", Release: "3", Arch: "noarch",
			Files: []rpmtest.File{{Dir: "/usr/lib/modules/6.8/extra/", Base: "old.ko", Digest: md5}}},
		{Name: "again", Version: "1", Release: "1", Files: []rpmtest.File{{Dir: "/lib/modules/6.8/kernel/0/",
			Base: "m000.ko.xz", Digest: md5}}},
		{Name: "stateless", Version: "1", Release: "1", NoStates: true,
			Files: []rpmtest.File{{Dir: "/lib/modules/6.8/", Base: "stateless.ko", Digest: md5}}},
		{Name: "odd", Version: "1", Release: "1", Algorithm: 12,
			Files: []rpmtest.File{{Dir: "/lib/modules/6.8/", Base: "odd.ko", Digest: sha}}},
	}
}

// formats are the databases of the packages in each format.
func formats(packages ...rpmtest.Package) map[string][]byte {
	return map[string][]byte{"var/lib/rpm/rpmdb.sqlite": rpmtest.SQLite(packages...),
		"usr/lib/sysimage/rpm/Packages.db": rpmtest.NDB(packages...),
		"var/lib/rpm/Packages":             rpmtest.BDB(binary.LittleEndian, packages...),
		"usr/share/rpm/Packages":           rpmtest.BDB(binary.BigEndian, packages...)}
}

// TestRPM: each format gives the same owners, and nothing of what the package has not installed.
func TestRPM(t *testing.T) {
	for name, db := range formats(fedora()...) {
		var r fact.Report
		o := Read(t.Context(), modules(fstest.MapFS{name: {Data: db}}), &r, RPM)
		if !o.Found || !o.Whole || len(r.Problems) > 0 || len(o.Files) != 307 {
			t.Errorf("%s: found %v, whole %v, %d files, %v", name, o.Found, o.Whole, len(o.Files), r.Problems)
		}
		lines := dump(o)
		for _, line := range []string{
			"lib/modules/6.8/kernel/29/m299.ko.xz: rpm kernel-modules 6.8-1.fc40 x86_64 Fedora Project sha256=abab\n",
			"lib/modules/6.8/kernel/0/m000.ko.xz: rpm kernel-modules 6.8-1.fc40 x86_64 Fedora Project sha256=abab\n",
			"lib/modules/6.8/ghost.ko: rpm kernel-modules 6.8-1.fc40 x86_64 Fedora Project optional\n",
			"lib/modules/6.8/missingok.ko: rpm kernel-modules 6.8-1.fc40 x86_64 Fedora Project sha256=abab optional\n",
			"lib/modules/6.8/config.ko: rpm kernel-modules 6.8-1.fc40 x86_64 Fedora Project sha256=abab config\n",
			"lib/modules/6.8/shared.ko: rpm kernel-modules 6.8-1.fc40 x86_64 Fedora Project optional\n",
			"lib/modules/6.8/link.ko: rpm kernel-modules 6.8-1.fc40 x86_64 Fedora Project\n",
			"usr/lib/modules/6.8/extra/old.ko: rpm old 2:1-3 noarch  md5=cdcd\n",
			"lib/modules/6.8/odd.ko: rpm odd 1-1  \n",
		} {
			if !strings.Contains(lines, line) {
				t.Errorf("%s: no line %q", name, line)
			}
		}
		for _, not := range []string{"replaced", "absent", "wrongcolor", "stateless", "bash"} {
			if strings.Contains(lines, not) {
				t.Errorf("%s: %s has an owner", name, not)
			}
		}
	}
}

// TestRPMWithoutIndex reads the directories as a whole where they have no index.
func TestRPMWithoutIndex(t *testing.T) {
	db := bytes.Replace(rpmtest.SQLite(fedora()...), []byte("CREATE INDEX"), []byte("CREATE INDEY"), 1)
	var r fact.Report
	o := Read(t.Context(), modules(fstest.MapFS{"var/lib/rpm/rpmdb.sqlite": {Data: db}}), &r, RPM)
	if !o.Whole || len(o.Files) != 307 {
		t.Errorf("whole %v, %d files, %v", o.Whole, len(o.Files), r.Problems)
	}
}

// TestRPMLog: packages that are in the log alone count, and a transaction that is not finished makes all unknown.
func TestRPMLog(t *testing.T) {
	const name = "var/lib/rpm/rpmdb.sqlite"
	before, after := rpmtest.SQLite(fedora()[:1]...), rpmtest.SQLite(fedora()...)
	log := sqlitetest.WAL(before, after, 4096)
	var r fact.Report
	o := Read(t.Context(), modules(fstest.MapFS{name: {Data: before}, name + "-wal": {Data: log}}), &r, RPM)
	if !o.Whole || len(o.Files) != 307 {
		t.Errorf("log: whole %v, %d files, %v", o.Whole, len(o.Files), r.Problems)
	}
	log[20] ^= 1 // another salt: the log is of another time
	o = Read(t.Context(), modules(fstest.MapFS{name: {Data: before}, name + "-wal": {Data: log}}), &r, RPM)
	if !o.Whole || len(o.Files) != 0 {
		t.Errorf("an old log: whole %v, %d files, %v", o.Whole, len(o.Files), r.Problems)
	}
	o = Read(t.Context(), modules(fstest.MapFS{name: {Data: after},
		name + "-journal": {Data: []byte("\xd9\xd5\x05\xf9\x20\xa1\x63\xd7more")}}), &r, RPM)
	if o.Whole || !o.Found || len(r.Problems) != 1 || !strings.Contains(r.Problems[0].Text, "in a transaction") {
		t.Errorf("a transaction: %+v, %v", o, r.Problems)
	}
}

// TestRPMLeftOver: of two databases the one that was written last counts, and the other is named.
func TestRPMLeftOver(t *testing.T) {
	at := func(db []byte, hour int) *fstest.MapFile {
		return &fstest.MapFile{Data: db, ModTime: time.Date(2026, 1, 1, hour, 0, 0, 0, time.UTC)}
	}
	old := []rpmtest.Package{{Name: "old", Version: "1", Release: "1",
		Files: []rpmtest.File{{Dir: "/lib/modules/6.8/", Base: "a.ko"}}}}
	now := []rpmtest.Package{{Name: "new", Version: "1", Release: "1",
		Files: []rpmtest.File{{Dir: "/lib/modules/6.8/", Base: "a.ko"}}}}
	var r fact.Report
	o := Read(t.Context(), modules(fstest.MapFS{"var/lib/rpm/Packages": at(rpmtest.BDB(binary.LittleEndian, old...), 1),
		"usr/lib/sysimage/rpm/rpmdb.sqlite": at(rpmtest.SQLite(now...), 2)}), &r, RPM)
	if !o.Whole || dump(o) != "lib/modules/6.8/a.ko: rpm new 1-1  \n" || len(r.Problems) != 1 ||
		r.Problems[0].Subject != "/var/lib/rpm/Packages" || r.Problems[0].Code != fact.CodeOther {
		t.Errorf("%s, whole %v, %v", dump(o), o.Whole, r.Problems)
	}
}

// TestRPMDamaged: a package that is invalid costs itself, and then no file is surely without a package.
func TestRPMDamaged(t *testing.T) {
	edits := map[string]func(b []byte, at int){ // at is where the header of "old" begins
		"many tags": func(b []byte, at int) { b[at] = 0xff },
		"much data": func(b []byte, at int) { b[at+4] = 0xff },
		"count":     func(b []byte, at int) { b[at+8+16*8+12] = 0xff },
		"offset":    func(b []byte, at int) { b[at+8+16*9+8] = 0x7f },
		"type":      func(b []byte, at int) { b[at+8+16*10+7] = 9 },
		"indexes":   func(b []byte, at int) { b[at+8+16*10+15] = 7 },
	}
	for name, good := range formats(fedora()...) {
		if strings.HasSuffix(name, "Packages.db") {
			continue // its checksums: below
		}
		for what, edit := range edits {
			db := bytes.Clone(good)
			at := bytes.Index(db, []byte("old\x001\x003\x00")) // the data, behind a region of 16 bytes and the tags
			tags := 0
			for tags = 1; binary.BigEndian.Uint32(db[at-16-16*tags-8:]) != uint32(tags); tags++ {
			}
			edit(db, at-16-16*tags-8)
			var r fact.Report
			o := Read(t.Context(), modules(fstest.MapFS{name: {Data: db}}), &r, RPM)
			if o.Whole || !o.Found || len(o.Files) < 305 || len(r.Problems) == 0 ||
				!errors.Is(r.Problems[0], fact.ErrMalformed) {
				t.Errorf("%s: %s: whole %v, %d files, %v", name, what, o.Whole, len(o.Files), r.Problems)
			}
		}
	}
}

// TestRPMWithoutValues: a tag with a count of 0 says nothing, whatever bytes are at its offset.
func TestRPMWithoutValues(t *testing.T) {
	p := rpmtest.Package{Name: "a", Version: "1", Release: "1", Algorithm: 8, Files: []rpmtest.File{
		{Dir: "/lib/modules/6.8/", Base: "a.ko", Digest: sha, Flags: flagConfig, State: stateNormal}}}
	for _, tt := range []struct {
		tag  uint32 // whose count is 0
		want string
	}{
		{0, "lib/modules/6.8/a.ko: rpm a 1-1   sha256=abab config\n"},
		{tagFileStates, ""},
		{tagFileFlags, "lib/modules/6.8/a.ko: rpm a 1-1   sha256=abab\n"},
		{tagFileDigests, "lib/modules/6.8/a.ko: rpm a 1-1   config\n"},
	} {
		b := p.Header()
		for i := range binary.BigEndian.Uint32(b) {
			if e := b[8+16*i:]; binary.BigEndian.Uint32(e) == tt.tag {
				binary.BigEndian.PutUint32(e[12:], 0)
			}
		}
		var r fact.Report
		d := &reader{Query: modules(nil), report: &r, Owners: Owners{Files: map[string]Owner{}}}
		if err := d.rpmHeader(r.Budget.Item(0), "x", b); err != nil || dump(&d.Owners) != tt.want {
			t.Errorf("%d: %v, %q, want %q", tt.tag, err, dump(&d.Owners), tt.want)
		}
	}
}

// TestRPMContainers: what holds the headers may be cut, cyclic, or nonsense.
func TestRPMContainers(t *testing.T) {
	le := binary.LittleEndian
	page := func(b []byte, kind byte) int { // where the first page of that kind begins
		for at := 4096; ; at += 4096 {
			if b[at+25] == kind {
				return at
			}
		}
	}
	edits := map[string]map[string]func(b []byte) []byte{
		"var/lib/rpm/Packages.db": {
			"magic":   func(b []byte) []byte { b[0] = 'X'; return b },
			"version": func(b []byte) []byte { b[4] = 1; return b },
			"pages":   func(b []byte) []byte { b[15] = 0xff; return b },
			"none":    func(b []byte) []byte { return b[:10] },
			"slot":    func(b []byte) []byte { b[32+16] = 'X'; return b },
			"far":     func(b []byte) []byte { b[32+16+11] = 0xff; return b },
			"long":    func(b []byte) []byte { b[32+16+14] = 0xff; return b },
			"within":  func(b []byte) []byte { le.PutUint32(b[32+16+8:], 1); return b },
			"other":   func(b []byte) []byte { copy(b[32+16+8:32+32], b[32+8:32+16]); return b },
			"sum":     func(b []byte) []byte { b[len(b)-40] ^= 1; return b },
			"cut":     func(b []byte) []byte { return b[:len(b)-100] },
		},
		"var/lib/rpm/Packages": {
			"magic":     func(b []byte) []byte { b[12] = 0; return b },
			"page size": func(b []byte) []byte { b[20] = 3; return b },
			"last":      func(b []byte) []byte { b[35] = 0xff; return b },
			"cut":       func(b []byte) []byte { return b[:len(b)-4096] },
			"entries":   func(b []byte) []byte { b[4096+21] = 0xff; return b },
			"odd":       func(b []byte) []byte { b[4096+20] = 3; return b },
			"offset":    func(b []byte) []byte { b[4096+29] = 0xff; return b },
			"number":    func(b []byte) []byte { b[page(b, 7)+8] ^= 1; return b },
			"cycle":     func(b []byte) []byte { at := page(b, 7); copy(b[at+16:at+20], b[at+8:]); return b },
			"far":       func(b []byte) []byte { b[page(b, 7)+19] = 0x7f; return b },
			"kind":      func(b []byte) []byte { b[page(b, 7)+25] = 5; return b },
			"empty":     func(b []byte) []byte { at := page(b, 7); b[at+22], b[at+23] = 0, 0; return b },
			"text":      func([]byte) []byte { return []byte("text") },
		},
		"var/lib/rpm/rpmdb.sqlite": {
			"text": func([]byte) []byte { return []byte("text") },
			"none": func([]byte) []byte { return nil },
			"cut":  func(b []byte) []byte { return b[:len(b)-8192] },
		},
	}
	good := map[string][]byte{"var/lib/rpm/Packages.db": rpmtest.NDB(fedora()...),
		"var/lib/rpm/Packages": rpmtest.BDB(le, fedora()...), "var/lib/rpm/rpmdb.sqlite": rpmtest.SQLite(fedora()...)}
	for name, list := range edits {
		for what, edit := range list {
			var r fact.Report
			db := edit(bytes.Clone(good[name]))
			o := Read(t.Context(), modules(fstest.MapFS{name: {Data: db}}), &r, RPM)
			if o.Whole || !o.Found || len(r.Problems) == 0 || !errors.Is(r.Problems[0], fact.ErrMalformed) {
				t.Errorf("%s: %s: whole %v, %d files, %v", name, what, o.Whole, len(o.Files), r.Problems)
			}
		}
	}
	var r fact.Report
	db := bytes.Clone(good["var/lib/rpm/Packages"])
	db[24] = 1
	if o := Read(t.Context(), modules(fstest.MapFS{"var/lib/rpm/Packages": {Data: db}}), &r, RPM); o.Whole ||
		!errors.Is(r.Problems[0], errors.ErrUnsupported) {
		t.Errorf("an encrypted database: %v", r.Problems)
	}
}

// TestRPMLacking: a database that lacks a table, and a header that lacks its directories, say nothing of any file.
func TestRPMLacking(t *testing.T) {
	heads := sqlitetest.Table{Name: "Packages", SQL: "CREATE TABLE 'Packages' (hnum INTEGER PRIMARY KEY, blob BLOB)"}
	dirs := sqlitetest.Table{Name: "Dirnames", SQL: "CREATE TABLE 'Dirnames' (key 'TEXT', hnum INTEGER)",
		Rows: [][]any{{"/lib/modules/6.8/", 1}}, Index: 1, Indexed: "key"}
	headless := fedora()[1]
	db := rpmtest.BDB(binary.LittleEndian, headless)
	tag := binary.BigEndian.AppendUint32(nil, tagDirnames)
	copy(db[bytes.Index(db, tag):], "\x00\x00\xff\xff")
	for name, c := range map[string]struct {
		file string
		data []byte
	}{
		"no directories": {"rpmdb.sqlite", sqlitetest.Build(4096, heads)},
		"no packages":    {"rpmdb.sqlite", sqlitetest.Build(4096, dirs)},
		"no header":      {"rpmdb.sqlite", sqlitetest.Build(4096, heads, dirs)},
		"no dirnames":    {"Packages", db},
	} {
		var r fact.Report
		o := Read(t.Context(), modules(fstest.MapFS{"var/lib/rpm/" + c.file: {Data: c.data}}), &r, RPM)
		if o.Whole || !o.Found || len(r.Problems) == 0 {
			t.Errorf("%s: whole %v, found %v, %v", name, o.Whole, o.Found, r.Problems)
		}
	}
}

// FuzzRPM reads whatever may be at rpm's places.
func FuzzRPM(f *testing.F) {
	for _, db := range formats(fedora()[3:5]...) {
		f.Add(db)
	}
	for _, b := range bomb.All() {
		if b.Of == bomb.Packages && strings.HasPrefix(b.Path, "var/lib/rpm/") {
			f.Add(b.Make(3))
		}
	}
	f.Fuzz(func(t *testing.T, db []byte) {
		for _, format := range rpmFormats {
			r := fact.Report{Budget: fact.NewBudget(0)}
			o := Read(t.Context(), modules(fstest.MapFS{"var/lib/rpm/" + format.name: {Data: db}}), &r, RPM)
			if len(o.Files) > len(db)+1 {
				t.Fatalf("%d files in %d bytes", len(o.Files), len(db))
			}
			if len(r.Problems) > 0 && o.Whole {
				t.Fatalf("whole, and %v", r.Problems)
			}
		}
	})
}
