// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"go/ast"
	"go/token"
	"testing"
)

// TestNoControlFlowOnProse refuses code that decides by a sentence for a person: one that compares the Text or the
// Effect of something with a string literal, or looks how it begins. A code or a field says the same and can be
// reworded.
func TestNoControlFlowOnProse(t *testing.T) {
	each(t, true, func(s *source) {
		if s.test() {
			return
		}
		ast.Inspect(s.syntax, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.BinaryExpr:
				if (n.Op == token.EQL || n.Op == token.NEQ) &&
					(isProse(n.X) && isSentence(n.Y) || isProse(n.Y) && isSentence(n.X)) {
					t.Errorf("%s: compares a text for persons: ask a code or a field", at(n))
				}
			case *ast.CallExpr:
				f, ok := n.Fun.(*ast.SelectorExpr)
				if ok && isNamed(f.X, "strings") && len(n.Args) == 2 && isProse(n.Args[0]) &&
					isSentence(n.Args[1]) && compares(f.Sel.Name) {
					t.Errorf("%s: strings.%s of a text for persons: ask a code or a field", at(n), f.Sel.Name)
				}
			case *ast.SwitchStmt:
				if isProse(n.Tag) {
					t.Errorf("%s: switches on a text for persons: ask a code or a field", at(n))
				}
			}
			return true
		})
	})
}

// isProse reports whether an expression is a field named Text or Effect.
func isProse(e ast.Expr) bool {
	f, ok := e.(*ast.SelectorExpr)
	return ok && (f.Sel.Name == "Text" || f.Sel.Name == "Effect")
}

// isSentence reports whether an expression is a literal other than the empty string.
func isSentence(e ast.Expr) bool {
	l, ok := e.(*ast.BasicLit)
	return ok && l.Kind == token.STRING && len(l.Value) > len(`""`)
}

func isNamed(e ast.Expr, name string) bool {
	id, ok := e.(*ast.Ident)
	return ok && id.Name == name
}

// compares reports whether a function of package strings looks how a text begins or ends.
func compares(name string) bool {
	switch name {
	case "HasPrefix", "HasSuffix", "CutPrefix", "CutSuffix", "EqualFold":
		return true
	}
	return false
}
