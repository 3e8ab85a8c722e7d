// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	cyclonedx "github.com/CycloneDX/cyclonedx-go"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/kernelext/kernelext/fleet/export"
	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/lkm/lkmtest"
)

// TestCycloneDXSchema: the bill of materials of every tape, folded and whole, is valid by the published schema of
// CycloneDX 1.6, and CycloneDX's own reader takes it.
func TestCycloneDXSchema(t *testing.T) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/CycloneDX/cyclonedx-go").Output()
	if err != nil {
		t.Fatal(err)
	}
	schema := compile(t, filepath.Join(strings.TrimSpace(string(dir)), "schema"))
	boms := 0
	for _, name := range lkmtest.Names() {
		tape, err := lkmtest.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		sys, err := lkm.OpenMachine(tape.Header().OS, tape, lkm.Options{Detail: lkm.DetailFiles | lkm.DetailHashes |
			lkm.DetailSignatures | lkm.DetailPolicy})
		if err != nil {
			t.Fatal(err)
		}
		s, err := sys.Snapshot(context.Background())
		sys.Close()
		if err != nil {
			t.Logf("%s has no list: %v", name, err)
			continue
		}
		for _, all := range []bool{false, true} {
			boms++
			validBOM(t, schema, name, export.CycloneDX(s, all))
		}
	}
	if err := schema.Validate(map[string]any{"bomFormat": "CycloneDX", "specVersion": "1.6", "x": true}); err == nil {
		t.Error("the validator takes anything")
	}
	if boms < 2*len(lkmtest.Names())-6 {
		t.Errorf("only %d bills", boms)
	}
	t.Logf("%d bills of materials are valid", boms)
}

// compile reads the schema of CycloneDX 1.6 with the two that it refers to.
func compile(t *testing.T, dir string) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	for file, id := range map[string]string{"bom-1.6.schema.json": "bom-1.6.schema.json",
		"spdx.schema.json": "spdx.schema.json", "jsf-0.82.schemax.json": "jsf-0.82.schema.json"} {
		text, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.AddResource("http://cyclonedx.org/schema/"+id, doc); err != nil {
			t.Fatal(err)
		}
	}
	schema, err := c.Compile("http://cyclonedx.org/schema/bom-1.6.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func validBOM(t *testing.T, schema *jsonschema.Schema, name string, bom export.Document) {
	t.Helper()
	text, err := json.Marshal(bom)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(doc); err != nil {
		t.Errorf("%s: %v", name, err)
	}
	var read cyclonedx.BOM
	decoder := cyclonedx.NewBOMDecoder(strings.NewReader(string(text)), cyclonedx.BOMFileFormatJSON)
	if err := decoder.Decode(&read); err != nil {
		t.Errorf("%s: %v", name, err)
	}
	if read.Components == nil || len(*read.Components) != len(bom["components"].([]export.Document)) {
		t.Errorf("%s: components are lost", name)
	}
}
