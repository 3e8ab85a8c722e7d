// SPDX-License-Identifier: Apache-2.0

package fact

import (
	"errors"
	"io/fs"
	"slices"
	"testing"
)

// TestReportPolicy: each source of the facts is reported once, and what could not be read is a Problem of it.
func TestReportPolicy(t *testing.T) {
	p := &Policy{Loading: LoadingAny, Facts: []PolicyFact{
		{Name: "a", Source: "read before", Code: CodePermission},
		{Name: "b", Source: "whole", Value: "1"},
		{Name: "c", Source: "whole", Code: CodeAbsent},
		{Name: "d", Source: "part", Value: "1"},
		{Name: "e", Source: "part", Code: CodePermission, Effect: "not known"},
		{Name: "f", Source: "part", Code: CodePermission},
		{Name: "g", Source: "none", Code: CodeAbsent},
		{Name: "h", Source: "odd", Code: CodeOther},
		{Name: "i", Source: "never", Code: CodeUnsupported},
	}}
	var r Report
	r.Source("read before", OutcomeOK, Count{}, nil)
	r.Policy(p)
	sources := []Source{
		{Name: "read before", Outcome: OutcomeOK}, {Name: "whole", Outcome: OutcomeOK},
		{Name: "part", Outcome: OutcomePartial, Code: CodePermission},
		{Name: "none", Outcome: OutcomeAbsent, Code: CodeAbsent},
		{Name: "odd", Outcome: OutcomeFailed, Code: CodeOther},
		{Name: "never", Outcome: OutcomeUnsupported, Code: CodeUnsupported},
	}
	if !slices.Equal(r.Sources, sources) {
		t.Errorf("sources %+v", r.Sources)
	}
	problems := []Problem{
		{Source: "read before", Subject: "a", Field: "policy", Code: CodePermission},
		{Source: "part", Subject: "e", Field: "policy", Code: CodePermission, Text: "not known", Count: 2},
		{Source: "odd", Subject: "h", Field: "policy", Code: CodeOther},
	}
	if !slices.Equal(r.Problems, problems) {
		t.Errorf("problems %+v", r.Problems)
	}
	if !errors.Is(p.Err(), fs.ErrPermission) || (&Policy{Loading: LoadingAny}).Err() != nil {
		t.Errorf("Err is %v", p.Err())
	}
}

// TestPolicyWithoutConclusion: a policy without a conclusion has a Problem, whatever its facts say.
func TestPolicyWithoutConclusion(t *testing.T) {
	absent := PolicyFact{Name: "a", Source: "s", Code: CodeAbsent}
	unknown := absent
	unknown.Unknown = true
	unsupported := PolicyFact{Name: "b", Source: "s", Code: CodeUnsupported}
	for name, tt := range map[string]struct {
		facts []PolicyFact
		want  Code
	}{
		"nothing":        {nil, CodeOther},
		"absent":         {[]PolicyFact{absent}, CodeOther},
		"absent unknown": {[]PolicyFact{unknown}, CodeAbsent},
		"unsupported":    {[]PolicyFact{unsupported}, CodeOther},
	} {
		got := (&Policy{Facts: tt.facts}).Incomplete()
		if len(got) != 1 || got[0].Code != tt.want {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
