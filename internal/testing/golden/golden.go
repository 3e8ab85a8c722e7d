// SPDX-License-Identifier: Apache-2.0

// Package golden compares what the code makes with the files that say what it made before.
package golden

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Check compares got with the file, or writes got to it if update is set. A difference fails the
// test with a diff and the command that rewrites the file.
func Check(t testing.TB, file string, got []byte, update bool) {
	t.Helper()
	if update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v\nit is written by: %s", err, command(t))
	}
	if diff := Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs; if the code is right, rewrite it with: %s\n%s", file, command(t), diff)
	}
}

// command returns the command that rewrites the files of a test.
func command(t testing.TB) string {
	top, _, _ := strings.Cut(t.Name(), "/")
	folder, err := os.Getwd() // that of the package
	if err != nil {
		folder = "."
	}
	return fmt.Sprintf("go test -C %s -run '^%s$' . -update", folder, top)
}

const (
	context   = 2  // equal lines shown before the first difference and after the last
	mostLines = 80 // of a diff
)

// Diff returns the differences of two texts line by line, or "" if they are equal. Lines that
// begin with "-" are of want, with "+" of got. A long diff is cut after 80 lines, which a last
// line says.
func Diff(want, got string) string {
	if want == got {
		return ""
	}
	w, g := strings.SplitAfter(want, "\n"), strings.SplitAfter(got, "\n")
	first := 0
	for first < min(len(w), len(g)) && w[first] == g[first] {
		first++
	}
	last := 0
	for last < min(len(w), len(g))-first && w[len(w)-1-last] == g[len(g)-1-last] {
		last++
	}
	first, last = max(first-context, 0), max(last-context, 0)
	diff := strings.TrimSuffix(cmp.Diff(w[first:len(w)-last], g[first:len(g)-last]), "\n")
	lines := strings.Split(diff, "\n")
	if n := len(lines) - mostLines; n > 0 {
		lines = append(lines[:mostLines], fmt.Sprintf("… and %d lines more", n))
	}
	return fmt.Sprintf("from line %d (-want +got):\n%s\n", first+1, strings.Join(lines, "\n"))
}
