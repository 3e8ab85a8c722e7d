// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestNothingRead asks an empty root of each system: no answer is a settled one, and each unknown names its source or
// what it is about.
func TestNothingRead(t *testing.T) {
	root := t.TempDir()
	rules := tempFile(t, "rules.json", []byte(`{"schema":0,"rules":[
{"id":"loading","kind":"policy","fact":"loading","values":["any","signed","none"]},
{"id":"deny","kind":"deny","modules":["udf"]}]}`))
	for _, system := range strings.Fields("linux freebsd dragonfly netbsd illumos solaris darwin windows") {
		at := []string{"--root", root, "--os", system}
		for _, c := range []struct {
			args []string
			code int
		}{
			{[]string{"policy", "--strict"}, exitIncomplete}, {[]string{"check", "udf"}, exitIncomplete},
			{[]string{"check", "pci:v00008086d*"}, exitIncomplete},
			{[]string{"audit", "--rules", rules}, exitIncomplete},
			{[]string{"policy"}, 0}, {[]string{"facts"}, 0},
		} {
			out, _, code := runLkm(t, append(c.args, at...)...)
			if code != c.code {
				t.Errorf("%s: %v: exit code %d\n%s", system, c.args, code, out)
			}
			for line := range strings.Lines(out) {
				if f := strings.Fields(line); len(f) > 1 && f[0] == "unknown" && f[1] == ":" {
					t.Errorf("%s: %v: %s", system, c.args, line)
				}
			}
			for _, settled := range []string{"YES", " absent ", "ABSENT", "pass ", `"lkm_policy":`} {
				if strings.Contains(out, settled) {
					t.Errorf("%s: %v: %s in\n%s", system, c.args, settled, out)
				}
			}
		}
		out, _, _ := runLkm(t, append([]string{"list", "--installed", "--strict", "--format", "csv"}, at...)...)
		if strings.Count(out, "\n") > 1 {
			t.Errorf("%s: %s", system, out)
		}
	}
	if entries, err := os.ReadDir(filepath.Clean(root)); err != nil || len(entries) > 0 {
		t.Errorf("%v, %v", entries, err)
	}
}
