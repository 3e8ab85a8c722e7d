// SPDX-License-Identifier: Apache-2.0

// Figures prints how the code is laid out: for each package the files and lines of production code, the exported
// names, the arrows between files (file A uses something that file B declares), and the functions of over 50 lines.
//
//	go run .ci/figures.go [DIR]
package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A room is one package.
type room struct {
	files, lines, names, methods, arrows, long int
}

func main() {
	root := "."
	if len(os.Args) > 1 {
		root = os.Args[1]
	}
	var dirs []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || d.Name() == "e2e" || strings.HasPrefix(d.Name(), ".") &&
			path != root) {
			return filepath.SkipDir
		}
		if d.IsDir() {
			dirs = append(dirs, path)
		}
		return nil
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("%-28s %5s %6s %6s %7s %6s %5s\n", "package", "files", "lines", "names", "methods", "arrows", "long")
	var sum room
	for _, dir := range dirs {
		r, ok := measure(dir)
		if !ok {
			continue
		}
		name, _ := filepath.Rel(root, dir)
		r.print(name)
		sum.add(r)
	}
	sum.print("all")
}

func (r room) print(name string) {
	fmt.Printf("%-28s %5d %6d %6d %7d %6d %5d\n", name, r.files, r.lines, r.names, r.methods, r.arrows, r.long)
}

func (r *room) add(o room) {
	r.files, r.lines, r.names, r.methods = r.files+o.files, r.lines+o.lines, r.names+o.names, r.methods+o.methods
	r.arrows, r.long = r.arrows+o.arrows, r.long+o.long
}

// measure reads the production files of one folder.
func measure(dir string) (room, bool) {
	entries, _ := os.ReadDir(dir)
	fset := token.NewFileSet()
	var r room
	files := map[string]*ast.File{}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, filepath.Join(dir, e.Name()), nil, parser.SkipObjectResolution)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		files[e.Name()] = f
		r.files++
		r.lines += fset.File(f.Pos()).LineCount()
	}
	home := map[string]string{}
	for name, f := range files {
		for _, d := range f.Decls {
			r.declare(fset, d, func(ident string) { home[ident] = name })
		}
	}
	for name, f := range files {
		r.arrows += len(uses(f, name, home))
	}
	return r, r.files > 0
}

// declare counts what a declaration exports, and passes its package-level names to home.
func (r *room) declare(fset *token.FileSet, d ast.Decl, home func(string)) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Body != nil && fset.Position(d.End()).Line-fset.Position(d.Pos()).Line+1 > 50 {
			r.long++
		}
		if d.Recv != nil {
			home("." + d.Name.Name)
			if d.Name.IsExported() && ast.IsExported(receiver(d)) {
				r.methods++
			}
			return
		}
		home(d.Name.Name)
		r.count(d.Name)
	case *ast.GenDecl:
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				home(s.Name.Name)
				r.count(s.Name)
			case *ast.ValueSpec:
				for _, n := range s.Names {
					home(n.Name)
					r.count(n)
				}
			}
		}
	}
}

func (r *room) count(name *ast.Ident) {
	if name.IsExported() {
		r.names++
	}
}

func receiver(d *ast.FuncDecl) string {
	t := d.Recv.List[0].Type
	for {
		switch x := t.(type) {
		case *ast.StarExpr:
			t = x.X
		case *ast.IndexExpr:
			t = x.X
		case *ast.Ident:
			return x.Name
		default:
			return ""
		}
	}
}

// uses returns the other files whose package-level names, or methods, the file uses.
func uses(f *ast.File, name string, home map[string]string) []string {
	var to []string
	use := func(ident string) {
		if h := home[ident]; h != "" && h != name && !slices.Contains(to, h) {
			to = append(to, h)
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			use("." + n.Sel.Name)
			ast.Inspect(n.X, func(n ast.Node) bool {
				if id, ok := n.(*ast.Ident); ok {
					use(id.Name)
				}
				return true
			})
			return false
		case *ast.Ident:
			use(n.Name)
		}
		return true
	})
	return to
}
