// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/sqlitetest"
)

// numbers returns the numbers of the rows that an index finds, sorted.
func numbers(d *DB, table, column, prefix string) ([]int64, error) {
	found := []int64{}
	err := d.Prefix(table, column, prefix, func(row int64) bool {
		found = append(found, row)
		return true
	})
	slices.Sort(found)
	return found, err
}

// dirs is a table of n names with an index, of which every third begins with "/lib/", some of which are long.
func dirs(n int) sqlitetest.Table {
	t := sqlitetest.Table{Name: "dirs", SQL: "CREATE TABLE dirs (id INTEGER PRIMARY KEY, name TEXT)",
		Index: 2, Indexed: "name"}
	for i := range n {
		name := [...]string{"/etc/", "/lib/", "/usr/"}[i%3] + fmt.Sprint(i%41, "/") + strings.Repeat("x", i%5*150)
		t.Rows = append(t.Rows, []any{nil, name})
	}
	return t
}

func TestPrefix(t *testing.T) {
	for _, size := range []int{512, 1024, 4096, 65536} {
		for _, n := range []int{0, 1, 2, 3, 50, 2000} {
			table := dirs(n)
			d, err := New("db", sqlitetest.Build(size, table), nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, prefix := range []string{"/lib/", "/lib/7/", "/", "", "/aaa", "/zzz", "/lib/7/xxxxxxxxxx",
				"/usr/40/"} {
				want := []int64{}
				for i, row := range table.Rows {
					if strings.HasPrefix(row[1].(string), prefix) {
						want = append(want, int64(i+1))
					}
				}
				got, err := numbers(d, "Dirs", "NAME", prefix)
				if err != nil || !slices.Equal(got, want) {
					t.Errorf("%d bytes, %d rows, %q: %d numbers, want %d: %v", size, n, prefix, len(got), len(want),
						err)
				}
			}
			for _, i := range []int{1, n / 2, n, n + 1, -1} {
				found, err := d.Row("dirs", []string{"name", "id"}, int64(i), func(row []Value) {
					if id, _ := row[1].Int(); row[0].Text() != table.Rows[i-1][1] || id != int64(i) {
						t.Errorf("row %d: %v", i, row)
					}
				})
				if err != nil || found != (i > 0 && i <= n) {
					t.Errorf("%d bytes, %d rows, row %d: %v, %v", size, n, i, found, err)
				}
			}
		}
	}
}

// TestPrefixAsSQLite compares with SQLite itself, over indexes that it made.
func TestPrefixAsSQLite(t *testing.T) {
	sqlite3 := tool(t)
	for _, pragma := range []string{"page_size=512", "page_size=4096", "page_size=65536"} {
		name := filepath.Join(t.TempDir(), "db")
		cmd := exec.Command(sqlite3, name)
		cmd.Stdin = strings.NewReader("PRAGMA " + pragma + `;
CREATE TABLE 'd' (key 'TEXT' NOT NULL, hnum INTEGER); CREATE INDEX 'd_key_idx' ON 'd'(key ASC);
CREATE INDEX two ON d(key, hnum); CREATE INDEX down ON d(hnum DESC);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<3000) INSERT INTO d
  SELECT '/'||(i%37)||'/'||printf('%.*c', i%300*3, 'x'), i FROM n;
INSERT INTO d VALUES(7, 1), (x'2f31', 2), (1.5, 3); DELETE FROM d WHERE rowid % 11 = 0;
SELECT rowid FROM d WHERE typeof(key)='text' AND substr(key, 1, 3)='/1/' ORDER BY rowid;
`)
		want, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		d, err := Open(os.DirFS(filepath.Dir(name)), "db", 64<<20, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		got, err := numbers(d, "d", "key", "/1/")
		text := strings.Trim(strings.ReplaceAll(fmt.Sprint(got), " ", "\n"), "[]") + "\n"
		if len(got) < 50 || text != string(want) || err != nil {
			t.Errorf("%s: %v, %v; want %s", pragma, got, err, want)
		}
		if _, err := numbers(d, "d", "hnum", "/"); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s: an index of two columns, or a descending one: %v", pragma, err)
		}
	}
}

// TestHostileIndex: a damaged page of an index gives an error, and the search ends.
func TestHostileIndex(t *testing.T) {
	good := sqlitetest.Build(512, dirs(300))
	ok, err := New("db", good, nil)
	if err != nil {
		t.Fatal(err)
	}
	root := int(ok.indexes["dirs.name"]-1) * 512
	for name, edit := range map[string]func(b []byte){
		"kind":  func(b []byte) { b[root] = 0x05 },
		"cells": func(b []byte) { b[root+3] = 0xff },
		"cell":  func(b []byte) { b[root+12], b[root+13] = 0xff, 0xff },
		"size":  func(b []byte) { copy(b[int(b[root+12])<<8+int(b[root+13])+root+4:], "\x87\xff\xff\xff\x7f") },
		"cycle": func(b []byte) { b[root+10], b[root+11] = byte((root/512+1)>>8), byte(root/512+1) },
		"far":   func(b []byte) { b[root+8] = 1 },
	} {
		b := slices.Clone(good)
		edit(b)
		d, err := New("db", b, nil)
		if err == nil {
			_, err = numbers(d, "dirs", "name", "")
		}
		if !errors.Is(err, fact.ErrMalformed) && !errors.Is(err, fact.ErrTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A tree of a table whose page leads to itself ends, too.
	table := int(ok.tables["dirs"].root-1) * 512
	b := slices.Clone(good)
	b[table+10], b[table+11] = byte((table/512+1)>>8), byte(table/512+1)
	d, err := New("db", b, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Row("dirs", []string{"name"}, 1<<40, nil); !errors.Is(err, fact.ErrMalformed) {
		t.Errorf("a page that leads to itself: %v", err)
	}
}

// TestIndexByNeed reads a few pages of a large database.
func TestIndexByNeed(t *testing.T) {
	table := dirs(20_000)
	for i := range table.Rows {
		table.Rows[i] = []any{nil, fmt.Sprintf("/usr/%d/", i)}
	}
	table.Rows[9000][1] = "/lib/modules/"
	b := sqlitetest.Build(4096, table)
	d, err := New("db", b, nil)
	if err != nil {
		t.Fatal(err)
	}
	counted := &counting{file: d.file}
	d.file = counted
	got, err := numbers(d, "dirs", "name", "/lib/")
	found, rowErr := d.Row("dirs", []string{"name"}, 9001, func(row []Value) {})
	if err != nil || rowErr != nil || !slices.Equal(got, []int64{9001}) || !found || counted.reads > 8 {
		t.Errorf("%v, %v, %v, %v: %d of %d pages", got, err, found, rowErr, counted.reads, len(b)/4096)
	}
}

type counting struct {
	file interface {
		ReadAt(b []byte, at int64) (int, error)
	}
	reads int
}

func (c *counting) ReadAt(b []byte, at int64) (int, error) {
	c.reads++
	return c.file.ReadAt(b, at)
}
