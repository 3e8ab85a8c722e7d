// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/testdata"
)

// anyRow is written apart from the parser: five or more words, the third 0x….
var anyRow = regexp.MustCompile(`(?m)^\s*(\d+)\s+(\d+)\s+0x([0-9a-f]+)\s+(\S+)\s+(\S+)(?: \((.*)\))?\s*$`)

// TestRecordedCaptures reads every recording of kldstat: as many files as it has rows, with equal
// values.
func TestRecordedCaptures(t *testing.T) {
	root := testdata.Dir(t, "captures")
	files, _ := filepath.Glob(filepath.Join(root, "freebsd", "kldstat-*", "capture.txt"))
	dragon, _ := filepath.Glob(filepath.Join(root, "dragonfly", "*", "capture.txt"))
	files = append(files, dragon...)
	if len(files) < 17 {
		t.Fatalf("only %d recordings in %s", len(files), root)
	}
	for _, file := range files {
		t.Run(filepath.Base(filepath.Dir(file)), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var r fact.Report
			c := ReadKldstat(string(b), &r)
			rows := anyRow.FindAllStringSubmatch(string(b), -1)
			if c.Stray != 0 || c.Rows != len(c.Records) || len(rows) > c.Rows || c.Rows == 0 {
				t.Fatalf("%d files, the text has %d rows: %v", c.Rows, len(rows), r.Problems)
			}
			for i, w := range rows {
				checkRow(t, c.Records[i], w)
			}
			for _, m := range c.Records[len(rows):] { // of kldstat -m
				if len(rows) != 0 || !m.Own.ID.IsZero() || len(m.Own.Modules) != 1 {
					t.Errorf("%+v %+v", m, m.Own)
				}
			}
		})
	}
}

func checkRow(t *testing.T, m Record, w []string) {
	t.Helper()
	id, _ := strconv.ParseInt(w[1], 10, 64)
	refs, _ := strconv.ParseInt(w[2], 10, 64)
	addr, _ := strconv.ParseUint(w[3], 16, 64)
	if m.Own.ID != fact.CountOf(id) || m.Refs != fact.CountOf(refs) || uint64(m.Address) != addr ||
		m.Name != w[5] || m.Own.Pathname != w[6] {
		t.Errorf("%+v %+v, want %q", m, m.Own, w)
	}
	if n, ok := m.Size.Get(); ok {
		if strconv.FormatInt(n, 16) != w[4] {
			t.Errorf("size %x, want %s", n, w[4])
		}
	} else if m.Own.SizeText != w[4] {
		t.Errorf("size text %q, want %q", m.Own.SizeText, w[4])
	}
}

// elided reports whether the record says that its list of modules has gaps.
func elided(m Record) bool {
	return slices.ContainsFunc(m.Problems, func(p fact.Problem) bool {
		return p.Field == "freebsd.modules" && p.Code == fact.CodeUnrecorded && p.Line > 0
	})
}

func TestVerboseCaptures(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(testdata.Dir(t, "captures"), "freebsd", "kldstat-v-zfstest-9", "capture.txt"))
	if err != nil {
		t.Fatal(err)
	}
	c := ReadKldstat(string(b), new(fact.Report))
	counts := []int{6, 4, 1, 1, 1, 1}
	for i, m := range c.Records {
		if len(m.Own.Modules) != counts[i] || elided(m) != (i == 0) {
			t.Errorf("%s: %d modules, elided %v", m.Name, len(m.Own.Modules), elided(m))
		}
	}
	if m := c.Records[1].Own.Modules[3]; m.Name != "zfs_zvol" || m.ID != fact.CountOf(287) {
		t.Errorf("%+v", m)
	}
	if p := c.Records[5].Own.Pathname; p != "./cd_example.ko" || c.Records[5].Path != "" {
		t.Errorf("path %q", p)
	}
}

// TestCaptureOptions reads what no recording shows: -d, -h without a rounded row, -m -d, noise.
func TestCaptureOptions(t *testing.T) {
	var r fact.Report
	c := ReadKldstat(`root@host:~ # kldstat -dv
Id Refs Address                Size Name
 1   10 0xffffffff80200000  1f4dcd8 kernel (/boot/kernel/kernel)
	Contains modules:
		 Id Name
		  1 sys/posix_fallocate (530, 530, 0x212)
		  2 cam (0, 0, 0x0)
kldstat: can't stat module id 3: No such file or directory
12    1 0                0        hidden.ko
 5    1 0x0                      0 secret.ko (/boot/modules/dir (old)/secret.ko)
	Contains modules:
		 Id Name
what is this
`, &r)
	if len(c.Records) != 2 || c.Stray != 2 || len(r.Problems) != 1 || r.Problems[0].Line != 9 ||
		r.Problems[0].Count != 2 || !c.Sure {
		t.Fatalf("%+v %v", c, r.Problems)
	}
	want := []Module{
		{ID: fact.CountOf(1), Name: "sys/posix_fallocate", Data: &ModuleData{530, 530, 0x212}},
		{ID: fact.CountOf(2), Name: "cam", Data: &ModuleData{}},
	}
	if diff := cmp.Diff(want, c.Records[0].Own.Modules, equalCounts); diff != "" {
		t.Error(diff)
	}
	if !elided(c.Records[0]) {
		t.Error("a module that vanished leaves a gap")
	}
	m := c.Records[1]
	if m.Address != 0 || m.Path != "/boot/modules/dir (old)/secret.ko" || m.Own.Modules == nil ||
		len(m.Own.Modules) != 0 {
		t.Errorf("%+v", m)
	}
	if !m.Size.IsZero() || len(m.Problems) != 1 || m.Problems[0].Code != fact.CodeRestricted ||
		m.Problems[0].Line != 10 {
		t.Errorf("a hidden size is unknown: %+v", m)
	}
}

func TestCaptureSizes(t *testing.T) {
	text := "Id Refs Address             Size Name\n" +
		" 2    3 0xffffffff82649000  824 tiny.ko\n 3    3 0xffffffff82650000  1.2M big.ko\n"
	c := ReadKldstat(text, new(fact.Report))
	if n, ok := c.Records[0].Size.Get(); n != 824 || !ok {
		t.Errorf("a size of less than 1000 is exact also with -h: %d", n)
	}
	if m := c.Records[1]; m.Own.SizeText != "1.2M" || !m.Size.IsZero() {
		t.Errorf("%+v %+v", m, m.Own)
	}
	var r fact.Report
	c = ReadKldstat("Id  Refs Name data..(int, uint, ulong)\n291    1 cd_example (0, 0, 0x0)\n", &r)
	if len(c.Records) != 1 || c.Records[0].Refs != fact.CountOf(1) || c.Records[0].Own.Modules[0].Data == nil ||
		r.Count(SourceKldstat) != 1 {
		t.Fatalf("%+v %v", c, r.Problems)
	}
	if c := ReadKldstatDragonFly(text, new(fact.Report)); c.Sure || c.Rows != 2 ||
		c.Records[0].ID != "dragonfly_kld:tiny.ko" {
		t.Errorf("%+v", c)
	}
	for _, text := range []string{"", "hello\n", "Module                  Size  Used by\nzfs 1 2\n",
		"NAME CLASS SOURCE FLAG REFS SIZE REQUIRES\n"} {
		if c := ReadKldstat(text, new(fact.Report)); c.Sure || c.Rows != 0 {
			t.Errorf("%q is read as kldstat: %+v", text, c)
		}
	}
}

func FuzzCapture(f *testing.F) {
	f.Add("Id Refs Address            Size     Name\n 1   10 0xc0000000 e97de8   kernel (/boot/kernel)\n" +
		"\tContains modules:\n\t\tId Name\n\t\t1 cam (1, 2, 0x3)\n...\n")
	f.Add("Id  Refs Name\n291    1 cd_example\n")
	f.Fuzz(func(t *testing.T, s string) {
		var r fact.Report
		c := ReadKldstat(s, &r)
		n := c.Stray
		for _, m := range c.Records {
			n++
			if !m.Own.ID.IsZero() {
				n += len(m.Own.Modules)
			}
		}
		if n > 1+strings.Count(s, "\n") || len(r.Problems) > 4 || c.Rows != len(c.Records) {
			t.Fatalf("%d rows of %d lines", n, strings.Count(s, "\n"))
		}
	})
}
