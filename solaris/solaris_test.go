// SPDX-License-Identifier: Apache-2.0

package solaris

import (
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/fakeunix"
	"github.com/kernelext/kernelext/internal/testing/testdata"
)

var equalCounts = cmp.Comparer(func(a, b fact.Count) bool { return a == b })

func TestReadModules(t *testing.T) {
	for _, order := range []fakeunix.Order{binary.LittleEndian, binary.BigEndian} {
		m := fakeunix.OmniOS()
		m.Order = order
		l, err := ReadModules(t.Context(), m.Machine().Call)
		if err != nil || !l.Steady || len(l.Modules) != 4 || len(l.Problems) != 0 {
			t.Fatalf("%+v %v", l, err)
		}
		want := Info{ID: 9, Name: "rpcmod", Loaded: true, Installed: true, Address: 0xfffffffff7c60000, Size: 0xc640,
			Rev: 1, LoadCount: 1, Linkages: []Linkage{
				{Description: "RPC syscall", Info: fact.CountOf(226)}, {Description: "32-bit RPC syscall"},
				{Description: "rpc interface str mod"}}}
		if diff := cmp.Diff(want, l.Modules[1], equalCounts); diff != "" {
			t.Error(diff)
		}
		if m := l.Modules[3]; m.Loaded || m.Installed {
			t.Errorf("an unloaded module: %+v", m)
		}
	}
}

func TestCutText(t *testing.T) {
	m := &fakeunix.Illumos{Modules: []fakeunix.IllumosModule{{ID: 1, State: 3, Name: strings.Repeat("n", 40),
		Linkages: []fakeunix.IllumosLinkage{{Info: 1, Description: strings.Repeat("d", 31)},
			{Info: 2, Description: "short"}}}}}
	l, err := ReadModules(t.Context(), m.Machine().Call)
	if err != nil || len(l.Modules) != 1 || !l.Modules[0].Linkages[0].Cut || l.Modules[0].Linkages[1].Cut {
		t.Errorf("%+v %v", l, err)
	}
}

func TestHostileAnswers(t *testing.T) {
	denied := func(context.Context, string, ...string) ([]byte, error) { return nil, fs.ErrPermission }
	if _, err := ReadModules(t.Context(), denied); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("refused: %v", err)
	}
	m := fakeunix.OmniOS()
	b, _ := m.Machine().Call(t.Context(), OpModinfo, "-1", "6")
	loop := func(context.Context, string, ...string) ([]byte, error) { return b, nil }
	if l, err := ReadModules(t.Context(), loop); err != nil || len(l.Modules) != 1 || len(l.Problems) != 1 {
		t.Errorf("a list in a circle: %+v %v", l, err)
	}
	for _, answer := range [][]byte{nil, []byte("x"), make([]byte, size64), make([]byte, size32)} {
		call := func(context.Context, string, ...string) ([]byte, error) { return answer, nil }
		if l, err := ReadModules(t.Context(), call); err != nil || len(l.Problems) != 1 || len(l.Modules) != 0 {
			t.Errorf("%d bytes: %+v %v", len(answer), l, err)
		}
	}
	short := make([]byte, size32) // a struct of 32 bits
	binary.BigEndian.PutUint32(short, 6)
	copy(short[32:], "name")
	if i, err := DecodeInfo(short); err != nil || i.Name != "name" {
		t.Errorf("%+v %v", i, err)
	}
}

func TestRecordedModinfo(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(testdata.Dir(t, "captures"), "solaris", "modinfo-solaris10-sparc-ohai",
		"capture.txt"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := ParseCapture(string(b))
	if err != nil || c.BadCount != 0 || len(c.Rows) != strings.Count(string(b), "\n")-1 {
		t.Fatalf("%v %d rows of %d lines", err, len(c.Rows), strings.Count(string(b), "\n"))
	}
	lines := strings.Split(string(b), "\n")
	for _, r := range c.Rows {
		w := strings.Fields(lines[r.Line-1])
		if r.Name != w[5] || int64(r.ID) != number(w[0]) || address(w[1]) != r.Address || hexCount(w[2]) != r.Size ||
			count(w[3]) != r.Info || count(w[4]) != r.Rev {
			t.Errorf("%+v, want %q", r, w)
		}
	}
	for _, want := range []CaptureRow{
		{ID: 6, Address: 0x1180000, Size: fact.CountOf(0x4623), Info: fact.CountOf(1), Rev: fact.CountOf(1),
			Name: "specfs", Description: "filesystem for specfs", Line: 2},
		{ID: 92, Address: 0x137c3fb, Size: fact.CountOf(0x1672), Info: fact.CountOf(97), Rev: fact.CountOf(1),
			Name: "sysmsg", Description: "System message redirection (fan", Cut: true, Line: 67},
	} {
		found := false
		for _, r := range c.Rows {
			if r.ID == want.ID {
				want.Line = r.Line
				found = cmp.Equal(want, r, equalCounts)
			}
		}
		if !found {
			t.Errorf("no %+v", want)
		}
	}
}

func TestModinfoForms(t *testing.T) {
	c, err := ParseCapture(" Id         Loadaddr   Size Info Rev Module Name\n" +
		"  9 fffffffff7c60000   c640 226   1  rpcmod (RPC syscall)\n" +
		"  9 fffffffff7c60000   c640   -   1  rpcmod (rpc interface str mod that is cut of\n")
	if err != nil || len(c.Rows) != 2 || !c.Rows[1].Cut || c.Rows[1].Description != "rpc interface str mod that "+
		"is cut of" || !c.Rows[1].Info.IsZero() {
		t.Errorf("%v %+v", err, c)
	}
	c, err = ParseCapture(" Id    Loadcnt Module Name                            State\n" +
		"  6          1 specfs                           LOADED/INSTALLED\n" +
		" 70          2 fdfs                             UNLOADED/UNINSTALLED\n")
	if err != nil || len(c.Rows) != 2 || len(c.Rows[0].State) != 2 || len(c.Rows[1].State) != 0 ||
		c.Rows[1].LoadCount != fact.CountOf(2) {
		t.Errorf("%v %+v", err, c)
	}
	c, err = ParseCapture("ID  LOADADDR         SIZE   INFO REV NAMEDESC\n" +
		"0   --               16cd58 --   0   unix ()\n1   --               9c848  --   0   genunix (core)\n")
	if err != nil || len(c.Rows) != 2 || c.Rows[0].Name != "unix" || c.Rows[0].Address != 0 ||
		c.Rows[1].Description != "core" {
		t.Errorf("%v %+v", err, c)
	}
	c, err = ParseCapture("ID:NAME:PATH:STATE\n7:zfs:/kernel/fs/amd64/zfs:LOADED/INSTALLED\n")
	if err != nil || len(c.Rows) != 1 || c.Rows[0].Path != "/kernel/fs/amd64/zfs" || c.Rows[0].Name != "zfs" {
		t.Errorf("%v %+v", err, c)
	}
	for _, text := range []string{"", "filename: /lib/modules/x.ko\nlicense: GPL\n", "Id Refs Address Size Name\n" +
		" 1 2 0x0 3 kernel\n"} {
		if c, err := ParseCapture(text); err == nil {
			t.Errorf("%q: %+v", text, c)
		}
	}
}

func TestSystemFile(t *testing.T) {
	d, bad := ParseSystem("* comment\nexclude: drv/fd\n exclude:sys/msgsys\nforceload: drv/clone\n" +
		"set maxusers = 40\nnonsense\n")
	want := []Directive{{"exclude", "drv/fd", 2}, {"exclude", "sys/msgsys", 3}, {"forceload", "drv/clone", 4}}
	if diff := cmp.Diff(want, d); diff != "" || len(bad) != 1 || bad[0].Line != 6 || d[0].Name() != "fd" {
		t.Errorf("%s %v", diff, bad)
	}
}

func TestModdebug(t *testing.T) {
	l, err := ParseModdebug("load 'fs/mntfs' id 66 loaded @ 0xfffffffff7c44000/0xfffffffffc17fdc8 size 18080/240\n" +
		"installing mntfs, module id 66.\nacpinex0 at root\n")
	want := []Load{{Path: "fs/mntfs", ID: 66, Text: 0xfffffffff7c44000, Data: 0xfffffffffc17fdc8, TextSize: 18080,
		DataSize: 240, Installed: true, Line: 1}}
	if diff := cmp.Diff(want, l); diff != "" || err != nil || l[0].Name() != "mntfs" {
		t.Error(diff, err)
	}
	if _, err := ParseModdebug("x"); !errors.Is(err, fact.ErrMalformed) {
		t.Error(err)
	}
}

func TestRedact(t *testing.T) {
	b, _ := fakeunix.OmniOS().Machine().Call(t.Context(), OpModinfo, "-1", "6")
	if i, err := DecodeInfo(Redact("modinfo -1 6", b)); err != nil || i.Address != 0 || !i.Redacted ||
		i.Name != "specfs" || i.Size != 0x4623 {
		t.Errorf("%+v %v", i, err)
	}
}

func FuzzInfo(f *testing.F) {
	b, _ := fakeunix.OmniOS().Machine().Call(f.Context(), OpModinfo, "-1", "6")
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		i, err := DecodeInfo(b)
		if (i.Name == "") == (err == nil) {
			t.Fatal("value and error", i, err)
		}
		Redact("modinfo 1 6", b)
	})
}

func FuzzCapture(f *testing.F) {
	f.Add(" Id Loadaddr   Size Info Rev Module Name\n  6  1180000   4623   1   1  specfs (filesystem for specfs)\n")
	f.Add("ID:NAME:PATH:STATE\n7:zfs:/kernel/fs/amd64/zfs:LOADED/INSTALLED\n")
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseCapture(s)
		if (c == nil) == (err == nil) {
			t.Fatal("value and error")
		}
		if c != nil && (len(c.Rows) > 1+strings.Count(s, "\n") || len(c.Bad) > 100) {
			t.Fatal("more rows than lines")
		}
		l, err := ParseModdebug(s)
		if (l == nil) == (err == nil) {
			t.Fatal("value and error")
		}
		ParseSystem(s)
	})
}
