// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReportOfAFolder(t *testing.T) {
	dir := t.TempDir()
	_, snapshot, _ := lkmRun(t, "", "list", "--tape", "demo:synthetic-debian-root", "--format", "json")
	for name, text := range map[string]string{"a.json": snapshot, "b.json": snapshot, "bad.json": "{", "c.txt": "-"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(dir, "r.html")
	code, stdout, errs := lkmRun(t, "", "report", "-o", out, dir)
	page, err := os.ReadFile(out)
	if code != 0 || stdout != "" || !strings.Contains(errs, "bad.json") || err != nil {
		t.Fatalf("exit %d, %q, %q, %v", code, stdout, errs, err)
	}
	for _, want := range []string{"<h1>3 hosts</h1>", ">a<", ">bad<", "nvidia"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("no %s", want)
		}
	}
	if code, _, _ := lkmRun(t, "", "report", "-o", out, "--strict", dir); code != 3 {
		t.Errorf("--strict: exit %d", code)
	}
}

func TestReportRefuses(t *testing.T) {
	for _, args := range [][]string{
		{"report"}, {"report", "-o", filepath.Join(t.TempDir(), "x"), t.TempDir()},
		{"report", "-o", filepath.Join(t.TempDir(), "no", "x"), "demo:synthetic-aix"},
	} {
		if code, _, errs := lkmRun(t, "", args...); code != 2 || errs == "" {
			t.Errorf("%q: exit %d, %q", args, code, errs)
		}
	}
}
