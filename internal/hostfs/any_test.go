// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"archive/zip"
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
)

// Links of any file system that shows them stay inside, as those of a mounted root.
func TestOfKeepsLinksInside(t *testing.T) {
	linksStayInside(t, Of(os.DirFS(tree(t))))
}

func TestOfIsAnFS(t *testing.T) {
	dir := t.TempDir()
	os.MkdirAll(filepath.Join(dir, "etc/d"), 0o755)
	os.WriteFile(filepath.Join(dir, "etc/f"), []byte("text"), 0o644)
	for _, fsys := range []fs.FS{
		os.DirFS(dir), struct{ fs.FS }{os.DirFS(dir)},
		fstest.MapFS{"etc/f": {Data: []byte("text")}, "etc/d": {Mode: fs.ModeDir}},
	} {
		if err := fstest.TestFS(Of(fsys), "etc/f", "etc/d"); err != nil {
			t.Error(err)
		}
	}
}

// A root that is borrowed outlives Close.
func TestOfBorrows(t *testing.T) {
	m, err := Mounted(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := Of(m).Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Of(m).ReadDir("."); err != nil {
		t.Error(err)
	}
}

// A zip file has links and does not say where they lead: what is behind one is not absent.
func TestOfUnreadableLinks(t *testing.T) {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for name, mode := range map[string]fs.FileMode{"lib": fs.ModeSymlink | 0o777, "usr/lib/x": 0o644} {
		h := &zip.FileHeader{Name: name}
		h.SetMode(mode)
		f, err := w.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		f.Write([]byte("usr/lib"))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := zip.NewReader(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	fsys := Of(r)
	for _, name := range []string{"lib", "lib/x", "lib/a/b/c"} {
		if f, err := fsys.Open(name); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("open %s: %v, %v", name, f, err)
		}
		if info, err := fsys.Stat(name); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("stat %s: %v, %v", name, info, err)
		}
		if b, err := fsys.AppendFile(nil, name, 100); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("read %s: %q, %v", name, b, err)
		}
	}
	if info, err := fsys.Lstat("lib"); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("lstat: %v, %v", info, err)
	}
	if to, err := fsys.ReadLink("lib"); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("readlink: %q, %v", to, err)
	}
	if _, err := fsys.Open("none/x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent: %v", err)
	}
}

func TestOfCapsReads(t *testing.T) {
	fsys := Of(fstest.MapFS{"big": {Data: make([]byte, 1000)}, "pipe": {Mode: fs.ModeNamedPipe}})
	if b, err := fsys.AppendFile([]byte("head"), "big", 999); !errors.Is(err, fact.ErrTooLarge) || len(b) != 4+999 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if b, err := fsys.AppendAttr(nil, "big", 10); err != nil || len(b) != 10 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if _, err := fsys.Open("pipe"); !errors.Is(err, fact.ErrMalformed) {
		t.Errorf("a pipe: %v", err)
	}
}
