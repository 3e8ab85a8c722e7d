// SPDX-License-Identifier: Apache-2.0

package fact

import (
	"slices"
	"testing"
)

func TestLead(t *testing.T) {
	a, b, c := Reason{Code: "a"}, Reason{Code: "b"}, Reason{Code: "b", Line: 1}
	for name, tt := range map[string]struct {
		list []Reason
		lead Reason
		want []Reason
	}{
		"nothing":   {[]Reason{a}, Reason{}, []Reason{a}},
		"first one": {nil, a, []Reason{a}},
		"inserted":  {[]Reason{a, b}, c, []Reason{c, a, b}},
		"moved":     {[]Reason{a, c, b}, b, []Reason{b, a, c}},
		"in place":  {[]Reason{a, b}, a, []Reason{a, b}},
	} {
		before := slices.Clone(tt.list)
		v := Verdict{Reasons: tt.list}
		v.Lead(tt.lead)
		if !slices.Equal(v.Reasons, tt.want) || !slices.Equal(tt.list, before) {
			t.Errorf("%s: %v, want %v", name, v.Reasons, tt.want)
		}
	}
}

func TestLeadBy(t *testing.T) {
	of := func(o VerdictOutcome) *Prospect { return &Prospect{Outcome: o} }
	now, next, unread := Reason{Code: "now"}, Reason{Code: "next"}, Reason{Code: "unread"}
	unknown := &Prospect{Outcome: VerdictUnknown, Because: unread}
	for name, tt := range map[string]struct {
		v     Verdict
		worst VerdictOutcome
		want  []Reason
	}{
		"now is worse": {Verdict{Now: of(VerdictLoaded), NextBoot: of(VerdictAbsent)},
			VerdictLoaded, []Reason{now, next}},
		"next is worse": {Verdict{Now: of(VerdictBlocked), NextBoot: of(VerdictLoadable)}, VerdictLoadable,
			[]Reason{next, now}},
		"equal": {Verdict{Now: of(VerdictBlocked), NextBoot: of(VerdictBlocked)},
			VerdictBlocked, []Reason{now}},
		"image":         {Verdict{NextBoot: of(VerdictBlocked)}, VerdictBlocked, []Reason{next}},
		"no next boot":  {Verdict{Now: of(VerdictBuiltin)}, VerdictBuiltin, []Reason{now}},
		"unknown":       {Verdict{Now: unknown, NextBoot: of(VerdictAbsent)}, VerdictUnknown, []Reason{unread, next}},
		"both unknown":  {Verdict{Now: of(VerdictUnknown), NextBoot: unknown}, VerdictUnknown, []Reason{now, unread}},
		"no outcome":    {Verdict{}, VerdictUnknown, nil},
		"a later word":  {Verdict{Now: of("maybe"), NextBoot: of(VerdictBlocked)}, VerdictUnknown, []Reason{now, next}},
		"both the same": {Verdict{Now: unknown, NextBoot: unknown}, VerdictUnknown, []Reason{unread}},
	} {
		tt.v.LeadBy(now, next)
		if got := tt.v.Worst(); got != tt.worst || !slices.Equal(tt.v.Reasons, tt.want) {
			t.Errorf("%s: %s %v, want %s %v", name, got, tt.v.Reasons, tt.worst, tt.want)
		}
	}
}
