// SPDX-License-Identifier: Apache-2.0

// Package texts reads the files below a package's testdata that tests take as input.
package texts

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Read returns the file of that name below testdata.
func Read(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Archive returns the texts of an archive below testdata by their names. A line "-- name --" begins
// a text, which ends with the last line before the next one. Text before the first is a comment.
func Archive(t testing.TB, name string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	var current string
	for line := range strings.Lines(Read(t, name)) {
		title, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "-- ")
		title, end := strings.CutSuffix(title, " --")
		switch {
		case !ok || !end:
			if current != "" {
				all[current] += line
			}
			continue
		case title == "":
			t.Fatalf("%s: a text without a name", name)
		}
		if _, ok := all[title]; ok {
			t.Fatalf("%s: two texts are named %q", name, title)
		}
		current, all[title] = title, ""
	}
	return all
}
