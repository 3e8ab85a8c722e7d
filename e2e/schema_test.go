// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/kernelext/kernelext/e2e/lab"
	"github.com/kernelext/kernelext/fleet/audit"
	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/lkm/lkmtest"
)

// TestSchemas: what every tape comes to, in every form that has a published schema, is valid by it.
func TestSchemas(t *testing.T) {
	root, err := lab.Root()
	if err != nil {
		t.Fatal(err)
	}
	schemas := make(map[string]*jsonschema.Schema)
	for _, name := range []string{"snapshot", "event", "delta", "audit"} {
		c := jsonschema.NewCompiler()
		c.AssertFormat()
		if schemas[name], err = c.Compile(filepath.Join(root, "schema", name+".json")); err != nil {
			t.Fatal(err)
		}
		if schemas[name].Validate(map[string]any{"os": 1}) == nil {
			t.Errorf("%s.json takes anything", name)
		}
	}
	valid := make(map[string]int)
	check := func(t *testing.T, schema string, value any) {
		t.Helper()
		text, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := schemas[schema].Validate(doc); err != nil {
			t.Errorf("%s: %v", schema, err)
			return
		}
		valid[schema]++
	}
	var old *lkm.Snapshot
	for _, name := range lkmtest.Names() {
		t.Run(name, func(t *testing.T) {
			for _, s := range snapshotsOf(t, name) {
				check(t, "snapshot", s)
				if old != nil {
					check(t, "delta", lkm.Diff(old, s))
				}
				old = s
				for _, set := range audit.Sets() {
					check(t, "audit", auditOf(t, set, name, s))
				}
			}
			for _, e := range eventsOf(t, name) {
				check(t, "event", e)
			}
		})
	}
	for _, name := range slices.Sorted(maps.Keys(schemas)) {
		t.Logf("%d documents are valid by %s.json", valid[name], name)
		if valid[name] < 20 {
			t.Errorf("only %d documents of %s.json", valid[name], name)
		}
	}
}

// snapshotsOf returns what is loaded and everything that there is.
func snapshotsOf(t *testing.T, name string) (all []*lkm.Snapshot) {
	t.Helper()
	sys := openTape(t, name)
	defer sys.Close()
	for _, scope := range []lkm.Scope{lkm.ScopeLoaded, lkm.ScopeAll} {
		s, err := sys.SnapshotOf(context.Background(), scope)
		if err != nil {
			t.Logf("no list: %v", err)
			continue
		}
		all = append(all, s)
	}
	return all
}

func openTape(t *testing.T, name string) *lkm.System {
	t.Helper()
	tape, err := lkmtest.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	everything, err := lkm.ParseDetail("all")
	if err != nil {
		t.Fatal(err)
	}
	sys, err := lkm.OpenMachine(tape.Header().OS, tape, lkm.Options{Detail: everything, Host: "host"})
	if err != nil {
		t.Fatal(err)
	}
	return sys
}

// eventsOf returns the first events of a watch.
func eventsOf(t *testing.T, name string) (events []lkm.Event) {
	t.Helper()
	sys := openTape(t, name)
	defer sys.Close()
	for e, err := range sys.Watch(t.Context(), lkm.WatchOptions{PollOnly: true, Heartbeat: 1, Interval: 1}) {
		if err != nil {
			t.Logf("no events: %v", err)
			return events
		}
		if events = append(events, e); len(events) == 3 {
			return events
		}
	}
	return events
}

// auditOf returns the report of a set of rules about a snapshot.
func auditOf(t *testing.T, set, name string, s *lkm.Snapshot) *audit.Report {
	t.Helper()
	rules, err := audit.Set(set)
	if err != nil {
		t.Fatal(err)
	}
	report, err := audit.Run(t.Context(), []audit.Target{{Name: name, Snapshot: s}}, []*audit.Rules{rules},
		audit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return report
}
