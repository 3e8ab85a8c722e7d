// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/lkm"
)

// An inventedText is a text that somebody edited. All are made up, after what the tool prints.
type inventedText struct {
	name  string
	kind  Kind
	want  string // whole, part or refused
	names string // of the modules, sorted, with a comma between two
	holds string // "value @ field" pairs with a semicolon between two: the value is in these fields only; "-" for none
	text  string
}

// TestInvented reads texts that people edited: what a text does not show is not said, and no value is in the field of
// another.
func TestInvented(t *testing.T) {
	kinds := make(map[Kind]int)
	count := 0
	for _, list := range [][]inventedText{inventedLinux, inventedWindows, inventedMac, inventedUnix} {
		for _, c := range list {
			count++
			kinds[c.kind]++
			for _, as := range []Kind{c.kind, ""} {
				s, err := Read(strings.NewReader(c.text), as)
				got := inventedOutcome(s, err)
				if got != c.want && (as != "" || got != "refused" || c.want == "whole") {
					t.Errorf("%s %s as %q: %s, not %s: %v\n%s", c.kind, c.name, as, got, c.want, err, inventedDump(s))
					continue
				}
				if err != nil {
					continue
				}
				if got := inventedNames(s); got != c.names {
					t.Errorf("%s %s as %q: modules %s, not %s\n%s", c.kind, c.name, as, got, c.names, inventedDump(s))
				}
				inventedHolds(t, c, s)
			}
		}
	}
	for _, k := range Kinds() {
		if kinds[k] < 2 {
			t.Errorf("%d invented texts of %s", kinds[k], k)
		}
	}
	if count < 100 {
		t.Errorf("only %d invented texts", count)
	}
}

func inventedOutcome(s *lkm.Snapshot, err error) string {
	switch {
	case err != nil:
		return "refused"
	case sourcesOK(s):
		return "whole"
	}
	return "part"
}

func inventedNames(s *lkm.Snapshot) string {
	var names []string
	for i := range s.Modules {
		names = append(names, s.Modules[i].Name)
	}
	slices.Sort(names)
	return strings.Join(names, ",")
}

// inventedHolds looks for values in the fields of the modules.
func inventedHolds(t *testing.T, c inventedText, s *lkm.Snapshot) {
	t.Helper()
	for pair := range strings.SplitSeq(c.holds, ";") {
		value, field, ok := strings.Cut(pair, " @ ")
		if !ok {
			continue
		}
		value, found := strings.TrimSpace(value), false
		for _, leaf := range inventedLeaves(s) {
			if leaf[1] != value {
				continue
			}
			found = true
			if !slices.Contains(strings.Split(field, ","), leaf[0]) {
				t.Errorf("%s %s: %s is in %s\n%s", c.kind, c.name, value, leaf[0], inventedDump(s))
			}
		}
		if !found && field != "-" {
			t.Errorf("%s %s: %s is nowhere\n%s", c.kind, c.name, value, inventedDump(s))
		}
	}
}

// inventedLeaves returns the path and the text of each value of the modules, the name and the id left out.
func inventedLeaves(s *lkm.Snapshot) (list [][2]string) {
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, e := range v {
				if path != "" || k != "id" && k != "problems" {
					walk(strings.TrimPrefix(path+"."+k, "."), e)
				}
			}
		case []any:
			for _, e := range v {
				walk(path, e)
			}
		default:
			list = append(list, [2]string{path, fmt.Sprint(v)})
		}
	}
	for i := range s.Modules {
		b, _ := json.Marshal(&s.Modules[i])
		d := json.NewDecoder(strings.NewReader(string(b)))
		d.UseNumber()
		var m map[string]any
		_ = d.Decode(&m)
		walk("", m)
	}
	return list
}

func inventedDump(s *lkm.Snapshot) string {
	if s == nil {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "  %+v\n", s.Sources)
	for _, p := range s.Problems {
		fmt.Fprintf(&b, "  problem %s\n", p.Text)
	}
	for i := range s.Modules {
		j, _ := json.Marshal(&s.Modules[i])
		fmt.Fprintf(&b, "  %.600s\n", j)
	}
	return b.String()
}
