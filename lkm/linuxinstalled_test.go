// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kernelext/kernelext/internal/testing/kotest"
	"github.com/kernelext/kernelext/linux"
)

// emptyModule is the header of an ELF object that ends with its one section header.
func emptyModule() []byte {
	b := make([]byte, 128)
	copy(b, "\x7fELF\x02\x01\x01")
	binary.LittleEndian.PutUint16(b[16:], 1)  // relocatable
	binary.LittleEndian.PutUint64(b[40:], 64) // section headers
	binary.LittleEndian.PutUint16(b[58:], 64)
	binary.LittleEndian.PutUint16(b[60:], 1)
	return b
}

// writeTree makes an image with one release of modules, all written at that time.
func writeTree(t *testing.T, written time.Time, files map[string]string) (root, dir string) {
	t.Helper()
	root = t.TempDir()
	dir = filepath.Join(root, "lib", "modules", "6.1.0-made")
	for name, data := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, written, written); err != nil {
			t.Fatal(err)
		}
	}
	return root, dir
}

func installedOf(t *testing.T, root string, d Detail) *Snapshot {
	t.Helper()
	s := openDir(t, root, Options{OS: Linux, Detail: d, Workers: 2})
	snap, err := s.SnapshotOf(context.Background(), ScopeInstalled)
	if err != nil {
		t.Fatal(err)
	}
	return snap
}

// TestInstalledNamesBadFiles lists a tree without reading its files: those that cannot be whole are
// named, the others have their size.
func TestInstalledNamesBadFiles(t *testing.T) {
	good := string(emptyModule())
	root, _ := writeTree(t, time.Unix(1000, 0), map[string]string{
		"kernel/good.ko": good, "kernel/cut.ko": good[:100], "kernel/empty.ko": "", "kernel/text.ko": "#!/bin/sh\n",
		"kernel/bomb.ko.gz": "\x1f\x8b\x08" + strings.Repeat("\x00", 20) + "\xff\xff\xff\x7f",
		"modules.dep":       "kernel/good.ko:\nkernel/cut.ko:\nkernel/empty.ko:\nkernel/text.ko:\nkernel/bomb.ko.gz:\n",
	})
	snap := installedOf(t, root, 0)
	if len(snap.Modules) != 5 || outcome(t, snap, "modules_dir") != OutcomePartial || len(snap.Problems) > 0 {
		t.Fatalf("%d modules, %v, %v", len(snap.Modules), snap.Sources, snap.Problems)
	}
	for name, code := range map[string]Code{"good": "", "cut": CodeMalformed, "empty": CodeMalformed,
		"text": CodeMalformed, "bomb": CodeTooLarge} {
		m := snap.Module("linux_module:" + name)
		if _, known := m.Size.Get(); !known {
			t.Errorf("%s: no size", name)
		}
		if code == "" && len(m.Problems) == 0 {
			continue
		}
		if len(m.Problems) != 1 || m.Problems[0].Code != code || !strings.Contains(m.Problems[0].Error(), name+".ko") {
			t.Errorf("%s: %v", name, m.Problems)
		}
	}
}

// TestStaleIndexes changes a tree after depmod.
func TestStaleIndexes(t *testing.T) {
	then := time.Unix(100000, 0)
	good := string(emptyModule())
	for name, c := range map[string]struct {
		file string // that was written later, with
		data string
		want string
	}{
		"as depmod left it": {},
		"newer file":        {"kernel/a.ko", good, "1 module files are newer than modules.dep, such as kernel/a.ko"},
		"other index": {"modules.alias.bin", "", "was not written together with 1 other indexes, " +
			"such as modules.alias.bin"},
		"new file": {"updates/b.ko", good, "lacks 1 modules that are there, such as updates/b.ko"},
	} {
		t.Run(name, func(t *testing.T) {
			root, dir := writeTree(t, then, map[string]string{"kernel/a.ko": good, "modules.dep": "kernel/a.ko:\n",
				"modules.alias.bin": ""})
			if c.file != "" {
				file := filepath.Join(dir, filepath.FromSlash(c.file))
				os.MkdirAll(filepath.Dir(file), 0o755)
				if err := os.WriteFile(file, []byte(c.data), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			var all strings.Builder
			for _, p := range installedOf(t, root, 0).Problems {
				all.WriteString(p.Error() + "\n")
			}
			if c.want == "" && all.Len() > 0 || !strings.Contains(all.String(), c.want) {
				t.Errorf("problems %q, want %q", all.String(), c.want)
			}
		})
	}
}

// TestLostIsSaidOnce: packages that cannot be read and keys that cannot be used are problems of their
// source, in every list that opens module files, and of no module.
func TestLostIsSaidOnce(t *testing.T) {
	m := withFiles()
	m.fails["var/lib/dpkg/info/linux-image-6.1.0-56-amd64.list"] = fs.ErrPermission
	useless := []KeySet{{Name: "mine.pem", Certificates: []*x509.Certificate{{Raw: []byte("no certificate")}}}}
	for _, scope := range []Scope{ScopeInstalled, ScopeLoaded} {
		for _, c := range []struct {
			detail         Detail
			packages, keys int
		}{{0, 0, 0}, {DetailFiles, 1, 0}, {DetailFiles | DetailSignatures, 1, 1}} {
			s, err := OpenMachine(Linux, m, Options{Detail: c.detail, Keys: useless, Workers: 2})
			if err != nil {
				t.Fatal(err)
			}
			snap, err := s.SnapshotOf(t.Context(), scope)
			if err != nil {
				t.Fatal(err)
			}
			packages, keys := 0, 0
			for _, p := range snap.Problems {
				if p.Source == linux.SourcePackages && p.Field == "origin" && p.Code == CodePermission {
					packages++
				}
				if p.Field == "signature" && strings.Contains(p.Text, "key set mine.pem") {
					keys++
				}
			}
			if packages != c.packages || keys != c.keys {
				t.Errorf("%s, detail %v: %d problems of packages, %d of keys, want %d and %d: %v", scope, c.detail,
					packages, keys, c.packages, c.keys, snap.Problems)
			}
			for i := range snap.Modules {
				for _, p := range snap.Modules[i].Problems {
					if p.Field == "signature" || p.Field == "origin" {
						t.Errorf("%s: %v", snap.Modules[i].Name, p)
					}
				}
			}
		}
	}
}

// TestFileTellsOfUselessKeys: a module by itself says which keys could not be used.
func TestFileTellsOfUselessKeys(t *testing.T) {
	o := Options{Detail: DetailSignatures,
		Keys: []KeySet{{Name: "mine.pem", Certificates: []*x509.Certificate{{Raw: []byte("no certificate")}}}}}
	s, err := OpenMachine(Linux, withFiles(), o)
	if err != nil {
		t.Fatal(err)
	}
	list, err := s.File(t.Context(), "/lib/modules/6.1.0-56-amd64/kernel/nvme.ko")
	if err != nil || len(list) != 1 || len(list[0].Problems) != 1 || list[0].Problems[0].Field != "signature" {
		t.Errorf("%+v, %v", list, err)
	}
	list, err = s.Resolve(t.Context(), "nvme")
	if err != nil || len(list) != 1 || len(list[0].Problems) != 1 || list[0].Problems[0].Field != "signature" {
		t.Errorf("%+v, %v", list, err)
	}
}

// TestDeadlineIsNoEnd: a list that the budget cut short is never taken for a whole one.
func TestDeadlineIsNoEnd(t *testing.T) {
	slow := func(*Module) bool { time.Sleep(2 * time.Millisecond); return true }
	s := openMade(t, withFiles(), Options{Detail: DetailFiles, Deadline: time.Millisecond, Only: slow})
	var last error
	for _, err := range s.Installed(t.Context()) {
		last = err
	}
	if !errors.Is(last, ErrBudget) {
		t.Errorf("Installed ends with %v", last)
	}
	for _, scope := range []Scope{ScopeLoaded, ScopeInstalled, ScopeAll} {
		snap, err := s.SnapshotOf(t.Context(), scope)
		if err != nil {
			t.Fatal(scope, err)
		}
		src, _ := snap.Source(linux.SourceTree)
		if src.Outcome != OutcomePartial || src.Code != CodeBudget || !errors.Is(snap.Err(), ErrBudget) {
			t.Errorf("%s: %+v, %v", scope, src, snap.Problems)
		}
		if scope == ScopeLoaded && len(snap.Modules) < 2 {
			t.Errorf("%d loaded modules: the list itself is whole", len(snap.Modules))
		}
	}
	whole := openMade(t, withFiles(), Options{Detail: DetailFiles, Deadline: time.Hour})
	for _, err := range whole.Installed(t.Context()) {
		if err == nil {
			continue
		}
		t.Error(err)
	}
}

// TestFileAgreesWithInstalled: a file in a release directory is somebody's, one elsewhere only says so.
func TestFileAgreesWithInstalled(t *testing.T) {
	m := withFiles()
	const tree = "/lib/modules/6.1.0-56-amd64/"
	for _, file := range []string{"kernel/nvme.ko", "kernel/planted.ko", "planted2.ko"} {
		m.set(tree[1:]+file,
			string(kotest.LinuxModule("license=GPL", "intree=Y", "vermagic=6.1.0-56-amd64 SMP", "firmware=none.bin")))
	}
	m.set("root/alone.ko", string(kotest.LinuxModule("license=GPL", "intree=Y")))
	s := openMade(t, m, Options{Detail: DetailFiles})
	seen := 0
	for want, err := range s.Installed(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(want.Path, "weak-updates") { // a link to nothing that can be read
			continue
		}
		got, err := s.File(t.Context(), want.Path)
		if err != nil {
			t.Fatal(err)
		}
		seen++
		if !cmp.Equal(got[0].Origin, want.Origin) || !cmp.Equal(got[0].Linux.Firmware, want.Linux.Firmware) ||
			got[0].Linux.File != want.Linux.File ||
			got[0].Linux.Release != want.Linux.Release || got[0].Linux.FitsRelease != want.Linux.FitsRelease {
			t.Errorf("%s: File says %+v, Installed %+v", want.Path, got[0], want)
		}
		if name := want.Name; (want.Origin.Class == OriginOS) != (name == "nvme") && name != "nvme_core" {
			t.Errorf("%s: %+v", want.Path, want.Origin)
		}
	}
	if seen < 6 {
		t.Errorf("%d files", seen)
	}
	got, err := s.File(t.Context(), "/root/alone.ko")
	if err != nil || got[0].Origin.Class != "" || len(got[0].Origin.Evidence) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestReadFileRefusesWhatIsNoFile: a pipe would be waited for without end.
func TestReadFileRefusesWhatIsNoFile(t *testing.T) {
	for _, mode := range []fs.FileMode{fs.ModeNamedPipe, fs.ModeSocket, fs.ModeDevice | fs.ModeCharDevice} {
		list, err := ReadFile(t.Context(), special{mode}, "m.ko", Options{})
		if !errors.Is(err, ErrMalformed) || list != nil || !strings.Contains(err.Error(), "m.ko") {
			t.Errorf("%v: %v, %v", mode, list, err)
		}
	}
}

// TestFileRefusesWhatIsNoFile: a directory of the machine is not a module, as for ReadFile.
func TestFileRefusesWhatIsNoFile(t *testing.T) {
	s := openMade(t, withFiles(), Options{})
	if list, err := s.File(t.Context(), "/lib/modules"); !errors.Is(err, ErrMalformed) || list != nil ||
		!strings.Contains(err.Error(), "lib/modules: not a regular file") {
		t.Errorf("%v, %v", list, err)
	}
}

// A special holds one thing that is not a regular file, and that nobody may open.
type special struct{ mode fs.FileMode }

func (s special) Open(string) (fs.File, error)          { panic("opened") }
func (s special) Stat(name string) (fs.FileInfo, error) { return specialInfo{name, s.mode}, nil }

type specialInfo struct {
	name string
	mode fs.FileMode
}

func (i specialInfo) Name() string       { return i.name }
func (i specialInfo) Size() int64        { return 0 }
func (i specialInfo) Mode() fs.FileMode  { return i.mode }
func (i specialInfo) ModTime() time.Time { return time.Time{} }
func (i specialInfo) IsDir() bool        { return i.mode.IsDir() }
func (i specialInfo) Sys() any           { return nil }

// TestResolveMiss: a device that no module is for costs no memory once the indexes were read.
func TestResolveMiss(t *testing.T) {
	text := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	const dir = "lib/modules/6.1.0/"
	s, err := OpenImage(fstest.MapFS{dir + "modules.dep": text("a.ko:\n"),
		dir + "modules.alias": text("alias pci:v1* a\n"), dir + "a.ko": text("x")}, Options{OS: Linux, Kernel: "6.1.0"})
	if err != nil {
		t.Fatal(err)
	}
	resolve := func() {
		if m, err := s.Resolve(t.Context(), "usb:v0"); err != nil || len(m) > 0 {
			t.Fatal(m, err)
		}
	}
	if n := testing.AllocsPerRun(100, resolve); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
