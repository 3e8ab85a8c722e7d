// SPDX-License-Identifier: Apache-2.0

package fact

import (
	"io/fs"
	"slices"
	"testing"
)

func TestAddProblem(t *testing.T) {
	m := Record[Other]{Name: "m\xff"}
	for range MaxProblems + 3 {
		m.Problem("x", "size", errBad)
	}
	first := Problem{Source: "x", Subject: `m\xff`, Field: "size", Code: CodeOther, Text: "bad"}
	rest := Problem{Source: "x", Subject: `m\xff`, Code: CodeOther, Text: manyMore, Count: 3}
	if len(m.Problems) != MaxProblems+1 || m.Problems[0] != first || m.Problems[MaxProblems] != rest {
		t.Errorf("%d problems, %+v … %+v", len(m.Problems), m.Problems[0], m.Problems[len(m.Problems)-1])
	}
}

func TestAddLosses(t *testing.T) {
	denied := func(module int, field string) Loss { return Loss{module, "x", field, fs.ErrPermission} }
	for name, tt := range map[string]struct {
		modules int
		losses  []Loss
		report  []Problem // of the source; their texts do not matter
		each    []int     // how many problems each module has
	}{
		"nothing": {modules: 2, each: []int{0, 0}},
		"every one": {2, []Loss{denied(0, "size"), denied(1, "size")},
			[]Problem{{Source: "x", Field: "size", Code: CodePermission, Count: 2}}, []int{0, 0}},
		"every one, some twice": {2, []Loss{denied(0, "size"), denied(0, "size"), denied(1, "size")},
			[]Problem{{Source: "x", Field: "size", Code: CodePermission, Count: 3}}, []int{0, 0}},
		"one of two":    {2, []Loss{denied(1, "size"), denied(1, "size")}, nil, []int{0, 2}},
		"the only one":  {1, []Loss{denied(0, "size")}, nil, []int{1}},
		"other fields":  {2, []Loss{denied(0, "size"), denied(1, "refs")}, nil, []int{1, 1}},
		"other causes":  {2, []Loss{denied(0, "size"), {1, "x", "size", fs.ErrNotExist}}, nil, []int{1, 1}},
		"other sources": {2, []Loss{denied(0, "size"), {1, "y", "size", fs.ErrPermission}}, nil, []int{1, 1}},
		"one and all": {2, []Loss{denied(0, "refs"), denied(0, "size"), denied(1, "size")},
			[]Problem{{Source: "x", Field: "size", Code: CodePermission, Count: 2}}, []int{1, 0}},
	} {
		var r Report
		records := make([]Record[Other], tt.modules)
		AddLosses(&r, records, tt.losses)
		for i := range r.Problems {
			r.Problems[i].Text = ""
		}
		var each []int
		for _, m := range records {
			each = append(each, len(m.Problems))
		}
		if !slices.Equal(r.Problems, tt.report) || !slices.Equal(each, tt.each) {
			t.Errorf("%s: %+v and %v", name, r.Problems, each)
		}
	}
}

func TestOther(t *testing.T) {
	var o Other
	o.Add("empty", "")
	o.AddCount("unknown", Count{})
	o.AddAddress("unknown", 0)
	o.AddCount("refs", CountOf(0))
	o.AddAddress("base", 0xff)
	o.Add("refs", "again")
	want := []Field{{"refs", "0"}, {"base", "0x00000000000000ff"}, {"refs", "again"}}
	if !slices.Equal(o.Fields, want) {
		t.Errorf("%+v", o.Fields)
	}
}
