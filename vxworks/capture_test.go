// SPDX-License-Identifier: Apache-2.0

package vxworks

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kernelext/kernelext/fact"
)

// session is made up after the documentation; no recording of a real one exists.
const session = `
-> moduleShow

MODULE NAME     MODULE ID  GROUP #    TEXT START DATA START  BSS START
--------------- ---------- ---------- ---------- ---------- ----------
         foo.o  0x3f0dd8          1   0x3ed4d8          0x0   0x3ee500
 a_rather_long_name.out 0x3f1000 12 0x3fd000 0x3fe000 0x0
value = 0 = 0x0
-> moduleShow "foo.o"
MODULE NAME     MODULE ID  GROUP #    TEXT START DATA START  BSS START
         foo.o  0x3f0dd8          1   0x3ed4d8          0x0   0x3ee500

Size of text segment:     4096
Size of data segment:        0
Size of bss  segment:       16
Total size          :     4112
`

func TestModuleShow(t *testing.T) {
	c, err := ParseCapture(session)
	if err != nil || c.BadCount != 0 {
		t.Fatalf("%v %+v", err, c)
	}
	foo := Row{Name: "foo.o", ID: "0x3f0dd8", Group: fact.CountOf(1), Text: 0x3ed4d8, BSS: 0x3ee500, Line: 6}
	detail := foo
	detail.Line = 11
	detail.TextSize, detail.DataSize, detail.BSSSize, detail.Total = fact.CountOf(4096), fact.CountOf(0),
		fact.CountOf(16), fact.CountOf(4112)
	want := []Row{foo, {Name: "a_rather_long_name.out", ID: "0x3f1000", Group: fact.CountOf(12), Text: 0x3fd000,
		Data: 0x3fe000, Line: 7}, detail}
	if diff := cmp.Diff(want, c.Rows, cmp.Comparer(func(a, b fact.Count) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	for _, text := range []string{"", "Module not found\n", "Id Refs Address Size Name\n1 2 0x0 3 kernel\n"} {
		if c, err := ParseCapture(text); !errors.Is(err, fact.ErrMalformed) || LooksLikeCapture(text) {
			t.Errorf("%q: %+v %v", text, c, err)
		}
	}
	if c, err := ParseCapture("MODULE NAME MODULE ID GROUP # TEXT START\nx 0xzz 1 0x1\nx\n" +
		" y 0x1 q 0x1\n"); err != nil ||
		c.BadCount != 3 || len(c.Rows) != 0 {
		t.Errorf("%v %+v", err, c)
	}
}

func FuzzCapture(f *testing.F) {
	f.Add(session)
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseCapture(s)
		if (c == nil) == (err == nil) {
			t.Fatal("value and error")
		}
		if c != nil && (len(c.Rows) > strings.Count(s, "\n") || len(c.Bad) > 100) {
			t.Fatal("more rows than lines")
		}
	})
}
