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

// TestNothingRead: a word that reads many files exits 2 if it could read none of them, and 0 or 1 if it could read one.
func TestNothingRead(t *testing.T) {
	dir := t.TempDir()
	bad, page := tempFile(t, "bad.json", []byte("x\n")), filepath.Join(dir, "r.html")
	missing := filepath.Join(dir, "missing.json")
	const good = "demo:synthetic-debian-root"
	_, events, _ := lkmRun(t, "", "watch", "--tape", good)
	event := tempFile(t, "events.jsonl", []byte(events))
	for _, tt := range []struct {
		code int
		args []string
	}{
		{2, []string{"report", "-o", page, missing}},
		{2, []string{"report", "-o", page, bad, missing}},
		{2, []string{"report", "-o", page, "--strict", bad}},
		{2, []string{"report", "-o", page, filepath.Dir(bad)}},
		{0, []string{"report", "-o", page, bad, good}},
		{3, []string{"report", "-o", page, "--strict", bad, good}},
		{2, []string{"export", "ecs", bad}},
		{2, []string{"export", "ecs", missing, bad}},
		{2, []string{"audit", "--rules", "cis-debian-12", bad, missing}},
		{2, []string{"mirror", missing}},
		{2, []string{"mirror", bad}},
		{2, []string{"mirror", bad, bad}},
		{1, []string{"mirror", bad, event}},
		{0, []string{"mirror", event}},
	} {
		code, _, errs := lkmRun(t, "", tt.args...)
		if code != tt.code || code == 2 && errs == "" {
			t.Errorf("%q: exit %d, want %d: %s", tt.args, code, tt.code, errs)
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
