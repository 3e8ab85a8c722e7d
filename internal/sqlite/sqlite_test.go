// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/sqlitetest"
)

// dump returns the rows of a table, a line each.
func dump(d *DB, table string, columns ...string) (string, error) {
	var out strings.Builder
	err := d.Scan(table, columns, func(row []Value) bool {
		for i, v := range row {
			if i > 0 {
				out.WriteByte('|')
			}
			switch n, ok := v.Int(); {
			case ok:
				fmt.Fprint(&out, n)
			case v.Bytes() != nil:
				fmt.Fprintf(&out, "%X", v.Bytes())
			default:
				out.WriteString(v.Text())
			}
		}
		out.WriteByte('\n')
		return true
	})
	return out.String(), err
}

func files(n int) sqlitetest.Table {
	t := sqlitetest.Table{Name: "files",
		SQL: "CREATE TABLE files (path TEXT PRIMARY KEY, sha256 TEXT, package_id INTEGER)"}
	for i := range n {
		t.Rows = append(t.Rows, []any{fmt.Sprintf("/boot/kernel/%d.ko", i), strings.Repeat("x", i%7*200), i})
	}
	return t
}

// TestBuilt reads databases of several levels, with rows that go on in pages of their own.
func TestBuilt(t *testing.T) {
	empty := files(0)
	empty.Name = "empty"
	for _, size := range []int{512, 4096, 65536} {
		d, err := New("db", sqlitetest.Build(size, files(2000), empty), nil)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		err = d.Scan("FILES", []string{"package_id", "Path", "none", "sha256"}, func(row []Value) bool {
			id, ok := row[0].Int()
			if !ok || int(id) != n || row[1].Text() != fmt.Sprintf("/boot/kernel/%d.ko", n) || !row[2].Null() ||
				len(row[3].Text()) != n%7*200 {
				t.Errorf("row %d: %v", n, row)
			}
			n++
			return n < 1990
		})
		if err != nil || n != 1990 {
			t.Errorf("%d: %d rows, %v", size, n, err)
		}
	}
}

// tool returns the sqlite3 command, or skips.
func tool(t *testing.T) string {
	name, err := exec.LookPath("sqlite3")
	if err != nil {
		t.Skip("sqlite3 is not installed (Debian package sqlite3)")
	}
	return name
}

// TestAsSQLite compares with SQLite itself: several levels, long rows, deleted rows, columns that were added, dropped
// and computed, other page sizes and encodings, and a log that was not moved into the file.
func TestAsSQLite(t *testing.T) {
	sqlite3 := tool(t)
	for _, pragma := range []string{"page_size=512", "page_size=4096", "page_size=65536", "encoding='UTF-16le'",
		"encoding='UTF-16be'", "auto_vacuum=1", "journal_mode=WAL", "page_size=512; PRAGMA journal_mode=WAL"} {
		name := filepath.Join(t.TempDir(), "db")
		script := "PRAGMA " + pragma + ";" + `
CREATE TABLE "a b" (id INTEGER PRIMARY KEY, -- a comment, with a comma
  [t] TEXT /* and ( another */ DEFAULT 'x,)', b BLOB, c AS (id+1), d INTEGER, CONSTRAINT u UNIQUE (d, t));
CREATE TABLE k (n INT, x TEXT, PRIMARY KEY(n)); CREATE TABLE m (n INTEGER, x TEXT, PRIMARY KEY("n"));
CREATE TABLE w (n TEXT PRIMARY KEY) WITHOUT ROWID;
INSERT INTO k VALUES(7,'k'); INSERT INTO m VALUES(8,'m'); INSERT INTO w VALUES('w');
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<3000)
  INSERT INTO "a b"(t,b,d) SELECT 'é'||i||printf('%.*c', i%700*3, 'x'), zeroblob(i%5), i*1000003-9 FROM n;
ALTER TABLE "a b" ADD COLUMN late TEXT; UPDATE "a b" SET late='l' WHERE id=3;
DELETE FROM "a b" WHERE id % 7 = 0; PRAGMA user_version=37;
`
		// The log stays if the process ends without closing the database.
		cmd := exec.Command(sqlite3, name)
		cmd.Stdin = strings.NewReader(".output /dev/null\n" + script + `.output stdout
SELECT id,t,hex(b),d,late FROM "a b"; SELECT n,x FROM k; SELECT n,x FROM m;
.shell kill -9 $PPID
`)
		want, _ := cmd.Output()
		d, err := Open(os.DirFS(filepath.Dir(name)), "db", 64<<20, nil)
		if err != nil {
			t.Fatalf("%s: %v", pragma, err)
		}
		defer d.Close()
		var got strings.Builder
		for _, q := range [][]string{{"a b", "id", "t", "b", "d", "late"}, {"k", "n", "x"}, {"m", "n", "x"}} {
			s, err := dump(d, q[0], q[1:]...)
			if err != nil {
				t.Errorf("%s: %s: %v", pragma, q[0], err)
			}
			got.WriteString(s)
		}
		if len(want) < 1<<20 || got.String() != string(want) {
			t.Errorf("%s: the rows differ: %d bytes, not %d", pragma, got.Len(), len(want))
		}
		if strings.Contains(pragma, "WAL") != (d.log != nil) || d.Version() != 37 || !d.Has("a b", "ID", "late") ||
			d.Has("a b", "c") || d.Has("none") {
			t.Errorf("%s: log %v, version %d", pragma, d.log != nil, d.Version())
		}
		if _, err := dump(d, "w", "n"); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s: a table without row numbers: %v", pragma, err)
		}
	}
}

// TestLog reads newer pages from the log, up to its last whole transaction.
func TestLog(t *testing.T) {
	before, after := sqlitetest.Build(1024, files(3)), sqlitetest.Build(1024, files(40))
	log := sqlitetest.WAL(before, after, 1024)
	count := func(log []byte) int {
		t.Helper()
		d, err := New("db", before, log)
		if err != nil {
			t.Fatal(err)
		}
		s, err := dump(d, "files", "path")
		if err != nil {
			t.Error(err)
		}
		return strings.Count(s, "\n")
	}
	edit := func(at int) []byte {
		b := bytes.Clone(log)
		b[at] ^= 1
		return b
	}
	for name, c := range map[string]struct {
		log  []byte
		want int
	}{
		"whole": {log, 40}, "none": {nil, 3}, "empty": {[]byte{}, 3}, "cut": {log[:len(log)-1], 3},
		"header": {edit(17), 3}, "salt": {edit(32 + 9), 3}, "page": {edit(200), 3}, "magic": {edit(1), 3},
		"rest": {append(bytes.Clone(log), log[32:]...), 40},
	} {
		if n := count(c.log); n != c.want {
			t.Errorf("%s: %d rows, not %d", name, n, c.want)
		}
	}
}

// changing is a file system whose database changes while it is read.
type changing struct{ fstest.MapFS }

func (c changing) Open(name string) (fs.File, error) {
	f, err := c.MapFS.Open(name)
	if name == "db" && err == nil {
		f = &changingFile{f, 0}
	}
	return f, err
}

type changingFile struct {
	fs.File
	reads int
}

func (f *changingFile) ReadAt(b []byte, at int64) (int, error) {
	n, err := f.File.(interface {
		ReadAt(b []byte, at int64) (int, error)
	}).ReadAt(b, at)
	if f.reads++; at == 0 && f.reads > 3 {
		b[27]++
	}
	return n, err
}

func TestOpen(t *testing.T) {
	db := sqlitetest.Build(1024, files(40))
	file := func(b []byte) *fstest.MapFile { return &fstest.MapFile{Data: b} }
	for name, c := range map[string]struct {
		fsys fs.FS
		max  int64
		want error
	}{
		"none":      {fstest.MapFS{}, 1 << 20, fs.ErrNotExist},
		"large":     {fstest.MapFS{"db": file(db)}, 1000, fact.ErrTooLarge},
		"large log": {fstest.MapFS{"db": file(db), "db-wal": file(make([]byte, 2<<20))}, 1 << 20, fact.ErrTooLarge},
		"directory": {fstest.MapFS{"db/x": file(db)}, 1 << 20, fact.ErrMalformed},
		"text":      {fstest.MapFS{"db": file([]byte("text"))}, 1 << 20, fact.ErrMalformed},
		"journal": {fstest.MapFS{"db": file(db), "db-journal": file([]byte(journalMagic + "more"))}, 1 << 20,
			errors.ErrUnsupported},
		"finished": {fstest.MapFS{"db": file(db), "db-journal": file(make([]byte, 600))}, 1 << 20, nil},
		"log":      {fstest.MapFS{"db": file(db), "db-wal": file(nil)}, 1 << 20, nil},
		"changed":  {changing{fstest.MapFS{"db": file(db)}}, 1 << 20, fact.ErrGone},
	} {
		d, err := Open(c.fsys, "db", c.max, nil)
		if err == nil {
			_, err = dump(d, "files", "path")
			d.Close()
		}
		if c.want == nil && err != nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	d, err := New("db", db, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dump(d, "none"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// TestHostile changes single bytes: an invalid part gives an error, and costs only itself.
func TestHostile(t *testing.T) {
	good := sqlitetest.Build(512, files(300))
	for name, edit := range map[string]func(b []byte){
		"magic": func(b []byte) { b[0] = 'X' }, "page size": func(b []byte) { b[16], b[17] = 0, 3 },
		"reserved": func(b []byte) { b[20] = 100 }, "encoding": func(b []byte) { b[59] = 9 },
		"page kind": func(b []byte) { b[100] = 7 }, "cells": func(b []byte) { b[103], b[104] = 0xff, 0xff },
		"cell":  func(b []byte) { b[108], b[109] = 0xff, 0xff },
		"leaf":  func(b []byte) { b[512] = 9 },
		"cycle": func(b []byte) { copy(b[len(b)-512+8:], []byte{0, 0, 0, byte(len(b) / 512)}) },
		"far":   func(b []byte) { copy(b[len(b)-512+8:], []byte{1, 0, 0, 0}) },
		"short": func(b []byte) { copy(b[28:], "\xff\xff\xff\xff"); copy(b[len(b)-512+8:], "\x7f\xff\xff\xff") },
	} {
		b := bytes.Clone(good)
		edit(b)
		d, err := New("db", b, nil)
		rows := ""
		if err == nil {
			rows, err = dump(d, "files", "path")
		}
		if err == nil || !errors.Is(err, fact.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
		if name == "leaf" && strings.Count(rows, "\n") < 290 {
			t.Errorf("a bad page costs %d rows of 300", 300-strings.Count(rows, "\n"))
		}
	}
}

func FuzzDatabase(f *testing.F) {
	before, after := sqlitetest.Build(512, files(3)), sqlitetest.Build(512, files(30))
	f.Add(after, []byte(nil))
	f.Add(sqlitetest.Build(512, dirs(60)), []byte(nil))
	f.Add(before, sqlitetest.WAL(before, after, 512))
	f.Fuzz(func(t *testing.T, b, log []byte) {
		d, err := New("db", b, log)
		if err != nil {
			return
		}
		for name := range d.tables {
			size := 0
			d.Scan(name, []string{"path", "sha256", "package_id"}, func(row []Value) bool {
				for _, v := range row {
					size += len(v.bytes)
				}
				return true
			})
			if size > 2*(len(b)+len(log))+1<<20 {
				t.Fatalf("%d bytes of rows in %d", size, len(b)+len(log))
			}
			d.Row(name, []string{"name"}, 7, func([]Value) {})
		}
		for name := range d.indexes {
			table, column, _ := strings.Cut(name, ".")
			if rows, _ := numbers(d, table, column, "/lib/"); len(rows) > 2*(len(b)+len(log))+1<<20 {
				t.Fatalf("%d rows in %d bytes", len(rows), len(b)+len(log))
			}
		}
	})
}
