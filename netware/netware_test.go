// SPDX-License-Identifier: Apache-2.0

package netware

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/kotest"
	"github.com/kernelext/kernelext/internal/testing/testdata"
)

func TestNLM(t *testing.T) {
	n, err := ReadNLM(fstest.MapFS{"a.nlm": {Data: kotest.NLM()}}, "a.nlm", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	want := &NLM{
		Name: "CLIB.NLM", Description: "C Library", Version: "5.00a", Date: "1998-09-10",
		Copyright: "Copyright 1998 somebody", Type: "NLM",
		CodeSize: 4096, DataSize: 512, BSSSize: 64, Depends: []string{"THREADS.NLM"},
		Imports: []string{"AllocateMemory"},
		Exports: []string{"printf", "malloc"}, Screen: "System Console", Thread: "CLIB", StackSize: 8192,
		Size: int64(len(kotest.NLM())),
	}
	if diff := cmp.Diff(want, n); diff != "" {
		t.Error(diff)
	}
	packed := bytes.Clone(kotest.NLM())
	packed[24] |= flagPacked
	if n, err := ParseNLM(packed); err != nil || !n.Packed || n.Imports != nil || len(n.Problems) != 1 ||
		n.Problems[0].Code != fact.CodeUnsupported {
		t.Errorf("%+v %v", n, err)
	}
	if _, err := ReadNLM(fstest.MapFS{"a": {Data: kotest.NLM()}}, "a", 100); !errors.Is(err, fact.ErrTooLarge) {
		t.Error(err)
	}
}

// TestHostileNLM feeds headers that lie.
func TestHostileNLM(t *testing.T) {
	good := kotest.NLM()
	for cut := range good {
		n, err := ParseNLM(good[:cut])
		if (n == nil) == (err == nil) {
			t.Fatalf("cut at %d: %v %v", cut, n, err)
		}
		if n != nil && cut < len(good) && len(n.Problems) == 0 {
			t.Errorf("cut at %d: nothing says so", cut)
		}
	}
	for _, at := range []int{70, 74, 86, 90, 94, 98} {
		for _, v := range []uint32{1 << 31, 0xffffffff, 1 << 20, uint32(len(good)) - 1} {
			b := bytes.Clone(good)
			binary.LittleEndian.PutUint32(b[at:], v)
			if n, err := ParseNLM(b); err != nil || len(n.Problems) == 0 {
				t.Errorf("%#x at %d: %+v %v", v, at, n, err)
			}
		}
	}
	b := bytes.Clone(good)
	b[fieldsStart] = 200
	if n, err := ParseNLM(b); !errors.Is(err, fact.ErrMalformed) {
		t.Errorf("a name longer than its field: %+v %v", n, err)
	}
}

func TestModules(t *testing.T) {
	c, err := ParseCapture(`S1: modules
SERVER.NLM
   NetWare Server Operating System
   Version 5.00  August 27, 1998
   Copyright 1983-1998 Novell, Inc.
   All Rights Reserved.
CLIB.NLM (Address Space = OS)
   (Build 77) CLIB - C Language Library
   Version 5.00a   September 10, 1998
   Loaded from [SYS:SYSTEM\] on Feb 12, 1999 2:00:00 pm
S1:
`)
	if err != nil || len(c.Rows) != 2 || c.BadCount != 0 {
		t.Fatalf("%v %+v", err, c)
	}
	want := []Row{
		{Name: "SERVER.NLM", Description: "NetWare Server Operating System", Version: "5.00", Date: "August 27, 1998",
			Notes: []string{"Copyright 1983-1998 Novell, Inc.", "All Rights Reserved."}, Line: 2},
		{Name: "CLIB.NLM", Description: "(Build 77) CLIB - C Language Library", Version: "5.00a",
			Date: "September 10, 1998", LoadedFrom: `SYS:SYSTEM\`, AddressSpace: "OS", Line: 7},
	}
	if diff := cmp.Diff(want, c.Rows); diff != "" {
		t.Error(diff)
	}
	for _, text := range []string{"", "A.B\n", "nothing here\nat all\n", "Id Refs Address Size Name\n" +
		" 1 2 0x0 3 kernel\n"} {
		if c, err := ParseCapture(text); !errors.Is(err, fact.ErrMalformed) || LooksLikeCapture(text) {
			t.Errorf("%q: %+v %v", text, c, err)
		}
	}
}

func TestAbend(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(testdata.Dir(t, "captures"), "netware", "abend-log-nw5", "capture.txt"))
	if err != nil {
		t.Fatal(err)
	}
	a, err := ParseAbend(string(b))
	if err != nil || a.Server != "Server-5.00a" || !cmp.Equal(a.Modules, []string{"ABENDEMO.NLM", "NWSNUT.NLM"}) ||
		a.Lines[0] != 13 {
		t.Errorf("%+v %v", a, err)
	}
	for _, text := range []string{"", "CLIB.NLM\n", "Abend 1 on P00: Server-5.00a: Page Fault\n"} {
		if a, err := ParseAbend(text); !errors.Is(err, fact.ErrMalformed) {
			t.Errorf("%q: %+v %v", text, a, err)
		}
	}
}

func FuzzNLM(f *testing.F) {
	f.Add(kotest.NLM())
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := ParseNLM(b)
		if (n == nil) == (err == nil) {
			t.Fatal("value and error")
		}
		if n == nil {
			return
		}
		size := len(n.Description) + len(n.Copyright)
		for _, list := range [][]string{n.Depends, n.Imports, n.Exports} {
			for _, s := range list {
				size += len(s) + 1
			}
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
		c, err := ParseCapture(s)
		if (c == nil) == (err == nil) {
			t.Fatal("value and error")
		}
		a, err := ParseAbend(s)
		if (a == nil) == (err == nil) {
			t.Fatal("value and error")
		}
	})
}
