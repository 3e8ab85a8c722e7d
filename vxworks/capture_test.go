// SPDX-License-Identifier: Apache-2.0

package vxworks

import (
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
	var r fact.Report
	c := ReadModuleShow(session, &r)
	if c.Rows != 3 || c.Stray != 0 || !c.Sure || !r.Whole(SourceModuleShow) {
		t.Fatalf("%+v %+v", c, r)
	}
	module := func(name string, address fact.Address, total fact.Count, fields ...fact.Field) Record {
		return Record{ID: "vxworks_module:" + name, Kind: fact.KindVxWorksModule, Name: name, State: fact.StateLoaded,
			Address: address, Size: total, Own: &fact.Other{System: fact.VxWorks, Fields: fields}}
	}
	foo := []fact.Field{{Name: "moduleId", Value: "0x3f0dd8"}, {Name: "group", Value: "1"},
		{Name: "bssStart", Value: "0x00000000003ee500"}}
	sizes := []fact.Field{{Name: "textSize", Value: "4096"}, {Name: "dataSize", Value: "0"},
		{Name: "bssSize", Value: "16"}}
	want := []Record{
		module("foo.o", 0x3ed4d8, fact.Count{}, foo...),
		module("a_rather_long_name.out", 0x3fd000, fact.Count{}, fact.Field{Name: "moduleId", Value: "0x3f1000"},
			fact.Field{Name: "group", Value: "12"}, fact.Field{Name: "dataStart", Value: "0x00000000003fe000"}),
		module("foo.o", 0x3ed4d8, fact.CountOf(4112), append(foo, sizes...)...),
	}
	if diff := cmp.Diff(want, c.Records, cmp.Comparer(func(a, b fact.Count) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	for _, text := range []string{"", "Module not found\n", "Id Refs Address Size Name\n1 2 0x0 3 kernel\n"} {
		if c := ReadModuleShow(text, new(fact.Report)); c.Rows != 0 || c.Sure {
			t.Errorf("%q: %+v", text, c)
		}
	}
	r = fact.Report{}
	c = ReadModuleShow("MODULE NAME MODULE ID GROUP # TEXT START\n"+
		"x 0xzz 1 0x1\nx\n y 0x1 q 0x1\n-> 3 + 4\nvalue = 7\n", &r)
	if c.Rows != 0 || c.Stray != 3 || len(r.Problems) != 1 || r.Problems[0].Count != 3 || r.Whole(SourceModuleShow) {
		t.Errorf("%+v %+v", c, r)
	}
}

func FuzzCapture(f *testing.F) {
	f.Add(session)
	f.Fuzz(func(t *testing.T, s string) {
		c := ReadModuleShow(s, new(fact.Report))
		if c.Rows+c.Stray > strings.Count(s, "\n")+1 || len(c.Records) != c.Rows {
			t.Fatal("more rows than lines")
		}
	})
}
