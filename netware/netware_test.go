// SPDX-License-Identifier: Apache-2.0

package netware

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/bomb"
	"github.com/kernelext/kernelext/internal/testing/kotest"
	"github.com/kernelext/kernelext/internal/testing/testdata"
)

var equalCounts = cmp.Comparer(func(a, b fact.Count) bool { return a == b })

// read reads a file of these bytes.
func read(b []byte, max int64) (Record, error) {
	m, _, err := ReadFile(context.Background(), fstest.MapFS{"a.nlm": {Data: b}}, "a.nlm", b[:min(len(b), 4096)],
		fact.Options{MaxFile: max}, new(fact.Report))
	if len(m) != 1 {
		return Record{}, err
	}
	return m[0], err
}

func TestNLM(t *testing.T) {
	m, err := read(kotest.NLM(), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	want := Record{
		ID: "netware_nlm:CLIB.NLM", Kind: fact.KindNetWareNLM, Name: "CLIB.NLM", State: fact.StateInstalled,
		Version: "5.00a", Description: "C Library", Path: "a.nlm", Size: fact.CountOf(int64(len(kotest.NLM()))),
		Requires: []string{"THREADS.NLM"},
		Own: &fact.Other{System: fact.NetWare, Fields: []fact.Field{
			{Name: "type", Value: "NLM"}, {Name: "date", Value: "1998-09-10"},
			{Name: "copyright", Value: "Copyright 1998 somebody"},
			{Name: "screen", Value: "System Console"}, {Name: "thread", Value: "CLIB"}, {Name: "flags", Value: "0x0"},
			{Name: "codeSize", Value: "4096"}, {Name: "dataSize", Value: "512"}, {Name: "bssSize", Value: "64"},
			{Name: "import", Value: "AllocateMemory"}, {Name: "export", Value: "printf"},
			{Name: "export", Value: "malloc"},
		}},
	}
	if diff := cmp.Diff(want, m, equalCounts); diff != "" {
		t.Error(diff)
	}
	packed := bytes.Clone(kotest.NLM())
	packed[24] |= flagPacked
	if m, err := decode(packed, nil); err != nil || m.Description != "" || len(m.Problems) != 1 ||
		m.Problems[0].Code != fact.CodeUnsupported {
		t.Errorf("%+v %v", m, err)
	}
	if _, err := read(kotest.NLM(), 100); !errors.Is(err, fact.ErrTooLarge) {
		t.Error(err)
	}
	if _, ok, err := ReadFile(t.Context(), fstest.MapFS{}, "x", []byte("MZ"), fact.Options{},
		new(fact.Report)); ok || err != nil {
		t.Errorf("another file: %v %v", ok, err)
	}
}

// TestHostileNLM feeds headers that lie.
func TestHostileNLM(t *testing.T) {
	good := kotest.NLM()
	for cut := range good {
		m, err := decode(good[:cut], nil)
		if (m.Own == nil) == (err == nil) {
			t.Fatalf("cut at %d: %v %v", cut, m, err)
		}
		if err == nil && cut < len(good) && len(m.Problems) == 0 {
			t.Errorf("cut at %d: nothing says so", cut)
		}
	}
	for _, at := range []int{70, 74, 86, 90, 94, 98} {
		for _, v := range []uint32{1 << 31, 0xffffffff, 1 << 20, uint32(len(good)) - 1} {
			b := bytes.Clone(good)
			binary.LittleEndian.PutUint32(b[at:], v)
			if m, err := decode(b, nil); err != nil || len(m.Problems) == 0 {
				t.Errorf("%#x at %d: %+v %v", v, at, m, err)
			}
		}
	}
	b := bytes.Clone(good)
	b[fieldsStart] = 200
	if m, err := decode(b, nil); !errors.Is(err, fact.ErrMalformed) {
		t.Errorf("a name longer than its field: %+v %v", m, err)
	}
}

func TestModules(t *testing.T) {
	var r fact.Report
	c := ReadModules(`S1: modules
SERVER.NLM
   NetWare Server Operating System
   Version 5.00  August 27, 1998
   Copyright 1983-1998 Novell, Inc.
   All Rights Reserved.
CLIB.NLM (Address Space = OS)
   (Build 77) CLIB - C Language Library
   Version 5.00a   September 10, 1998
   Loaded from [SYS:SYSTEM\] on Feb 12, 1999 2:00:00 pm
A#B.NLM
	of disk #2
S1:
`, &r)
	if c.Rows != 3 || c.Stray != 0 || !c.Sure || !r.Whole(SourceModules) {
		t.Fatalf("%+v %+v", c, r)
	}
	field := func(name, value string) fact.Field { return fact.Field{Name: name, Value: value} }
	module := func(name, version, description string, fields ...fact.Field) Record {
		return Record{ID: "netware_nlm:" + name, Kind: fact.KindNetWareNLM, Name: name, State: fact.StateLoaded,
			Version: version, Description: description, Own: &fact.Other{System: fact.NetWare, Fields: fields}}
	}
	want := []Record{
		module("SERVER.NLM", "5.00", "NetWare Server Operating System", field("date", "August 27, 1998"),
			field("note", "Copyright 1983-1998 Novell, Inc."), field("note", "All Rights Reserved.")),
		module("CLIB.NLM", "5.00a", "(Build 77) CLIB - C Language Library", field("date", "September 10, 1998"),
			field("loadedFrom", `SYS:SYSTEM\`), field("addressSpace", "OS")),
		module("A#B.NLM", "", "of disk #2"),
	}
	if diff := cmp.Diff(want, c.Records, equalCounts); diff != "" {
		t.Error(diff)
	}
	for _, text := range []string{"", "A.B\n", "nothing here\nat all\n",
		"Id Refs Address Size Name\n 1 2 0x0 3 kernel\n"} {
		if c := ReadModules(text, new(fact.Report)); c.Rows != 0 || c.Sure {
			t.Errorf("%q: %+v", text, c)
		}
	}
}

func TestAbend(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(testdata.Dir(t, "captures"), "netware", "abend-log-nw5", "capture.txt"))
	if err != nil {
		t.Fatal(err)
	}
	var r fact.Report
	c := ReadAbendLog(string(b), &r)
	if c.Header.Release != "Server-5.00a" || c.Rows != 2 || c.Records[0].Name != "ABENDEMO.NLM" ||
		c.Records[1].Name != "NWSNUT.NLM" {
		t.Errorf("%+v", c)
	}
	if len(r.Problems) != 1 || r.Problems[0].Code != fact.CodeUnrecorded || r.Whole(SourceAbendLog) {
		t.Errorf("it is not a whole list: %+v", r)
	}
	for _, text := range []string{"", "CLIB.NLM\n", "Abend 1 on P00: Server-5.00a: Page Fault\n"} {
		if c := ReadAbendLog(text, new(fact.Report)); c.Rows != 0 || c.Sure {
			t.Errorf("%q: %+v", text, c)
		}
	}
}

func FuzzNLM(f *testing.F) {
	f.Add(kotest.NLM())
	for _, seed := range bomb.Seeds(bomb.NetWare) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decode(b, nil)
		if (m.Own == nil) == (err == nil) {
			t.Fatal("value and error")
		}
		if err != nil {
			return
		}
		size := len(m.Description)
		for _, s := range m.Requires {
			size += len(s) + 1
		}
		for _, field := range m.Own.Fields {
			size += len(field.Value) + 1
		}
		if size > 8*len(b)+1024 {
			t.Fatalf("%d bytes of result for %d", size, len(b))
		}
	})
}

func FuzzCapture(f *testing.F) {
	f.Add("CLIB.NLM\n  C Library\n  Version 5.00a September 10, 1998\n")
	f.Add("Abend 1 on P00: Server-5.00a: x\nEIP in A.NLM\n")
	f.Fuzz(func(t *testing.T, s string) {
		for _, read := range []func(string, *fact.Report) fact.Capture[fact.Other]{ReadModules, ReadAbendLog} {
			if c := read(s, new(fact.Report)); c.Rows != len(c.Records) {
				t.Fatal("rows without records")
			}
		}
	})
}
