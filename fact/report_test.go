// SPDX-License-Identifier: Apache-2.0

package fact

import (
	"errors"
	"io/fs"
	"slices"
	"strconv"
	"testing"
)

var errBad = errors.New("bad")

// reportOf returns a report of n different problems of a source.
func reportOf(source string, n int) *Report {
	var r Report
	for i := range n {
		r.Problem(source, strconv.Itoa(i), "", errBad)
	}
	return &r
}

// TestAppend adds reports that have more problems of one source than are kept: none of them is lost from the counts.
func TestAppend(t *testing.T) {
	a, b := reportOf("x", MaxProblems+5), reportOf("x", MaxProblems+5)
	a.Done("x", Count{})
	b.Problem("y", "", "", errBad)
	b.Done("y", Count{})
	a.Append(b)
	last := a.Problems[MaxProblems]
	if a.Count("x") != 2*(MaxProblems+5) || last.Count != MaxProblems+10 || a.Count("y") != 1 || len(a.Sources) != 2 {
		t.Errorf("%d and %d problems, the last %+v, sources %v", a.Count("x"), a.Count("y"), last, a.Sources)
	}
}

// TestAppendToEmpty: a copy of a report counts on as the report itself would.
func TestAppendToEmpty(t *testing.T) {
	var a Report
	a.Append(reportOf("x", MaxProblems+5))
	a.Problem("x", "", "", errBad)
	if a.Count("x") != MaxProblems+6 || len(a.Problems) != MaxProblems+1 || a.Problems[MaxProblems].Count != 6 {
		t.Errorf("%d problems, %d kept, the last %+v", a.Count("x"), len(a.Problems), a.Problems[len(a.Problems)-1])
	}
	a.Append(new(Report))
	if a.Count("x") != MaxProblems+6 || a.Sources != nil {
		t.Errorf("%d problems, sources %v", a.Count("x"), a.Sources)
	}
}

func TestReportKeepsMaxProblemsOfEachSource(t *testing.T) {
	for _, n := range []int{0, 1, MaxProblems, MaxProblems + 1, MaxProblems + 7} {
		r := reportOf("x", n)
		r.Problem("y", "", "", errBad)
		if r.Count("x") != n || r.Count("y") != 1 || r.Count("z") != 0 {
			t.Errorf("%d: counts %d, %d and %d", n, r.Count("x"), r.Count("y"), r.Count("z"))
		}
		if kept := min(n, MaxProblems+1); len(r.Problems) != kept+1 {
			t.Errorf("%d: %d problems are kept", n, len(r.Problems))
		}
		if n <= MaxProblems {
			continue
		}
		want := Problem{Source: "x", Code: CodeOther, Text: manyMore, Count: n - MaxProblems}
		if r.Problems[MaxProblems] != want {
			t.Errorf("%d: the rest is %+v, want %+v", n, r.Problems[MaxProblems], want)
		}
	}
}

func TestReportSources(t *testing.T) {
	var r Report
	r.Source("denied", "", Count{}, fs.ErrPermission)
	r.Source("absent", "", Count{}, fs.ErrNotExist)
	r.Source("unsupported", "", Count{}, errors.ErrUnsupported)
	r.Source("hidden", "", Count{}, ErrRestricted)
	r.Source("failed", "", Count{}, errBad)
	r.Source("mine", OutcomePartial, CountOf(3), ErrMalformed)
	r.Skip("skipped", "too")
	r.Done("whole", CountOf(0))
	r.Problem("damaged", "", "", ErrMalformed)
	r.Done("damaged", CountOf(1))
	want := []Source{
		{"denied", OutcomeDenied, Count{}, CodePermission, ""}, {"absent", OutcomeAbsent, Count{}, CodeAbsent, ""},
		{"unsupported", OutcomeUnsupported, Count{}, CodeUnsupported, ""},
		{"hidden", OutcomeDenied, Count{}, CodeRestricted, ""},
		{"failed", OutcomeFailed, Count{}, CodeOther, ""}, {"mine", OutcomePartial, CountOf(3), CodeMalformed, ""},
		{"skipped", OutcomeSkipped, Count{}, "", ""}, {"too", OutcomeSkipped, Count{}, "", ""},
		{"whole", OutcomeOK, CountOf(0), "", ""}, {"damaged", OutcomePartial, CountOf(1), "", ""},
	}
	if !slices.Equal(r.Sources, want) {
		t.Errorf("sources %+v", r.Sources)
	}
	if !r.Whole() || !r.Whole("whole") {
		t.Error("what was read to its end is not whole")
	}
	for _, name := range []string{"damaged", "skipped", "denied", "no such source"} {
		if r.Whole("whole", name) {
			t.Errorf("%s is whole", name)
		}
	}
	if s, ok := r.Find("mine"); !ok || s != want[5] {
		t.Errorf("found %+v, %v", s, ok)
	}
	if s, ok := r.Find("no such source"); ok || s != (Source{}) {
		t.Errorf("found %+v", s)
	}
}

func TestFindSource(t *testing.T) {
	sources := []Source{{Name: "a", Outcome: OutcomeFailed}, {Name: "b"}, {Name: "a", Outcome: OutcomeOK}}
	if s, ok := FindSource(sources, "a"); !ok || s.Outcome != OutcomeFailed {
		t.Errorf("the first a is %+v, %v", s, ok)
	}
	if _, ok := FindSource(nil, "a"); ok {
		t.Error("a source is found among none")
	}
}

func TestIncomplete(t *testing.T) {
	for outcome, want := range map[Outcome]bool{
		OutcomeOK: false, OutcomeAbsent: false, OutcomeUnsupported: false, OutcomeSkipped: false,
		OutcomeDenied: true, OutcomePartial: true, OutcomeFailed: true,
	} {
		if (Source{Outcome: outcome}).Incomplete() != want {
			t.Errorf("%s is incomplete: %v", outcome, !want)
		}
	}
}

func TestMerge(t *testing.T) {
	var r Report
	r.Skip("a", "b")
	r.Source("a", OutcomeOK, CountOf(2), nil)
	r.Source("a", OutcomeFailed, Count{}, errBad)
	r.Skip("a")
	r.Problem("a", "m", "size", errBad)
	r.Problem("b", "m", "size", errBad)
	r.Problem("a", "m", "size", errBad)
	r.Merge()
	want := []Source{{"a", OutcomeOK, CountOf(2), "", ""}, {"b", OutcomeSkipped, Count{}, "", ""}}
	if !slices.Equal(r.Sources, want) {
		t.Errorf("sources %+v, want %+v", r.Sources, want)
	}
	if len(r.Problems) != 2 || r.Count("a") != 1 || r.Count("b") != 1 {
		t.Errorf("problems %+v, %d of a", r.Problems, r.Count("a"))
	}
}

// TestMergeKeepsCounting: a report with more problems than are kept counts on after equal ones were dropped.
func TestMergeKeepsCounting(t *testing.T) {
	r := reportOf("x", MaxProblems+5)
	r.Merge()
	r.Problem("x", "", "", errBad)
	if r.Count("x") != MaxProblems+6 || r.Problems[MaxProblems].Count != 6 || len(r.Problems) != MaxProblems+1 {
		t.Errorf("%d problems, the last %+v", r.Count("x"), r.Problems[len(r.Problems)-1])
	}
	var same Report
	for range MaxProblems + 5 {
		same.Problem("x", "", "", errBad)
	}
	same.Merge()
	if len(same.Problems) != 2 || same.Count("x") != 6 {
		t.Errorf("%+v, %d problems", same.Problems, same.Count("x"))
	}
	new(Report).Merge()
}

func TestBudgetErr(t *testing.T) {
	r := reportOf("x", MaxProblems+1)
	if err := r.BudgetErr(); err != nil {
		t.Errorf("a whole call: %v", err)
	}
	r.Problem("x", "", "", ErrBudget)
	r.Source("x", "", Count{}, ErrBudget)
	if err := r.BudgetErr(); !errors.Is(err, ErrBudget) {
		t.Errorf("no room for the problem: %v", err)
	}
	var p Report
	p.Problem("x", "m", "", ErrBudget)
	if err := p.BudgetErr(); !errors.Is(err, ErrBudget) || err.Error() != "x: m: budget used up" {
		t.Errorf("a problem: %v", err)
	}
}
