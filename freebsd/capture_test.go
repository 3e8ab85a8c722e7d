// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"os"
	"path/filepath"
	"regexp"
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
			c, err := ParseCapture(string(b))
			if err != nil || c.BadCount != 0 {
				t.Fatalf("%v, %v", err, c)
			}
			rows := anyRow.FindAllStringSubmatch(string(b), -1)
			if len(rows) != len(c.Rows) || len(rows)+len(c.Modules) == 0 {
				t.Fatalf("%d files, the text has %d rows", len(c.Rows), len(rows))
			}
			for i, w := range rows {
				checkRow(t, c.Rows[i], w)
			}
		})
	}
}

func checkRow(t *testing.T, r CaptureRow, w []string) {
	t.Helper()
	id, _ := strconv.ParseInt(w[1], 10, 64)
	refs, _ := strconv.ParseInt(w[2], 10, 64)
	addr, _ := strconv.ParseUint(w[3], 16, 64)
	if r.ID != id || r.Refs != refs || uint64(r.Address) != addr || r.Name != w[5] || r.Pathname != w[6] {
		t.Errorf("%+v, want %q", r, w)
	}
	if n, ok := r.Size.Get(); ok {
		if strconv.FormatInt(n, 16) != w[4] {
			t.Errorf("size %x, want %s", n, w[4])
		}
	} else if r.SizeText != w[4] {
		t.Errorf("size text %q, want %q", r.SizeText, w[4])
	}
}

func TestVerboseCaptures(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(testdata.Dir(t, "captures"), "freebsd", "kldstat-v-zfstest-9", "capture.txt"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := ParseCapture(string(b))
	if err != nil {
		t.Fatal(err)
	}
	counts := []int{6, 4, 1, 1, 1, 1}
	for i, r := range c.Rows {
		if len(r.Modules) != counts[i] || r.Elided != (i == 0) {
			t.Errorf("%s: %d modules, elided %v", r.Name, len(r.Modules), r.Elided)
		}
	}
	if m := c.Rows[1].Modules[3]; m.Name != "zfs_zvol" || m.ID != fact.CountOf(287) {
		t.Errorf("%+v", m)
	}
	if p := c.Rows[5].Pathname; p != "./cd_example.ko" {
		t.Errorf("path %q", p)
	}
}

// TestCaptureOptions reads what no recording shows: -d, -h without a rounded row, -m -d, noise.
func TestCaptureOptions(t *testing.T) {
	c, err := ParseCapture(`root@host:~ # kldstat -dv
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
`)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Rows) != 2 || c.BadCount != 2 || c.Bad[0].Line != 9 || c.Bad[1].Line != 13 {
		t.Fatalf("%+v %v", c, c.Bad)
	}
	want := []Module{
		{ID: fact.CountOf(1), Name: "sys/posix_fallocate", Data: &ModuleData{530, 530, 0x212}},
		{ID: fact.CountOf(2), Name: "cam", Data: &ModuleData{}},
	}
	if diff := cmp.Diff(want, c.Rows[0].Modules, equalCounts); diff != "" {
		t.Error(diff)
	}
	if r := c.Rows[0]; !r.Elided {
		t.Error("a module that vanished leaves a gap")
	}
	if r := c.Rows[1]; r.Address != 0 || r.Pathname != "/boot/modules/dir (old)/secret.ko" || r.Modules == nil ||
		len(r.Modules) != 0 {
		t.Errorf("%+v", r)
	}

	c, err = ParseCapture("Id Refs Address             Size Name\n 2    3 0xffffffff82649000  824 tiny.ko\n" +
		" 3    3 0xffffffff82650000  1.2M big.ko\n")
	if err != nil || !c.Human {
		t.Fatalf("%v %+v", err, c)
	}
	if n, ok := c.Rows[0].Size.Get(); n != 824 || !ok {
		t.Errorf("a size of less than 1000 is exact also with -h: %d", n)
	}
	if c.Rows[1].SizeText != "1.2M" || !c.Rows[1].Size.IsZero() {
		t.Errorf("%+v", c.Rows[1])
	}

	c, err = ParseCapture("Id  Refs Name data..(int, uint, ulong)\n291    1 cd_example (0, 0, 0x0)\n")
	if err != nil || len(c.Modules) != 1 || c.Modules[0].Refs != fact.CountOf(1) || c.Modules[0].Data == nil {
		t.Fatalf("%v %+v", err, c)
	}
	for _, text := range []string{"", "hello\n", "Module                  Size  Used by\nzfs 1 2\n",
		"NAME CLASS SOURCE FLAG REFS SIZE REQUIRES\n"} {
		if c, err := ParseCapture(text); err == nil {
			t.Errorf("%q is read as kldstat: %+v", text, c)
		}
		if LooksLikeCapture(text) {
			t.Errorf("%q looks like kldstat", text)
		}
	}
}

func FuzzCapture(f *testing.F) {
	f.Add("Id Refs Address            Size     Name\n 1   10 0xc0000000 e97de8   kernel (/boot/kernel)\n" +
		"\tContains modules:\n\t\tId Name\n\t\t1 cam (1, 2, 0x3)\n...\n")
	f.Add("Id  Refs Name\n291    1 cd_example\n")
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseCapture(s)
		if (c == nil) == (err == nil) {
			t.Fatal("value and error")
		}
		if c == nil {
			return
		}
		n := len(c.Modules)
		for _, r := range c.Rows {
			n += 1 + len(r.Modules)
		}
		if n > 1+strings.Count(s, "\n") || len(c.Bad) > 100 {
			t.Fatalf("%d rows of %d lines", n, strings.Count(s, "\n"))
		}
	})
}
