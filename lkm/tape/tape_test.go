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
	"github.com/kernelext/kernelext/internal/testing/bomb"
	"github.com/kernelext/kernelext/internal/testing/golden"
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

// The example of the package comment is a tape that is written as it was read.
func TestFormatExample(t *testing.T) {
	src, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, example, ok := strings.Cut(string(src), "//\tkernelext tape 1\n")
	example, _, ok2 := strings.Cut(example, "//\t-- end --\n")
	if !ok || !ok2 {
		t.Fatal("no example in doc.go")
	}
	var want strings.Builder
	want.WriteString("kernelext tape 1\n")
	for line := range strings.Lines(example) {
		want.WriteString(strings.TrimPrefix(strings.TrimPrefix(line, "//"), "\t"))
	}
	want.WriteString("-- end --\n")
	tp, err := Read(strings.NewReader(want.String()))
	if err != nil {
		t.Fatal(err)
	}
	if got := text(t, tp); got != want.String() {
		t.Errorf("written again: %s", golden.Diff(want.String(), got))
	}
	b, err := reader(tp).AppendFile(nil, "sys/subsystem/dummy/notes/.note.gnu.build-id", 100)
	if err != nil || !bytes.HasSuffix(b, []byte("\x10\x11\x12\x13")) {
		t.Errorf("through the link: %q, %v", b, err)
	}
	b, err = reader(tp).AppendAttr(nil, "sys/module/dummy/taint", 100)
	if string(b) != "\n" || err != nil {
		t.Errorf("taint: %q, %v", b, err)
	}
	b, err = tp.Call(context.Background(), "clock")
	if string(b) != "2026-11-22T10:00:00Z" || err != nil {
		t.Errorf("clock: %q, %v", b, err)
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

func TestReadGzip(t *testing.T) {
	plain := head + "-- file f --\nx\n-- end --\n"
	var b bytes.Buffer
	zw := gzip.NewWriter(&b)
	zw.Write([]byte(plain))
	zw.Close()
	packed := b.Bytes()
	tp, err := Read(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	if text(t, tp) != plain {
		t.Error("not the tape that was packed")
	}
	for n := range packed {
		if _, err := Read(bytes.NewReader(packed[:n])); !errors.Is(err, fact.ErrMalformed) {
			t.Fatalf("cut after %d bytes: %v", n, err)
		}
	}
	bad := bytes.Clone(packed)
	bad[len(bad)-5] ^= 1
	if _, err := Read(bytes.NewReader(bad)); !errors.Is(err, fact.ErrMalformed) {
		t.Errorf("wrong checksum: %v", err)
	}
	failing := io.MultiReader(bytes.NewReader(packed[:20]), failingReader{})
	if _, err := Read(failing); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("the reader's own error: %v", err)
	}
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, fs.ErrClosed }

// A gzip bomb costs TapeCap and no more.
func TestReadBomb(t *testing.T) {
	pack := func(content string) string {
		var b strings.Builder
		zw := gzip.NewWriter(&b)
		io.WriteString(zw, content)
		zw.Close()
		return b.String()
	}
	bomb := pack(head+"-- file f --\n") + strings.Repeat(pack(strings.Repeat("0", 1<<20)), TapeCap>>20+1)
	if _, err := Read(strings.NewReader(bomb)); !errors.Is(err, fact.ErrTooLarge) {
		t.Errorf("%d bytes of bomb: %v", len(bomb), err)
	}
}

func TestReadRefuses(t *testing.T) {
	long := strings.Repeat("x", maxLine+1)
	big := strings.Repeat(strings.Repeat("x", 1023)+"\n", EntryCap/1024+1)
	for name, c := range map[string]struct {
		text string
		line int
		want string
	}{
		"nothing":         {"", 1, "cut"},
		"no tape":         {"hello\nworld\n", 1, "not a tape"},
		"a later format":  {"kernelext tape 2\nos: linux\n-- end --\n", 1, "format is 2"},
		"no number":       {"kernelext tape x\n", 1, "not a number"},
		"no os":           {"kernelext tape 1\n-- end --\n", 2, "os"},
		"header":          {head + "what\n-- end --\n", 3, "key: value"},
		"header key":      {head + "os: x\n-- end --\n", 3, "twice"},
		"header escape":   {head + "release: %zz\n-- end --\n", 3, "hexadecimal"},
		"caps":            {head + "caps: many\n-- end --\n", 3, "entry N"},
		"dropped":         {head + "dropped: -1\n-- end --\n", 3, "count"},
		"synthetic":       {head + "synthetic: no\n-- end --\n", 3, "yes"},
		"cut":             {head + "-- file f --\nabc\n", 5, "cut"},
		"cut in a line":   {head + "-- file f --\nabc", 4, "cut"},
		"cut in a marker": {head + "-- file f", 3, "cut"},
		"after the end":   {head + "-- end --\n-- end --\n", 4, "after the last line"},
		"CRLF":            {"kernelext tape 1\r\nos: linux\r\n", 1, "CR"},
		"long line":       {head + "-- file " + long + " --\n-- end --\n", 3, "longer"},
		"no marker end":   {head + "-- file f\n-- end --\n", 3, "does not end"},
		"kind":            {head + "-- files f --\n-- end --\n", 3, "kind"},
		"no subject":      {head + "-- file --\n-- end --\n", 3, "needs one path"},
		"two subjects":    {head + "-- file a b --\n-- end --\n", 3, "needs one path"},
		"path":            {head + "-- file /a --\n-- end --\n", 3, "slash path"},
		"path dots":       {head + "-- file a/../b --\n-- end --\n", 3, "slash path"},
		"path escape":     {head + "-- file a% --\n-- end --\n", 3, "hexadecimal"},
		"path not UTF-8":  {head + "-- file a%FF --\n-- end --\n", 3, "slash path"},
		"question":        {head + "-- error delete f --\nabsent\n-- end --\n", 3, "question"},
		"call":            {head + "-- call --\n-- end --\n", 3, "without an op"},
		"duplicate":       {head + "-- file f --\n-- dir d --\n-- file f --\n-- end --\n", 5, "two entries"},
		"escaped twin":    {head + "-- file f --\n-- file %66 --\n-- end --\n", 4, "two entries"},
		"file and dir":    {head + "-- file f --\n-- dir f --\n-- end --\n", 4, "both"},
		"attribute":       {head + "-- file f color=red --\n-- end --\n", 3, "color"},
		"attribute twice": {head + "-- file f size=1 size=1 --\n-- end --\n", 3, "twice"},
		"attribute kind":  {head + "-- dir f enc=base64 --\n-- end --\n", 3, "no attribute"},
		"mode":            {head + "-- file f mode=99 --\n-- end --\n", 3, "mode"},
		"mode large":      {head + "-- file f mode=17777 --\n-- end --\n", 3, "mode"},
		"type":            {head + "-- file f type=d --\n-- end --\n", 3, "type"},
		"size":            {head + "-- file f size=-5 --\n-- end --\n", 3, "size"},
		"size huge":       {head + "-- file f size=99999999999999999999 --\n-- end --\n", 3, "size"},
		"time":            {head + "-- file f mtime=now --\n-- end --\n", 3, "mtime"},
		"end":             {head + "-- file f end=BAD --\n-- end --\n", 3, "error word"},
		"encoding":        {head + "-- file f enc=rot13 --\n-- end --\n", 3, "encoding"},
		"newline":         {head + "-- file f newline=yes --\n-- end --\n", 3, "newline"},
		"newline no line": {head + "-- file f newline=no --\n-- end --\n", 3, "without a line"},
		"base64":          {head + "-- file f enc=base64 --\nAAAA\nAA!A\n-- end --\n", 5, "base64"},
		"base64 cut":      {head + "-- file f enc=base64 --\nAAA\n-- end --\n", 4, "base64"},
		"base64 loose":    {head + "-- file f enc=base64 --\nAB==\n-- end --\n", 4, "base64"},
		"extents":         {head + "-- file f extents=0 --\n-- end --\n", 3, "OFFSET+LENGTH"},
		"extents order":   {head + "-- file f extents=5+1,0+1 --\nab\n-- end --\n", 3, "gap"},
		"extents touch":   {head + "-- file f extents=0+1,1+1 --\na\n-- end --\n", 3, "gap"},
		"extents huge":    {head + "-- file f extents=0+9223372036854775807 --\na\n-- end --\n", 3, "range"},
		"extents far":     {head + "-- file f extents=9223372036854775807+1 --\na\n-- end --\n", 3, "range"},
		"extents more":    {head + "-- file f extents=0+9 --\na\n-- end --\n", 3, "shorter"},
		"extents less":    {head + "-- file f extents=0+1 --\na\n-- end --\n", 3, "longer"},
		"large":           {head + "-- file f --\n" + big + "-- end --\n", 3, "too large"},
		"large in base64": {head + "-- file f enc=base64 --\n" +
			strings.Repeat(strings.Repeat("A", 76)+"\n", EntryCap/50) + "-- end --\n", 3, "too large"},
		"dir order":      {head + "-- dir d --\nf b\nf a\n-- end --\n", 5, "order"},
		"dir twice":      {head + "-- dir d --\nf a\nd a\n-- end --\n", 5, "twice"},
		"dir type":       {head + "-- dir d --\nx a\n-- end --\n", 4, "type"},
		"dir name":       {head + "-- dir d --\nf ..\n-- end --\n", 4, "name in a directory"},
		"dir slash":      {head + "-- dir d --\nf a/b\n-- end --\n", 4, "name in a directory"},
		"dir no name":    {head + "-- dir d --\nf \n-- end --\n", 4, "name in a directory"},
		"link empty":     {head + "-- link l --\n-- end --\n", 3, "one line"},
		"link two lines": {head + "-- link l --\na\nb\n-- end --\n", 3, "one line"},
		"link long": {head + "-- link l --\n" + strings.Repeat("a/", maxTarget) + "\n-- end --\n",
			3, "too large"},
		"error empty":     {head + "-- error open f --\n-- end --\n", 3, "error word"},
		"error two lines": {head + "-- error open f --\nabsent\ngone\n-- end --\n", 3, "one line"},
		"error text long": {head + "-- error open f --\nother: " + strings.Repeat("x", 500) + "\n-- end --\n",
			3, "too long"},
		"content marker":   {head + "-- file f --\n-- hello\n-- end --\n", 4, "does not end"},
		"spaces":           {head + "-- file  f --\n-- end --\n", 3, "needs one path"},
		"hostile control":  {head + "-- file \x1b]0;x\a --\n-- \x1b[2J --\n-- end --\n", 4, "kind"},
		"escape in a word": {head + "-- file a%2 --\n-- end --\n", 3, "hexadecimal"},
	} {
		tp, err := Read(strings.NewReader(c.text))
		if tp != nil || !errors.Is(err, fact.ErrMalformed) && !errors.Is(err, fact.ErrTooLarge) {
			t.Errorf("%s: %v, %v", name, tp, err)
			continue
		}
		var pe *fact.ParseError
		if !errors.As(err, &pe) || pe.Line != c.line || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want line %d and %q", name, err, c.line, c.want)
		}
		if strings.ContainsAny(err.Error(), "\x1b\a\n") {
			t.Errorf("%s: control characters in %q", name, err)
		}
	}
}

func TestReadTooManyEntries(t *testing.T) {
	var b strings.Builder
	b.WriteString(head)
	for i := range maxEntries + 1 {
		b.WriteString("-- file " + strings.Repeat("a", 1+i%7) + "/" + time.Duration(i).String() + " --\n")
	}
	b.WriteString("-- end --\n")
	if _, err := Read(strings.NewReader(b.String())); !errors.Is(err, fact.ErrTooLarge) {
		t.Errorf("%d entries: %v", maxEntries+1, err)
	}
}

// Whatever a tape holds, it is written as the same bytes after it was read, and a spelling that
// this package does not use becomes its own.
func TestRoundTrip(t *testing.T) {
	for _, entries := range []string{
		"",
		"-- file f --\n-- file g newline=no --\nx\n-- file h --\n\n\n",
		"-- file a%20b%25%3D%22%C3%BC --\nx\n",
		"-- file f mode=4755 type=c size=0 mtime=2026-01-02T03:04:05Z end=timeout redacted=yes --\n",
		"-- file f end=other:%20bad%20file%20descriptor --\n",
		"-- error open f --\nother: bad %25 file\n-- error call op \"\" a%20b --\nunsupported\n",
		"-- call op \"\" a%20b redacted=yes newline=no --\nx\n",
		"-- file f enc=base64 --\nLS0gZW5kIC0tCg==\n",
		"-- file f mode=0444 size=9 extents=1+2,7+1 enc=base64 --\nAAEC\n",
		"-- file f mode=0444 size=9 end=too_large extents=1+2,7+1 --\nab\n",
		"-- dir d mode=0555 size=0 end=permission --\nl a%20b\nf %FF%1B\n",
		"-- link l --\n/a%20b/%1B\n-- link m mode=0777 size=4 end=unrecorded --\n",
		"-- file f --\nüber\tall\n",
	} {
		want := head + entries + "-- end --\n"
		tp, err := Read(strings.NewReader(want))
		if err != nil {
			t.Errorf("%q: %v", entries, err)
			continue
		}
		if got := text(t, tp); got != want {
			t.Errorf("written again: %q, want %q", got, want)
		}
	}
	tp := read(t, "-- link z --\nü\n-- file f enc=base64 --\nYWJj\nCg==\n-- file %61 size=5 --\nüb\n")
	want := head + "-- file a mode=0444 size=5 --\nüb\n-- file f --\nabc\n-- link z --\n%C3%BC\n-- end --\n"
	if got := text(t, tp); got != want {
		t.Errorf("another spelling became %q, want %q", got, want)
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

func FuzzRead(f *testing.F) {
	f.Add([]byte(head + "-- end --\n"))
	f.Add([]byte(head + "caps: entry 1, tape 2\nsynthetic: yes\n" +
		"-- file f mode=0644 type=c size=3 mtime=2026-01-02T03:04:05Z end=other:%20x redacted=yes --\n" +
		"abc\n-- end --\n"))
	f.Add([]byte(head + "-- link a --\n../b\n-- link b --\n/a/%20\n-- dir d end=permission --\n" +
		"d x\nl y%FF\n-- end --\n"))
	f.Add([]byte(head + "-- file f size=9 extents=0+1,4+2 enc=base64 --\nAAEC\n-- call op \"\" x newline=no --\ny\n" +
		"-- error call op --\nunsupported\n-- error stat f --\nother: text\n-- end --\n"))
	f.Add([]byte("kernelext tape 1\nos: windows\n-- link C:/A --\n\\??\\C:\\B\n-- end --\n"))
	f.Add([]byte{0x1f, 0x8b, 8, 0})
	for _, seed := range bomb.Seeds(bomb.Tape) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		tp, err := Read(bytes.NewReader(data))
		if (tp == nil) == (err == nil) {
			t.Fatalf("value and error: %v, %v", tp, err)
		}
		if err != nil {
			if !errors.Is(err, fact.ErrMalformed) && !errors.Is(err, fact.ErrTooLarge) {
				t.Fatalf("unexpected error: %v", err)
			}
			return
		}
		once := text(t, tp)
		again, err := Read(strings.NewReader(once))
		if err != nil {
			t.Fatalf("not read again: %v\n%s", err, once)
		}
		if twice := text(t, again); twice != once {
			t.Fatalf("written differently:\n%q\n%q", once, twice)
		}
		for _, e := range tp.Entries() {
			if e.Kind == KindCall || e.Op == opCall {
				continue
			}
			reader(tp).AppendFile(nil, e.Subject, 1<<10)
			tp.ReadDir(e.Subject)
			tp.Stat(e.Subject)
			tp.ReadLink(e.Subject)
			tp.Redacted(e.Subject)
		}
	})
}

// The time to read a tape grows with its length, and not with its square: this one would take
// minutes.
func TestReadManyComments(t *testing.T) {
	const n = 400_000
	tp, err := Read(strings.NewReader(head + strings.Repeat("comment: x\n", n) + "-- end --\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(tp.Header().Comment, "\n"); got != n-1 {
		t.Errorf("%d lines", got+1)
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
