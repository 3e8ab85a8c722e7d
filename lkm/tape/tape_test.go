// SPDX-License-Identifier: Apache-2.0

package tape

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/lkm"
)

const head = "kernelext tape 1\nos: linux\n"

// read returns the tape with these entries.
func read(t testing.TB, entries string) *Tape {
	t.Helper()
	tp, err := Read(strings.NewReader(head + entries + "-- end --\n"))
	if err != nil {
		t.Fatal(err)
	}
	return tp
}

func text(t testing.TB, w io.WriterTo) string {
	t.Helper()
	var b strings.Builder
	n, err := w.WriteTo(&b)
	if err != nil {
		t.Fatal(err)
	}
	if n != int64(b.Len()) {
		t.Errorf("WriteTo says %d bytes and wrote %d", n, b.Len())
	}
	return b.String()
}

func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want an error that is %v", what, err, want)
	}
	for _, other := range []error{fs.ErrNotExist, fs.ErrPermission, fact.ErrUnrecorded, fact.ErrRedacted} {
		if other != want && errors.Is(err, other) {
			t.Errorf("%s: %v is also %v", what, err, other)
		}
	}
}

func TestFS(t *testing.T) {
	tp := read(t, `-- dir . --
d etc
f hello
l latest
-- dir etc mode=0700 size=4096 mtime=2026-01-02T03:04:05.000000006Z --
d empty
f passwd
-- dir etc/empty --
-- file etc/passwd mode=0600 size=13 --
root:x:0:0::
-- file hello newline=no --
world
-- link latest --
etc/passwd
`)
	if err := fstest.TestFS(tp, "etc/passwd", "hello", "etc/empty", "latest"); err != nil {
		t.Error(err)
	}
	info, err := tp.Stat("etc")
	if err != nil || info.Mode() != fs.ModeDir|0o700 || info.Size() != 4096 ||
		info.ModTime() != time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC) {
		t.Errorf("stat etc: %v, %v", info, err)
	}
}

// Every error that a tape can hold is the same error again, whatever the system.
func TestErrorsReplay(t *testing.T) {
	for code, want := range map[string]error{
		"permission": fs.ErrPermission, "absent": fs.ErrNotExist, "gone": fact.ErrGone,
		"unsupported": errors.ErrUnsupported,
		"restricted":  fact.ErrRestricted, "too_large": fact.ErrTooLarge, "timeout": os.ErrDeadlineExceeded,
		"redacted": fact.ErrRedacted, "unrecorded": fact.ErrUnrecorded, "malformed": fact.ErrMalformed,
		"budget": fact.ErrBudget,
	} {
		tp := read(t, "-- error open a --\n"+code+"\n-- file b end="+code+" --\nabc\n-- error call op x --\n"+code+"\n")
		_, err := tp.Open("a")
		wantErr(t, "open "+code, err, want)
		_, err = reader(tp).AppendFile(nil, "a", 10)
		wantErr(t, "append "+code, err, want)
		_, err = tp.Call(context.Background(), "op", "x")
		wantErr(t, "call "+code, err, want)
		b, err := reader(tp).AppendFile(nil, "b", 10)
		wantErr(t, "end "+code, err, want)
		if string(b) != "abc\n" {
			t.Errorf("%s: kept %q", code, b)
		}
		if b, err = reader(tp).AppendAttr(nil, "b", 10); string(b) != "abc\n" || err != nil {
			t.Errorf("%s: one read gave %q, %v", code, b, err)
		}
		if fact.CodeOf(err) != "" && string(fact.CodeOf(err)) != code {
			t.Errorf("%s became %s", code, fact.CodeOf(err))
		}
	}
	tp := read(t, "-- error open a --\nother: too many open files\n-- error open b --\nfuture_word\n")
	if _, err := tp.Open("a"); fact.CodeOf(err) != fact.CodeOther ||
		!strings.Contains(err.Error(), "too many open files") {
		t.Errorf("other: %v", err)
	}
	if _, err := tp.Open("b"); fact.CodeOf(err) != fact.CodeOther || !strings.Contains(err.Error(), "future_word") {
		t.Errorf("a word of a later version: %v", err)
	}
}

// What has no entry is unrecorded, for every question, and never absent.
func TestUnrecorded(t *testing.T) {
	tp := read(t, "-- dir d --\nf child\nl way\n-- file f --\nx\n-- error open refused --\npermission\n"+
		"-- link l end=unrecorded --\n")
	for _, name := range []string{"nothing", "d/child", "d/missing", "f/below", "l", "l/below"} {
		_, err := tp.Open(name)
		wantErr(t, "open "+name, err, fact.ErrUnrecorded)
		_, err = tp.ReadDir(name)
		wantErr(t, "readdir "+name, err, fact.ErrUnrecorded)
		_, err = tp.Stat(name)
		wantErr(t, "stat "+name, err, fact.ErrUnrecorded)
		_, err = tp.ReadLink(name)
		wantErr(t, "readlink "+name, err, fact.ErrUnrecorded)
	}
	_, err := tp.Stat("refused")
	wantErr(t, "stat of what could not be opened", err, fact.ErrUnrecorded)
	_, err = tp.Call(context.Background(), "uname")
	wantErr(t, "call", err, fact.ErrUnrecorded)
	entries, err := tp.ReadDir("d")
	if err != nil || len(entries) != 2 {
		t.Fatal(entries, err)
	}
	_, err = entries[0].Info()
	wantErr(t, "info", err, fact.ErrUnrecorded)
	if entries[1].Type() != fs.ModeSymlink {
		t.Errorf("type %v", entries[1].Type())
	}
	if _, err := tp.Open("../x"); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("invalid name: %v", err)
	}
}

// An absence answers what follows from it, and nothing else.
func TestAbsence(t *testing.T) {
	tp := read(t, "-- error lstat a --\nabsent\n-- error open b --\nabsent\n-- link b --\ngone\n"+
		"-- error readlink c --\npermission\n")
	ask := map[string]func(string) error{
		"open":    func(n string) error { _, err := tp.Open(n); return err },
		"readdir": func(n string) error { _, err := tp.ReadDir(n); return err },
		"stat":    func(n string) error { _, err := tp.Stat(n); return err },
	}
	for op, f := range ask {
		wantErr(t, op+" a", f("a"), fs.ErrNotExist)
		wantErr(t, op+" b", f("b"), fs.ErrNotExist)
		wantErr(t, op+" c", f("c"), fact.ErrUnrecorded)
	}
	if _, err := tp.Lstat("b"); err != nil {
		t.Errorf("a link that leads nowhere is still there: %v", err)
	}
	_, err := tp.Lstat("c")
	wantErr(t, "lstat c", err, fact.ErrUnrecorded)
}

func TestLinks(t *testing.T) {
	tp := read(t, `-- file a/b/file --
hello
-- dir a/b --
f file
-- link abs --
/a/b
-- link chain --
x/../rel/.
-- link loop1 --
loop2
-- link loop2 --
./loop1
-- link rel --
./a/../a/b
-- link self --
self/self
-- link up --
../../../a/b/file
-- link x --
/a/b/../..
-- link z%20z --
missing%20file
-- link exact --
nowhere
-- file exact/file --
recorded through the link
-- link d1 --
a
-- file d1/b/other --
recorded through the first link
-- link d0 --
d1
`)
	for _, name := range []string{"abs/file", "rel/file", "chain/file", "up", "x/a/b/file", "x/abs/file"} {
		b, err := reader(tp).AppendFile(nil, name, 100)
		if string(b) != "hello\n" || err != nil {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	for name, want := range map[string]string{"exact/file": "recorded through the link\n",
		"d0/b/other": "recorded through the first link\n", "d0/b/file": "hello\n"} {
		b, err := reader(tp).AppendFile(nil, name, 100)
		if string(b) != want || err != nil {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	if entries, err := tp.ReadDir("abs"); len(entries) != 1 || err != nil {
		t.Errorf("readdir through a link: %v, %v", entries, err)
	}
	for _, name := range []string{"loop1", "loop2", "self", "loop1/x"} {
		_, err := tp.Open(name)
		if fact.CodeOf(err) != fact.CodeOther || !strings.Contains(err.Error(), "symbolic links") {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := tp.Open("z z")
	wantErr(t, "a target that was not recorded", err, fact.ErrUnrecorded)
	if target, err := tp.ReadLink("z z"); target != "missing file" || err != nil {
		t.Errorf("readlink: %q, %v", target, err)
	}
	if info, err := tp.Lstat("loop1"); err != nil || info.Mode().Type() != fs.ModeSymlink {
		t.Errorf("lstat: %v, %v", info, err)
	}
	if _, err := tp.ReadLink("a/b/file"); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("readlink of a file: %v", err)
	}
	if info, err := tp.Lstat("abs/file"); err != nil || info.Size() != 6 {
		t.Errorf("lstat below a link: %v, %v", info, err)
	}
}

// Windows names are the same in upper and lower case.
func TestFolding(t *testing.T) {
	tp, err := Read(strings.NewReader("kernelext tape 1\nos: windows\n-- dir C:/Windows --\nf Driver.SYS\n" +
		"-- file C:/Windows/Driver.SYS --\nMZ\n" +
		"-- link C:/SystemRoot --\n\\??\\C:\\WINDOWS\n-- end --\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"c:/windows/driver.sys", "C:/WINDOWS/Driver.sys", "C:/SystemRoot/DRIVER.sys"} {
		if b, err := reader(tp).AppendFile(nil, name, 100); string(b) != "MZ\n" || err != nil {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	entries, err := tp.ReadDir("C:/Windows")
	if err != nil || entries[0].Name() != "Driver.SYS" {
		t.Errorf("the names in a directory are as they were: %v, %v", entries, err)
	}
	if !strings.Contains(text(t, tp), "-- file c:/windows/driver.sys --") {
		t.Error("the path is not folded on the tape")
	}
	_, err = Read(strings.NewReader("kernelext tape 1\nos: windows\n-- file C:/A --\n-- file c:/a --\n-- end --\n"))
	if !errors.Is(err, fact.ErrMalformed) {
		t.Errorf("names that differ in case: %v", err)
	}
}

func TestExtents(t *testing.T) {
	tp := read(t, "-- file ko mode=0644 size=20000 extents=0+4,4096+6 --\nELFxABCDE\n"+
		"-- file cut extents=2+3 end=too_large --\nab\n")
	f, err := tp.Open("ko")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	at := f.(io.ReaderAt)
	for _, c := range []struct {
		off  int64
		n    int
		want string
		err  error
	}{
		{0, 4, "ELFx", nil}, {4096, 6, "ABCDE\n", nil}, {4098, 2, "CD", nil}, {2, 2, "Fx", nil},
		{0, 5, "ELFx", fact.ErrUnrecorded}, {4, 1, "", fact.ErrUnrecorded}, {4095, 2, "", fact.ErrUnrecorded},
		{4100, 100, "E\n", fact.ErrUnrecorded}, {20000, 1, "", io.EOF}, {1 << 60, 1, "", io.EOF},
		{-1, 1, "", fs.ErrInvalid},
	} {
		buf := make([]byte, c.n)
		n, err := at.ReadAt(buf, c.off)
		if string(buf[:n]) != c.want || (c.err == nil) != (err == nil) || c.err != nil && !errors.Is(err, c.err) {
			t.Errorf("ReadAt(%d, %d): %q, %v; want %q, %v", c.n, c.off, buf[:n], err, c.want, c.err)
		}
	}
	b, err := io.ReadAll(f)
	if string(b) != "ELFx" {
		t.Errorf("read from the start: %q", b)
	}
	wantErr(t, "read on", err, fact.ErrUnrecorded)
	if off, err := f.(io.Seeker).Seek(-10000, io.SeekEnd); off != 10000 || err != nil {
		t.Errorf("seek: %d, %v", off, err)
	}
	if info, err := tp.Stat("ko"); err != nil || info.Size() != 20000 {
		t.Errorf("stat: %v, %v", info, err)
	}
	_, err = tp.Stat("cut")
	wantErr(t, "stat of unknown size", err, fact.ErrUnrecorded)
	_, err = reader(tp).AppendFile(nil, "cut", 100)
	if !errors.Is(err, fact.ErrTooLarge) {
		t.Errorf("past the cap: %v", err)
	}
}

// A tape's reader obeys the caller's limits as any other.
func TestAppendLimits(t *testing.T) {
	tp := read(t, "-- file f --\n0123456789\n-- dir d --\n")
	b, err := reader(tp).AppendFile([]byte("x"), "f", 4)
	if string(b) != "x0123" || !errors.Is(err, fact.ErrTooLarge) {
		t.Errorf("AppendFile: %q, %v", b, err)
	}
	b, err = limit.AppendAttr(tp, []byte("x"), "f", 4)
	if string(b) != "x0123" || err != nil {
		t.Errorf("AppendAttr: %q, %v", b, err)
	}
	if _, err = reader(tp).AppendFile(nil, "d", 4); err == nil {
		t.Error("a directory was read as a file")
	}
	if n := testing.AllocsPerRun(100, func() { b, _ = reader(tp).AppendFile(b[:0], "f", 100) }); n > 0 {
		t.Errorf("AppendFile into enough memory: %v allocations", n)
	}
}

func TestHeader(t *testing.T) {
	want := Header{
		OS: "linux", Release: "6.1.0 \x1b", Arch: "x86_64", Privilege: "user", Detail: "files", Producer: "lkm 100%",
		Comment: "two\nlines", Redactions: []string{"a", "b"}, EntryCap: 1, TapeCap: 2, Dropped: 3, Synthetic: true,
	}
	tp, err := Read(bytes.NewReader(append(want.appendTo(nil), "future: yes\n-- end --\n"...)))
	if err != nil {
		t.Fatal(err)
	}
	got := tp.Header()
	if !bytes.Equal(got.appendTo(nil), want.appendTo(nil)) || got.Comment != want.Comment ||
		got.Release != want.Release {
		t.Errorf("got %+v, want %+v", got, want)
	}
	got.Redactions[0] = "changed"
	if tp.Header().Redactions[0] != "a" {
		t.Error("the tape's header can be changed from outside")
	}
}

func TestEntries(t *testing.T) {
	tp := read(t, "-- call b a%20c redacted=yes --\nx\n-- file f extents=0+1,5+2 end=too_large --\nab\n"+
		"-- error open e --\nabsent\n-- dir d --\n")
	want := []Entry{
		{Kind: KindDir, Subject: "d"}, {Kind: KindError, Op: "open", Subject: "e", Code: fact.CodeAbsent},
		{Kind: KindFile, Subject: "f", Size: 3, Code: fact.CodeTooLarge},
		{Kind: KindCall, Subject: "b a c", Size: 2, Redacted: true},
	}
	got := tp.Entries()
	if len(got) != len(want) {
		t.Fatalf("%+v", got)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Errorf("entry %d: %+v, want %+v", i, got[i], want[i])
		}
	}
}

func TestRedacted(t *testing.T) {
	tp := read(t, "-- file f redacted=yes --\nx\n-- error open g --\nredacted\n-- file h --\n-- link l --\nf\n"+
		"-- call op a redacted=yes --\n-- error call op b --\nredacted\n")
	for key, want := range map[string]bool{"f": true, "g": true, "h": false, "l": true, "op a": true, "op b": true,
		"op": false, "nothing": false, "/": false} {
		if tp.Redacted(key) != want {
			t.Errorf("Redacted(%q) is not %v", key, want)
		}
	}
	var m lkm.Machine = tp
	if _, ok := m.(lkm.Redactor); !ok {
		t.Error("a tape is not a Redactor")
	}
}

// A few links of many elements each make a path that would take long to walk.
func TestLinksThatGrow(t *testing.T) {
	tp := read(t, "-- link a --\n"+strings.Repeat("b/", maxTarget/2-1)+"a\n")
	_, err := tp.Open("a/proc/modules")
	wantErr(t, "a path that grows", err, fact.ErrTooLarge)
}

// reader returns what reads a tape's files whole.
func reader(tp *Tape) fact.FileReader { return tp.FileReader(tp) }

// A file may be plain or compressed; the error of one that is not a tape names it.
func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	text := "kernelext tape 1\nos: linux\n-- end --\n"
	var packed bytes.Buffer
	zw := gzip.NewWriter(&packed)
	zw.Write([]byte(text))
	zw.Close()
	for name, content := range map[string]string{"plain": text, "packed": packed.String(), "other": "x\n"} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		tp, err := ReadFile(file)
		switch {
		case name == "other" && (!errors.Is(err, fact.ErrMalformed) || !strings.Contains(err.Error(), file)):
			t.Errorf("%s: %v", name, err)
		case name != "other" && (err != nil || tp.Header().OS != lkm.Linux):
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ReadFile(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}
