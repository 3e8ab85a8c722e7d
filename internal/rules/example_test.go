// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"path/filepath"
	"testing"
)

// maxAgentLines is how long an agent may be: the first example of the package's page shows the whole file.
const maxAgentLines = 40

// TestFirstExample: the first example that a reader of package lkm's page sees is the agent, and it is short.
func TestFirstExample(t *testing.T) {
	names, err := filepath.Glob("../../lkm/*.go")
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	files := make([]*ast.File, len(names))
	for i, name := range names {
		if files[i], err = parser.ParseFile(fset, name, nil, parser.ParseComments); err != nil {
			t.Fatal(err)
		}
	}
	pkg, err := doc.NewFromFiles(fset, files, "github.com/kernelext/kernelext/lkm")
	if err != nil {
		t.Fatal(err)
	}
	if len(pkg.Examples) < 2 || pkg.Examples[0].Suffix != "agent" {
		t.Fatalf("the first of %d examples of the package is not Example_agent", len(pkg.Examples))
	}
	code := pkg.Examples[0].Code
	if _, whole := code.(*ast.File); !whole {
		t.Errorf("a page does not show the agent's whole file, but %T", code)
	}
	if n := fset.Position(code.End()).Line - fset.Position(code.Pos()).Line + 1; n > maxAgentLines {
		t.Errorf("the agent has %d lines, more than %d", n, maxAgentLines)
	}
}
