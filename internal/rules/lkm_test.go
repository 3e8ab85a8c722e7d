// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"bytes"
	"go/ast"
	"go/token"
	"slices"
	"strings"
	"testing"
)

// TestKernelFilesOfLkm keeps what lkm knows of one kernel small: a row, and the fields of a module.
func TestKernelFilesOfLkm(t *testing.T) {
	const (
		most = 300  // lines of a file whose name begins with a kernel's
		all  = 2100 // lines of these files, the table of rows and the conversion together
	)
	total := 0
	each(t, false, func(s *source) {
		if s.dir() != "lkm" || s.test() {
			return
		}
		lines := bytes.Count(s.text, []byte("\n"))
		ofKernel := slices.ContainsFunc(kernels, func(k string) bool { return strings.HasPrefix(s.base(), k) })
		if ofKernel || s.base() == "rows.go" || s.base() == "record.go" {
			total += lines
		}
		if ofKernel && lines > most {
			t.Errorf("%s has %d lines, more than %d: a kernel's own code is in its package", s.name, lines, most)
		}
	})
	if total == 0 || total >= all {
		t.Errorf("the kernels' files of lkm have %d lines together; fewer than %d are allowed, and some", total, all)
	}
}

// TestKernelImportsOfLkm: lkm and what is below it know the kernels' packages in a few files alone. Of lkm's own files
// KERNEL.go imports KERNEL, and the record and its conversion import all.
func TestKernelImportsOfLkm(t *testing.T) {
	tables := []string{"lkm/module.go", "lkm/record.go", "lkm/capture/kind.go", "lkm/tape/redact.go"}
	each(t, false, func(s *source) {
		if s.test() || !below(s.dir(), "lkm") || slices.Contains(tables, s.name) {
			return
		}
		for _, p := range s.imports(t) {
			to, _ := strings.CutPrefix(p, "./")
			if kernel := kernelOf(to); strings.HasPrefix(p, "./") && kernel != "" && s.name != "lkm/"+kernel+".go" {
				t.Errorf("%s imports %s; only lkm/%s.go and %q may", s.name, to, kernel, tables)
			}
		}
	})
}

// TestNoSwitchOverSystems refuses code of lkm that asks which operating system it has before it: a row answers.
func TestNoSwitchOverSystems(t *testing.T) {
	excepted := map[string]string{ // file → reason
		"lkm/image.go":        "only a Linux image may have a proc and a sys of another machine",
		"lkm/live_solaris.go": "one GOOS file of two systems",
		"lkm/tape/tape.go":    "names fold in upper and lower case on Windows alone",
	}
	each(t, false, func(s *source) {
		if _, ok := excepted[s.name]; ok || s.test() || !below(s.dir(), "lkm") {
			return
		}
		ast.Inspect(s.syntax, func(n ast.Node) bool {
			if asksSystem(n) {
				t.Errorf("%s: asks which system it is: add a field to the row", at(n))
			}
			return true
		})
	})
}

// asksSystem reports whether a node decides by a constant of an operating system.
func asksSystem(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.SwitchStmt:
		return n.Tag != nil && isOS(n.Tag)
	case *ast.CaseClause:
		return slices.ContainsFunc(n.List, isSystem)
	case *ast.BinaryExpr:
		return (n.Op == token.EQL || n.Op == token.NEQ) && (isSystem(n.X) || isSystem(n.Y))
	}
	return false
}

// isOS reports whether an expression is named like a value of type OS.
func isOS(x ast.Expr) bool {
	name := lastName(x)
	return name == "os" || name == "OS" || name == "GOOS"
}

// systemNames are the constants of type OS. TestEverySystem compares them with fact/os.go.
var systemNames = []string{"Linux", "FreeBSD", "DragonFly", "NetBSD", "OpenBSD", "Illumos", "Solaris", "AIX", "Darwin",
	"Windows", "VxWorks", "NetWare"}

// isSystem reports whether an expression is a constant of type OS.
func isSystem(x ast.Expr) bool {
	if s, ok := x.(*ast.SelectorExpr); ok && !isNamed(s.X, "fact") && !isNamed(s.X, "lkm") {
		return lastName(x) == "GOOS" // a field, such as the object of one kernel
	}
	return slices.Contains(systemNames, lastName(x))
}

// lastName returns the identifier that an expression ends in; empty if it ends in none.
func lastName(x ast.Expr) string {
	switch x := x.(type) {
	case *ast.Ident:
		return x.Name
	case *ast.SelectorExpr:
		return x.Sel.Name
	}
	return ""
}

func TestAsksSystem(t *testing.T) {
	for body, want := range map[string]bool{
		"switch r.os { case a: }":           true,
		"switch s.OS { }":                   true,
		"switch runtime.GOOS { }":           true,
		"switch x { case fact.Linux: }":     true,
		"switch { case os == lkm.Darwin: }": true,
		"if os != Windows { }":              true,
		"if runtime.GOOS == `aix` { }":      true,
		"if m.Linux != nil { }":             false,
		"if os == `` { }":                   false,
		"switch state { case Loaded: }":     false,
	} {
		f := parsed(t, "func f() {"+body+"}")
		found := false
		ast.Inspect(f, func(n ast.Node) bool { found = found || asksSystem(n); return true })
		if found != want {
			t.Errorf("%q: %v", body, found)
		}
	}
}
