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

// TestUnreadFiles: a word that reads many files does the rest if it cannot read one that is named, says so in one line,
// and exits 2.
func TestUnreadFiles(t *testing.T) {
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
		{2, []string{"report", "-o", page, bad, good}},
		{2, []string{"report", "-o", page, "--strict", bad, good}},
		{2, []string{"report", "-o", page, good, missing}},
		{0, []string{"report", "-o", page, filepath.Dir(bad), good}},
		{3, []string{"report", "-o", page, "--strict", filepath.Dir(bad), good}},
		{2, []string{"export", "ecs", bad}},
		{2, []string{"export", "ecs", missing, bad}},
		{2, []string{"audit", "--rules", "cis-debian-12", bad, missing}},
		{2, []string{"mirror", missing}},
		{2, []string{"mirror", bad}},
		{2, []string{"mirror", bad, bad}},
		{1, []string{"mirror", bad, event}},
		{2, []string{"mirror", missing, event}},
		{2, []string{"mirror", event, missing}},
		{0, []string{"mirror", event}},
		{2, []string{"import", missing}},
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

// TestGoodBesideBad: of two files that are named the good one is written, whichever comes first.
func TestGoodBesideBad(t *testing.T) {
	bad, lsmod := tempFile(t, "bad.json", []byte("x\n")), tempFile(t, "lsmod",
		[]byte("Module                  Size  Used by\nnvme                   61440  2\n"))
	const good = "demo:synthetic-debian-root"
	_, text, _ := lkmRun(t, "", "watch", "--tape", good, "--host", "web1")
	events := tempFile(t, "events.jsonl", []byte(text))
	for about, c := range map[string]struct {
		args []string
		good string
		want string
	}{
		"export":       {[]string{"export", "kernel_modules"}, good, `"nvidia"`},
		"import":       {[]string{"import"}, lsmod, "1 loaded"},
		"import, json": {[]string{"import", "--format", "json"}, lsmod, `"linux_module:nvme"`},
		"report":       {[]string{"report", "-o", "-"}, good, "nvidia"},
		"mirror":       {[]string{"mirror"}, events, `"web1"`},
	} {
		lost := bad
		if about == "mirror" {
			lost = filepath.Join(t.TempDir(), "missing")
		}
		for _, names := range [][]string{{c.good, lost}, {lost, c.good}} {
			code, out, errs := lkmRun(t, "", append(c.args, names...)...)
			if code != 2 || !strings.Contains(out, c.want) || strings.Count(errs, filepath.Base(lost)) == 0 ||
				strings.Count(errs, "\n") != 1 {
				t.Errorf("%s of %q: exit %d, %.300s, %s", about, names, code, out, errs)
			}
		}
	}
	old := tempFile(t, "old.prom", []byte("before"))
	code, _, _ := lkmRun(t, "", "export", "prometheus", "-o", old, bad, bad)
	if left, err := os.ReadFile(old); code != 2 || err != nil || string(left) != "before" {
		t.Errorf("nothing was read: exit %d, %v, %q", code, err, left)
	}
}
