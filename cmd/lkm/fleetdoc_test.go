// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestFleetPage runs the lines of docs/fleet.md in order. Each query gives rows, but for the one whose answer is that
// every module has a version.
func TestFleetPage(t *testing.T) {
	sqlite, err := exec.LookPath("sqlite3")
	if err != nil {
		t.Skip("no sqlite3")
	}
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "fleet.md"))
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	queries := 0
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllSubmatch(page, -1) {
		for line := range strings.Lines(string(block[1])) {
			line = strings.TrimSpace(line)
			if args, ours := strings.CutPrefix(line, "lkm "); ours {
				if code, _, errs := lkmRun(t, "", strings.Fields(args)...); code != 0 {
					t.Fatalf("%s: exit %d, %s", line, code, errs)
				}
				continue
			}
			var args []string
			for _, m := range regexp.MustCompile(`'[^']*'|"[^"]*"|\S+`).FindAllString(line, -1)[1:] {
				args = append(args, strings.Trim(m, m[:1]))
				if m[0] != '\'' && m[0] != '"' {
					args[len(args)-1] = m
				}
			}
			out, err := exec.Command(sqlite, args...).CombinedOutput()
			if err != nil {
				t.Fatalf("%s: %v, %s", line, err, out)
			}
			if strings.Contains(line, "SELECT") && !strings.Contains(line, "version = ''") {
				queries++
				if len(out) == 0 {
					t.Errorf("%s: no row", line)
				}
			}
		}
	}
	if queries < 6 {
		t.Errorf("only %d queries", queries)
	}
}
