// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestListNotRead: of a list that was refused, or that may lack modules, no word says that there is nothing: an audit
// is unknown, an export says on standard error what is missing and is incomplete under --strict, and a refused machine
// gives no file at all.
func TestListNotRead(t *testing.T) {
	snapshot := func(outcome, modules string) string {
		return writeTemp(t, "s.json", `{"schema":0,"os":"linux","live":"yes","modules":[`+modules+
			`],"sources":[{"name":"proc_modules","outcome":"`+outcome+`","code":"permission"}]}`)
	}
	one := `{"id":"linux_module:a","kind":"linux_module","name":"a","state":"loaded","linux":{"taints":[]}}`
	rules := writeTemp(t, "r.yaml", "rules:\n  - {id: d, kind: deny, modules: [nvidia]}\n  - {id: t, kind: tainted}\n"+
		"  - {id: a, kind: allow, modules: [a]}\n  - {id: m, kind: must_not_load, modules: [cramfs]}\n")
	nothing := regexp.MustCompile(`(?i)\b(pass|none|absent)\b|\} 0$|: 0\b|>0<`)
	files := []string{snapshot("denied", ""), snapshot("failed", ""), snapshot("partial", one), snapshot("skipped", "")}
	for _, name := range files {
		code, out, errs := lkmRun(t, "", "audit", "--rules", rules, "--format", "csv", name)
		if code != exitIncomplete || nothing.MatchString(out) || !strings.Contains(out, "UNKNOWN") {
			t.Errorf("audit: exit %d, %s%s", code, out, errs)
		}
		for format := range exportFormats() {
			code, out, errs := lkmRun(t, "", "export", format, "--strict", name)
			if code != exitIncomplete || !strings.Contains(errs, "the list of modules is not whole") ||
				format == "prometheus" && !strings.Contains(out, "\nkernel_extension_list_complete 0\n") {
				t.Errorf("export %s: exit %d, %s%s", format, code, out, errs)
			}
			for line := range strings.Lines(out) {
				if strings.HasPrefix(line, "kernel_extensions") && strings.HasSuffix(line, " 0\n") {
					t.Errorf("export %s: %s", format, line)
				}
			}
			if code, _, errs := lkmRun(t, "", "export", format, name); code != 0 || errs == "" {
				t.Errorf("export %s, not strict: exit %d, %q", format, code, errs)
			}
		}
		code, out, errs = lkmRun(t, "", "report", "-o", "-", "--strict", name)
		_, cards, _ := strings.Cut(out, `class="cards"`)
		cards, _, _ = strings.Cut(cards, "</section>")
		if code != exitIncomplete || regexp.MustCompile(`>0<|good`).MatchString(cards) {
			t.Errorf("report: exit %d, %s%s", code, cards, errs)
		}
	}
	for _, tape := range []string{"synthetic-procsubset", "synthetic-freebsd-denied", "synthetic-macos-denied"} {
		for format := range exportFormats() {
			code, out, errs := lkmRun(t, "", "export", format, "--tape", "demo:"+tape)
			if code != exitFatal || out != "" || !strings.Contains(errs, "list modules") {
				t.Errorf("%s, %s: exit %d, %q, %q", tape, format, code, out, errs)
			}
		}
		code, out, _ := lkmRun(t, "", "report", "-o", "-", "--tape", "demo:"+tape)
		if code != exitFatal || out != "" {
			t.Errorf("%s, report: exit %d, %q", tape, code, out)
		}
		code, out, _ = lkmRun(t, "", "audit", "--rules", rules, "--format", "csv", "--tape", "demo:"+tape)
		if tape == "synthetic-procsubset" && (code != exitIncomplete || nothing.MatchString(out)) {
			t.Errorf("%s, audit: exit %d, %s", tape, code, out)
		}
		code, out, _ = lkmRun(t, "", "facts", "--strict", "--tape", "demo:"+tape, "cramfs")
		if code != exitIncomplete || nothing.MatchString(out) || strings.Contains(out, "[]") {
			t.Errorf("%s, facts: exit %d, %s", tape, code, out)
		}
	}
}

// TestRootsWithoutList: a root where what lists the modules is not there, because it is on another disk or was left
// out of a copy, is never a list of nothing.
func TestRootsWithoutList(t *testing.T) {
	rules := writeTemp(t, "r.yaml", "rules:\n  - {id: a, kind: allow, modules: [\"x*\"]}\n"+
		"  - {id: d, kind: deny, modules: [\"evil*\"]}\n")
	jail, volume := t.TempDir(), t.TempDir()
	for name, text := range map[string]string{
		jail + "/etc/os-release":                       "ID=freebsd\n",
		volume + "/Windows/System32/drivers/xdisk.sys": "",
		volume + "/ProgramData/evil/evil.sys":          "",
	} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("bootpool/boot", filepath.Join(jail, "boot")); err != nil {
		t.Log(err) // then it is not there at all
	}
	roots := [][2]string{{"freebsd", jail}, {"windows", volume}}
	for _, system := range []string{"linux", "freebsd", "dragonfly", "netbsd", "darwin", "illumos", "windows"} {
		roots = append(roots, [2]string{system, t.TempDir()})
	}
	passes := regexp.MustCompile(`(?m)^pass |\b0 installed|list_complete 1$`)
	for _, root := range roots {
		at := []string{"--os", root[0], "--root", root[1]}
		code, out, errs := lkmRun(t, "", append([]string{"audit", "--rules", rules}, at...)...)
		if code != exitIncomplete || passes.MatchString(out) || !strings.Contains(out, "UNKNOWN") {
			t.Errorf("audit %v: exit %d, %s%s", at, code, out, errs)
		}
		code, out, errs = lkmRun(t, "", append([]string{"list", "--installed", "--strict"}, at...)...)
		if code != exitIncomplete && code != exitFatal || passes.MatchString(out) {
			t.Errorf("list %v: exit %d, %s%s", at, code, out, errs)
		}
		code, out, errs = lkmRun(t, "", append([]string{"export", "prometheus", "--strict"}, at...)...)
		if code != exitIncomplete && code != exitFatal || passes.MatchString(out) {
			t.Errorf("export %v: exit %d, %s%s", at, code, out, errs)
		}
	}
}

// TestFilteredIsNotWhole: a snapshot from which a filter left modules out is no whole list for whoever reads it later.
func TestFilteredIsNotWhole(t *testing.T) {
	rules := writeTemp(t, "r.yaml", "rules:\n  - {id: d, kind: deny, modules: [\"*\"]}\n")
	for _, tt := range []struct{ tape, some, all, none string }{
		{"synthetic-debian-root", "--name ah*", "--state loaded", "--name nothing"},
		{"synthetic-freebsd-root", "--name z*", "--state loaded", "--name nothing"},
		{"synthetic-macos-root", "--name *acpi*", "--state loaded", "--name nothing"},
		{"synthetic-windows11-admin", "--name a*", "--name *", "--name nothing"},
	} {
		saved := func(filter string) string {
			args := append([]string{"list", "--format", "json", "--tape", "demo:" + tt.tape}, strings.Fields(filter)...)
			code, out, errs := lkmRun(t, "", args...)
			if code != 0 {
				t.Fatalf("%q: exit %d: %s", args, code, errs)
			}
			return writeTemp(t, "s.json", out)
		}
		whole := saved("")
		if code, _, errs := lkmRun(t, "", "diff", whole, saved(tt.all)); code != 0 || errs != "" {
			t.Errorf("%s, a filter that takes all: exit %d: %s", tt.tape, code, errs)
		}
		some, none := saved(tt.some), saved(tt.none)
		for _, name := range []string{some, none} {
			code, out, errs := lkmRun(t, "", "diff", whole, name)
			if code != 0 || strings.Contains(out, "\nremoved") || !strings.Contains(errs, "a filter left out") {
				t.Errorf("%s: exit %d: %s%s", tt.tape, code, out, errs)
			}
			code, out, _ = lkmRun(t, "", "export", "prometheus", name)
			if code != 0 || !strings.Contains(out, "\nkernel_extension_list_complete 0\n") {
				t.Errorf("%s: exit %d: %s", tt.tape, code, out)
			}
		}
		if code, out, _ := lkmRun(t, "", "audit", "--rules", rules, none); code != exitIncomplete {
			t.Errorf("%s: exit %d: %s", tt.tape, code, out)
		}
	}
}
