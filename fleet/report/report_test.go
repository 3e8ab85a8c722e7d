// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/lkm/lkmtest"
)

func pageOf(t testing.TB, snapshots ...*lkm.Snapshot) string {
	t.Helper()
	r := New()
	for _, s := range snapshots {
		r.Add(s)
	}
	var b bytes.Buffer
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// tapes are Snapshots of the corpus.
func tapes(t testing.TB) []*lkm.Snapshot {
	t.Helper()
	var all []*lkm.Snapshot
	for _, name := range lkmtest.Names() {
		tape, err := lkmtest.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		sys, err := lkm.OpenMachine(tape.Header().OS, tape, lkm.Options{Host: name, Detail: lkm.DetailFiles |
			lkm.DetailSignatures | lkm.DetailPolicy})
		if err != nil {
			t.Fatal(err)
		}
		s, err := sys.Snapshot(context.Background())
		sys.Close()
		if err == nil {
			all = append(all, s)
		}
	}
	return all
}

// Every tape makes a page, the same each time, with each module and nothing that loads or sends anything.
func TestPages(t *testing.T) {
	all := tapes(t)
	reach := regexp.MustCompile(`(?i)<(link|iframe|img|object|embed|form|base)\b|\bsrc=|href=|url\(|@import`)
	for _, s := range all {
		page := pageOf(t, s)
		if page != pageOf(t, s) {
			t.Errorf("%s: two pages differ", s.Host)
		}
		for i := range s.Modules {
			if !strings.Contains(page, `<td class="t">`) || s.Modules[i].Name == "" {
				t.Errorf("%s: %s is not there", s.Host, s.Modules[i].Name)
			}
		}
		if got := strings.Count(page, "<tr data-k="); got != len(s.Modules) {
			t.Errorf("%s: %d rows of %d", s.Host, got, len(s.Modules))
		}
		if found := reach.FindString(page); found != "" {
			t.Errorf("%s: %s", s.Host, found)
		}
	}
	if page := pageOf(t, all...); !strings.Contains(page, fmt.Sprintf("<h1>%d hosts</h1>", len(all))) {
		t.Error("the page of all has another title")
	}
}

// A name is shown, and is never markup, script, a terminal's or a bidirectional control.
func TestHostileNames(t *testing.T) {
	for _, name := range []string{
		`</script><script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `' onmouseover='x`, "a\u202eb",
		"a\x1b[31m",
		"</title></style>", "{{.CSS}}", "a\x00b", "\xff\xfe", "<!--", "javascript:alert(1)",
	} {
		m := lkm.Module{ID: "linux_module:" + name, Name: name, Version: name, Path: name, State: lkm.State(name),
			Origin:   lkm.Origin{Class: lkm.OriginThirdParty, Evidence: []lkm.Evidence{{Fact: name, Value: name}}},
			Requires: []string{"other"}, UsedBy: []string{name}, Package: &lkm.Package{Name: name, Version: name},
			Signature: lkm.Signature{Status: lkm.SignatureInvalid, Signer: name},
			OnDisk:    lkm.OnDisk{Match: lkm.MatchDifferent, Path: name},
			Problems:  []lkm.Problem{{Source: name, Subject: name, Code: lkm.Code(name), Text: name}}}
		s := &lkm.Snapshot{OS: lkm.Linux, Host: name, Release: name, Modules: []lkm.Module{m, {ID: "o", Name: "other"}},
			Policy: &lkm.Policy{Facts: []lkm.PolicyFact{{Name: name, Value: name, Effect: name}}}}
		for _, page := range []string{pageOf(t, s), pageOf(t, s, s)} {
			if strings.Count(page, "<script>") != 1 || strings.Count(page, "</script>") != 1 ||
				strings.Count(page, "<style>") != 1 || strings.ContainsAny(page, "\u202e\x1b\x00") ||
				strings.Contains(page, "<img") || strings.Contains(page, "' onmouse") ||
				strings.Contains(page, "<!--") {
				t.Errorf("%q gets out", name)
			}
		}
	}
}

// The digests of the page's policy are those of its content.
func TestContentPolicy(t *testing.T) {
	page := pageOf(t, &lkm.Snapshot{OS: lkm.Linux})
	for _, part := range []string{"<style>" + style + "</style>", "<script>" + script + "</script>"} {
		if !strings.Contains(page, part) {
			t.Errorf("the page does not hold, byte for byte, %.40s", part)
		}
	}
	if strings.Contains(page, " style=") || strings.Contains(page, " onclick=") {
		t.Error("the policy forbids what the page has")
	}
	if !strings.Contains(page, "default-src &#39;none&#39;; style-src &#39;sha256-") {
		t.Errorf("no policy: %.600s", page)
	}
}

// Nothing known is not zero: a card says 0 only if every module was decided.
func TestUnknownIsNotZero(t *testing.T) {
	numbers := func(m lkm.Module) []string {
		r := New()
		r.Add(&lkm.Snapshot{OS: lkm.Linux, Modules: []lkm.Module{m}, Sources: whole()})
		var words []string
		for _, c := range r.cards()[:4] {
			words = append(words, c.Number)
		}
		return words
	}
	if got := strings.Join(numbers(lkm.Module{Name: "a"}), " "); got != "unknown unknown unknown unknown" {
		t.Error(got)
	}
	known := lkm.Module{Name: "a", Origin: lkm.Origin{Class: lkm.OriginOS}, OnDisk: lkm.OnDisk{Match: lkm.MatchSame},
		Signature: lkm.Signature{Status: lkm.SignatureValid}}
	if got := strings.Join(numbers(known), " "); got != "0 0 0 unknown" {
		t.Error(got)
	}
}

// whole is the source of a list that was read whole.
func whole() []lkm.Source { return []lkm.Source{{Name: "proc_modules", Outcome: lkm.OutcomeOK}} }

// TestListNotRead: of a list that was refused, or not read whole, no page says 0, and none is good; of an empty list
// that was read whole it does.
func TestListNotRead(t *testing.T) {
	known := lkm.Module{ID: "linux_module:a", Name: "a", Origin: lkm.Origin{Class: lkm.OriginOS},
		OnDisk: lkm.OnDisk{Match: lkm.MatchSame}, Signature: lkm.Signature{Status: lkm.SignatureValid}}
	outcome := func(o lkm.Outcome) []lkm.Source { return []lkm.Source{{Name: "proc_modules", Outcome: o}} }
	var reports []*Report
	for _, s := range []*lkm.Snapshot{
		{OS: lkm.Linux, Sources: outcome(lkm.OutcomeDenied)}, {OS: lkm.Linux, Sources: outcome(lkm.OutcomeFailed)},
		{OS: lkm.Linux}, {OS: lkm.Linux, Sources: outcome(lkm.OutcomePartial), Modules: []lkm.Module{known}},
		{OS: lkm.Linux, Live: lkm.No, Sources: whole(), Modules: []lkm.Module{known}},
	} {
		one, two := New(), New()
		one.Add(s)
		two.Add(s)
		two.Add(&lkm.Snapshot{OS: lkm.Linux, Host: "h", Sources: whole(), Modules: []lkm.Module{known}})
		reports = append(reports, one, two)
	}
	failed := New()
	failed.Failed("x", errors.New("no snapshot"))
	for _, r := range append(reports, failed, New()) {
		for _, c := range r.cards() {
			if c.Class == "good" || strings.HasPrefix(c.Number, "0") && c.Title != "Read" &&
				c.Title != "What could get in" {
				t.Errorf("%+v", c)
			}
		}
		for _, h := range r.hosts {
			if h.Name == "h" {
				continue
			}
			for _, n := range []tally{h.Modules, h.ThirdParty, h.Unsigned} {
				if text := n.String(); text != "unknown" && text != "≥ 1" {
					t.Errorf("%+v: %s", h, text)
				}
			}
		}
	}
	r := New()
	r.Add(&lkm.Snapshot{OS: lkm.Linux, Sources: whole(), Policy: &lkm.Policy{Loading: lkm.LoadingNone}})
	for _, c := range r.cards() {
		if c.Class != "good" {
			t.Errorf("of an empty list: %+v", c)
		}
	}
}

// A circle of needs, and a chain longer than the drawing, still end.
func TestGraphEnds(t *testing.T) {
	s := &lkm.Snapshot{Modules: []lkm.Module{{Name: "a", Requires: []string{"b", "a"}},
		{Name: "b", Requires: []string{"a"}}}}
	for i := range 400 {
		s.Modules = append(s.Modules, lkm.Module{Name: fmt.Sprint(i), Requires: []string{fmt.Sprint(i + 1)}})
	}
	g, note := graphOf(s)
	if g == nil || len(g.Nodes) != mostNodes || !strings.Contains(note, "150 of 402") || g.Width > 4000 {
		t.Errorf("%v, %s", g, note)
	}
	if g, _ := graphOf(&lkm.Snapshot{Modules: []lkm.Module{{Name: "a"}}}); g != nil {
		t.Error("a drawing of nothing")
	}
}

func TestOutliers(t *testing.T) {
	var all []*lkm.Snapshot
	for i := range 5 {
		s := &lkm.Snapshot{OS: lkm.Linux, Host: fmt.Sprint("h", i),
			Modules: []lkm.Module{{ID: "linux_module:a", Name: "a"}}}
		if i == 3 {
			s.Modules[0].Version = "odd"
		}
		all = append(all, s)
	}
	page := pageOf(t, all...)
	_, after, _ := strings.Cut(page, "<h2>Outliers</h2>")
	if before, _, _ := strings.Cut(after, "<h2>"); !strings.Contains(before, "odd") || !strings.Contains(before, "h3") {
		t.Errorf("%s", before)
	}
}

// BenchmarkThousandHosts is a page of 1,000 hosts with 150 modules each.
func BenchmarkThousandHosts(b *testing.B) {
	for b.Loop() {
		r := New()
		for i := range 1000 {
			s := &lkm.Snapshot{OS: lkm.Linux, Host: fmt.Sprint("host", i)}
			for j := range 150 {
				s.Modules = append(s.Modules, lkm.Module{ID: fmt.Sprint("linux_module:m", j), Name: fmt.Sprint("m", j),
					State: lkm.StateLoaded, Version: fmt.Sprint(j % 7), Refs: lkm.CountOf(int64(i))})
			}
			r.Add(s)
		}
		var out bytes.Buffer
		if err := r.Write(&out); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
}

// A driver that only has the name of one on a block list is not on it; an image is not this machine.
func TestHints(t *testing.T) {
	const form = `{"name":"a.sys","windows":{"blocked":[{"list":"L","rule":"r","kind":"sample","strength":"hint"}%s]}}`
	const weak = `,{"list":"L","rule":"s","kind":"hash","strength":"weak"}`
	for want, more := range []string{"", weak} {
		var driver lkm.Module
		if err := json.Unmarshal(fmt.Appendf(nil, form, more), &driver); err != nil {
			t.Fatal(err)
		}
		r := New()
		r.Add(&lkm.Snapshot{Live: lkm.No, Modules: []lkm.Module{driver}})
		bad := 0
		for _, f := range r.shownFindings() {
			if f.Class == "bad" {
				bad++
			}
		}
		if r.totals.listed != want || bad != want || len(r.shownFindings()) != want+1 {
			t.Errorf("%d on the list, %d bad of %+v, want %d", r.totals.listed, bad, r.shownFindings(), want)
		}
		if h := r.hosts[0]; h.Name != "this image" || h.OS != "unknown" {
			t.Errorf("%+v", h)
		}
	}
}

// A host that has a module twice is one host.
func TestOneHostOnce(t *testing.T) {
	twice := lkm.Module{ID: "linux_module:a", Name: "a", Signature: lkm.Signature{Status: lkm.SignatureNone}}
	r := New()
	for _, host := range []string{"h", "i"} {
		r.Add(&lkm.Snapshot{OS: lkm.Linux, Host: host, Sources: whole(), Modules: []lkm.Module{twice, twice}})
	}
	for _, f := range r.shownFindings() {
		if f.HostCount != 2 {
			t.Errorf("%+v", f)
		}
	}
	for _, at := range r.rows {
		if len(at.hosts) != 2 {
			t.Errorf("%+v", at)
		}
	}
}
