// SPDX-License-Identifier: Apache-2.0

package windows_test

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/fakewindows"
	"github.com/kernelext/kernelext/windows"
)

// queries are drivers of the made-up machine in every situation, and a name that it does not know.
var queries = [...]string{"tcpip", "disabled", "hidden", "leftover", "gone", "ketwatch", "odd", "broken", "no such"}

// checkAll returns the verdicts on all queries by query and module, and how reading went.
func checkAll(t *testing.T, m fact.Machine) (map[string]fact.Verdict, *fact.Report) {
	t.Helper()
	verdicts, all := make(map[string]fact.Verdict), new(fact.Report)
	for _, q := range queries {
		var r fact.Report
		list, err := windows.Open(m, fact.Options{}).Check(context.Background(), q, &r)
		if err != nil {
			continue // there is no answer, which no program takes for one
		}
		for _, v := range list {
			verdicts[q+" "+v.Module] = v
		}
		all.Append(&r)
	}
	return verdicts, all
}

// refusals are the made-up machine with one of its calls and files refused after another.
func refusals(t *testing.T, each func(t *testing.T, input string, m *fakewindows.Machine)) {
	t.Helper()
	base := fakewindows.Windows11(false)
	inputs := slices.Sorted(maps.Keys(base.Calls))
	for name := range base.Files {
		inputs = append(inputs, spelled(name))
	}
	inputs = append(inputs, "C:/Windows/System32/drivers", "C:/Windows/System32/DriverStore/FileRepository")
	for _, input := range inputs {
		m := fakewindows.Windows11(false)
		m.Deny[input] = true
		t.Run(input, func(t *testing.T) { each(t, input, m) })
	}
}

// spelled returns a folded name of the made-up machine as the kernel asks for it.
func spelled(name string) string {
	return strings.NewReplacer("c:/windows/system32", "C:/Windows/System32", "c:/", "C:/").Replace(name)
}

// An input that is refused makes nothing blocked or absent, and each way that it makes unknown says why.
func TestRefusedInputs(t *testing.T) {
	want, _ := checkAll(t, fakewindows.Windows11(false))
	refusals(t, func(t *testing.T, input string, m *fakewindows.Machine) {
		got, r := checkAll(t, m)
		for q, v := range got {
			unknownWays(t, q, &v)
			before, ok := want[q]
			if !ok {
				continue // under another id, because its paths are not known
			}
			failsClosed(t, q+", now", before.Now, v.Now)
			failsClosed(t, q+", next boot", before.NextBoot, v.NextBoot)
		}
		if strings.Contains(input, "/drivers") || input == windows.OpServices || input == windows.OpServiceKeys {
			incomplete := slices.ContainsFunc(r.Sources, fact.Source.Incomplete)
			if !incomplete && !told(got) {
				t.Error("nothing reports it")
			}
		}
	})
}

func told(verdicts map[string]fact.Verdict) bool {
	for _, v := range verdicts {
		if len(v.Problems) > 0 {
			return true
		}
	}
	return false
}

// failsClosed asks that an outcome did not become one that takes more to be read.
func failsClosed(t *testing.T, what string, was, is *fact.Prospect) {
	t.Helper()
	if is.Outcome != was.Outcome && (is.Outcome == fact.VerdictBlocked || is.Outcome == fact.VerdictAbsent) {
		t.Errorf("%s: it was %s, and is %s", what, was.Outcome, is.Outcome)
	}
}

// unknownWays asks that every unknown way and outcome of a verdict names what was not read.
func unknownWays(t *testing.T, query string, v *fact.Verdict) {
	t.Helper()
	for _, p := range []*fact.Prospect{v.Now, v.NextBoot} {
		if p == nil {
			continue
		}
		for _, w := range p.Ways {
			if unknown := w.Blocked == ""; unknown != (w.Because.Code != "" && w.Because.Text != "") {
				t.Errorf("%s: way %s blocked %q because %+v", query, w.Way, w.Blocked, w.Because)
			}
		}
		unknown := p.Outcome == fact.VerdictUnknown
		if unknown != (p.Because.Code != "" && p.Because.Text != "") ||
			unknown && !slices.Contains(v.Reasons, p.Because) {
			t.Errorf("%s: %s because %+v of %+v", query, p.Outcome, p.Because, v.Reasons)
		}
	}
	if len(v.Reasons) == 0 {
		t.Errorf("%s: %+v has no reason", query, v)
	}
}

// A way's reason names the service, the file or the setting that was not read.
func TestUnknownWayNamesIt(t *testing.T) {
	refused := fakewindows.Windows11(false)
	refused.Deny[windows.OpServiceKeys] = true
	blind := fakewindows.Windows11(false)
	blind.Deny[windows.OpCodeIntegrity] = true
	for name, c := range map[string]struct {
		machine *fakewindows.Machine
		query   string
		way     string
		want    string
	}{
		"registry":       {refused, "leftover.sys", windows.WayService, "the registry of services could not be read"},
		"code integrity": {blind, "tcpip", windows.WayNewService, "code_integrity: permission"},
		"signature": {fakewindows.Windows11(false), "tcpip", windows.WayNewService,
			"the file's signature was not read"},
	} {
		var r fact.Report
		list, err := windows.Open(c.machine, fact.Options{}).Check(context.Background(), c.query, &r)
		if err != nil || len(list) == 0 {
			t.Errorf("%s: %v, %v", name, list, err)
			continue
		}
		i := slices.IndexFunc(list[0].Now.Ways, func(w fact.Way) bool { return w.Way == c.way })
		if w := list[0].Now.Ways[i]; !strings.Contains(w.Because.Text, c.want) {
			t.Errorf("%s: %+v", name, w)
		}
	}
}

// The first reason of a verdict is the fact that decides.
func TestLeadingReason(t *testing.T) {
	blind := fakewindows.Windows11(true)
	blind.Deny[windows.OpServiceKeys] = true
	whole := fakewindows.Windows11(true)
	for _, c := range []struct {
		machine *fakewindows.Machine
		image   bool
		query   string
		want    string
	}{
		{whole, false, "tcpip", windows.ReasonLoaded},
		{whole, false, "gone.sys", windows.ReasonLoaded},
		{whole, false, "odd", windows.ReasonRegistered},
		{whole, false, "hidden.sys", windows.ReasonNoFile},
		{whole, false, "disabled.sys", windows.ReasonDisabled},
		{whole, false, "leftover.sys", windows.ReasonNoService},
		{whole, false, "none", windows.ReasonNoFile},
		{whole, true, "tcpip.sys", windows.ReasonNoService},
		{blind, false, "leftover.sys", windows.ReasonNoService},
		{blind, false, "none", windows.ReasonSource},
	} {
		k := windows.Open(c.machine, fact.Options{Image: c.image})
		list, err := k.Check(context.Background(), c.query, new(fact.Report))
		if err != nil || len(list) != 1 || len(list[0].Reasons) == 0 || list[0].Reasons[0].Code != c.want {
			t.Errorf("%s, image %v: %+v, %v, want %s", c.query, c.image, list, err, c.want)
		}
	}
}

// No disagreement comes of what was not read. Where no image path is known, a service is compared by its name alone,
// which is left out here.
func TestRefusedDiscrepancies(t *testing.T) {
	find := func(m fact.Machine) map[string]bool {
		found := make(map[string]bool)
		var r fact.Report
		list, _ := windows.Open(m, fact.Options{}).Discrepancies(context.Background(), &r) // none without a list
		for _, d := range list {
			if d.Kind != windows.KindUnchecked {
				found[d.Kind+" "+d.Name] = true
			}
		}
		return found
	}
	want := find(fakewindows.Windows11(false))
	refusals(t, func(t *testing.T, input string, m *fakewindows.Machine) {
		if input == windows.OpPaths || input == windows.OpServiceKeys {
			return
		}
		for d := range find(m) {
			if !want[d] {
				t.Error(d)
			}
		}
	})
}

// A poll names the kernel's images by the ids of the full list, whichever source is refused to both.
func TestPollIDs(t *testing.T) {
	ids := func(list []windows.Record, err error) []string {
		out := []string{}
		for _, r := range list {
			if r.Own.Image != nil { // a service that runs from no image of the list is the service manager's word
				out = append(out, r.ID)
			}
		}
		if err != nil {
			out = append(out, "error")
		}
		slices.Sort(out)
		return out
	}
	poll := func(t *testing.T, m fact.Machine) int {
		ctx, o := context.Background(), fact.Options{Detail: fact.DetailFiles}
		whole := ids(windows.Open(m, o).Loaded(ctx, new(fact.Header), new(fact.Report)))
		quick := ids(windows.Open(m, o).Poll(ctx, new(any), new(fact.Report)))
		if !slices.Equal(whole, quick) {
			t.Errorf("the list has %q, a poll %q", whole, quick)
		}
		return len(whole)
	}
	if poll(t, fakewindows.Windows11(true)) < 3 {
		t.Error("there is nothing to compare")
	}
	refusals(t, func(t *testing.T, _ string, m *fakewindows.Machine) { poll(t, m) })
}

// What a call could not do reaches the caller's report.
func TestReports(t *testing.T) {
	m := fakewindows.Windows11(false)
	m.Deny[windows.OpClock], m.Deny[windows.OpCodeIntegrity] = true, true
	var r fact.Report
	if _, err := windows.Open(m, fact.Options{}).Check(context.Background(), "tcpip", &r); err != nil {
		t.Fatal(err)
	}
	for _, source := range []string{windows.SourceMachine, windows.SourcePolicy} {
		if r.Count(source) == 0 {
			t.Errorf("no Problem of %s: %v", source, r.Problems)
		}
	}
	if _, ok := r.Find(windows.SourceCatalogs); !ok {
		t.Error("nothing of the catalogs")
	}
}
