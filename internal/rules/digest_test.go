// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"go/ast"
	"slices"
	"strings"
	"testing"
)

// A digest is made by internal/hashing, or after asking it whether it may be: crypto/md5 and crypto/sha1 panic in a
// program that is bound to FIPS 140, and Hash.Available does not say so.
func TestDigestsMayBeRefused(t *testing.T) {
	each(t, false, func(s *source) {
		if s.test() || s.dir() == "internal/hashing" || strings.HasPrefix(s.name, "internal/testing/") {
			return
		}
		ast.Inspect(s.syntax, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok && refusesDigest(sel) {
				t.Errorf("%s: ask internal/hashing", at(n))
			}
			return true
		})
	})
}

// refusesDigest reports whether a selector is one of the functions that panic, or does not say whether they would.
func refusesDigest(sel *ast.SelectorExpr) bool {
	if x, ok := sel.X.(*ast.Ident); ok && (x.Name == "md5" || x.Name == "sha1") {
		return slices.Contains([]string{"New", "Sum"}, sel.Sel.Name)
	}
	return sel.Sel.Name == "Available"
}
