// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"archive/zip"
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/linux"
)

// openDir opens a directory as an image.
func openDir(t *testing.T, dir string, o Options) *System {
	t.Helper()
	fsys, err := Dir(dir)
	if err != nil {
		t.Fatal(err)
	}
	s, err := OpenImage(fsys, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// imageFiles is a small Linux root whose /lib is a link.
func imageFiles() fstest.MapFS {
	const tree = "usr/lib/modules/6.1.0-made/"
	return fstest.MapFS{
		"lib":                   {Mode: fs.ModeSymlink | 0o777, Data: []byte("/usr/lib")},
		tree + "modules.dep":    {Data: []byte("kernel/m.ko:\n")},
		tree + "kernel/m.ko":    {Data: emptyModule()},
		"proc/modules":          {Data: []byte("other 1 0 - Live 0x0\n")},
		"etc/modprobe.d/x.conf": {Data: []byte("blacklist m\n")},
		"etc/os-release":        {Data: []byte("ID=made\n")},
	}
}

// onDisk writes files into a directory.
func onDisk(t *testing.T, files fstest.MapFS) string {
	t.Helper()
	root := t.TempDir()
	for name, f := range files {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if f.Mode&fs.ModeSymlink != 0 {
			err = os.Symlink(string(f.Data), file)
		} else {
			err = os.WriteFile(file, f.Data, 0o644)
		}
		if err != nil {
			t.Skip(err) // no links on this system
		}
	}
	return root
}

// zipped returns files as a zip file, whose links cannot be followed.
func zipped(t *testing.T, files fstest.MapFS) fs.FS {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for name, f := range files {
		h := &zip.FileHeader{Name: name}
		h.SetMode(f.Mode)
		entry, err := w.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := entry.Write(f.Data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := zip.NewReader(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestOpenImageOfAnyFS(t *testing.T) {
	files := imageFiles()
	dir := onDisk(t, files)
	mounted, err := Dir(dir)
	if err != nil {
		t.Fatal(err)
	}
	flat := imageFiles()
	delete(flat, "lib")
	for name, tt := range map[string]struct {
		fsys fs.FS
		root string
	}{
		"Dir": {mounted, dir}, "MapFS": {files, ""}, "DirFS": {os.DirFS(dir), ""}, "zip": {zipped(t, flat), ""},
		"Open alone": {struct{ fs.FS }{os.DirFS(dir)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := OpenImage(tt.fsys, Options{Detail: DetailFiles})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			snap, err := s.SnapshotOf(t.Context(), ScopeInstalled)
			if err != nil || len(snap.Modules) != 1 || snap.Modules[0].Name != "m" || snap.Live != No ||
				snap.OS != Linux || snap.Root != tt.root {
				t.Fatalf("%+v, %v", snap, err)
			}
			v, err := s.Check(t.Context(), "m")
			if err != nil || len(v) != 1 || v[0].Now != nil {
				t.Errorf("%+v, %v", v, err)
			}
			if _, err := s.Snapshot(t.Context()); !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("an image runs a kernel: %v", err)
			}
		})
	}
}

// A link that a file system cannot read is not a file that does not exist.
func TestOpenImageWithUnreadableLink(t *testing.T) {
	files := imageFiles()
	for name := range files {
		if strings.HasPrefix(name, "usr/") {
			delete(files, name)
		}
	}
	s, err := OpenImage(zipped(t, files), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	snap, err := s.SnapshotOf(t.Context(), ScopeInstalled)
	if err == nil && snap.Err() == nil {
		src, _ := snap.Source(linux.SourceTree)
		t.Errorf("an empty list: %+v", src)
	}
}

// What opens a file itself is asked for it, although it embeds what Dir returned.
func TestOpenImageOfWrapper(t *testing.T) {
	mounted, err := Dir(onDisk(t, imageFiles()))
	if err != nil {
		t.Fatal(err)
	}
	w := &wrapper{ReadLinkFS: mounted.(fs.ReadLinkFS)}
	s, err := OpenImage(w, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	snap, err := s.SnapshotOf(t.Context(), ScopeInstalled)
	if err != nil || !slices.Contains(w.opened, "usr/lib/modules/6.1.0-made/modules.dep") {
		t.Errorf("%+v, %v, opened %q", snap, err, w.opened)
	}
}

type wrapper struct {
	fs.ReadLinkFS
	opened []string
}

func (w *wrapper) Open(name string) (fs.File, error) {
	w.opened = append(w.opened, name)
	return w.ReadLinkFS.Open(name)
}

// One directory may serve several Systems: none of them closes it.
func TestImagesShareAnFS(t *testing.T) {
	fsys, err := Dir(onDisk(t, imageFiles()))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		s, err := OpenImage(fsys, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.SnapshotOf(t.Context(), ScopeInstalled); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestDirNeedsADirectory(t *testing.T) {
	if _, err := Dir(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

// No single mark decides which system a root is of.
func TestDetectOS(t *testing.T) {
	for _, tt := range []struct {
		want  OS
		files []string
	}{
		{Linux, []string{"lib/modules/6.1/modules.dep"}},
		{Linux, []string{"usr/lib/os-release", "etc/ld.so.cache"}},
		{Linux, []string{"etc/os-release", "usr/lib/modules/6.1/modules.dep", "boot/grub/grub.cfg"}},
		{FreeBSD, []string{"boot/kernel/kernel"}},
		{FreeBSD, []string{"bin/freebsd-version", "libexec/ld-elf.so.1", "etc/os-release"}},
		{FreeBSD, []string{"boot/kernel/kernel", "boot/defaults/loader.conf", "etc/os-release", "boot/grub/grub.cfg"}},
		{FreeBSD, []string{"boot/kernel/kernel.gz", "etc/rc.conf"}},
		{FreeBSD, []string{"boot/kernel.GENERIC/kernel", "boot/loader.conf"}},
		{FreeBSD, []string{"etc/os-release=ID=freebsd\n"}},
		{Illumos, []string{"etc/os-release=NAME=x\nID=\"omnios\"\n"}},
		{Linux, []string{"etc/os-release=ID=debian\n", "boot/loader.conf"}},
		{DragonFly, []string{"boot/kernel/kernel", "sbin/mount_hammer2"}},
		{DragonFly, []string{"boot/kernel/kernel", "boot/defaults/loader.conf", "sbin/hammer2"}},
		{NetBSD, []string{"netbsd", "stand/amd64/10.0/modules/a/a.kmod"}},
		{OpenBSD, []string{"bsd", "bsd.rd"}},
		{Darwin, []string{"System/Library/CoreServices/SystemVersion.plist"}},
		{Windows, []string{"Windows/System32/drivers/a.sys"}},
		{"", nil},
		{"", []string{"home/me/notes"}},
	} {
		files := make(fstest.MapFS)
		for _, name := range tt.files {
			name, text, _ := strings.Cut(name, "=")
			files[name] = &fstest.MapFile{Data: []byte(text)}
		}
		if got := detectOS(files); got != tt.want {
			t.Errorf("%q: %s, want %s", tt.files, got, tt.want)
		}
	}
}
