// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
)

func tree(t *testing.T) string {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("making symbolic links needs a privilege on Windows")
	}
	dir := t.TempDir()
	outside := filepath.Join(dir, "outside")
	root := filepath.Join(dir, "root")
	for _, d := range []string{"etc", "usr/lib/modules/6.1", "run/deep/er"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write := func(name, text string) {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(outside, "outside")
	write(filepath.Join(root, "etc/os-release"), "inside")
	write(filepath.Join(root, "usr/lib/modules/6.1/modules.dep"), "dep")
	link := func(name, target string) {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	link("lib", "usr/lib")
	link("abs", "/etc/os-release")
	link("absdir", "/usr/lib/modules")
	link("escape", "../../../../../../../../"+outside)
	link("escapeabs", outside)
	link("loop", "loop2")
	link("loop2", "loop")
	link("run/deep/er/up", "../../../etc/os-release")
	link("dangling", "/nowhere")
	link("deep", "run/deep/er")
	link("etc/through", "../deep/../shallow") // ".." is run/deep, not the root
	write(filepath.Join(root, "run/deep/shallow"), "shallow")
	return root
}

func TestMountedKeepsLinksInside(t *testing.T) {
	dir := tree(t)
	m, err := Mounted(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	t.Run("by the kernel if it can", func(t *testing.T) { linksStayInside(t, m) })
	t.Run("one by one", func(t *testing.T) { linksStayInside(t, oneByOne(t, dir)) })
}

// oneByOne is the root of a kernel that cannot resolve a path within a root.
func oneByOne(t *testing.T, dir string) FS {
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return &mounted{root: root}
}

func linksStayInside(t *testing.T, m FS) {
	for name, want := range map[string]string{
		"etc/os-release":              "inside",
		"abs":                         "inside",
		"run/deep/er/up":              "inside",
		"lib/modules/6.1/modules.dep": "dep",
		"absdir/6.1/modules.dep":      "dep",
		"etc/through":                 "shallow",
	} {
		b, err := fs.ReadFile(m, name)
		if err != nil || string(b) != want {
			t.Errorf("%s = %q, %v; want %q", name, b, err, want)
		}
		b, err = m.AppendFile(nil, name, 100)
		if err != nil || string(b) != want {
			t.Errorf("AppendFile %s = %q, %v; want %q", name, b, err, want)
		}
	}
	for _, name := range []string{"escape", "escapeabs", "dangling", "etc/none", "etc/os-release/below"} {
		b, err := fs.ReadFile(m, name)
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s = %q, %v; want not exist", name, b, err)
		}
	}
	if _, err := m.Open("loop"); !errors.Is(err, fact.ErrMalformed) {
		t.Errorf("loop: %v", err)
	}
	if target, err := m.ReadLink("abs"); err != nil || target != "/etc/os-release" {
		t.Errorf("ReadLink = %q, %v", target, err)
	}
	if info, err := m.Lstat("abs"); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("Lstat = %v, %v", info, err)
	}
	if info, err := m.Stat("abs"); err != nil || !info.Mode().IsRegular() {
		t.Errorf("Stat = %v, %v", info, err)
	}
	if entries, err := m.ReadDir("absdir"); err != nil || len(entries) != 1 || entries[0].Name() != "6.1" {
		t.Errorf("ReadDir = %v, %v", entries, err)
	}
	for _, bad := range []string{"../outside", "/etc", "", "a/../b"} {
		if _, err := m.Open(bad); err == nil {
			t.Errorf("%q was opened", bad)
		}
	}
}

func TestMountedIsAnFS(t *testing.T) {
	dir := t.TempDir()
	os.MkdirAll(filepath.Join(dir, "etc/d"), 0o755)
	os.WriteFile(filepath.Join(dir, "etc/f"), []byte("text"), 0o644)
	m, err := Mounted(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for _, m := range []FS{m, oneByOne(t, dir)} {
		if err := fstest.TestFS(m, "etc/f", "etc/d"); err != nil {
			t.Error(err)
		}
	}
}

func TestMountedNeedsADirectory(t *testing.T) {
	if _, err := Mounted(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

func TestReadsAreCapped(t *testing.T) {
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, "big"), []byte(strings.Repeat("x", 10000)), 0o644)
	m, err := Mounted(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	b, err := m.AppendFile([]byte("head"), "big", 9999)
	if !errors.Is(err, fact.ErrTooLarge) || len(b) != 4+9999 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	b, err = m.AppendAttr(nil, "big", 10)
	if err != nil || len(b) != 10 {
		t.Errorf("attribute of %d bytes, %v", len(b), err)
	}
}

func TestLive(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "f")
	os.WriteFile(file, []byte("text"), 0o644)
	name := strings.TrimPrefix(filepath.ToSlash(file), "/")
	live := Live()
	b, err := live.AppendFile(nil, name, 100)
	if err != nil || string(b) != "text" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := live.AppendAttr(nil, name+"none", 100); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	entries, err := live.ReadDir(strings.TrimSuffix(name, "/f"))
	if err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
	if _, err := live.Open("../etc"); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("error %v", err)
	}
}

// An attribute may be as long as a page, which has 64 KiB on some machines.
func TestAppendAttrReadsAPage(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a"), make([]byte, limit.Attr-1), 0o644); err != nil {
		t.Fatal(err)
	}
	m, err := Mounted(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if b, err := m.AppendAttr(nil, "a", limit.Attr); err != nil || len(b) != limit.Attr-1 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

// What embeds a file system and overrides Open is read through that Open.
func TestReaderOfEmbedded(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	m, err := Mounted(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for _, f := range []FS{m, Live(), Of(m), Of(os.DirFS(dir))} {
		if f.FileReader(f) == nil {
			t.Errorf("%T: no reader of itself", f)
		}
		d := deniedFS{f}
		for _, read := range []func(fs.FS, []byte, string, int64) ([]byte, error){limit.AppendFile, limit.AppendAttr} {
			if b, err := read(d, nil, "f", 100); !errors.Is(err, fs.ErrPermission) || len(b) > 0 {
				t.Errorf("%T: %q, %v", f, b, err)
			}
		}
	}
}

type deniedFS struct{ FS }

func (deniedFS) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
}
