// SPDX-License-Identifier: Apache-2.0

package audit_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/kernelext/kernelext/fleet/audit"
	"github.com/kernelext/kernelext/lkm"
)

// hostile is a report with one row of each status and with names that an attacker chose.
func hostile(t *testing.T) *audit.Report {
	t.Helper()
	evil := module("]]>&<\x1b[31m\u202e\xff")
	third := module("nvidia")
	third.Origin.Class, third.Path = lkm.OriginThirdParty, "/lib/a b%.ko"
	evil.Origin.Class = lkm.OriginThirdParty
	rules := &audit.Rules{Rules: []audit.Rule{
		{ID: "r", Kind: audit.ThirdParty, References: []string{"ATT&CK T1547.006", "ATT&CK T1547.006"}},
		{ID: "d", Kind: audit.Deny, Modules: []string{"nosuch"}},
	}, Exceptions: []audit.Exception{{Rule: "r", Subject: "nvidia", Owner: "o", Reason: "w", Expires: "2027-01-01"}}}
	return run(t, audit.Options{}, []audit.Target{{Name: "a<b", Snapshot: snapshot(evil, third, module("c"))}}, rules)
}

// SARIF says of each row what kind of result it is.
func TestSARIF(t *testing.T) {
	text, err := hostile(t).SARIF()
	if err != nil {
		t.Fatal(err)
	}
	var log struct {
		Version string
		Runs    []struct {
			Tool struct {
				Driver struct{ Rules []struct{ ID string } }
			}
			Results []struct {
				RuleID       string
				RuleIndex    int
				Kind, Level  string
				Suppressions []any
			}
		}
	}
	if err := json.Unmarshal(text, &log); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, res := range log.Runs[0].Results {
		if log.Runs[0].Tool.Driver.Rules[res.RuleIndex].ID != res.RuleID {
			t.Errorf("ruleIndex %d is not %s", res.RuleIndex, res.RuleID)
		}
		word := res.Kind + "/" + res.Level
		if len(res.Suppressions) > 0 {
			word += "/suppressed"
		}
		got = append(got, word)
	}
	want := "fail/warning fail/warning/suppressed open/none pass/none"
	if s := strings.Join(got, " "); s != want || log.Version != "2.1.0" {
		t.Errorf("%s %s, want %s", log.Version, s, want)
	}
	if !strings.Contains(string(text), `"lib/a%20b%25.ko"`) {
		t.Error("the file is not a URI")
	}
}

// JUnit is read by a reader that knows only the format's own names.
func TestJUnit(t *testing.T) {
	text, err := hostile(t).JUnit()
	if err != nil {
		t.Fatal(err)
	}
	counts := make(map[string]int)
	attrs := make(map[string]string)
	d := xml.NewDecoder(strings.NewReader(string(text)))
	for {
		tok, err := d.Token()
		if tok == nil {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if start, ok := tok.(xml.StartElement); ok {
			counts[start.Name.Local]++
			if start.Name.Local == "testsuite" {
				for _, a := range start.Attr {
					attrs[a.Name.Local] = a.Value
				}
			}
		}
	}
	if counts["testcase"] != 4 || counts["failure"] != 1 || counts["error"] != 1 || counts["skipped"] != 1 {
		t.Errorf("%v", counts)
	}
	if attrs["name"] != "a<b" || attrs["tests"] != "4" || attrs["failures"] != "1" || attrs["errors"] != "1" ||
		attrs["skipped"] != "1" {
		t.Errorf("%v", attrs)
	}
	if bytes.ContainsRune(text, 0x1b) || !utf8.Valid(text) {
		t.Error("control characters are left")
	}
}
