// SPDX-License-Identifier: Apache-2.0

package export_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/kernelext/kernelext/fleet/export"
	"github.com/kernelext/kernelext/linux"
	"github.com/kernelext/kernelext/lkm"
)

// hostile is what somebody else may have written as a snapshot: ids that are empty, of another thing, or there twice;
// digests that are not; texts without an end.
func hostile() *lkm.Snapshot {
	s := &lkm.Snapshot{OS: lkm.Linux, Release: strings.Repeat("6", 2000),
		Sources: []lkm.Source{{Name: "proc_modules", Outcome: lkm.OutcomeOK}}}
	for _, id := range []string{"", "", "kernel", "kernel", "kernel#1", "package:unknown", "a", "a", "a#5",
		"b\xff", "b\xfe"} {
		m := lkm.Module{ID: id, Name: id, State: lkm.StateLoaded, Version: "\xff" + strings.Repeat("é", 1025),
			Requires: []string{"a", "", "kernel", "in", "package:unknown", "gone"}}
		m.Hashes.SHA256 = "zz"
		s.Modules = append(s.Modules, m)
	}
	in := lkm.Module{ID: "in", Name: "in", State: lkm.StateLoaded, Requires: []string{"a"}}
	in.Origin.Class = lkm.OriginOS
	other := in
	other.Name, other.Package = "other", &lkm.Package{Manager: "x", Name: "y:z"}
	twin := in
	twin.Name, twin.Package = "twin", &lkm.Package{Manager: "x:y", Name: "z"}
	s.Modules = append(s.Modules, in, other, twin)
	return s
}

// Each bom-ref is there once, each edge has its ends, and what a form does not allow is left out.
func TestHostileCycloneDX(t *testing.T) {
	for _, all := range []bool{false, true} {
		text, err := json.Marshal(export.CycloneDX(hostile(), all))
		if err != nil {
			t.Fatal(err)
		}
		type component struct {
			Ref     string `json:"bom-ref"`
			Version string
			Hashes  []struct{ Content string }
		}
		var bom struct {
			Metadata     struct{ Component component }
			Components   []component
			Dependencies []struct {
				Ref       string
				DependsOn []string
			}
		}
		if err := json.Unmarshal(text, &bom); err != nil {
			t.Fatal(err)
		}
		refs := make(map[string]bool)
		digest := regexp.MustCompile(`^[0-9a-f]{64}$`)
		for _, c := range append(bom.Components, bom.Metadata.Component) {
			if c.Ref == "" || refs[c.Ref] || len([]rune(c.Version)) > 1024 {
				t.Errorf("all %v: ref %q, version of %d bytes", all, c.Ref, len(c.Version))
			}
			refs[c.Ref] = true
			for _, h := range c.Hashes {
				if !digest.MatchString(h.Content) {
					t.Errorf("digest %q", h.Content)
				}
			}
		}
		from := make(map[string]bool)
		for _, d := range bom.Dependencies {
			if !refs[d.Ref] || from[d.Ref] {
				t.Errorf("all %v: dependency of %q, twice or of nothing", all, d.Ref)
			}
			from[d.Ref] = true
			for _, to := range d.DependsOn {
				if !refs[to] || to == d.Ref {
					t.Errorf("all %v: %q depends on %q", all, d.Ref, to)
				}
			}
		}
		if len(bom.Components) != 14 || len(bom.Dependencies) == 0 {
			t.Errorf("all %v: %d components, %d dependencies", all, len(bom.Components), len(bom.Dependencies))
		}
	}
}

// A sample that is there twice makes a reader refuse the samples of all hosts.
func TestHostileMetrics(t *testing.T) {
	seen := make(map[string]bool)
	one, two := hostile(), hostile()
	one.Host, two.Host = "h\xff", "h\xfe"
	for i, text := range []string{"\xff", "\xfe", "\xfd"} { // texts that only differ in what is not UTF-8
		m := &two.Modules[i]
		m.Origin.Class, m.Signature.Status = lkm.OriginClass(text), lkm.SignatureStatus(text)
		m.Linux = &linux.Module{Taints: []string{text}}
		two.Sources = append(two.Sources, lkm.Source{Name: text})
	}
	for _, m := range export.Metrics([]*lkm.Snapshot{one, two}, 100) {
		for _, sample := range m.Samples {
			key := m.Name + "|" + strings.Join(sample.Labels, "|")
			if seen[key] || !utf8.ValidString(key) {
				t.Errorf("%q twice, or not UTF-8", key)
			}
			seen[key] = true
			if m.Name == "kernel_extension_info_truncated" && sample.Value != 4 {
				t.Errorf("%v are left out", sample.Value)
			}
		}
	}
}

// Of an image nothing says how many loaded modules are left out.
func TestInfoOfAnImage(t *testing.T) {
	disk := lkm.Source{Name: "modules_dir", Outcome: lkm.OutcomeOK}
	s := &lkm.Snapshot{OS: lkm.Linux, Live: lkm.No, Sources: []lkm.Source{disk}}
	for _, m := range export.Metrics([]*lkm.Snapshot{s}, 100) {
		if strings.HasPrefix(m.Name, "kernel_extension_info") {
			t.Errorf("%s: %v", m.Name, m.Samples)
		}
	}
}

// Of a system that is not known ECS is not given a type.
func TestECSOfNoSystem(t *testing.T) {
	s := &lkm.Snapshot{Modules: []lkm.Module{{ID: "a", Name: "a"}}}
	if os := export.ECS(s)[0]["host"].(export.Document)["os"].(export.Document); len(os) != 0 {
		t.Errorf("%v", os)
	}
}

// Nothing is complete whose list is not: of a system that is not known, or of files where the kernel was not asked.
func TestCompleteNeedsTheList(t *testing.T) {
	for _, s := range []*lkm.Snapshot{{}, {OS: lkm.Linux, Live: lkm.Yes,
		Sources: []lkm.Source{{Name: "modules_dir", Outcome: lkm.OutcomeOK}}}} {
		values := make(map[string]float64)
		for _, m := range export.Metrics([]*lkm.Snapshot{s}, 0) {
			values[m.Name] = m.Samples[0].Value
		}
		if values["kernel_extension_list_complete"] != 0 || values["kernel_extension_complete"] != 0 {
			t.Errorf("%v", values)
		}
	}
}

// That no module uses one is only said where the users are known.
func TestUsersUnknown(t *testing.T) {
	for want, users := range map[string][]string{"": nil, "-": {}, "a,b": {"a", "b"}} {
		m := lkm.Module{Name: "m", UsedBy: users, Linux: &linux.Module{State: "Live"}}
		rows, err := export.Osquery(&lkm.Snapshot{OS: lkm.Linux, Modules: []lkm.Module{m}}, export.TableModules)
		if err != nil || len(rows) != 1 || rows[0]["used_by"] != want {
			t.Errorf("%v: %v, %v", users, rows, err)
		}
	}
}
