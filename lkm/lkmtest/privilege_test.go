// SPDX-License-Identifier: Apache-2.0

package lkmtest_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/internal/testing/fakelinux"
	"github.com/kernelext/kernelext/lkm"
)

// What an ordinary user sees is a part of what root sees, and whatever is missing has a Problem
// that names it. So `go test` needs no root.
func TestUserSeesPartOfRoot(t *testing.T) {
	tapes := corpus(t)
	pairs := 0
	for name, root := range tapes {
		base, ok := strings.CutSuffix(name, "-root")
		user := tapes[base+"-user"]
		if !ok || user == nil {
			continue
		}
		pairs++
		for _, d := range details(t, root.Header()) {
			compare(t, fmt.Sprintf("%s, detail %q", base, d), look(t, root.Header().OS, root, d),
				look(t, user.Header().OS, user, d))
		}
	}
	if pairs == 0 {
		t.Error("no pair of tapes as root and as a user")
	}
	// The same without redaction, which hides from root what the kernel hides from the user.
	detail, err := lkm.ParseDetail("all")
	if err != nil {
		t.Fatal(err)
	}
	asRoot, asUser := fakelinux.Debian(), fakelinux.Debian()
	asUser.User = true
	root, user := look(t, lkm.Linux, asRoot.Machine(), detail), look(t, lkm.Linux, asUser.Machine(), detail)
	compare(t, "made up, not redacted", root, user)
	if root.Snapshot.Modules[0].Address == 0 || user.Snapshot.Modules[0].Address != 0 {
		t.Error("the made-up hosts do not differ in what the kernel hides")
	}
}

// volatile are the fields of a Snapshot that may differ between two looks, or show who looked.
var volatile = []string{"takenAt", "privilege", "detail", "problems", "sources", "bootId", "refs", "usedBy", "refcnt"}

func compare(t *testing.T, what string, root, user outlook) {
	t.Helper()
	if root.Error != "" || user.Error != "" {
		if root.Error == "" || user.Error == "" {
			t.Errorf("%s: errors %q and %q", what, root.Error, user.Error)
		}
		return
	}
	all, part := object(t, root.Snapshot), object(t, user.Snapshot)
	missing := contained(what, part, all)
	for _, m := range missing {
		if m.wrong != "" {
			t.Error(m.wrong)
			continue
		}
		if !explained(user.Snapshot, m) {
			t.Errorf("%s: the user's Snapshot has no %s of %q, and no Problem says why", what, m.field, m.module)
		}
	}
}

func object(t *testing.T, v any) map[string]any {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// A loss is a field that root's Snapshot has and the user's has not, or a contradiction.
type loss struct{ module, field, wrong string }

// contained compares two Snapshots as JSON objects.
func contained(what string, part, all map[string]any) []loss {
	losses := append(fields(what, "", "", part, all, "modules", "policy"),
		policies(what, part["policy"], all["policy"])...)
	byID := make(map[string]map[string]any)
	for _, m := range part["modules"].([]any) {
		m := m.(map[string]any)
		byID[m["id"].(string)] = m
	}
	for _, m := range all["modules"].([]any) {
		m := m.(map[string]any)
		id := m["id"].(string)
		mine, ok := byID[id]
		delete(byID, id)
		if !ok {
			losses = append(losses, loss{wrong: fmt.Sprintf("%s: the user does not see %s", what, id)})
			continue
		}
		losses = append(losses, fields(what, m["name"].(string), "", mine, m)...)
	}
	for id := range byID {
		losses = append(losses, loss{wrong: fmt.Sprintf("%s: only the user sees %s", what, id)})
	}
	return losses
}

// policies compares what two looks say of the system's policy. A fact that the user cannot know has a
// code that says why, which also stands for the other facts of its source.
func policies(what string, part, all any) []loss {
	if part == nil && all == nil {
		return nil
	}
	mine, theirs := part.(map[string]any), all.(map[string]any)
	var losses []loss
	if mine["loading"] != theirs["loading"] {
		losses = append(losses,
			loss{wrong: fmt.Sprintf("%s: loading is %v for the user, %v for root", what,
				mine["loading"], theirs["loading"])})
	}
	known, hidden := make(map[string]bool), make(map[any]bool)
	for _, f := range theirs["facts"].([]any) {
		known[fmt.Sprint(f)] = true
	}
	seen := make(map[string]bool)
	for _, f := range mine["facts"].([]any) {
		f := f.(map[string]any)
		seen[fmt.Sprint(f)] = true
		if f["code"] != nil {
			hidden[f["source"]] = true
		} else if !known[fmt.Sprint(f)] {
			losses = append(losses, loss{wrong: fmt.Sprintf("%s: only the user knows %v", what, f)})
		}
	}
	for _, f := range theirs["facts"].([]any) {
		if f := f.(map[string]any); !seen[fmt.Sprint(f)] && !hidden[f["source"]] {
			losses = append(losses,
				loss{wrong: fmt.Sprintf("%s: the user does not know %v, and nothing says why", what, f)})
		}
	}
	return losses
}

// fields compares two objects. Lists of named objects are compared by name.
func fields(what, module, prefix string, part, all map[string]any, except ...string) []loss {
	var losses []loss
	for key, mine := range part {
		if slices.Contains(volatile, key) || slices.Contains(except, key) {
			continue
		}
		if _, ok := all[key]; !ok {
			losses = append(losses,
				loss{wrong: fmt.Sprintf("%s: %s: only the user's Snapshot has %s%s = %v", what,
					module, prefix, key, mine)})
		}
	}
	for key, theirs := range all {
		if slices.Contains(volatile, key) || slices.Contains(except, key) {
			continue
		}
		mine, ok := part[key]
		switch {
		case !ok:
			losses = append(losses, loss{module: module, field: key})
		case reflect.DeepEqual(mine, theirs):
		default:
			losses = append(losses, inside(what, module, prefix+key, key, mine, theirs)...)
		}
	}
	return losses
}

// inside compares two values that differ.
func inside(what, module, path, key string, mine, theirs any) []loss {
	if a, ok := mine.(map[string]any); ok {
		if b, ok := theirs.(map[string]any); ok {
			return fields(what, module, path+".", a, b)
		}
	}
	a, ok1 := mine.([]any)
	b, ok2 := theirs.([]any)
	if ok1 && ok2 && len(a) == len(b) {
		var losses []loss
		for i := range a {
			x, ok1 := a[i].(map[string]any)
			y, ok2 := b[i].(map[string]any)
			if !ok1 || !ok2 || x["name"] != y["name"] {
				return []loss{
					{wrong: fmt.Sprintf("%s: %s: %s is %v for the user and %v for root", what,
						module, path, mine, theirs)}}
			}
			if _, coded := x["code"]; coded && path == "policy.facts" {
				continue // the fact itself says why it is unknown
			}
			for _, l := range fields(what, module, path+".", x, y) {
				// the value of one that only root may read, and its readable
				if l.wrong == "" || path == "linux.parameters" {
					l = loss{module: module, field: key}
				}
				losses = append(losses, l)
			}
		}
		return losses
	}
	return []loss{
		{wrong: fmt.Sprintf("%s: %s: %s is %v for the user and %v for root", what, module, path, mine, theirs)}}
}

// explained reports whether a Problem names the field, on the module or for all of them.
func explained(s *lkm.Snapshot, l loss) bool {
	names := func(p lkm.Problem) bool {
		return p.Field == l.field || strings.HasSuffix(p.Field, "."+l.field) || strings.HasPrefix(p.Field, l.field+".")
	}
	if slices.ContainsFunc(s.Problems, func(p lkm.Problem) bool {
		return names(p) && (p.Subject == "" || p.Subject == l.module)
	}) {
		return true
	}
	i := slices.IndexFunc(s.Modules, func(m lkm.Module) bool { return m.Name == l.module })
	return i >= 0 && slices.ContainsFunc(s.Modules[i].Problems, names)
}
