// SPDX-License-Identifier: Apache-2.0

package schema_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
)

const module = "github.com/kernelext/kernelext"

// docs are what the comments of a package say.
type docs struct {
	types map[string]string   // of types, and of fields as Type.Field
	words map[string][]string // the constants of text types
}

// docsOf reads the package that declares a type.
func (g *generator) docsOf(t reflect.Type) *docs {
	if d := g.docs[t.PkgPath()]; d != nil {
		return d
	}
	d := &docs{make(map[string]string), make(map[string][]string)}
	g.docs[t.PkgPath()] = d
	dir := filepath.Join("..", filepath.FromSlash(strings.TrimPrefix(t.PkgPath(), module)))
	entries, err := os.ReadDir(dir)
	if err != nil {
		g.t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, e.Name()), nil, parser.ParseComments)
		if err != nil {
			g.t.Fatal(err)
		}
		for _, decl := range f.Decls {
			if gen, ok := decl.(*ast.GenDecl); ok {
				for _, spec := range gen.Specs {
					d.add(gen, spec)
				}
			}
		}
	}
	return d
}

func (d *docs) add(gen *ast.GenDecl, spec ast.Spec) {
	switch spec := spec.(type) {
	case *ast.TypeSpec:
		d.types[spec.Name.Name] = text(spec.Doc, gen.Doc)
		st, ok := spec.Type.(*ast.StructType)
		if !ok {
			return
		}
		for _, f := range st.Fields.List {
			for _, name := range f.Names {
				d.types[spec.Name.Name+"."+name.Name] = text(f.Doc, f.Comment)
			}
		}
	case *ast.ValueSpec:
		kind, ok := spec.Type.(*ast.Ident)
		if !ok || gen.Tok != token.CONST {
			return
		}
		for _, v := range spec.Values {
			if lit, ok := v.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if word, err := strconv.Unquote(lit.Value); err == nil {
					d.words[kind.Name] = append(d.words[kind.Name], word)
				}
			}
		}
	}
}

// text returns the first comment that there is, on one line.
func text(groups ...*ast.CommentGroup) string {
	for _, g := range groups {
		if s := strings.Join(strings.Fields(g.Text()), " "); s != "" {
			return s
		}
	}
	return ""
}
