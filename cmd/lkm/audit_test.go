// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/fleet/audit"
	"github.com/kernelext/kernelext/lkm/lkmtest"
)

// writeTemp writes a file of that text and returns its name.
func writeTemp(t *testing.T, base, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), base)
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// Exit codes: findings, unknown, nothing, and wrong usage.
func TestAuditExit(t *testing.T) {
	const demo = "demo:synthetic-debian-root"
	rules := func(text string) string { return writeTemp(t, "r.yaml", text) }
	deny := func(name string) string { return rules("rules:\n  - {id: r, kind: deny, modules: [" + name + "]}\n") }
	_, saved, _ := lkmRun(t, "", "list", "--tape", demo, "--format", "json")
	signed := rules("rules: [{id: r, kind: unsigned}]")
	for _, c := range []struct {
		args []string
		want int
		out  string
	}{
		{[]string{"--rules", deny("nvidia"), "--tape", demo}, 1, "FAIL    r     nvidia"},
		{[]string{"--rules", deny("nosuch"), "--tape", demo}, 0, "1 pass"},
		{[]string{"--rules", deny("nosuch"), demo, "demo:synthetic-freebsd-root"}, 0, "2 pass"},
		{[]string{"--rules", rules("rules: [{id: r, kind: unsigned, os: [aix]}]"), "--tape", demo}, 3,
			"no rule is for linux"},
		{[]string{"--rules", "cis-rhel-9", "--tape", demo}, 3, "UNKNOWN"},
		{[]string{"--rules", deny("nvidia"), "--explain", "--tape", demo}, 1,
			"  effective  in the list of what is denied"},
		{[]string{"--baseline", demo, demo}, 0, "baseline"},
		{[]string{"--rules", signed, "--baseline", writeTemp(t, "old.json", saved), demo}, 1, "pass     baseline  -"},
		{[]string{"--baseline", demo, "demo:synthetic-freebsd-root"}, 3, "the baseline is of linux"},
		{[]string{"--tape", demo}, 2, ""},
		{[]string{"--rules", "cis-debian", "--tape", demo}, 2, ""},
		{[]string{"--rules", deny("x"), "--format", "xml", "--tape", demo}, 2, ""},
		{[]string{"--rules", deny("x"), "--tape", demo, demo}, 2, ""},
		{[]string{"--rules", deny("x"), filepath.Join(t.TempDir(), "none")}, 2, ""},
		{[]string{"--rules", rules("rules: [{id: r, kind: denied}]"), "--tape", demo}, 2, ""},
	} {
		code, out, errs := lkmRun(t, "", append([]string{"audit"}, c.args...)...)
		if code != c.want || !strings.Contains(out, c.out) || (code == 2) != (errs != "") {
			t.Errorf("%q: exit %d, want %d with %q: %s%s", c.args, code, c.want, c.out, out, errs)
		}
	}
}

// An expired exception is a finding; a valid one is not.
func TestAuditException(t *testing.T) {
	text := `{"rules":[{"id":"r","kind":"deny","modules":["nvidia"]}],
		"exceptions":[{"rule":"r","subject":"nvidia","owner":"ops","reason":"GPU","expires":"DAY"}]}`
	for day, want := range map[string]int{"2999-01-01": 0, "2020-01-01": 1} {
		name := writeTemp(t, "r.json", strings.Replace(text, "DAY", day, 1))
		code, out, _ := lkmRun(t, "", "audit", "--rules", name, "--tape", "demo:synthetic-debian-root")
		if code != want || !strings.Contains(out, `exception "GPU" (ops)`) {
			t.Errorf("%s: exit %d: %s", day, code, out)
		}
	}
}

// A snapshot file, a tape and an image are given together; each format is whole.
func TestAuditFormats(t *testing.T) {
	_, snap, _ := lkmRun(t, "", "list", "--format", "json", "--tape", "demo:synthetic-debian-root")
	args := []string{"audit", "--rules", "stig-rhel-9", writeTemp(t, "s.json", snap), "demo:synthetic-debian-root",
		"--format"}
	for _, c := range []struct{ format, want string }{
		{"json", `"text": "unknown"`}, {"jsonl", `"rule":"stig-rhel-9:RHEL-09-213045"`},
		{"csv", "MACHINE,RESULT,RULE"}, {"markdown", "| MACHINE |"}, {"sarif", `"version": "2.1.0"`},
		{"junit", "<testsuites name=\"lkm audit\" tests=\"16\""},
	} {
		code, out, errs := lkmRun(t, "", append(args, c.format)...)
		if code != 3 || !strings.Contains(out, c.want) {
			t.Errorf("%s: exit %d, %.300s%s", c.format, code, out, errs)
		}
		if c.format == "json" {
			var r audit.Report
			if err := json.Unmarshal([]byte(out), &r); err != nil || len(r.Rows) != 16 || len(r.Targets) != 2 {
				t.Errorf("%v: %d rows", err, len(r.Rows))
			}
		}
	}
}

// The first rules of a machine are rules, which find nothing new on it. What they leave out is said.
func TestAuditInit(t *testing.T) {
	_, out, left := lkmRun(t, "", "audit", "--init", "--tape", "demo:synthetic-debian-root")
	name := writeTemp(t, "first.json", out)
	code, out, errs := lkmRun(t, "", "audit", "--rules", name, "--tape", "demo:synthetic-debian-root")
	if code != 3 || !strings.Contains(out, " 0 fail,") || errs != "" {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	if n := strings.Count(out, "UNKNOWN"); n == 0 || n != strings.Count(left, "lkm: not in these rules: ") {
		t.Errorf("%d rows are unknown: %s", n, left)
	}
	if code, out, errs := lkmRun(t, "", "audit", "--init", "no-such-file"); code != 2 || out != "" || errs == "" {
		t.Errorf("of a missing file: exit %d: %s%s", code, out, errs)
	}
}

// TestAuditUnread: a machine that could not be read has one unknown row in every format, the others are answered.
func TestAuditUnread(t *testing.T) {
	const demo = "demo:synthetic-debian-root"
	rules := writeTemp(t, "r.yaml", "rules:\n  - {id: r, kind: deny, modules: [nosuch]}\n")
	bad := writeTemp(t, "bad.json", "x\n")
	for _, names := range [][]string{{demo, bad}, {bad, demo}} {
		for format, want := range map[string][]string{
			"table": {"UNKNOWN  target", "pass     r", "neither a snapshot nor a tape"},
			"json":  {`"rule": "target"`, `"kind": "target"`, `"from": "unread"`, `"status": "pass"`},
			"jsonl": {`"rule":"target"`, `"status":"pass"`}, "csv": {",UNKNOWN,target,", ",pass,r,"},
			"sarif": {`"kind": "open"`, `"kind": "pass"`},
			"junit": {`tests="2" failures="0" errors="1"`, `<testcase name="target" classname="target">`},
		} {
			args := append([]string{"audit", "--rules", rules, "--format", format}, names...)
			code, out, errs := lkmRun(t, "", args...)
			if code != 2 || strings.Count(errs, "\n") != 1 || !strings.Contains(errs, "bad.json") {
				t.Errorf("%q: exit %d: %s", args, code, errs)
			}
			for _, text := range want {
				if !strings.Contains(out, text) {
					t.Errorf("%q: no %s:\n%s", args, text, out)
				}
			}
		}
	}
}

// TestAuditOfAnotherSystem: a machine that no rule is for is not green in any format.
func TestAuditOfAnotherSystem(t *testing.T) {
	rules := writeTemp(t, "r.yaml", "rules: [{id: r, kind: unsigned, os: [aix]}]\n")
	for format, want := range map[string]string{
		"table": "UNKNOWN  target", "json": `"because": "no rule is for linux"`, "sarif": `"kind": "open"`,
		"junit": `tests="1" failures="0" errors="1"`, "csv": "UNKNOWN,target,",
	} {
		code, out, errs := lkmRun(t, "", "audit", "--rules", rules, "--format", format, "demo:synthetic-debian-root")
		if code != 3 || !strings.Contains(out, want) || !strings.Contains(out, "no rule is for linux") {
			t.Errorf("%s: exit %d, no %s: %s%s", format, code, want, out, errs)
		}
	}
}

// YAML means what it looks like, and nothing that makes a small file large is read.
func TestYAML(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"a: 2026-12-01\nb: [x, '1', 7, true, ~]\n", `{"a":"2026-12-01","b":["x","1",7,true,null]}`},
		{"a: \"\\u202e\"\n", "{\"a\":\"\u202e\"}"},
		{"", "empty"}, {"a: 1.10\n", "in quotes"}, {"a: &x 1\nb: *x\n", "anchors"},
		{"a: &a [x, x]\nb: &b [*a, *a]\n", "anchors"}, {"a: 1\n---\nb: 2\n", "more than one"},
		{"[[[[[[[[[[[[1]]]]]]]]]]]]", "nested"}, {"a: !!binary aGk=\n", "not read"}, {"{[a]: 1}", "key"},
		{"a: [\n", "did not find"}, {"<<: {a: 1}\n", "key"},
	} {
		out, err := jsonOfYAML([]byte(c.text))
		if got := string(out); err == nil && got != c.want || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %s, %v; want %s", c.text, got, err, c.want)
		}
	}
}

// Whatever YAML holds, it is refused or is JSON.
func FuzzYAML(f *testing.F) {
	f.Add([]byte("rules:\n  - {id: a, kind: unsigned}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if out, err := jsonOfYAML(data); err == nil && !json.Valid(out) {
			t.Fatalf("%q", out)
		}
	})
}

// With --kernel all each kernel of an image is judged by itself, as without it.
func TestAuditKernelAll(t *testing.T) {
	root := t.TempDir()
	for _, v := range []string{"6.1.0", "6.12.0"} {
		dir := filepath.Join(root, "lib/modules", v)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, index := range []string{"dep", "alias", "softdep", "symbols", "builtin", "builtin.modinfo"} {
			if err := os.WriteFile(filepath.Join(dir, "modules."+index), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	rules := tempFile(t, "rules.json", []byte(`{"rules": [{"id": "d", "kind": "deny", "modules": ["evil*"]}]}`))
	want, _, code := runLkm(t, "audit", "--rules", rules, "--root", root, "--os", "linux")
	got, stderr, all := runLkm(t, "audit", "--rules", rules, "--root", root, "--os", "linux", "--kernel", "all")
	if got != want || all != code || strings.Count(got, "0 installed modules") != 2 {
		t.Errorf("%d, %d, %s\n%s\n%s", code, all, stderr, got, want)
	}
}

// TestDiscrepancyRuleIsStrict: a rule of kind discrepancy is unknown where discrepancies --strict says that something
// was not compared, and only there.
func TestDiscrepancyRuleIsStrict(t *testing.T) {
	rules := tempFile(t, "rules.json", []byte(`{"schema":0,"rules":[{"id":"d","kind":"discrepancy"}]}`))
	compared := 0
	for _, name := range lkmtest.Names() {
		at := []string{"--tape", "demo:" + name}
		_, _, strict := runLkm(t, append([]string{"discrepancies", "--strict"}, at...)...)
		out, _, code := runLkm(t, append([]string{"audit", "--rules", rules}, at...)...)
		if strict == exitFatal || strict == exitFindings {
			continue // nothing is compared there, or a finding decides
		}
		compared++
		if strict != code {
			t.Errorf("%s: %d, and audit %d: %s", name, strict, code, out)
		}
	}
	if compared < 5 {
		t.Errorf("%d machines", compared)
	}
}
