// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/linuxtest"
)

// A member is one entry of an archive to make.
type member struct {
	name, text, link string
	kind             byte // of a tar's header; 0 is a file
}

func tarOf(t testing.TB, members ...member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		h := &tar.Header{Name: m.name, Typeflag: m.kind, Mode: 0o644, Size: int64(len(m.text)), Linkname: m.link}
		if m.kind == 0 {
			h.Typeflag = tar.TypeReg
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, m.text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zipOf(t testing.TB, members ...member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, m := range members {
		h := &zip.FileHeader{Name: m.name, Method: zip.Deflate}
		h.SetMode(0o644)
		text := m.text
		switch m.kind {
		case tar.TypeSymlink:
			h.SetMode(fs.ModeSymlink | 0o777)
			text = m.link
		case tar.TypeFifo:
			h.SetMode(fs.ModeNamedPipe | 0o644)
		}
		f, err := w.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(f, text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zstdOf(t testing.TB, b []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(b, nil)
}

// forms are an archive in every form that is made here.
func forms(t testing.TB, members ...member) map[string][]byte {
	t.Helper()
	plain := tarOf(t, members...)
	return map[string][]byte{"tar": plain, "tar.gz": linuxtest.Gzip(plain), "tar.zst": zstdOf(t, plain),
		"tar.xz": linuxtest.StoredXZ(plain), "zip": zipOf(t, members...)}
}

// read walks an archive and returns "NAME=TEXT" of each file, "NAME>" of each link.
func read(r io.Reader) (found []string, skipped Skipped, err error) {
	skipped, err = Walk(r, func(e Entry, in io.Reader) error {
		b, err := io.ReadAll(io.LimitReader(in, 1<<20))
		if e.Link {
			found = append(found, e.Name+">")
			return err
		}
		found = append(found, e.Name+"="+string(b))
		return err
	})
	return found, skipped, err
}

func TestWalk(t *testing.T) {
	members := []member{{name: "a/lsmod", text: "x"}, {name: "./b//c", text: strings.Repeat("y", 5000)},
		{name: "l", link: "a/lsmod", kind: tar.TypeSymlink}, {name: "/abs", text: "z"}}
	want := []string{"a/lsmod=x", "b/c=" + strings.Repeat("y", 5000), "l>", "abs=z"}
	for form, b := range forms(t, members...) {
		if !Is(b[:min(len(b), Head)]) {
			t.Errorf("%s is not reported", form)
		}
		got, skipped, err := read(bytes.NewReader(b))
		if err != nil || !slices.Equal(got, want) || skipped != (Skipped{}) {
			t.Errorf("%s: %.80q, %+v, %v", form, got, skipped, err)
		}
		got, _, err = read(struct{ io.Reader }{bytes.NewReader(b)}) // a stream
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s as a stream: %.80q, %v", form, got, err)
		}
	}
}

// TestWaysOut: names that lead out of the archive are left out and counted, in every form; links and special files have
// no content.
func TestWaysOut(t *testing.T) {
	members := []member{{name: "../etc/passwd", text: "x"}, {name: "a/../../b", text: "x"}, {name: "good", text: "g"},
		{name: "circle", link: "circle", kind: tar.TypeSymlink},
		{name: "out", link: "/etc/passwd", kind: tar.TypeSymlink},
		{name: "pipe", kind: tar.TypeFifo}}
	for form, b := range forms(t, members...) {
		got, skipped, err := read(bytes.NewReader(b))
		if err != nil || !slices.Equal(got, []string{"good=g", "circle>", "out>"}) {
			t.Errorf("%s: %q, %v", form, got, err)
		}
		if skipped.Names != 2 || skipped.Special != 1 {
			t.Errorf("%s: %+v", form, skipped)
		}
	}
	b := tarOf(t, member{name: strings.Repeat("n/", 3000) + "x", text: "x"}, member{name: "dev", kind: tar.TypeChar},
		member{name: "hard", link: "../../x", kind: tar.TypeLink}, member{name: ".", text: ""})
	if got, skipped, err := read(bytes.NewReader(b)); err != nil || skipped.Names != 2 || skipped.Special != 1 ||
		!slices.Equal(got, []string{"hard>"}) {
		t.Errorf("%q, %+v, %v", got, skipped, err)
	}
	if got, skipped, _ := read(bytes.NewReader(zipOf(t, member{name: `..\..\x`, text: "x"}))); len(got) > 0 ||
		skipped.Names != 1 {
		t.Errorf("%q, %+v", got, skipped)
	}
}

// TestCut reads archives that end too early: what came before is given, and an error says so.
func TestCut(t *testing.T) {
	random := make([]byte, 9000)
	for i := range random {
		random[i] = byte(i*i>>3 ^ i)
	}
	members := []member{{name: "a", text: "first"}, {name: "b", text: string(random)}, {name: "c", text: "last"}}
	for form, b := range forms(t, members...) {
		for _, keep := range []int{len(b) / 4, len(b) / 2, 3 * len(b) / 4} {
			got, _, err := read(bytes.NewReader(b[:keep]))
			if err == nil || slices.Contains(got, "c=last") && form != "tar" {
				t.Errorf("%s, %d of %d bytes: %d files, %v", form, keep, len(b), len(got), err)
			}
		}
		broken := bytes.Clone(b)
		for i := len(broken) / 3; i < len(broken)/3+40; i++ {
			broken[i] ^= 0x5a
		}
		if got, _, err := read(bytes.NewReader(broken)); err == nil && form != "tar" && form != "tar.xz" {
			t.Errorf("%s, damaged: %.60q", form, got)
		}
	}
}

// TestNoArchive: a file that is not an archive is unsupported, packed or not.
func TestNoArchive(t *testing.T) {
	text := []byte("Module Size Used by\n")
	for name, b := range map[string][]byte{"empty": nil, "text": text, "zeros": make([]byte, 4096),
		"packed text": linuxtest.Gzip(text), "magic": {0x1f, 0x8b}, "zip": []byte("PK\x03\x04"),
		"xz": {0xfd, '7', 'z', 'X', 'Z', 0}, "zstd": {0x28, 0xb5, 0x2f, 0xfd}, "bzip2": []byte("BZh9"),
		"empty tar":    tarOf(t),
		"packed twice": linuxtest.Gzip(linuxtest.Gzip(tarOf(t, member{name: "a", text: "x"})))} {
		if got, _, err := read(bytes.NewReader(b)); err == nil || len(got) > 0 {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// TestNested gives an archive inside an archive as a file of bytes: it is not opened.
func TestNested(t *testing.T) {
	inner := tarOf(t, member{name: "lsmod", text: "x"})
	got, _, err := read(bytes.NewReader(tarOf(t, member{name: "inner.tar", text: string(inner)})))
	if err != nil || len(got) != 1 || !strings.HasPrefix(got[0], "inner.tar=") {
		t.Errorf("%.60q, %v", got, err)
	}
}

// TestTooMuch: what decompresses to far more than was read ends, in every form; so does an archive of very many files.
func TestTooMuch(t *testing.T) {
	zeros := strings.Repeat("\x00", 64<<20)
	for form, b := range map[string][]byte{
		"gz":   linuxtest.Gzip(tarOf(t, member{name: "a", text: zeros})),
		"zstd": zstdOf(t, tarOf(t, member{name: "a", text: zeros})),
		"zip":  zipOf(t, member{name: "a", text: zeros}),
	} {
		n := int64(0)
		_, err := Walk(bytes.NewReader(b), func(_ Entry, r io.Reader) (err error) {
			n, err = io.Copy(io.Discard, r)
			return err
		})
		if !errors.Is(err, fact.ErrTooLarge) || n > basePlain+maxRatio*int64(len(b))+64<<10 {
			t.Errorf("%s of %d KB: %d MB, %v", form, len(b)>>10, n>>20, err)
		}
	}
	var many bytes.Buffer
	z := gzip.NewWriter(&many)
	header := tarOf(t, member{name: "a"})[:512]
	for range maxEntries + 1 {
		_, _ = z.Write(header)
	}
	_ = z.Close()
	seen := 0
	_, err := Walk(&many, func(Entry, io.Reader) error { seen++; return nil })
	if !errors.Is(err, fact.ErrTooLarge) || seen > maxEntries {
		t.Errorf("%d files: %v", seen, err)
	}
}

// TestFiles reads archives that are files, of which a zip is read at its places, and passes on an error of the visitor.
func TestFiles(t *testing.T) {
	for form, b := range forms(t, member{name: "a", text: "x"}) {
		name := filepath.Join(t.TempDir(), "a")
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		if got, _, err := read(f); err != nil || !slices.Equal(got, []string{"a=x"}) {
			t.Errorf("%s: %q, %v", form, got, err)
		}
		_ = f.Close()
		stop := fmt.Errorf("stop")
		if _, err := Walk(bytes.NewReader(b), func(Entry, io.Reader) error { return stop }); !errors.Is(err, stop) {
			t.Errorf("%s: %v", form, err)
		}
	}
}

// FuzzWalk walks any bytes: names stay below the top, and what is given is bounded.
func FuzzWalk(f *testing.F) {
	for _, b := range forms(f, member{name: "a/b", text: "x"}, member{name: "l", link: "..", kind: tar.TypeSymlink}) {
		f.Add(b)
		f.Add(b[:len(b)/2])
	}
	f.Add(zipOf(f, member{name: `..\x`, text: "x"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 64<<10 {
			return
		}
		total := int64(0)
		_, _ = Walk(bytes.NewReader(b), func(e Entry, r io.Reader) error {
			if e.Name == "" || strings.HasPrefix(e.Name, "/") || slices.Contains(strings.Split(e.Name, "/"), "..") {
				t.Fatalf("name %q", e.Name)
			}
			n, err := io.Copy(io.Discard, r)
			if total += n; total > basePlain+maxRatio*int64(len(b))+64<<10 {
				t.Fatalf("%d bytes of %d", total, len(b))
			}
			return err
		})
	})
}
