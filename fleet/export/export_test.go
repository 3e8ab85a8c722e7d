// SPDX-License-Identifier: Apache-2.0

package export_test

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kernelext/kernelext/fleet/export"
	"github.com/kernelext/kernelext/internal/testing/testdata"
	"github.com/kernelext/kernelext/linux"
	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/lkm/lkmtest"
)

// noList are the tapes of machines that refuse the list.
var noList = []string{"synthetic-freebsd-denied", "synthetic-macos-denied", "synthetic-procsubset"}

// eachTape calls f with a Snapshot of every tape, with all details.
func eachTape(t *testing.T, f func(t *testing.T, s *lkm.Snapshot)) {
	t.Helper()
	for _, name := range lkmtest.Names() {
		t.Run(name, func(t *testing.T) {
			tape, err := lkmtest.Open(name)
			if err != nil {
				t.Fatal(err)
			}
			detail, err := lkm.ParseDetail("all")
			if err != nil {
				t.Fatal(err)
			}
			sys, err := lkm.OpenMachine(tape.Header().OS, tape, lkm.Options{Detail: detail, Host: "h1"})
			if err != nil {
				t.Fatal(err)
			}
			defer sys.Close()
			s, err := sys.Snapshot(context.Background())
			if refused := slices.Contains(noList, name); refused != (err != nil) {
				t.Fatalf("refused: want %v; %v", refused, err)
			} else if !refused {
				f(t, s)
			}
		})
	}
}

// flatten lists the fields of a document with dots between the levels; an array counts by its elements.
func flatten(t *testing.T, prefix string, v any, into map[string]any) {
	t.Helper()
	if m, ok := v.(map[string]any); ok {
		for k, v := range m {
			if strings.HasPrefix(k, "kernel_extension") && prefix == "" {
				continue // the free areas
			}
			flatten(t, strings.TrimPrefix(prefix+"."+k, "."), v, into)
		}
		return
	}
	into[prefix] = v
}

// generic is what a reader of the JSON sees.
func generic(t *testing.T, v any) map[string]any {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// ecsFields reads the schema's list: field → type, and which are arrays.
func ecsFields(t *testing.T) (types map[string]string, arrays map[string]bool) {
	t.Helper()
	f, err := os.Open(filepath.Join(testdata.Dir(t, "schemas"), "ecs", "fields.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	types, arrays = make(map[string]string), make(map[string]bool)
	for _, row := range rows[1:] {
		types[row[3]], arrays[row[3]] = row[4], row[6] == "array"
	}
	return types, arrays
}

// Every field outside our own root is one of ECS, with its type.
func TestECSAgainstItsFields(t *testing.T) {
	types, arrays := ecsFields(t)
	total := 0
	check := func(t *testing.T, doc export.Document) {
		t.Helper()
		total++
		fields := make(map[string]any)
		flatten(t, "", generic(t, doc), fields)
		for name, v := range fields {
			values, isArray := v.([]any)
			if !isArray {
				values = []any{v}
			}
			if types[name] == "" || isArray != arrays[name] {
				t.Fatalf("%s: type %q, array %v", name, types[name], isArray)
			}
			for _, v := range values {
				if !fits(types[name], v) {
					t.Fatalf("%s is %s, got %v", name, types[name], v)
				}
			}
		}
	}
	eachTape(t, func(t *testing.T, s *lkm.Snapshot) {
		for _, doc := range export.ECS(s) {
			check(t, doc)
		}
		for i := range s.Modules {
			m := &s.Modules[i]
			changed := *m
			changed.Version, changed.Signature.Signer = m.Version+"2", "another"
			for _, e := range []lkm.Event{{Type: lkm.EventLoad, After: m}, {Type: lkm.EventUnload, Before: m},
				{Type: lkm.EventChange, Before: m, After: &changed}} {
				e.At, e.Host = time.Unix(1, 0), "h2"
				doc, ok := export.ECSEvent(s, &e)
				if !ok {
					t.Fatal("no document")
				}
				check(t, doc)
			}
		}
	})
	if total < 1000 {
		t.Errorf("only %d documents", total)
	}
	t.Logf("%d documents", total)
}

// A change names the fields that differ, with what they were and are; what was not known has no old value.
func TestECSChange(t *testing.T) {
	before := lkm.Module{ID: "linux_module:a", Name: "a", Version: "1", Path: "/a.ko", Refs: lkm.CountOf(1)}
	after := before
	after.Version, after.Path, after.License = "2", "", "GPL"
	doc, ok := export.ECSEvent(&lkm.Snapshot{OS: lkm.Linux}, &lkm.Event{Type: lkm.EventChange, Before: &before,
		After: &after})
	if !ok {
		t.Fatal("no document")
	}
	got, err := json.Marshal(doc["kernel_extension_change"])
	want := `{"fields":["license","path","version"],"from":{"path":"/a.ko","version":"1"},"to":{"license":"GPL",` +
		`"version":"2"}}`
	if err != nil || string(got) != want {
		t.Errorf("%s, %v; want %s", got, err, want)
	}
	if kinds := doc["event"].(export.Document)["type"]; !reflect.DeepEqual(kinds, []string{"change"}) {
		t.Errorf("%v", kinds)
	}
	doc, _ = export.ECSEvent(&lkm.Snapshot{OS: lkm.Linux}, &lkm.Event{Type: lkm.EventLoad, After: &after})
	if doc["kernel_extension_change"] != nil {
		t.Error("a load has no change")
	}
	if _, ok := export.ECSEvent(&lkm.Snapshot{}, &lkm.Event{Type: lkm.EventHeartbeat}); ok {
		t.Error("a heartbeat is about no module")
	}
}

func fits(kind string, v any) bool {
	switch kind {
	case "keyword", "match_only_text", "wildcard":
		_, ok := v.(string)
		return ok
	case "date":
		text, _ := v.(string)
		_, err := time.Parse(time.RFC3339Nano, text)
		return err == nil
	case "long":
		n, ok := v.(float64)
		return ok && n == float64(int64(n))
	case "boolean":
		_, ok := v.(bool)
		return ok
	}
	return false
}

// same reports whether JSON is the module again.
func same(t *testing.T, text []byte, m *lkm.Module) {
	t.Helper()
	want, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var a, b any
	if json.Unmarshal(text, &a) != nil || json.Unmarshal(want, &b) != nil || !reflect.DeepEqual(a, b) {
		t.Fatalf("%s is lost: %s", m.ID, text)
	}
}

// No field of a module is lost where a form has a free area.
func TestNothingIsLost(t *testing.T) {
	eachTape(t, func(t *testing.T, s *lkm.Snapshot) {
		rows, err := export.Osquery(s, export.TableAll)
		docs, bom := export.ECS(s), export.CycloneDX(s, true)["components"].([]export.Document)
		if err != nil || len(rows) != len(s.Modules) || len(docs) != len(rows) || len(bom) != len(rows) {
			t.Fatalf("%v: %d rows, %d documents, %d components", err, len(rows), len(docs), len(bom))
		}
		for i := range s.Modules {
			m := &s.Modules[i]
			same(t, []byte(rows[i]["record"]), m)
			free, err := json.Marshal(docs[i]["kernel_extension"])
			if err != nil {
				t.Fatal(err)
			}
			same(t, free, m)
			same(t, fromProperties(t, bom[i]["properties"].([]export.Document)), m)
		}
	})
}

// fromProperties puts a record together again; a value that is not JSON, or that was a text, is a text.
func fromProperties(t *testing.T, list []export.Document) []byte {
	t.Helper()
	fields := make(map[string]json.RawMessage)
	texts := []string{"id", "kind", "name", "state", "version", "description", "license", "path", "address",
		"contentId"}
	for _, p := range list {
		name := strings.TrimPrefix(p["name"].(string), "kernelext:")
		value := p["value"].(string)
		if slices.Contains(texts, name) {
			b, err := json.Marshal(value)
			if err != nil {
				t.Fatal(err)
			}
			value = string(b)
		}
		fields[name] = json.RawMessage(value)
	}
	b, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The rows have the columns of osquery's specifications (specs/linux/kernel_modules.table,
// specs/darwin/kernel_extensions.table, specs/windows/drivers.table), and numbers where those say so.
func TestOsqueryColumns(t *testing.T) {
	numbers := []string{"size", "idx", "refs", "date", "signed"}
	seen := make(map[string]int)
	eachTape(t, func(t *testing.T, s *lkm.Snapshot) {
		for _, table := range []string{export.TableModules, export.TableExtensions, export.TableDrivers} {
			rows, err := export.Osquery(s, table)
			if err != nil {
				t.Fatal(err)
			}
			seen[table] += len(rows)
			for _, r := range rows {
				for column, value := range r {
					_, err := json.Number(value).Int64()
					wrong := slices.Contains(numbers, column) && err != nil
					if wrong || !slices.Contains(export.Columns(table), column) {
						t.Errorf("%s: %s is %q", table, column, value)
					}
				}
			}
		}
	})
	for _, table := range []string{export.TableModules, export.TableExtensions, export.TableDrivers} {
		if seen[table] == 0 {
			t.Errorf("no row of %s", table)
		}
	}
	if _, err := export.Osquery(&lkm.Snapshot{}, "no_such"); err == nil {
		t.Error("a table that there is not")
	}
}

// The names are those that Sigma's tests allow for driver_load and for every event of Windows, and Sysmon's time.
func TestSysmonNames(t *testing.T) {
	names := []string{"Hashes", "ImageLoaded", "Signature", "SignatureStatus", "Signed", "EventID", "Computer",
		"UtcTime"}
	found := 0
	eachTape(t, func(t *testing.T, s *lkm.Snapshot) {
		for _, doc := range export.Sysmon(s) {
			found++
			for name, v := range doc {
				if !slices.Contains(names, name) || v == "" {
					t.Errorf("%s is %v", name, v)
				}
			}
		}
	})
	if found == 0 {
		t.Error("no event")
	}
}

// What is not known is absent; what is known is said as the target says it.
func TestSignatures(t *testing.T) {
	type bools struct{ exists, valid, trusted any }
	for status, want := range map[lkm.SignatureStatus]bools{
		"": {}, "a_later_word": {}, lkm.SignatureNone: {exists: false}, lkm.SignatureUnchecked: {exists: true},
		lkm.SignatureUntrusted: {true, true, false}, lkm.SignatureValid: {true, true, true},
		lkm.SignatureInvalid: {true, false, false},
	} {
		s := &lkm.Snapshot{OS: lkm.Linux, Modules: []lkm.Module{{ID: "linux_module:a", Path: "/a.ko",
			Signature: lkm.Signature{Status: status}}}}
		file := export.ECS(s)[0]["file"].(export.Document)
		signature, _ := file["code_signature"].(export.Document)
		got := bools{signature["exists"], signature["valid"], signature["trusted"]}
		if got != want {
			t.Errorf("%q: %v, want %v", status, got, want)
		}
	}
}

// In-tree modules are one component for each package; what is not known to be the system's is a component of its own.
func TestCycloneDXFolds(t *testing.T) {
	kernel := &lkm.Package{Manager: "dpkg", Name: "linux-image-6.1.0", Version: "1:6.1+1~a", Arch: "amd64",
		Vendor: "Debian Kernel Team"}
	in := lkm.Origin{Class: lkm.OriginOS}
	s := &lkm.Snapshot{OS: lkm.Linux, Release: "6.1.0", Modules: []lkm.Module{
		{ID: "linux_module:a", Name: "a", State: lkm.StateLoaded, Origin: in, Package: kernel},
		{ID: "linux_module:b", Name: "b", State: lkm.StateLoaded, Origin: in, Package: kernel, Requires: []string{"a"}},
		{ID: "linux_module:c", Name: "c", State: lkm.StateLoaded, Requires: []string{"a"}},
		{ID: "linux_module:d", Name: "d", State: lkm.StateInstalled},
		{ID: "linux_module:e", Name: "e", Origin: in, Package: &lkm.Package{Manager: "dpkg"}},
	}}
	bom := export.CycloneDX(s, false)
	components := bom["components"].([]export.Document)
	if len(components) != 3 || components[0]["bom-ref"] != "linux_module:c" ||
		components[1]["purl"] != "pkg:deb/debian/linux-image-6.1.0@1:6.1%2B1~a?arch=amd64" ||
		components[2]["bom-ref"] != "package:unknown" || components[2]["purl"] != nil {
		t.Errorf("%v", components)
	}
	dependencies := bom["dependencies"].([]export.Document)
	if len(dependencies) != 1 || dependencies[0]["ref"] != "linux_module:c" ||
		dependencies[0]["dependsOn"].([]string)[0] != components[1]["bom-ref"] {
		t.Errorf("%v", dependencies)
	}
	if all := export.CycloneDX(s, true)["components"].([]export.Document); len(all) != 5 {
		t.Errorf("%d components of all", len(all))
	}
}

// A hostile name cannot end its label, or begin a line.
func TestPrometheusEscapes(t *testing.T) {
	hostile := lkm.Module{ID: "linux_module:a\"} 7\nx 1\\\xff", Kind: "linux_module"}
	s := &lkm.Snapshot{OS: lkm.Linux, Modules: []lkm.Module{hostile}}
	var b strings.Builder
	if err := export.Prometheus(&b, export.Metrics([]*lkm.Snapshot{s}, 5)); err != nil {
		t.Fatal(err)
	}
	want := `kernel_extension_info{id="linux_module:a\"} 7\nx 1\\` + "\ufffd"
	if !strings.Contains(b.String(), want) || strings.Contains(b.String(), "\nx 1") {
		t.Errorf("%s", b.String())
	}
}

// The numbers are the Snapshot's, and no sample is there twice, whatever the hosts are called.
func TestMetricsAreTheSnapshot(t *testing.T) {
	eachTape(t, func(t *testing.T, s *lkm.Snapshot) {
		sum := make(map[string]float64)
		seen := make(map[string]bool)
		for _, m := range export.Metrics([]*lkm.Snapshot{s, s}, 2) {
			for _, sample := range m.Samples {
				key := m.Name + "|" + strings.Join(sample.Labels, "|")
				if seen[key] || len(sample.Labels) != len(m.Labels) {
					t.Errorf("%s twice, or %v of %v", key, sample.Labels, m.Labels)
				}
				seen[key] = true
				sum[m.Name] += sample.Value
			}
		}
		n := float64(len(s.Modules))
		if sum["kernel_extensions"] != n || sum["kernel_extensions_origin"] != n ||
			sum["kernel_extensions_signature"] != n || sum["kernel_extension_loading"] != 1 ||
			sum["kernel_extension_info"] > 2 || sum["kernel_extension_source_outcome"] == 0 {
			t.Errorf("%v for %v modules", sum, n)
		}
	})
}

// Of loaded modules and of taints 0 is said only where somebody looked: not of an image, whose list of files is whole,
// nor of a list that does not print the taints.
func TestMetricsOfWhatWasLoaded(t *testing.T) {
	disk := lkm.Source{Name: "modules_dir", Outcome: lkm.OutcomeOK}
	tainted := func(letters ...string) *linux.Module { return &linux.Module{Taints: letters} }
	module := func(state lkm.State, own *linux.Module) lkm.Module {
		return lkm.Module{ID: "linux_module:a", Kind: "linux_module", State: state, Linux: own}
	}
	for _, c := range []struct {
		name   string
		live   lkm.Tri
		source string
		module lkm.Module
		loaded string // the sample of loaded modules; empty without one
		taints string // the samples P and O, likewise
	}{
		{"an image", lkm.No, "modules_dir", module(lkm.StateInstalled, nil), "", ""},
		{"files of a live machine", lkm.Yes, "modules_dir", module(lkm.StateInstalled, nil), "", ""},
		{"its list", lkm.Yes, "proc_modules", module(lkm.StateLoaded, tainted("P")), "1", "1 0"},
		{"a clean list", lkm.Yes, "proc_modules", module(lkm.StateLoaded, tainted([]string{}...)), "1", "0 0"},
		{"lsmod without taints", "", "lsmod", module(lkm.StateLoaded, &linux.Module{}), "1", ""},
		{"a list that was refused", lkm.Yes, "", module(lkm.StateLoaded, tainted("P")), "1", "1"},
		{"compiled in", lkm.Yes, "proc_modules", module(lkm.StateBuiltin, nil), "0", "0 0"},
	} {
		s := &lkm.Snapshot{OS: lkm.Linux, Live: c.live, Modules: []lkm.Module{c.module},
			Sources: []lkm.Source{{Name: c.source, Outcome: lkm.OutcomeOK}}}
		if c.live == lkm.No {
			s.Sources = []lkm.Source{disk}
		}
		var loaded, taints []string
		for _, m := range export.Metrics([]*lkm.Snapshot{s}, 0) {
			for _, sample := range m.Samples {
				value := strconv.FormatFloat(sample.Value, 'g', -1, 64)
				switch {
				case m.Name == "kernel_extensions" && sample.Labels[1] == "loaded":
					loaded = append(loaded, value)
				case m.Name == "kernel_extensions_taint" && (sample.Labels[0] == "P" || sample.Labels[0] == "O"):
					taints = append(taints, value)
				}
			}
		}
		slices.SortFunc(taints, func(a, b string) int { return strings.Compare(b, a) })
		if strings.Join(loaded, " ") != c.loaded || strings.Join(taints, " ") != c.taints {
			t.Errorf("%s: loaded %v, taints %v", c.name, loaded, taints)
		}
	}
}
