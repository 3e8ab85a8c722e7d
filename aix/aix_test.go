// SPDX-License-Identifier: Apache-2.0

package aix

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/testdata"
)

var equalCounts = cmp.Comparer(func(a, b fact.Count) bool { return a == b })

func TestRecordedGenkex(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(testdata.Dir(t, "captures"), "aix", "genkex-d-ohai", "capture.txt"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := ParseCapture(string(b))
	want := []Row{
		{Path: "/usr/lib/drivers/cluster", Text: 0xf1000000c0338000, TextSize: fact.CountOf(0x77000),
			Data: 0xf1000000c0390000, DataSize: fact.CountOf(0x1ec8c), Line: 2},
		{Path: "/usr/lib/drivers/if_en", Text: 0x6390000, TextSize: fact.CountOf(0x20000), Data: 0x63a0000,
			DataSize: fact.CountOf(0xba8), Line: 3},
	}
	if err != nil || !c.WithData || c.BadCount != 0 {
		t.Fatalf("%v %+v", err, c)
	}
	if diff := cmp.Diff(want, c.Rows, equalCounts); diff != "" {
		t.Error(diff)
	}
}

func TestGenkexForms(t *testing.T) {
	c, err := ParseCapture("# genkex\n    Text address     Size File\n\n" +
		" f1000000c0338000    77000 /usr/lib/drivers/[shr.o]\n 6390000 20000 /usr/lib/lib-c.a(shr.o)\n/unix\n")
	if err != nil || len(c.Rows) != 2 || c.WithData || c.BadCount != 1 || c.Rows[0].Name() != "[shr.o]" ||
		c.Rows[1].Path != "/usr/lib/lib-c.a(shr.o)" {
		t.Errorf("%v %+v", err, c)
	}
	if c, err := ParseCapture("Virtual Address  Size  File\n 1 2 /unix\n"); err != nil || len(c.Rows) != 1 {
		t.Errorf("%v %+v", err, c)
	}
	for _, text := range []string{"", "6390000 20000 /x\n", "a b c\n"} {
		if c, err := ParseCapture(text); !errors.Is(err, fact.ErrMalformed) {
			t.Errorf("%q: %+v %v", text, c, err)
		}
	}
	redacted := string(Redact(OpGenkex, []byte("    Text address     Size     Data address     Size File\n"+
		"f1000000c0338000    77000 f1000000c0390000    1ec8c /usr/lib/drivers/cluster\n")))
	if c, err := ParseCapture(redacted); err != nil || c.Rows[0].Text != 0 || c.Rows[0].Data != 0 ||
		c.Rows[0].TextSize != fact.CountOf(0x77000) || c.Rows[0].DataSize != fact.CountOf(0x1ec8c) {
		t.Errorf("%q: %v %+v", redacted, err, c)
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
		c, err := ParseCapture(s)
		if (c == nil) == (err == nil) {
			t.Fatal("value and error")
		}
		if c != nil && (len(c.Rows) > strings.Count(s, "\n") || len(c.Bad) > 100) {
			t.Fatal("more rows than lines")
		}
		Redact(OpGenkex, []byte(s))
	})
}
