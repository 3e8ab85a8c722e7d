// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/kernelext/kernelext"

// A source is one Go file of the tree.
type source struct {
	name   string // slash path below the root
	text   []byte
	syntax *ast.File
	nested bool // in a module of its own, below this one
}

func (s *source) dir() string  { return path.Dir(s.name) }
func (s *source) base() string { return path.Base(s.name) }
func (s *source) test() bool   { return strings.HasSuffix(s.name, "_test.go") }

// imports returns the import paths of the file; those of this module without its name.
func (s *source) imports(t *testing.T) []string {
	var paths []string
	for _, spec := range s.syntax.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		if rest, ok := strings.CutPrefix(p, module); ok {
			p = "." + rest
		}
		paths = append(paths, p)
	}
	return paths
}

const root = "../.."

var fset = token.NewFileSet()

// sources are all Go files, read once.
var sources = sync.OnceValues(func() ([]*source, error) {
	var files []*source
	nested := make(map[string]bool)
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata"):
			return fs.SkipDir
		case d.IsDir():
			_, err := os.Stat(filepath.Join(root, name, "go.mod"))
			nested[name] = name != "." && (err == nil || nested[path.Dir(name)])
			return nil
		case !strings.HasSuffix(name, ".go"):
			return nil
		}
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return err
		}
		syntax, err := parser.ParseFile(fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		files = append(files, &source{name, text, syntax, nested[path.Dir(name)]})
		return nil
	})
	return files, err
})

// each calls f for every Go file of this module, and of those below it too when all is set.
func each(t *testing.T, all bool, f func(s *source)) {
	t.Helper()
	files, err := sources()
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 50 {
		t.Fatalf("only %d Go files found", len(files))
	}
	for _, s := range files {
		if all || !s.nested {
			f(s)
		}
	}
}

// eachText calls f for every document, script and C file.
func eachText(t *testing.T, f func(name, text string)) {
	t.Helper()
	n := 0
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == ".git" || d.Name() == "testdata"):
			return fs.SkipDir
		case !d.Type().IsRegular() || path.Ext(name) == ".go":
			return nil
		}
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return err
		}
		if ext := path.Ext(name); ext == ".md" || ext == ".c" || strings.HasPrefix(string(text), "#!") {
			n++
			f(name, string(text))
		}
		return nil
	})
	if err != nil || n < 10 {
		t.Fatalf("%d texts found, %v", n, err)
	}
}

// at returns the position of a node.
func at(n ast.Node) string { return fset.Position(n.Pos()).String() }
