// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"slices"
	"testing"

	"github.com/kernelext/kernelext/fact"
)

// A list forgives what the tape is too old for, and nothing else.
func TestForgiveOlder(t *testing.T) {
	older := func(source string) Problem { return Problem{Source: source, Field: "f", Code: CodeOlder} }
	denied := func(source string) Problem { return Problem{Source: source, Code: CodePermission} }
	source := func(outcome Outcome, code Code) []Source {
		return []Source{{Name: "a", Outcome: outcome, Code: code}}
	}
	for _, tt := range []struct {
		name     string
		in       []Source
		problems []Problem // of the list
		module   []Problem // of its module
		want     []Source
		kept     []Problem
		module2  []Problem
	}{
		{"nothing", source(fact.OutcomePartial, ""), []Problem{denied("a")}, nil,
			source(fact.OutcomePartial, ""), []Problem{denied("a")}, nil},
		{"of a module", source(fact.OutcomePartial, ""), nil, []Problem{older("a")},
			source(fact.OutcomeOK, ""), nil, nil},
		{"of the list", source(fact.OutcomePartial, ""), []Problem{older("a")}, nil,
			source(fact.OutcomeOK, ""), nil, nil},
		{"beside a refusal", source(fact.OutcomePartial, ""), []Problem{denied("a")}, []Problem{older("a")},
			source(fact.OutcomePartial, ""), []Problem{denied("a")}, nil},
		{"beside a refusal of the module", source(fact.OutcomePartial, ""), []Problem{older("a")},
			[]Problem{older("a"), denied("a")}, source(fact.OutcomePartial, ""), nil, []Problem{denied("a")}},
		{"beside another source's refusal", source(fact.OutcomePartial, ""), []Problem{older("a"), denied("b")}, nil,
			source(fact.OutcomeOK, ""), []Problem{denied("b")}, nil},
		{"source with another code", source(fact.OutcomePartial, CodePermission), []Problem{older("a")}, nil,
			source(fact.OutcomePartial, CodePermission), nil, nil},
		{"source with the code", source(fact.OutcomePartial, CodeOlder), nil, nil,
			source(fact.OutcomeOK, ""), nil, nil},
		{"source that failed", source(fact.OutcomeFailed, CodeOlder), nil, nil,
			source(fact.OutcomeUnsupported, CodeOlder), nil, nil},
		{"source that is unsupported", source(fact.OutcomeUnsupported, CodeOlder), []Problem{older("a")}, nil,
			source(fact.OutcomeUnsupported, CodeOlder), nil, nil},
	} {
		modules := []Module{{Problems: tt.module}}
		sources, problems := forgiveOlder(tt.in, tt.problems, modules)
		if !slices.Equal(sources, tt.want) || !slices.Equal(problems, tt.kept) ||
			!slices.Equal(modules[0].Problems, tt.module2) {
			t.Errorf("%s: %+v, %+v, %+v", tt.name, sources, problems, modules[0].Problems)
		}
	}
}

// A Problem that counts others does not hide them behind a code that is forgiven.
func TestManyOlder(t *testing.T) {
	var r fact.Report
	var m fact.Record[fact.Other]
	for range fact.MaxProblems + 2 {
		r.Add(Problem{Source: "a", Code: CodeOlder})
		m.AddProblem(Problem{Source: "a", Code: CodeOlder})
	}
	r.Add(Problem{Source: "a", Code: CodePermission})
	m.AddProblem(Problem{Source: "a", Code: CodePermission})
	for _, problems := range [][]Problem{r.Problems, m.Problems} {
		if left := withoutOlder(problems); len(left) != 1 || left[0].Code != CodePermission || left[0].Count != 3 {
			t.Errorf("%+v", left)
		}
	}
}

func TestVerdictOfOlderTape(t *testing.T) {
	older := []Problem{{Source: "a", Code: CodeOlder}}
	for _, tt := range []struct {
		now, next VerdictOutcome
		want      int
	}{
		{VerdictLoaded, VerdictBlocked, 0}, {VerdictUnknown, VerdictBlocked, 1}, {VerdictLoaded, VerdictUnknown, 1},
		{"", "", 0},
	} {
		var v Verdict
		if tt.now != "" {
			v.Now, v.NextBoot = &Prospect{Outcome: tt.now}, &Prospect{Outcome: tt.next}
		}
		addProblems(&v, older)
		if len(v.Problems) != tt.want {
			t.Errorf("%+v: %v", tt, v.Problems)
		}
	}
}
