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
	"strings"
	"testing"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/bomb"
	"github.com/kernelext/kernelext/internal/testing/golden"
)

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
