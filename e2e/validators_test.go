// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/kernelext/kernelext/e2e/lab"
	"github.com/kernelext/kernelext/fleet/audit"
	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/lkm/lkmtest"
)

// Packages of npm that other validators come in. That of SARIF's schema is fetched, not installed.
const (
	ajvPackages  = "ajv@8.20.0 ajv-formats@3.0.1 ajv-draft-04@1.0.0"
	sarifPackage = "@microsoft/jest-sarif@1.0.0-beta.0"
)

// command runs a program in a directory and returns what it prints.
func command(t *testing.T, dir, stdin, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(stdin)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s%s", name, args, err, out, errs.String())
	}
	return string(out)
}

// sarifSchema returns the file of SARIF's published schema.
func sarifSchema(t *testing.T) string {
	t.Helper()
	lab.Tools(t, "npm", "tar")
	dir := t.TempDir()
	archive := strings.TrimSpace(command(t, dir, "", "npm", "pack", "--silent", sarifPackage))
	command(t, dir, "", "tar", "xzf", archive)
	return filepath.Join(dir, "package/lib/schemas/sarif-2.1.0-rtm.5.json")
}

// hostileTarget is a machine whose names others chose, with findings of each status.
func hostileTarget() (audit.Target, *audit.Rules) {
	third := lkm.Origin{Class: lkm.OriginThirdParty}
	s := &lkm.Snapshot{OS: lkm.Linux, Sources: []lkm.Source{{Name: "proc_modules", Outcome: lkm.OutcomeOK}}}
	for i, name := range []string{"=cmd|'/C calc'!A0", "]]>&<\x1b[31m\u202e\xff", "a b%/../\\\"", "../../x", "//host/x",
		"c:x", ""} {
		s.Modules = append(s.Modules, lkm.Module{ID: fmt.Sprint("linux_module:", name, i), Name: name, Path: name,
			State: lkm.StateLoaded, Origin: third})
	}
	s.Modules = append(s.Modules, lkm.Module{ID: "linux_module:n", Name: "n", State: lkm.StateLoaded})
	rules := &audit.Rules{Rules: []audit.Rule{{ID: "t<&\x00", Kind: audit.ThirdParty, Title: "\xff"},
		{ID: "d", Kind: audit.Deny, Modules: []string{"q"}}}, Exceptions: []audit.Exception{{Rule: "*", Subject: "c:x",
		Owner: "o", Reason: "]]>\x01", Expires: "2999-01-01"}, {Rule: "gone", Owner: "o", Reason: "r",
		Expires: "2001-01-01"}}}
	return audit.Target{Name: "h\x1b\"<", Snapshot: s}, rules
}

// auditReports are reports with rows of every kind, of the tapes and of a hostile machine.
func auditReports(t *testing.T) (reports []*audit.Report) {
	t.Helper()
	target, rules := hostileTarget()
	report, err := audit.Run(t.Context(), []audit.Target{target}, []*audit.Rules{rules},
		audit.Options{Today: time.Now()})
	if err != nil || report.Counts.Fail == 0 || report.Counts.Pass == 0 || report.Counts.Unknown == 0 ||
		report.Counts.Excepted == 0 {
		t.Fatalf("%v: %+v", err, report)
	}
	reports = append(reports, report)
	for _, name := range lkmtest.Names() {
		for _, s := range snapshotsOf(t, name) {
			for _, set := range audit.Sets() {
				reports = append(reports, auditOf(t, set, name, s))
			}
		}
	}
	return reports
}

// TestSARIFSchema: what an audit writes as SARIF is valid by SARIF's published schema.
func TestSARIFSchema(t *testing.T) {
	if !full {
		t.Skip("fetches the schema with npm: .ci/run full")
	}
	schema, err := jsonschema.NewCompiler().Compile(sarifSchema(t))
	if err != nil {
		t.Fatal(err)
	}
	if schema.Validate(map[string]any{"version": "2.1.0", "runs": 1}) == nil {
		t.Error("the schema takes anything")
	}
	reports := auditReports(t)
	for _, r := range reports {
		text, err := r.SARIF()
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(doc); err != nil {
			t.Errorf("%v: %.600s", err, text)
		}
	}
	t.Logf("%d logs are valid SARIF", len(reports))
}

// TestAjv: a second validator, ajv, accepts every document of the published schemas, and of SARIF.
func TestAjv(t *testing.T) {
	if !full {
		t.Skip("installs a second validator: .ci/run full")
	}
	lab.Tools(t, "node", "npm")
	root, err := lab.Root()
	if err != nil {
		t.Fatal(err)
	}
	docs := make(map[string]*bytes.Buffer)
	add := func(schema string, value any) {
		if docs[schema] == nil {
			docs[schema] = new(bytes.Buffer)
		}
		if err := json.NewEncoder(docs[schema]).Encode(value); err != nil {
			t.Fatal(err)
		}
	}
	var old *lkm.Snapshot
	for _, name := range lkmtest.Names() {
		for _, s := range snapshotsOf(t, name) {
			if add("snapshot", s); old != nil {
				add("delta", lkm.Diff(old, s))
			}
			old = s
		}
		for _, e := range eventsOf(t, name) {
			add("event", e)
		}
	}
	for _, r := range auditReports(t) {
		add("audit", r)
		text, err := r.SARIF()
		if err != nil {
			t.Fatal(err)
		}
		add("sarif", json.RawMessage(text))
	}
	dir := t.TempDir()
	command(t, dir, "", "npm", append([]string{"install", "--silent", "--no-audit", "--no-fund", "--prefix", dir},
		strings.Fields(ajvPackages)...)...)
	var list strings.Builder
	for name, text := range docs {
		schema := filepath.Join(root, "schema", name+".json")
		if name == "sarif" {
			schema = sarifSchema(t)
		}
		file := filepath.Join(dir, name+".jsonl")
		if err := os.WriteFile(file, text.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&list, "%s %s %s\n", name, schema, file)
	}
	out := command(t, dir, list.String(), "node", filepath.Join(root, "e2e/validators/validate.js"))
	for name, text := range docs {
		if want := fmt.Sprintf("%s %d\n", name, bytes.Count(text.Bytes(), []byte("\n"))); !strings.Contains(out, want) {
			t.Errorf("want %s in %s", want, out)
		}
	}
	t.Logf("valid by ajv: %s", strings.ReplaceAll(strings.TrimSpace(out), "\n", ", "))
}

// TestJUnitReader: another program's reader, junitparser, counts in the JUnit files what the reports have.
func TestJUnitReader(t *testing.T) {
	const python = "/usr/bin/python3" // Debian's, which has Debian's packages
	if err := exec.Command(python, "-c", "import junitparser").Run(); err != nil {
		lab.Met(t, fmt.Errorf("%s has no junitparser (%w): run e2e/setup.sh", python, err))
	}
	root, err := lab.Root()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	args := []string{filepath.Join(root, "e2e/validators/junit.py")}
	var want strings.Builder
	reports := auditReports(t)
	for i, r := range reports {
		text, err := r.JUnit()
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, fmt.Sprintf("%d.xml", i))
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, file)
		fmt.Fprintln(&want, len(r.Rows), r.Counts.Fail, r.Counts.Unknown, r.Counts.Excepted)
	}
	if out := command(t, dir, "", python, args...); out != want.String() {
		t.Errorf("junitparser counts\n%s\nwant\n%s", out, want.String())
	}
	t.Logf("junitparser reads %d files as they are", len(reports))
}
