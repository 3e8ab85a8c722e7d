// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A package-level variable is laid out by the compiler: no function runs and no map is filled at
// import. What has to be made is a lazy.Regexp or a lazy.Value, and a table is a switch.
func TestNoWorkAtImport(t *testing.T) {
	each(t, false, func(s *source) {
		if s.test() {
			return
		}
		for _, d := range s.syntax.Decls {
			if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.VAR {
				workAtImport(g, func(n ast.Node, what string) { t.Errorf("%s: %s at import", at(n), what) })
			}
		}
	})
}

// workAtImport finds what the variables of a package-level declaration run or fill.
func workAtImport(g *ast.GenDecl, report func(n ast.Node, what string)) {
	ast.Inspect(g, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			return false // runs later, unless it is called here, which is a call
		case *ast.CompositeLit:
			if _, ok := n.Type.(*ast.MapType); ok {
				report(n, "a map is filled")
			}
		case *ast.CallExpr:
			if name, free := callee(n.Fun); !free {
				report(n, "a call of "+name)
			}
		}
		return true
	})
}

// callee returns the name of what is called, and whether that costs nothing at import: a conversion
// to a type, a size, an error that the compiler lays out, or a date.
func callee(fun ast.Expr) (name string, free bool) {
	switch f := fun.(type) {
	case *ast.ParenExpr, *ast.ArrayType:
		_, called := ast.Unparen(fun).(*ast.FuncLit)
		return "a function", !called
	case *ast.Ident:
		return f.Name, slices.Contains([]string{"len", "cap", "string", "int64", "uint32", "uint64", "byte"}, f.Name)
	case *ast.SelectorExpr:
		if x, ok := f.X.(*ast.Ident); ok {
			name = x.Name + "." + f.Sel.Name
			return name, slices.Contains([]string{"errors.New", "time.Date", "Clock.Add"}, name)
		}
		return f.Sel.Name, false
	case *ast.FuncLit:
		return "a function", false
	}
	return "something", false
}

func TestFindsWorkAtImport(t *testing.T) {
	for decl, want := range map[string]int{
		"var a = regexp.MustCompile(`a`)":                                     1,
		"var (\n\ta = 1\n\tb, c = regexp.MustCompile(`a`), fmt.Errorf(``)\n)": 2,
		"var a = []*regexp.Regexp{regexp.MustCompile(`a`)}":                   1,
		"var a = map[string]int{`a`: 1}":                                      1,
		"var a = struct{ m map[string]int }{map[string]int{}}":                1,
		"var a = func() int { return 1 }()":                                   1,
		"var a = (func() int { return 1 })()":                                 1,
		"var a = sync.OnceValue(func() int { return 1 })":                     1,
		"var a = make(chan int)":                                              1,
		"var a = f(1)":                                                        1,
		"var a map[string]int":                                                0,
		"var a = errors.New(`a`)":                                             0,
		"var a = []byte(`a`)":                                                 0,
		"var _ fs.FS = (*T)(nil)":                                             0,
		"var a = lazy.Regexp{Pattern: `a` + b}":                               0,
		"var a = lazy.Value[map[string]int]{New: func() map[string]int { return map[string]int{`a`: f()} }}": 0,
	} {
		f, err := parser.ParseFile(token.NewFileSet(), "x.go", "package x\n"+decl, 0)
		if err != nil {
			t.Fatalf("%s: %v", decl, err)
		}
		found := 0
		workAtImport(f.Decls[0].(*ast.GenDecl), func(ast.Node, string) { found++ })
		if found != want {
			t.Errorf("%d findings in %q, want %d", found, decl, want)
		}
	}
}

// A pattern is compiled when it is first used. Here all of them are.
func TestPatterns(t *testing.T) {
	found := 0
	each(t, false, func(s *source) {
		if s.test() {
			return
		}
		ast.Inspect(s.syntax, func(n ast.Node) bool {
			lit, ok := n.(*ast.CompositeLit)
			if !ok {
				return true
			}
			if name, ok := lit.Type.(*ast.SelectorExpr); !ok || name.Sel.Name != "Regexp" || len(lit.Elts) != 1 {
				return true
			}
			found++
			pattern, err := constantString(s.syntax, lit.Elts[0].(*ast.KeyValueExpr).Value)
			if err == nil {
				_, err = regexp.Compile(pattern)
			}
			if err != nil {
				t.Errorf("%s: %v", at(lit), err)
			}
			return true
		})
	})
	if found < 20 {
		t.Errorf("only %d patterns found", found)
	}
}

// constantString returns the value of a string expression of literals and constants of its file.
func constantString(f *ast.File, x ast.Expr) (string, error) {
	switch x := x.(type) {
	case *ast.BasicLit:
		return strconv.Unquote(x.Value)
	case *ast.BinaryExpr:
		a, err := constantString(f, x.X)
		if err != nil {
			return "", err
		}
		b, err := constantString(f, x.Y)
		return a + b, err
	case *ast.Ident:
		for _, d := range f.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.CONST {
				continue
			}
			for _, spec := range g.Specs {
				v := spec.(*ast.ValueSpec)
				i := slices.IndexFunc(v.Names, func(n *ast.Ident) bool { return n.Name == x.Name })
				if i >= 0 && i < len(v.Values) {
					return constantString(f, v.Values[i])
				}
			}
		}
		return "", fmt.Errorf("%s is not a constant of the file", x.Name)
	}
	return "", fmt.Errorf("not a constant string: %T", x)
}

// A program that imports every public package pays nothing for it: the runtime itself counts what
// the packages allocate before main.
func TestAllocationsAtImport(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: -short, and this builds a program")
	}
	const most = 20
	total := 0
	var offenders []string
	trace := initTrace(t)
	lines := initLine.FindAllStringSubmatch(trace, -1)
	for _, m := range lines {
		allocs, err := strconv.Atoi(m[2])
		if err != nil {
			t.Fatal(err)
		}
		if total += allocs; allocs > 0 {
			offenders = append(offenders, m[0])
		}
	}
	if len(lines) == 0 {
		t.Errorf("no package of this module in the trace:\n%s", trace)
	}
	if total > most {
		t.Errorf("the packages make %d allocations at import, more than %d:\n%s",
			total, most, strings.Join(offenders, "\n"))
	}
	t.Logf("%d allocations at import", total)
}

// initLine matches what the runtime prints of one package of this module.
var initLine = regexp.MustCompile(`(?m)^init (` + regexp.QuoteMeta(module) + `\S*) @.* (\d+) allocs$`)

// initTrace builds and runs a program that imports every public package, and returns what the
// runtime prints of their initialization.
func initTrace(t *testing.T) string {
	t.Helper()
	tool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("skipped: no go command to build with: ", err)
	}
	dir := t.TempDir()
	main, program := filepath.Join(dir, "main.go"), filepath.Join(dir, "program.exe")
	var text strings.Builder
	text.WriteString("package main\n\nimport (\n")
	for _, p := range public(t) {
		fmt.Fprintf(&text, "\t_ %q\n", p)
	}
	text.WriteString(")\n\nfunc main() {}\n")
	if err := os.WriteFile(main, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	build := exec.CommandContext(t.Context(), tool, "build", "-o", program, main)
	build.Dir = root
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	run := exec.CommandContext(t.Context(), program)
	run.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	out, err := run.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return strings.ReplaceAll(string(out), "\r\n", "\n")
}

// public returns the import paths of the packages that other modules can import.
func public(t *testing.T) []string {
	t.Helper()
	var paths []string
	each(t, false, func(s *source) {
		internal := slices.Contains(strings.Split(s.dir(), "/"), "internal")
		if s.test() || internal || s.syntax.Name.Name == "main" {
			return
		}
		p := module
		if s.dir() != "." {
			p += "/" + s.dir()
		}
		paths = append(paths, p)
	})
	slices.Sort(paths)
	paths = slices.Compact(paths)
	if !slices.Contains(paths, module+"/lkm") || !slices.Contains(paths, module+"/windows/wmi") {
		t.Fatalf("the public packages are %q", paths)
	}
	return paths
}
