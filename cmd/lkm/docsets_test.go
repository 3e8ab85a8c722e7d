// SPDX-License-Identifier: Apache-2.0

package main

import (
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/kernelext/kernelext/fleet/audit"
)

// TestCompliancePage: the page names each set with its benchmark and version, and each kind of rule.
func TestCompliancePage(t *testing.T) {
	page := readPage(t, filepath.Join("..", "..", "docs", "compliance.md"))
	for _, name := range audit.Sets() {
		set, err := audit.Set(name)
		if err != nil {
			t.Fatal(err)
		}
		row := "| `" + name + "` | " + set.Title + ", " + set.Version + " | `" + string(set.Rules[0].Check) + "` |"
		if !strings.Contains(page, row) {
			t.Errorf("no row %s", row)
		}
	}
	for _, kind := range []audit.Kind{audit.MustNotLoad, audit.MustBeLoaded, audit.Allow, audit.Deny, audit.ThirdParty,
		audit.Unsigned, audit.UnknownSigner, audit.Tainted, audit.BlockListed, audit.Discrepancies, audit.DiskMemory,
		audit.PolicyFact} {
		if !strings.Contains(page, "`"+string(kind)+"`") {
			t.Errorf("no kind %s", kind)
		}
	}
}

// TestPagesYAML: a page's YAML is YAML.
func TestPagesYAML(t *testing.T) {
	for _, name := range pages(t) {
		for _, b := range blocksOf(readPage(t, name)) {
			var value any
			if b.kind != "yaml" {
				continue
			}
			if err := yaml.Unmarshal([]byte(b.text), &value); err != nil {
				t.Errorf("%s: %v\n%s", name, err, b.text)
			}
		}
	}
}
