// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/fact"
)

// wholeFile uses every key.
const wholeFile = `{"schema": 0, "name": "n", "title": "t", "version": "1", "rules": [
{"id": "a", "kind": "must_not_load", "title": "x", "severity": "low", "references": ["CIS 1"], "os": ["linux"],
 "modules": ["usb-storage"], "check": "oval"},
{"id": "b", "kind": "must_be_loaded", "modules": ["nvme"]},
{"id": "c", "kind": "allow", "modules": ["a*"], "scope": "installed"},
{"id": "d", "kind": "deny", "modules": ["[ab]?"], "scope": "loaded"},
{"id": "e", "kind": "third_party"}, {"id": "f", "kind": "unsigned"},
{"id": "g", "kind": "unknown_signer", "signers": ["Debian*"]},
{"id": "h", "kind": "tainted", "taints": ["O"]},
{"id": "i", "kind": "block_listed"},
{"id": "j", "kind": "discrepancy", "grades": ["strong"]},
{"id": "k", "kind": "disk_memory"},
{"id": "l", "kind": "policy", "fact": "modules_disabled", "values": ["1"]}],
"exceptions": [{"rule": "a", "subject": "usb*", "host": "db*", "owner": "ops", "reason": "disks",
 "expires": "2026-12-01"}]}`

// What was read and written again is the same.
func TestReadWhole(t *testing.T) {
	r, err := Read("site.json", []byte(wholeFile))
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Rules) != 12 || len(r.Exceptions) != 1 || r.Rules[11].Fact != "modules_disabled" || r.Version != "1" {
		t.Errorf("read %+v", r)
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Read("again", text)
	if err != nil || !reflect.DeepEqual(r, again) {
		t.Errorf("again: %v", err)
	}
}

// A file that is invalid is refused with its name, the rule and the field.
func TestReadRefuses(t *testing.T) {
	rule := func(s string) string { return `{"rules":[` + s + `]}` }
	exception := func(s string) string {
		return `{"rules":[{"id":"a","kind":"unsigned"}],"exceptions":[` + s + `]}`
	}
	many := strings.TrimSuffix(strings.Repeat(`"a",`, maxValues+1), ",")
	for _, c := range []struct{ text, want string }{
		{``, "not an object"}, {`[]`, "not an object"}, {`{`, "EOF"}, {`{} {}`, "text after"},
		{`{}`, "rules: none"}, {`{"rules":[]}`, "rules: none"}, {`{"rules":{}}`, "rules: not a list"},
		{`{"rulez":[]}`, `"rulez": no such key`}, {`{"Rules":[]}`, `"Rules": no such key`},
		{`{"rules":[],"rules":[]}`, "rules: appears twice"}, {`{"schema":1,"rules":[]}`, "schema: 1 is not 0"},
		{`{"schema":"0"}`, "schema: not a whole number"}, {`{"version":1.1}`, "version: not a text"},
		{`{"rules":null}`, "rules: not a list"}, {"{\"title\":\"\xff\"}", "UTF-8"},
		{strings.Repeat("[", 20), "nested deeper"}, {rule(`1`), "rules[0]: not an object"},
		{rule(`{"id":"a"}`), `rules[0] ("a"): kind: "" is not a kind`},
		{rule(`{"kind":"unsigned"}`), `id: missing`},
		{rule(`{"id":"a","kind":"unsigned"},{"id":"a","kind":"tainted"}`), `rules[1]: id: "a" appears twice`},
		{rule(`{"id":"a","kind":"unsigned","modules":["x"]}`), `rules[0] ("a"): modules: a rule of kind unsigned`},
		{rule(`{"id":"a","kind":"deny"}`), `modules: missing`},
		{rule(`{"id":"a","kind":"deny","modules":null}`), `modules: not`},
		{rule(`{"id":"a","kind":"deny","modules":"x"}`), `modules: not a list of texts`},
		{rule(`{"id":"a","kind":"deny","modules":["[x"]}`), `"[x" is not a pattern`},
		{rule(`{"id":"a","kind":"deny","modules":[""]}`), `"" is not a pattern`},
		{rule(`{"id":"a","kind":"deny","modules":[` + many + `]}`), "more than 5000"},
		{rule(`{"id":"a","kind":"must_not_load","modules":["x*"]}`), "takes names"},
		{rule(`{"id":"a","kind":"must_not_load","modules":["x"],"check":"grep"}`), `check: "grep" is not one of`},
		{rule(`{"id":"a","kind":"unsigned","severity":"bad"}`), `severity: "bad" is not one of low`},
		{rule(`{"id":"a","kind":"unsigned","scope":"all"}`), `scope: "all" is not one of`},
		{rule(`{"id":"a","kind":"unsigned","os":["plan9"]}`), `os: "plan9" is not one of`},
		{rule(`{"id":"a","kind":"discrepancy","grades":["x"]}`), `grades: "x" is not one of`},
		{rule(`{"id":"a","kind":"policy","fact":"x"}`), `values: missing`},
		{rule(`{"id":"a","kind":"policy","fact":"x","values":[]}`), `values: empty`},
		{rule(`{"id":"a","kind":"policy","fact":"","values":["x"]}`), `fact: missing`},
		{rule(`{"id":"a","kind":"deny","modules":[]}`), `modules: empty`},
		{rule(`{"id":"a","kind":"must_not_load","modules":[]}`), `modules: empty`},
		{rule(`{"id":"a","kind":"must_be_loaded","modules":[]}`), `modules: empty`},
		{rule(`{"id":"a","kind":"must_not_load","modules":["x "]}`), `a space before or behind`},
		{rule(`{"id":"a","kind":"deny","modules":["x", " y*"]}`), `a space before or behind`},
		{rule(`{"id":"a","kind":"tainted","taints":["PO"]}`), `taints: "PO" is not a letter`},
		{rule(`{"id":"a","kind":"tainted","taints":["o"]}`), `taints: "o" is not a letter`},
		{rule(`{"id":"a","kind":"tainted","taints":[""]}`), `"" is not a pattern`},
		{rule(`{"id":"a","kind":"baseline"}`), `kind: "baseline" is not a kind`},
		{rule(`{"id":"` + strings.Repeat("a", 1001) + `","kind":"unsigned"}`), "id: a text of 1001 bytes"},
		{exception(`{"rule":"a","owner":"o","reason":"r"}`), `exceptions[0] ("a"): expires: missing`},
		{exception(`{"rule":"a","owner":"o","expires":"2026-01-01"}`), `reason: missing`},
		{exception(`{"rule":"a","reason":"r","expires":"2026-01-01"}`), `owner: missing`},
		{exception(`{"rule":"a","owner":" ","reason":"r","expires":"2026-01-01"}`), `owner: missing`},
		{exception(`{"rule":"a","owner":"o","reason":"\t","expires":"2026-01-01"}`), `reason: missing`},
		{exception(`{"rule":"a","owner":"o","reason":"r","expires":"1.1.2026"}`), `not a day`},
		{exception(`{"rule":"a","owner":"o","reason":"r","expires":"2026-02-30"}`), `not a day`},
		{exception(`{"rule":"a","owner":"o","reason":"r","expires":"2026-01-01","until":"x"}`), `"until": no such key`},
	} {
		_, err := Read("site.json", []byte(c.text))
		if err == nil || !errors.Is(err, fact.ErrMalformed) || !strings.Contains(err.Error(), c.want) ||
			!strings.HasPrefix(err.Error(), "audit: site.json: ") {
			t.Errorf("%.60s: %v, want %s", c.text, err, c.want)
		}
	}
	if _, err := Read("x", make([]byte, MaxFile+1)); !errors.Is(err, fact.ErrTooLarge) {
		t.Errorf("a large file: %v", err)
	}
}

// The rules that come with the package are what a file could hold, and are pinned to a version.
func TestSets(t *testing.T) {
	want := map[string]int{"cis-debian-12": 13, "cis-ubuntu-22.04": 12, "cis-ubuntu-24.04": 13, "cis-rhel-9": 12,
		"cis-rhel-10": 16, "stig-rhel-9": 8}
	if len(Sets()) != len(want) {
		t.Errorf("sets %v", Sets())
	}
	for name, n := range want {
		set, err := Set(name)
		if err != nil {
			t.Fatal(err)
		}
		if len(set.Rules) != n || set.Version == "" {
			t.Errorf("%s has %d rules, want %d; version %q", name, len(set.Rules), n, set.Version)
		}
		text, err := json.Marshal(set)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := Read(name, text); err != nil || !reflect.DeepEqual(again, set) {
			t.Errorf("%s as a file: %v", name, err)
		}
	}
	if _, err := Set("cis-debian-99"); err == nil || !strings.Contains(err.Error(), "stig-rhel-9") {
		t.Errorf("an unknown set: %v", err)
	}
}

// Whatever a rule file holds, it is refused or makes rules that can be written and read again.
func FuzzRead(f *testing.F) {
	f.Add([]byte(wholeFile))
	f.Add([]byte(`{"rules":[{"id":"a","kind":"deny","modules":["[x-\\]*"]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := Read("fuzz", data)
		if err != nil {
			return
		}
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Read("again", text)
		if err != nil && !errors.Is(err, fact.ErrTooLarge) || err == nil && len(again.Rules) != len(r.Rules) {
			t.Fatalf("again: %v", err)
		}
	})
}
