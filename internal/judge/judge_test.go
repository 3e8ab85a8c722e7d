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
		"shut, or in the kernel": {record("", ""), yes, fs.ErrPermission, fact.VerdictUnknown, fact.VerdictUnknown,
			[]string{ReasonUnread, ReasonUnread}},
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

// TestShut judges a module that no way lets in. The kernel may have it if the kernel's list was not read. A running
// kernel that loads nothing loads no other file of the name either.
func TestShut(t *testing.T) {
	shut := fact.Stops(fact.Reason{Code: "level", Text: "no"})
	boot := func(*fact.Record[int]) ([]Entrance, []fact.Reason, []fact.Reason) {
		return []Entrance{{Name: Way, Answer: shut}}, nil, nil
	}
	file := []fact.Record[int]{{ID: "x:a", Name: "a", State: fact.StateInstalled, Path: "/a"}}
	for name, c := range map[string]struct {
		kernel, disk error
		now, next    fact.VerdictOutcome
	}{
		"whole":  {nil, nil, fact.VerdictBlocked, fact.VerdictBlocked},
		"kernel": {fs.ErrPermission, nil, fact.VerdictUnknown, fact.VerdictUnknown},
		"disk":   {nil, fs.ErrPermission, fact.VerdictBlocked, fact.VerdictUnknown},
	} {
		live, image := Case[int]{Query: "a", Load: shut}, Case[int]{Query: "a", Image: true, Boot: boot}
		for _, k := range []*Case[int]{&live, &image} {
			k.Add("", nil, c.kernel, new(fact.Report))
			k.Add("", file, c.disk, new(fact.Report))
		}
		now, next := live.Verdicts()[0].Now, image.Verdicts()[0].NextBoot
		if now.Outcome != c.now || next.Outcome != c.next {
			t.Errorf("%s: %+v, %+v", name, now, next)
		}
		for _, p := range []*fact.Prospect{now, next} {
			if p.Outcome == fact.VerdictUnknown && p.Because.Code != ReasonUnread {
				t.Errorf("%s: %+v", name, p)
			}
		}
	}
}

// TestSecondFile judges an image with two files of one name: a verdict that differs is given, too.
func TestSecondFile(t *testing.T) {
	file := func(path string) fact.Record[int] {
		return fact.Record[int]{ID: "x:a", Name: "a", State: fact.StateInstalled, Path: path}
	}
	builtin := fact.Record[int]{ID: "x:a", Name: "a", State: fact.StateBuiltin}
	boot := func(m *fact.Record[int]) ([]Entrance, []fact.Reason, []fact.Reason) {
		answer := fact.Passes(fact.Reason{Code: "free", Text: "it loads"})
		if m.Path == "/shut" {
			answer = fact.Stops(fact.Reason{Code: "shut", Text: "it does not load"})
		}
		return []Entrance{{Name: Way, Answer: answer}}, nil, nil
	}
	for name, c := range map[string]struct {
		modules []fact.Record[int]
		want    []fact.VerdictOutcome
	}{
		"alike": {[]fact.Record[int]{file("/1"), file("/2")}, []fact.VerdictOutcome{fact.VerdictLoadable}},
		"differ": {[]fact.Record[int]{file("/shut"), file("/2"), file("/3")},
			[]fact.VerdictOutcome{fact.VerdictBlocked, fact.VerdictLoadable}},
		"builtin": {[]fact.Record[int]{builtin, file("/2")}, []fact.VerdictOutcome{fact.VerdictBuiltin}},
	} {
		for _, query := range []string{"a", "x:a"} {
			k := Case[int]{Query: query, Image: true, Boot: boot}
			k.Add("", c.modules, nil, new(fact.Report))
			var got []fact.VerdictOutcome
			for _, v := range k.Verdicts() {
				got = append(got, v.NextBoot.Outcome)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%s, %s: %v, want %v", name, query, got, c.want)
			}
		}
	}
}
