// SPDX-License-Identifier: Apache-2.0

package tape

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/lkm"
)

// A machine made of a map, in which single questions can fail.
type machine struct {
	fstest.MapFS
	errs   map[string]error // of "op name"
	calls  map[string]string
	blocks chan struct{} // a read of "blocks" waits for it
}

func (m *machine) fail(op, name string) error {
	if err := m.errs[op+" "+name]; err != nil {
		return &fs.PathError{Op: op, Path: name, Err: err}
	}
	return nil
}

func (m *machine) Open(name string) (fs.File, error) {
	if err := m.fail(opOpen, name); err != nil {
		return nil, err
	}
	f, err := m.MapFS.Open(name)
	if err != nil {
		return nil, err
	}
	if name == "blocks" {
		return &blockingFile{f, m.blocks}, nil
	}
	if err := m.fail("read", name); err != nil {
		return &brokenFile{f, err}, nil
	}
	return f, nil
}

func (m *machine) ReadDir(name string) ([]fs.DirEntry, error) {
	if err := m.fail(opReadDir, name); err != nil {
		return nil, err
	}
	entries, err := m.MapFS.ReadDir(name)
	if partial := m.fail("list", name); partial != nil {
		return entries[:1], partial
	}
	return entries, err
}

func (m *machine) Stat(name string) (fs.FileInfo, error) {
	if err := m.fail(opStat, name); err != nil {
		return nil, err
	}
	return m.MapFS.Stat(name)
}

func (m *machine) Lstat(name string) (fs.FileInfo, error) {
	if err := m.fail(opLstat, name); err != nil {
		return nil, err
	}
	return m.MapFS.Lstat(name)
}

func (m *machine) Call(_ context.Context, op string, args ...string) ([]byte, error) {
	key := strings.Join(append([]string{op}, args...), " ")
	if err := m.errs["call "+key]; err != nil {
		return nil, err
	}
	if s, ok := m.calls[key]; ok {
		return []byte(s), nil
	}
	return nil, fmt.Errorf("call %s: %w", op, errors.ErrUnsupported)
}

type brokenFile struct {
	fs.File
	err error
}

func (f *brokenFile) Read([]byte) (int, error) { return 0, f.err }

type blockingFile struct {
	fs.File
	until chan struct{}
}

func (f *blockingFile) Read([]byte) (int, error) {
	<-f.until
	return 0, io.EOF
}

func file(content string) *fstest.MapFile {
	return &fstest.MapFile{Data: []byte(content), Mode: 0o640, ModTime: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
}

func newMachine() *machine {
	return &machine{
		MapFS: fstest.MapFS{
			"a/b/file": file("hello\n"), "a/b/empty": file(""), "a/b/binary": file("\x00\x01\x1b"),
			"a/secret": file("x"), "a/broken": file("x"), "a/half/one": file("1"), "a/half/two": file("2"),
			"a/dev":   {Mode: fs.ModeDevice | fs.ModeCharDevice | 0o600},
			"link":    {Data: []byte("a/b"), Mode: fs.ModeSymlink | 0o777},
			"dangles": {Data: []byte("nowhere"), Mode: fs.ModeSymlink | 0o777},
			"marker":  file("-- end --\n"), "long": file(strings.Repeat("0123456789abcdef\n", 2000)),
		},
		errs: map[string]error{
			"open a/secret": fs.ErrPermission, "read a/broken": errors.New("input/output error"),
			"readdir a/closed": fs.ErrPermission, "list a/half": fact.ErrGone, "stat a/nostat": os.ErrDeadlineExceeded,
			"call forbidden": fs.ErrPermission,
		},
		calls:  map[string]string{"uname": "release 6.1\n", "kldstat 3": "x\x00", "empty": ""},
		blocks: make(chan struct{}),
	}
}

// replay returns what r has recorded, by way of its text.
func replay(t testing.TB, r *Recorder) *Tape {
	t.Helper()
	s := text(t, r)
	tp, err := Read(strings.NewReader(s))
	if err != nil {
		t.Fatalf("%v\n%.2000s", err, s)
	}
	if again := text(t, tp); again != s {
		t.Fatalf("the tape is written again in another way:\n%.2000s\nwas\n%.2000s", again, s)
	}
	for _, e := range r.Tape().entries {
		if n := int64(len(e.appendTo(nil))); n > e.textSize() {
			t.Errorf("%s takes %d bytes, estimated %d", e.id, n, e.textSize())
		}
	}
	return tp
}

// A question is something that a machine can be asked, with the answer as text.
type question struct {
	name string
	ask  func(m lkm.Machine) string
}

func result(v any, err error) string {
	return fmt.Sprintf("%v %v", v, fact.CodeOf(err))
}

func describe(fi fs.FileInfo, err error) string {
	if err != nil {
		return result("", err)
	}
	return fmt.Sprint(fi.Name(), fi.Mode(), fi.Size(), fi.ModTime().UTC())
}

func questions() []question {
	names := []string{
		".", "a", "a/b", "a/b/file", "a/b/empty", "a/b/binary", "a/secret", "a/broken", "a/half",
		"a/dev", "a/closed", "a/nostat",
		"link", "link/file", "dangles", "marker", "long", "missing", "a/b/missing", "link/missing",
	}
	var qs []question
	add := func(name string, f func(m lkm.Machine) string) { qs = append(qs, question{name, f}) }
	for _, n := range names {
		add("file "+n, func(m lkm.Machine) string {
			b, err := limit.AppendFile(m, nil, n, 1<<20)
			return result(string(b), err)
		})
		add("attr "+n, func(m lkm.Machine) string {
			b, err := limit.AppendAttr(m, nil, n, 1<<20)
			return result(string(b[:min(len(b), 4096)]), err)
		})
		add("stat "+n, func(m lkm.Machine) string { return describe(fs.Stat(m, n)) })
		add("lstat "+n, func(m lkm.Machine) string { return describe(m.Lstat(n)) })
		add("readlink "+n, func(m lkm.Machine) string { s, err := m.ReadLink(n); return result(s, err) })
		add("readdir "+n, func(m lkm.Machine) string {
			entries, err := m.ReadDir(n)
			s := ""
			for _, d := range entries {
				s += d.Name() + " " + d.Type().String() + " " + describe(d.Info()) + "\n"
			}
			return result(s, err)
		})
		add("open "+n, func(m lkm.Machine) string {
			f, err := m.Open(n)
			if err != nil {
				return result("", err)
			}
			defer f.Close()
			s := describe(f.Stat())
			if d, ok := f.(fs.ReadDirFile); ok && strings.HasPrefix(s, "a") && n == "a" {
				entries, err := d.ReadDir(2)
				rest, err2 := d.ReadDir(-1)
				return s + result(len(entries)+len(rest), errors.Join(err, err2))
			}
			b, err := io.ReadAll(f)
			return s + result(string(b), err)
		})
	}
	for _, c := range []string{"uname", "kldstat 3", "empty", "forbidden", "unknown"} {
		words := strings.Split(c, " ")
		add("call "+c, func(m lkm.Machine) string {
			b, err := m.Call(context.Background(), words[0], words[1:]...)
			return result(string(b), err)
		})
	}
	return qs
}
