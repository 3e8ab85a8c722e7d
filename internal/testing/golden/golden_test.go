// SPDX-License-Identifier: Apache-2.0

package golden

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A recorder is a test that only notes that it failed.
type recorder struct {
	testing.TB
	failed string
}

func (r *recorder) Helper()                         {}
func (r *recorder) Name() string                    { return "TestSomething/sub" }
func (r *recorder) Errorf(form string, args ...any) { r.failed = fmt.Sprintf(form, args...) }
func (r *recorder) Fatalf(form string, args ...any) { r.failed = fmt.Sprintf(form, args...) }

func TestCheck(t *testing.T) {
	file := filepath.Join(t.TempDir(), "new", "file.txt")
	r := &recorder{TB: t}
	Check(r, file, []byte("a\nb\n"), true)
	Check(r, file, []byte("a\nb\n"), false)
	if r.failed != "" {
		t.Errorf("equal, and fails: %s", r.failed)
	}
	Check(r, file, []byte("a\nc\n"), false)
	if !strings.Contains(r.failed, " -run '^TestSomething$' . -update") || !strings.Contains(r.failed, `"c\n"`) {
		t.Errorf("a difference: %q", r.failed)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "a\nb\n" {
		t.Errorf("written without update: %q, %v", b, err)
	}
	r.failed = ""
	Check(r, file+".none", nil, false)
	if !strings.Contains(r.failed, "-update") {
		t.Errorf("no file: %q", r.failed)
	}
}

func TestDiff(t *testing.T) {
	if d := Diff("a\n", "a\n"); d != "" {
		t.Errorf("equal texts: %s", d)
	}
	if d := Diff("a\n", "a"); d == "" {
		t.Error("the last line's end is not compared")
	}
	var lines []string
	for i := range 9000 {
		lines = append(lines, fmt.Sprintf("line %d", i))
	}
	want := strings.Join(lines, "\n")
	d := Diff(want, strings.Replace(want, "line 4321\n", "LINE\n", 1))
	if n := strings.Count(d, "\n"); n > 12 || !strings.HasPrefix(d, "from line 4320 ") || !strings.Contains(d, "LINE") {
		t.Errorf("one line of 9000:\n%s", d)
	}
	d = Diff(want, strings.ReplaceAll(want, "line", "row"))
	if n := strings.Count(d, "\n"); n > mostLines+3 {
		t.Errorf("all lines: %d lines of difference:\n%s", n, d)
	}
}
