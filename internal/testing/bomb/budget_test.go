// SPDX-License-Identifier: Apache-2.0

package bomb_test

import (
	"context"
	"encoding/binary"
	"io/fs"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/darwin"
	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/freebsd"
	"github.com/kernelext/kernelext/internal/pkgdb"
	"github.com/kernelext/kernelext/internal/testing/fakedarwin"
	"github.com/kernelext/kernelext/internal/testing/hivetest"
	"github.com/kernelext/kernelext/internal/testing/kotest"
	"github.com/kernelext/kernelext/internal/testing/linuxtest"
	"github.com/kernelext/kernelext/internal/testing/petest"
	"github.com/kernelext/kernelext/internal/testing/rpmtest"
	"github.com/kernelext/kernelext/linux"
	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/netbsd"
	"github.com/kernelext/kernelext/netware"
	"github.com/kernelext/kernelext/windows"
)

// A counted is something that a call reads and pays for.
type counted struct {
	name  string
	files fstest.MapFS
	path  string
	// read reads it. It returns what was found, and every problem of it.
	read func(c *counted, o fact.Options, r *fact.Report) (found int, problems []fact.Problem, err error)
	// spare are bytes of files that are looked at without being read whole.
	spare int64
}

// one is the files of one.
func one(path string, data []byte) fstest.MapFS {
	return fstest.MapFS{path: {Data: data, Mode: 0o644}}
}

// alone reads a file by itself, as lkm.ReadFile does.
func alone[Own any](
	f func(context.Context, fs.FS, string, []byte, fact.Options, *fact.Report) ([]fact.Record[Own], bool, error),
) func(*counted, fact.Options, *fact.Report) (int, []fact.Problem, error) {
	return func(c *counted, o fact.Options, r *fact.Report) (int, []fact.Problem, error) {
		var head []byte
		if f := c.files[c.path]; f != nil {
			head = f.Data[:min(len(f.Data), 4096)]
		}
		records, _, err := f(context.Background(), c.files, c.path, head, o, r)
		problems := r.Problems
		for i := range records {
			problems = append(problems, records[i].Problems...)
		}
		return len(records), problems, err
	}
}

// hosted lists what is installed on a disk.
func hosted(c *counted, o fact.Options, r *fact.Report) (n int, problems []fact.Problem, err error) {
	o.Image = true
	for m, e := range windows.Open(disk{c.files}, o).Installed(context.Background(), r) {
		if err = e; e == nil {
			n++
			problems = append(problems, m.Problems...)
		}
	}
	return n, append(problems, r.Problems...), err
}

// packaged reads the databases of package managers.
func packaged(c *counted, _ fact.Options, r *fact.Report) (int, []fact.Problem, error) {
	q := pkgdb.Query{FS: c.files, Source: "packages", Wanted: func(string) bool { return true }}
	owners := pkgdb.Read(context.Background(), q, r, pkgdb.RPM, pkgdb.Pkg)
	return len(owners.Files), r.Problems, nil
}

// approved lists what is installed on a Mac, with what was approved.
func approved(c *counted, o fact.Options, r *fact.Report) (n int, problems []fact.Problem, err error) {
	o.Image = true
	for m, e := range darwin.Open(disk{c.files}, o).Installed(context.Background(), r) {
		if err = e; e == nil {
			n++
		}
		problems = append(problems, m.Problems...)
	}
	return n, append(problems, r.Problems...), err
}

// readings are all kinds of files that a call reads, one of each.
func readings() []counted {
	linuxModule := linuxtest.ModuleOf(binary.LittleEndian, true, linuxtest.Entries("a")...).Bytes()
	signer := &fakedarwin.Signer{Identifier: "com.a.b"}
	_, signer.CMS = fakedarwin.Developer("Example", "TEAM000001")
	bundle := fakedarwin.BundleFiles("a.kext", "com.a.b", signer)
	prelink := `<dict><key>_PrelinkInfoDictionary</key><array>` +
		fakedarwin.PrelinkKext("com.a.b", "1", 1<<14) + `</array></dict>`
	collection := fakedarwin.Collection("x86_64", prelink, "com.a.b")
	code := fakedarwin.KextCode("x86_64", "uuid-of-x86-----", signer)
	rpm := rpmtest.Package{Name: "a", Version: "1", Release: "1", Arch: "x86_64", Algorithm: 8,
		Files: []rpmtest.File{{Dir: "/lib/modules/", Base: "a.ko"}}}
	mac := one("private/var/db/SystemPolicyConfiguration/KextPolicy",
		fakedarwin.KextPolicy([]any{"TEAM000001", "com.a.b", 1, "Example", 0}))
	mac["Library/Extensions/a.kext/Contents/Info.plist"] = &fstest.MapFile{
		Data: fakedarwin.InfoPlist("com.a.b", "1", "", ""), Mode: 0o644}
	kld := kotest.AMD64()
	kld.Modules = []kotest.Module{{Record: "a", Name: "a"}}
	return []counted{
		{"linux", one("a.ko", linuxModule), "a.ko", alone(linux.ReadFile), 0},
		{"linux, packed", one("a.ko.gz", linuxtest.Gzip(linuxModule)), "a.ko.gz", alone(linux.ReadFile), 0},
		{"freebsd", one("a.ko", kld.Bytes()), "a.ko", alone(freebsd.ReadFile), 0},
		{"freebsd, packed", one("a.ko.gz", linuxtest.Gzip(kld.Bytes())), "a.ko.gz", alone(freebsd.ReadFile), 0},
		{"netbsd", one("a.kmod", kotest.KMOD()), "a.kmod", alone(netbsd.ReadFile), 0},
		{"netware", one("a.nlm", kotest.NLM()), "a.nlm", alone(netware.ReadFile), 0},
		// Info.plist and CodeResources are counted; of the ticket and of .DS_Store only the beginning is looked at.
		{"darwin, bundle", bundle, "a.kext", alone(darwin.ReadFile),
			int64(len(bundle["a.kext/Contents/CodeResources"].Data) + len(bundle["a.kext/Contents/.DS_Store"].Data))},
		{"darwin, collection", one("a.kc", collection), "a.kc", alone(darwin.ReadFile), 0},
		{"darwin, code", one("a", code), "a", alone(darwin.ReadFile), 0},
		{"windows", one("a.sys", petest.Sample().Build()), "a.sys", alone(windows.ReadFile), 0},
		{"hive", one("C:/Windows/System32/config/SYSTEM", hivetest.System()), "", hosted, 0},
		{"rpm, sqlite", one("var/lib/rpm/rpmdb.sqlite", rpmtest.SQLite(rpm)), "", packaged, 0},
		{"rpm, ndb", one("var/lib/rpm/Packages.db", rpmtest.NDB(rpm)), "", packaged, 0},
		{"kext policy", mac, "", approved, 0},
	}
}

// spent is a budget of which nothing is left.
func spent() *fact.Budget {
	b := fact.NewBudget(0)
	for b.Err() == nil {
		item := b.Item(0)
		_ = item.Work(item.MaxWork())
		item.Done()
	}
	return b
}

// TestFilesAreCounted reads a file of each kind: the bytes of it are counted, each once, and so is the work.
func TestFilesAreCounted(t *testing.T) {
	for _, c := range readings() {
		r := fact.Report{Budget: fact.NewBudget(0)}
		found, problems, err := c.read(&c, fact.Options{Detail: allDetails}, &r)
		if err != nil || found == 0 {
			t.Errorf("%s: %d, %v, %+v", c.name, found, err, problems)
			continue
		}
		size := -c.spare
		for _, f := range c.files {
			size += int64(len(f.Data))
		}
		if cost := r.Budget.Cost(); cost.Input != size || cost.Work == 0 {
			t.Errorf("%s: %+v of %d bytes", c.name, cost, size)
		}
	}
}

// TestFilesWithoutBudget reads them when nothing is left of the budget: each says so, in its code.
func TestFilesWithoutBudget(t *testing.T) {
	for _, c := range readings() {
		r := fact.Report{Budget: spent()}
		_, problems, err := c.read(&c, fact.Options{Detail: allDetails}, &r)
		codes := []fact.Code{fact.CodeOf(err)}
		for _, p := range problems {
			codes = append(codes, p.Code)
		}
		if !slices.Contains(codes, fact.CodeBudget) {
			t.Errorf("%s: %v, %+v", c.name, err, problems)
		}
	}
}

// TestFilesTooLarge reads the files that may be of some bytes, of which they have more.
func TestFilesTooLarge(t *testing.T) {
	for _, c := range readings() {
		if c.path == "" || c.name == "darwin, collection" || c.name == "darwin, code" {
			continue // no cap is the caller's: of these only headers and lists are read
		}
		modules, err := lkm.ReadFile(t.Context(), c.files, c.path, lkm.Options{Detail: allDetails, MaxFile: 100})
		codes := []fact.Code{fact.CodeOf(err)}
		for i := range modules {
			for _, p := range modules[i].Problems {
				codes = append(codes, p.Code)
			}
		}
		if !slices.Contains(codes, fact.CodeTooLarge) {
			t.Errorf("%s: %v, %+v", c.name, err, modules)
		}
	}
}
