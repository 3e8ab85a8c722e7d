// SPDX-License-Identifier: Apache-2.0

package judge

import (
	"io/fs"
	"slices"
	"testing"

	"github.com/kernelext/kernelext/fact"
)

// TestVerdicts asks for the fact that decides, and for the reason of what is unknown.
func TestVerdicts(t *testing.T) {
	none := fact.Answer{}
	yes := fact.Stops(fact.Reason{Code: "level", Text: "no"})
	no := fact.Passes(fact.Reason{Code: "level", Text: "root may"})
	unsure := fact.Unsure("level", "the level was not read")
	record := func(state fact.State, path string) []fact.Record[int] {
		return []fact.Record[int]{{ID: "x:a", Name: "a", State: state, Path: path}}
	}
	for name, tt := range map[string]struct {
		modules   []fact.Record[int]
		load      fact.Answer
		err       error
		now, next fact.VerdictOutcome
		want      []string // the codes of the reasons
	}{
		"loaded": {record(fact.StateLoaded, "/a"), no, nil, fact.VerdictLoaded, fact.VerdictLoadable,
			[]string{ReasonLoaded, ReasonInstalled}},
		"no file": {record(fact.StateLoaded, ""), no, nil, fact.VerdictLoaded, fact.VerdictUnknown,
			[]string{ReasonLoaded, ReasonUnread}},
		"built in": {record(fact.StateBuiltin, "/a"), no, nil, fact.VerdictBuiltin, fact.VerdictBuiltin,
			[]string{ReasonBuiltin}},
		"open": {record("", "/a"), no, nil, fact.VerdictLoadable, fact.VerdictLoadable,
			[]string{"level", ReasonInstalled}},
		"shut now": {record("", "/a"), yes, nil, fact.VerdictBlocked, fact.VerdictLoadable,
			[]string{ReasonInstalled, "level"}},
		"shut": {record("", ""), yes, fs.ErrPermission, fact.VerdictBlocked, fact.VerdictUnknown,
			[]string{ReasonUnread, "level"}},
		"unsure": {record("", ""), unsure, fs.ErrPermission, fact.VerdictUnknown, fact.VerdictUnknown,
			[]string{"level"}},
		"absent": {nil, none, nil, fact.VerdictAbsent, fact.VerdictAbsent, []string{ReasonNoFile}},
		"unread": {nil, none, fs.ErrPermission, fact.VerdictUnknown, fact.VerdictUnknown, []string{ReasonUnread}},
	} {
		c := Case[int]{Query: "a", Load: tt.load}
		c.Add("", tt.modules, tt.err, new(fact.Report))
		v := c.Verdicts()[0]
		var codes []string
		for _, r := range v.Reasons {
			codes = append(codes, r.Code)
		}
		if v.Now.Outcome != tt.now || v.NextBoot.Outcome != tt.next || !slices.Equal(codes, tt.want) {
			t.Errorf("%s: %s, %s, %v", name, v.Now.Outcome, v.NextBoot.Outcome, v.Reasons)
		}
		for _, p := range []*fact.Prospect{v.Now, v.NextBoot} {
			unknown := p.Outcome == fact.VerdictUnknown
			if unknown != (p.Because.Text != "") || unknown && !slices.Contains(v.Reasons, p.Because) {
				t.Errorf("%s: %s because %+v, %v", name, p.Outcome, p.Because, v.Reasons)
			}
		}
	}
}
