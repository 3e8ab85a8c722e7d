// SPDX-License-Identifier: Apache-2.0

package solaris

import (
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
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
		var r fact.Report
		l, err := readModules(t.Context(), m.Machine().Call, &r)
		if err != nil || len(l) != 4 || len(r.Problems) != 0 {
			t.Fatalf("%+v %v %v", l, err, r.Problems)
		}
		want := moduleInfo{ID: 9, Name: "rpcmod", Loaded: true, Installed: true, Address: 0xfffffffff7c60000,
			Size: 0xc640, Rev: 1, LoadCount: 1, Linkages: []Linkage{
				{Description: "RPC syscall", Info: fact.CountOf(226)}, {Description: "32-bit RPC syscall"},
				{Description: "rpc interface str mod"}}}
		if diff := cmp.Diff(want, l[1], equalCounts); diff != "" {
			t.Error(diff)
		}
		if m := l[3]; m.Loaded || m.Installed {
			t.Errorf("an unloaded module: %+v", m)
		}
	}
}

func TestCutText(t *testing.T) {
	m := &fakeunix.Illumos{Modules: []fakeunix.IllumosModule{{ID: 1, State: 3, Name: strings.Repeat("n", 40),
		Linkages: []fakeunix.IllumosLinkage{{Info: 1, Description: strings.Repeat("d", 31)},
			{Info: 2, Description: "short"}}}}}
	l, err := readModules(t.Context(), m.Machine().Call, new(fact.Report))
	if err != nil || len(l) != 1 || !l[0].Linkages[0].Cut || l[0].Linkages[1].Cut {
		t.Errorf("%+v %v", l, err)
	}
}

func TestHostileAnswers(t *testing.T) {
	denied := func(context.Context, string, ...string) ([]byte, error) { return nil, fs.ErrPermission }
	if _, err := readModules(t.Context(), denied, new(fact.Report)); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("refused: %v", err)
	}
	m := fakeunix.OmniOS()
	b, _ := m.Machine().Call(t.Context(), OpModinfo, "-1", "6")
	loop := func(context.Context, string, ...string) ([]byte, error) { return b, nil }
	var r fact.Report
	if l, err := readModules(t.Context(), loop, &r); err != nil || len(l) != 1 || len(r.Problems) != 1 {
		t.Errorf("a list in a circle: %+v %v %v", l, err, r.Problems)
	}
	for _, answer := range [][]byte{nil, []byte("x"), make([]byte, size64), make([]byte, size32)} {
		call := func(context.Context, string, ...string) ([]byte, error) { return answer, nil }
		var r fact.Report
		if l, err := readModules(t.Context(), call, &r); err != nil || len(r.Problems) != 1 || len(l) != 0 {
			t.Errorf("%d bytes: %+v %v %v", len(answer), l, err, r.Problems)
		}
	}
	short := make([]byte, size32) // a struct of 32 bits
	binary.BigEndian.PutUint32(short, 6)
	copy(short[32:], "name")
	if i, err := decodeInfo(short); err != nil || i.Name != "name" {
		t.Errorf("%+v %v", i, err)
	}
}

// A linkage of each module that one line of modinfo is about, by what the line says.
func lines(c fact.Capture[Module]) map[string]Record {
	out := make(map[string]Record)
	for _, m := range c.Records {
		for _, l := range m.Own.Linkages {
			one, own := m, *m.Own
			own.Linkages, one.Own, one.Description = []Linkage{l}, &own, l.Description
			out[own.ID.String()+" "+m.Name+" "+l.Info.String()+" "+l.Description] = one
		}
	}
	return out
}

func TestRecordedModinfo(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(testdata.Dir(t, "captures"), "solaris", "modinfo-solaris10-sparc-ohai",
		"capture.txt"))
	if err != nil {
		t.Fatal(err)
	}
	var r fact.Report
	c := ReadModinfo(string(b), &r)
	if len(r.Problems) != 0 || !c.Sure || c.Rows != strings.Count(string(b), "\n")-1 {
		t.Fatalf("%v %d rows of %d lines", r.Problems, c.Rows, strings.Count(string(b), "\n"))
	}
	rows := lines(c)
	for _, line := range strings.Split(string(b), "\n")[1:] {
		if line == "" {
			continue
		}
		w := strings.Fields(line)
		_, text, _ := strings.Cut(strings.TrimSuffix(line, ")"), "(")
		m, ok := rows[w[0]+" "+w[5]+" "+count(w[3]).String()+" "+text]
		if !ok || m.Own.Rev != count(w[4]) {
			t.Errorf("%q: %+v %+v", line, m, m.Own)
		}
	}
	for _, want := range []struct {
		id, name, info string
		address        fact.Address
		size           int64
		link           Linkage
	}{
		{"6", "specfs", "1", 0x1180000, 0x4623, Linkage{Description: "filesystem for specfs", Info: fact.CountOf(1)}},
		{"92", "sysmsg", "97", 0x137c3fb, 0x1672,
			Linkage{Description: "System message redirection (fan", Info: fact.CountOf(97), Cut: true}},
	} {
		m, ok := rows[want.id+" "+want.name+" "+want.info+" "+want.link.Description]
		if !ok || m.Address != want.address || m.Size != fact.CountOf(want.size) || m.Own.Linkages[0] != want.link {
			t.Errorf("%+v: %+v", want, m)
		}
	}
}

func TestModinfoForms(t *testing.T) {
	read := func(text string) []Record { return ReadModinfo(text, new(fact.Report)).Records }
	l := read(" Id         Loadaddr   Size Info Rev Module Name\n" +
		"  9 fffffffff7c60000   c640 226   1  rpcmod (RPC syscall)\n" +
		"  9 fffffffff7c60000   c640   -   1  rpcmod (rpc interface str mod that is cut of\n")
	if len(l) != 1 || len(l[0].Own.Linkages) != 2 || l[0].Description != "RPC syscall" {
		t.Fatalf("%+v", l)
	}
	if link := l[0].Own.Linkages[1]; !link.Cut || link.Description != "rpc interface str mod that is cut of" ||
		!link.Info.IsZero() {
		t.Errorf("%+v", link)
	}
	l = read(" Id    Loadcnt Module Name                            State\n" +
		"  6          1 specfs                           LOADED/INSTALLED\n" +
		" 70          2 fdfs                             UNLOADED/UNINSTALLED\n")
	if len(l) != 2 || len(l[0].Own.State) != 2 || len(l[1].Own.State) != 0 || l[1].Own.LoadCount != fact.CountOf(2) {
		t.Errorf("%+v", l)
	}
	l = read("ID  LOADADDR         SIZE   INFO REV NAMEDESC\n0   --               16cd58 --   0   unix ()\n" +
		"1   --               9c848  --   0   genunix (core)\n")
	if len(l) != 2 || l[0].Name != "unix" || l[0].Address != 0 || l[1].Description != "core" {
		t.Errorf("%+v", l)
	}
	l = read("ID:NAME:PATH:STATE\n7:zfs:/kernel/fs/amd64/zfs:LOADED/INSTALLED\n8:a$b:/kernel/x:LOADED\n")
	if len(l) != 2 || l[0].Path != "/kernel/fs/amd64/zfs" || l[0].Name != "zfs" || l[1].Name != "a$b" {
		t.Errorf("%+v", l)
	}
	for _, text := range []string{"", "filename: /lib/modules/x.ko\nlicense: GPL\n",
		"Id Refs Address Size Name\n 1 2 0x0 3 kernel\n"} {
		if c := ReadModinfo(text, new(fact.Report)); c.Rows != 0 || c.Sure {
			t.Errorf("%q: %+v", text, c)
		}
	}
}

// TestStrayModinfo reads lines that are not rows, and a command as somebody typed it.
func TestStrayModinfo(t *testing.T) {
	var r fact.Report
	c := ReadModinfo("root@h:~# modinfo\n"+
		"  9 fffffffff7c60000   c640 226   1  rpcmod (RPC syscall)\nbad\nworse\nroot@h:~# \n", &r)
	if c.Rows != 1 || c.Stray != 2 || c.Sure || len(r.Problems) != 1 {
		t.Fatalf("%+v %v", c, r.Problems)
	}
	if p := r.Problems[0]; p.Source != SourceModinfo || p.Line != 3 || p.Count != 2 {
		t.Errorf("%+v", p)
	}
	if src, _ := r.Find(SourceModinfo); src.Outcome != fact.OutcomePartial || src.Count != fact.CountOf(1) {
		t.Errorf("%+v", src)
	}
}

func TestSystemFile(t *testing.T) {
	var r fact.Report
	d, _ := readSystem(systemFile,
		"* comment\nexclude: drv/fd\n exclude:sys/msgsys\nforceload: drv/clone\nset maxusers = 40\n"+
			"include: x\nnonsense\n", nil, &r)
	want := []directive{{"exclude", "drv/fd", systemFile, 2}, {"exclude", "sys/msgsys", systemFile, 3},
		{"forceload", "drv/clone", systemFile, 4}}
	if diff := cmp.Diff(want, d); diff != "" || d[0].Name() != "fd" {
		t.Error(diff)
	}
	if len(r.Problems) != 1 || r.Problems[0].Line != 7 || r.Problems[0].Source != SourceSystem {
		t.Errorf("%+v", r.Problems)
	}
}

func TestModdebug(t *testing.T) {
	var r fact.Report
	c := ReadModdebug("load 'fs/mntfs' id 66 loaded @ 0xfffffffff7c44000/0xfffffffffc17fdc8 size 18080/240\n"+
		"installing mntfs, module id 66.\nacpinex0 at root\n", &r)
	want := []Record{{ID: "illumos_module:mntfs", Kind: fact.KindIllumosModule, Name: "mntfs", State: fact.StateLoaded,
		Size: fact.CountOf(18080), Address: 0xfffffffff7c44000,
		Own: &Module{ID: fact.CountOf(66), State: []string{"loaded", "installed"}}}}
	if diff := cmp.Diff(want, c.Records, equalCounts); diff != "" || c.Rows != 1 || !c.Sure {
		t.Error(diff, c)
	}
	if len(r.Problems) != 1 || r.Problems[0].Code != fact.CodeUnrecorded || r.Whole(SourceModdebug) {
		t.Errorf("it is not a whole list: %+v %+v", r.Problems, r.Sources)
	}
	if c := ReadModdebug("x", new(fact.Report)); c.Rows != 0 || c.Sure {
		t.Error(c)
	}
}

func TestRedact(t *testing.T) {
	b, _ := fakeunix.OmniOS().Machine().Call(t.Context(), OpModinfo, "-1", "6")
	if i, err := decodeInfo(Redact("modinfo -1 6", b)); err != nil || i.Address != 0 || !i.Redacted ||
		i.Name != "specfs" || i.Size != 0x4623 {
		t.Errorf("%+v %v", i, err)
	}
}

func FuzzInfo(f *testing.F) {
	b, _ := fakeunix.OmniOS().Machine().Call(f.Context(), OpModinfo, "-1", "6")
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		i, err := decodeInfo(b)
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
		for _, read := range []func(string, *fact.Report) fact.Capture[Module]{ReadModinfo, ReadModdebug} {
			var r fact.Report
			c := read(s, &r)
			if c.Rows+c.Stray > 1+strings.Count(s, "\n") || len(c.Records) > c.Rows || len(r.Problems) > 4 {
				t.Fatal("more rows than lines")
			}
		}
		_, _ = readSystem(systemFile, s, nil, new(fact.Report))
	})
}

// refusing is a machine whose answers to one call, or one file, are refused.
type refusing struct {
	fact.Machine
	key string
}

func (m refusing) Call(ctx context.Context, op string, args ...string) ([]byte, error) {
	if op == m.key {
		return nil, fs.ErrPermission
	}
	return m.Machine.Call(ctx, op, args...)
}

func (m refusing) Open(name string) (fs.File, error) {
	if name == m.key {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return m.Machine.Open(name)
}

func (m refusing) ReadDir(name string) ([]fs.DirEntry, error) {
	if name == m.key {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrPermission}
	}
	return m.Machine.ReadDir(name)
}

// TestCheck judges modules in the kernel, unloaded ones and unknown ones; each source is refused in turn. What is
// unknown has its reason.
func TestCheck(t *testing.T) {
	machine := fakeunix.OmniOS()
	machine.Disk["etc/system"].Data = []byte("exclude: fs/fdfs\nforceload: fs/mntfs\n")
	for _, key := range []string{"", OpModinfo, systemFile} {
		k := Open(refusing{machine.Machine(), key}, fact.Options{OS: fact.Illumos})
		check := func(query string) fact.Verdict {
			v, err := k.Check(t.Context(), query, new(fact.Report))
			if err != nil || len(v) != 1 {
				t.Fatalf("%q refused, %s: %+v %v", key, query, v, err)
			}
			for _, w := range v[0].Now.Ways {
				if w.Blocked == "" && w.Because.Text == "" {
					t.Errorf("%q refused, %s: way %s is unknown without a reason", key, query, w.Way)
				}
			}
			if v[0].Now.Outcome == fact.VerdictUnknown && (len(v[0].Problems) == 0 || len(v[0].Reasons) == 0) {
				t.Errorf("%q refused, %s: unknown without a Problem and a reason", key, query)
			}
			return v[0]
		}
		loaded, unloaded, none := check("mntfs"), check("illumos_module:fdfs"), check("none")
		want := fact.VerdictLoaded
		if key == OpModinfo {
			want = fact.VerdictUnknown
		}
		if loaded.Now.Outcome != want || unloaded.Now.Outcome != fact.VerdictUnknown ||
			none.Now.Outcome != fact.VerdictUnknown {
			t.Errorf("%q refused: %+v %+v %+v", key, loaded, unloaded, none)
		}
		denied := slices.ContainsFunc(none.Problems, func(p fact.Problem) bool { return p.Code == fact.CodePermission })
		if denied != (key != "") {
			t.Errorf("%q refused: %v", key, none.Problems)
		}
		if key != systemFile && (len(loaded.Triggers) != 1 || unloaded.Reasons[0].Text == "" ||
			unloaded.Reasons[len(unloaded.Reasons)-1].Line != 1) {
			t.Errorf("%q refused: %+v %+v", key, loaded, unloaded)
		}
	}
}

// TestKernel lists with addresses that are hidden, and reads a policy whose file is refused or holds nonsense.
func TestKernel(t *testing.T) {
	m := fakeunix.OmniOS()
	m.Hidden = true
	var r fact.Report
	l, err := Open(m.Machine(), fact.Options{OS: fact.Solaris, Detail: fact.DetailAddresses}).Loaded(t.Context(),
		new(fact.Header), &r)
	if err != nil || len(l) != 4 || l[0].ID != "solaris_module:specfs" || len(l[0].Problems) != 1 ||
		len(l[3].Problems) != 0 || !r.Whole(SourceModinfo) {
		t.Errorf("%+v %v %+v", l, err, r)
	}
	r = fact.Report{}
	p, err := Open(refusing{m.Machine(), systemFile}, fact.Options{OS: fact.Illumos}).Policy(t.Context(), &r)
	if err != nil || p.Loading != fact.LoadingAny || len(p.Facts) != 1 || len(r.Problems) != 1 ||
		r.Whole(SourceSystem) {
		t.Errorf("%+v %v %+v", p, err, r)
	}
	m.Disk["etc/system"].Data = []byte("exclude drv/fd\n")
	r = fact.Report{}
	if p, err := Open(m.Machine(), fact.Options{OS: fact.Illumos}).Policy(t.Context(), &r); err != nil ||
		len(p.Facts) != 0 || len(r.Problems) != 1 {
		t.Errorf("%+v %v %+v", p, err, r)
	}
}
