// SPDX-License-Identifier: Apache-2.0

package aix

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/fakeunix"
	"github.com/kernelext/kernelext/internal/testing/testdata"
)

var equalCounts = cmp.Comparer(func(a, b fact.Count) bool { return a == b })

// fields are those of a row of genkex -d.
func fields(text, size, address string) *fact.Other {
	return &fact.Other{System: fact.AIX, Fields: []fact.Field{{Name: "textSize", Value: text},
		{Name: "dataSize", Value: size}, {Name: "dataAddress", Value: address}}}
}

func TestRecordedGenkex(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(testdata.Dir(t, "captures"), "aix", "genkex-d-ohai", "capture.txt"))
	if err != nil {
		t.Fatal(err)
	}
	var r fact.Report
	c := ReadGenkex(string(b), &r)
	want := []Record{
		{ID: "aix_kext:/usr/lib/drivers/cluster", Name: "cluster", Path: "/usr/lib/drivers/cluster",
			Address: 0xf1000000c0338000, Size: fact.CountOf(0x77000),
			Own: fields("487424", "126092", "0xf1000000c0390000")},
		{ID: "aix_kext:/usr/lib/drivers/if_en", Name: "if_en", Path: "/usr/lib/drivers/if_en",
			Address: 0x6390000, Size: fact.CountOf(0x20000), Own: fields("131072", "2984", "0x00000000063a0000")},
	}
	for i := range want {
		want[i].Kind, want[i].State = fact.KindAIXKext, fact.StateLoaded
	}
	if diff := cmp.Diff(want, c.Records, equalCounts); diff != "" || !c.Sure || c.Rows != 2 || !r.Whole(SourceGenkex) {
		t.Errorf("%s %+v", diff, r)
	}
}

func TestGenkexForms(t *testing.T) {
	var r fact.Report
	c := ReadGenkex("# genkex\n    Text address     Size File\n\n f1000000c0338000    77000 /usr/lib/drivers/[shr.o]\n"+
		" 6390000 20000 /usr/lib/lib-c.a(shr.o)\n/unix\n", &r)
	if c.Rows != 2 || c.Stray != 1 || c.Records[0].Name != "[shr.o]" ||
		c.Records[1].Path != "/usr/lib/lib-c.a(shr.o)" || len(c.Records[0].Own.Fields) != 1 {
		t.Errorf("%+v", c)
	}
	if len(r.Problems) != 1 || r.Problems[0].Line != 6 || r.Whole(SourceGenkex) {
		t.Errorf("%+v", r)
	}
	for _, text := range []string{"Virtual Address  Size  File\n 1 2 /unix\n",
		"genkld\nVirtual Address  Size  File\n 1 2 /unix\n# \n"} {
		if c := ReadGenkex(text, new(fact.Report)); c.Rows != 1 || c.Stray != 0 {
			t.Errorf("%q: %+v", text, c)
		}
	}
	for _, text := range []string{"", "6390000 20000 /x\n", "a b c\n"} {
		if c := ReadGenkex(text, new(fact.Report)); c.Rows != 0 || c.Sure {
			t.Errorf("%q: %+v", text, c)
		}
	}
	redacted := string(Redact(OpGenkex, []byte("    Text address     Size     Data address     Size File\n"+
		"f1000000c0338000    77000 f1000000c0390000    1ec8c /usr/lib/drivers/cluster\n")))
	c = ReadGenkex(redacted, new(fact.Report))
	want := []fact.Field{{Name: "textSize", Value: "487424"}, {Name: "dataSize", Value: "126092"}}
	if c.Rows != 1 || c.Records[0].Address != 0 || c.Records[0].Size != fact.CountOf(0x77000) ||
		!slices.Equal(c.Records[0].Own.Fields, want) {
		t.Errorf("%q: %+v", redacted, c)
	}
}

// TestKernel lists with and without addresses; what is unknown has its reason.
func TestKernel(t *testing.T) {
	plain := Open(fakeunix.AIX72().Machine(), fact.Options{OS: fact.AIX})
	var r fact.Report
	l, err := plain.Loaded(t.Context(), new(fact.Header), &r)
	if err != nil || len(l) != 3 || l[0].Address != 0 || len(l[0].Own.Fields) != 2 || !r.Whole(SourceGenkex) {
		t.Errorf("%+v %v", l, err)
	}
	v, err := plain.Check(t.Context(), "none", &r)
	if err != nil || len(v) != 1 || v[0].Now.Outcome != fact.VerdictUnknown || len(v[0].Problems) != 1 ||
		v[0].Problems[0].Code != fact.CodeUnsupported {
		t.Errorf("%+v %v", v, err)
	}
	m := fakeunix.AIX72()
	m.Genkex = "refused\n" // no header: no list, not an empty one
	bad := Open(m.Machine(), fact.Options{})
	if l, err := bad.Loaded(t.Context(), new(fact.Header), &r); !errors.Is(err, fact.ErrMalformed) {
		t.Errorf("%+v %v", l, err)
	}
	if v, err := bad.Check(t.Context(), "if_en", &r); err != nil || v[0].Now.Outcome != fact.VerdictUnknown ||
		len(v[0].Problems) != 2 {
		t.Errorf("%+v %v", v, err)
	}
}

// TestExec runs programs with the bounds that genkex gets.
func TestExec(t *testing.T) {
	if _, err := Exec(t.Context(), "other"); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("only genkex is run: %v", err)
	}
	if runtime.GOOS != "linux" {
		t.Skip("needs /bin/sh and head")
	}
	b, err := run(t.Context(), "/bin/sh", "-c", "env")
	if err != nil || strings.Contains(string(b), "HOME") {
		t.Errorf("environment %q %v", b, err)
	}
	if _, err := run(t.Context(), "/bin/sh", "-c", "head -c 5000000 /dev/zero"); !errors.Is(err, fact.ErrTooLarge) {
		t.Errorf("5 MB of output: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := run(ctx, "/bin/sh", "-c", "sleep 30"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a program that does not end: %v", err)
	}
	if _, err := run(t.Context(), "/nonexistent"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no program: %v", err)
	}
}

func FuzzCapture(f *testing.F) {
	f.Add("Text address Size Data address Size File\n1 2 3 4 /x\n")
	f.Fuzz(func(t *testing.T, s string) {
		c := ReadGenkex(s, new(fact.Report))
		if c.Rows+c.Stray > 1+strings.Count(s, "\n") || len(c.Records) != c.Rows {
			t.Fatal("more rows than lines")
		}
		Redact(OpGenkex, []byte(s))
	})
}
