// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/fact"
)

// TestScan reads rows of a name and "1"; what a row's name looks like does not cost the row.
func TestScan(t *testing.T) {
	var r fact.Report
	var names []string
	text := "$ tool -v\nTOOL\n\n a 1\ntool 1\nx# 1\ntool\nroot@h:~# \nstray\nmore\n"
	stray := Scan(text, Form{Tool: "tool", Source: "s"}, &r, func(line string) error {
		if line == "TOOL" {
			return nil
		}
		name, ok := strings.CutSuffix(line, " 1")
		if !ok {
			return errors.New("no row")
		}
		names = append(names, name)
		return nil
	})
	if stray != 2 || !slices.Equal(names, []string{" a", "tool", "x#"}) || len(r.Problems) != 1 {
		t.Fatalf("%d stray, %q, %v", stray, names, r.Problems)
	}
	if p := r.Problems[0]; p.Source != "s" || p.Line != 9 || p.Count != 2 || p.Code != fact.CodeMalformed {
		t.Errorf("%+v", p)
	}
}

// TestScanWhole gives every line of a whole form to row unchanged, with its number.
func TestScanWhole(t *testing.T) {
	var r fact.Report
	var lines []string
	stray := ScanNumbered("a \r\n\n$ tool\nx\n", Form{Tool: "tool", Source: "s", Whole: true}, &r,
		func(n int, line string) error {
			lines = append(lines, fmt.Sprint(n, line))
			if n == 3 {
				return errors.New("no row")
			}
			return nil
		})
	want := []string{"1a \r", "2", "3$ tool", "4x", "5"}
	if stray != 1 || !slices.Equal(lines, want) {
		t.Errorf("%d stray, %q, want %q", stray, lines, want)
	}
	if len(r.Problems) != 1 {
		t.Fatalf("%+v", r.Problems)
	}
	if p := r.Problems[0]; p.Line != 3 || p.Count != 0 || p.Text != "tool:3: no row" {
		t.Errorf("%+v", r.Problems)
	}
}

// TestScanTyped passes the typed commands to a form, and reports nothing of a text without a stray line.
func TestScanTyped(t *testing.T) {
	var r fact.Report
	var typed []string
	f := Form{Tool: "tool", Source: "s", Typed: func(c string) { typed = append(typed, c) }}
	text := "$ tool -v\ntool -x\n    root@h:~# other\n# \n"
	stray := Scan(text, f, &r, func(string) error { return errors.New("no row") })
	if stray != 0 || r.Problems != nil || !slices.Equal(typed, []string{"tool -v", "other", ""}) {
		t.Errorf("%d stray, %v, typed %q", stray, r.Problems, typed)
	}
}

// TestScanIsBounded gives rows until there is no more memory for them: what follows is one problem, and no stray line.
func TestScanIsBounded(t *testing.T) {
	var r fact.Report
	rows := 0
	text := strings.Repeat("a 1\n", 100_000)
	stray := Scan(text, Form{Tool: "tool", Source: "s"}, &r, func(string) error { rows++; return nil })
	if rows < 10_000 || rows > 30_000 || stray != 0 {
		t.Errorf("%d rows, %d stray lines", rows, stray)
	}
	if len(r.Problems) != 1 || r.Problems[0].Code != fact.CodeTooLarge || r.Problems[0].Line != rows+1 {
		t.Errorf("%d rows: %+v", rows, r.Problems)
	}
}
