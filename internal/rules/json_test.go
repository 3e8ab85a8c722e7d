// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"go/ast"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

// A nil list is written as null, where the JSON Schemas promise an array: a list is left out when it is nil, or its
// type is here, because whoever makes one makes all its lists.
func TestNilListsAreLeftOut(t *testing.T) {
	made := map[string]bool{
		"cmd/lkm.planned": true, "cmd/lkm.resolved": true, "fact.Config": true, "fact.Policy": true,
		"fact.SourcePlan": true, "fact.Upgrade": true, "fleet/audit.Report": true, "fleet/audit.Rules": true,
		"fleet/audit.sarifDriver": true, "fleet/audit.sarifLog": true, "fleet/audit.sarifResult": true,
		"fleet/audit.sarifRun": true, "fleet/audit.sarifTags": true, "lkm.Delta": true, "lkm.Snapshot": true,
		"lkm.rawDelta": true, "windows.BlockMatch": true, "windows/pe.VersionLanguage": true,
	}
	seen := map[string]bool{}
	each(t, false, func(s *source) {
		if s.test() || strings.HasPrefix(s.name, "internal/") {
			return
		}
		ast.Inspect(s.syntax, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			for _, f := range nilLists(spec.Type) {
				name := s.dir() + "." + spec.Name.Name
				if seen[name] = true; !made[name] {
					t.Errorf("%s: a nil %s of %s is null in JSON: omitzero", at(f), f.Names[0], name)
				}
			}
			return true
		})
	})
	for name := range made {
		if !seen[name] {
			t.Errorf("%s has no such list any more", name)
		}
	}
}

// nilLists returns the lists and maps of a struct, and of those in it without a name, that are written when they are
// nil.
func nilLists(x ast.Expr) []*ast.Field {
	var out []*ast.Field
	ast.Inspect(x, func(n ast.Node) bool {
		f, ok := n.(*ast.Field)
		if !ok || f.Tag == nil || len(f.Names) == 0 {
			return true
		}
		list := false
		switch a := f.Type.(type) {
		case *ast.ArrayType:
			list = a.Len == nil
		case *ast.MapType:
			list = true
		}
		text, err := strconv.Unquote(f.Tag.Value)
		tag := reflect.StructTag(text).Get("json")
		if list && err == nil && tag != "" && tag != "-" && !strings.Contains(tag, ",omit") {
			out = append(out, f)
		}
		return true
	})
	return out
}
