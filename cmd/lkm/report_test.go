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

// TestReportOutput: a dash is standard output, for export too, and a report without a file is wrong usage.
func TestReportOutput(t *testing.T) {
	t.Chdir(t.TempDir())
	const tape = "demo:synthetic-nomodules"
	if code, out, errs := lkmRun(t, "", "report", "-o", "-", "--tape", tape); code != 0 ||
		!strings.HasPrefix(out, "<!DOCTYPE html>") {
		t.Errorf("report -o -: exit %d, %.80s %s", code, out, errs)
	}
	if code, out, errs := lkmRun(t, "", "export", "ecs", "-o", "-", "--tape", "demo:synthetic-aix"); code != 0 ||
		!strings.HasPrefix(out, "{") {
		t.Errorf("export -o -: exit %d, %.80s %s", code, out, errs)
	}
	if code, _, errs := lkmRun(t, "", "report", "--tape", tape); code != 2 || !strings.Contains(errs, "-o FILE.html") {
		t.Errorf("report: exit %d, %s", code, errs)
	}
	if files, err := os.ReadDir("."); err != nil || len(files) > 0 {
		t.Errorf("files were written: %v, %v", files, err)
	}
}
