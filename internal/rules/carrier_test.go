// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"slices"
	"testing"
)

// carried reports whether a file carries partial failure in a fact.Report alone: it is below lkm, and no test.
func carried(s *source) bool {
	switch {
	case s.test(), below(s.dir(), "internal/testing"), below(s.dir(), "internal/rules"):
		return false
	}
	return below(s.dir(), "fact") || below(s.dir(), "internal") || kernelOf(s.dir()) != ""
}

// TestOneCarrier refuses other carriers of partial failure than *fact.Report: an exported field of several errors, in
// a kernel's package an exported field of one, and a function that returns several.
func TestOneCarrier(t *testing.T) {
	excepted := map[string]string{ // place → reason
		"linux checkedKernel.DirErr": "the error that means: this kernel has no directory; a verdict's reason",
	}
	unused := maps.Clone(excepted)
	each(t, false, func(s *source) {
		if !carried(s) {
			return
		}
		otherCarriers(s.syntax, kernelOf(s.dir()) != "", func(n ast.Node, name, what string) {
			place := s.dir() + " " + name
			delete(unused, place)
			if _, ok := excepted[place]; !ok {
				t.Errorf("%s: %s %s: take a *fact.Report", at(n), name, what)
			}
		})
	})
	for place := range unused {
		t.Errorf("%s is an exception without need: delete it", place)
	}
}

// otherCarriers finds the declarations that carry partial failure.
func otherCarriers(f *ast.File, kernel bool, report func(n ast.Node, name, what string)) {
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			name := d.Name.Name
			if d.Recv != nil {
				name = receiver(d) + "." + name
			}
			ast.Inspect(d, func(n ast.Node) bool {
				if f, ok := n.(*ast.FuncType); ok && !oneError(f.Results) {
					report(n, name, "returns several errors")
				}
				return true
			})
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				if spec, ok := spec.(*ast.TypeSpec); ok {
					carrierType(spec, kernel, report)
				}
			}
		}
	}
}

func carrierType(spec *ast.TypeSpec, kernel bool, report func(n ast.Node, name, what string)) {
	ast.Inspect(spec, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncType:
			if !oneError(n.Results) {
				report(n, spec.Name.Name, "returns several errors")
			}
			return false // what it takes is not a field
		case *ast.StructType:
			for _, f := range n.Fields.List {
				for _, name := range f.Names {
					switch {
					case !name.IsExported():
					case severalErrors(f.Type):
						report(f, spec.Name.Name+"."+name.Name, "has several errors")
					case kernel && isError(f.Type):
						report(f, spec.Name.Name+"."+name.Name, "is an error")
					}
				}
			}
		}
		return true
	})
}

// oneError reports whether a function's results hold at most one error.
func oneError(results *ast.FieldList) bool {
	if results == nil {
		return true
	}
	n := 0
	for _, r := range results.List {
		if severalErrors(r.Type) {
			return false
		}
		if isError(r.Type) {
			n += max(len(r.Names), 1)
		}
	}
	return n < 2
}

// isError reports whether a type is error, or ParseError, which implements it.
func isError(x ast.Expr) bool {
	switch x := x.(type) {
	case *ast.Ident:
		return x.Name == "error" || x.Name == "ParseError"
	case *ast.SelectorExpr:
		return x.Sel.Name == "ParseError"
	case *ast.StarExpr:
		return isError(x.X)
	}
	return false
}

// severalErrors reports whether a type is a slice, an array or a map of errors.
func severalErrors(x ast.Expr) bool {
	switch x := x.(type) {
	case *ast.ArrayType:
		return isError(x.Elt) || severalErrors(x.Elt)
	case *ast.MapType:
		return isError(x.Value) || severalErrors(x.Value)
	}
	return false
}

// parsed returns a file of the declarations.
func parsed(t *testing.T, decls string) *ast.File {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "x.go", "package x\n"+decls, parser.SkipObjectResolution)
	if err != nil {
		t.Fatalf("%s: %v", decls, err)
	}
	return f
}

func TestOtherCarriers(t *testing.T) {
	for decl, want := range map[string]int{
		"func F() (int, error)":                                0,
		"func F() (int, []error)":                              1,
		"func F() (a, b error)":                                1,
		"func F() (*fact.ParseError, error)":                   1,
		"func (T) F() { g(func() (error, error) { return }) }": 1,
		"func F(errs []error)":                                 0,
		"type T struct { Err error }":                          1,
		"type T struct { err error }":                          0,
		"type T struct { Bad []*fact.ParseError }":             1,
		"type T struct { Bad []ParseError }":                   1,
		"type T struct { Errors map[string]error }":            1,
		"type T struct { Errors map[string][]error }":          1,
		"type T struct { In struct { Lost []error } }":         1,
		"type T struct { bad []error }":                        0,
		"type T struct { F func() (int, error) }":              0,
		"type T interface { F() (int, []error) }":              1,
		"type T func() (error, error)":                         1,
	} {
		found := 0
		otherCarriers(parsed(t, decl), true, func(ast.Node, string, string) { found++ })
		if found != want {
			t.Errorf("%d findings in %q, want %d", found, decl, want)
		}
	}
}

// TestNoLostReports refuses a report that nobody reads: what it carries would be lost.
func TestNoLostReports(t *testing.T) {
	excepted := map[string]string{ // place → reason
		"windows registry": "a key with a malformed value is Partial, which the next lines ask",
	}
	unused := maps.Clone(excepted)
	each(t, false, func(s *source) {
		if !carried(s) {
			return
		}
		for _, d := range s.syntax.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Body == nil {
				continue
			}
			lostReports(f.Body, func(n ast.Node, what string) {
				place := s.dir() + " " + f.Name.Name
				delete(unused, place)
				if _, ok := excepted[place]; !ok {
					t.Errorf("%s: %s: %s", at(n), f.Name.Name, what)
				}
			})
		}
	})
	for place := range unused {
		t.Errorf("%s is an exception without need: delete it", place)
	}
}

// lostReports finds the reports of a function's body that are made for a call and dropped: those without a name, and
// the variables that are given to one call and to nothing else. A variable is known by its name; of several calls that
// take it, the last is taken to read it.
func lostReports(body *ast.BlockStmt, report func(n ast.Node, what string)) {
	made := make(map[string]ast.Node)
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			if slices.ContainsFunc(n.Args, isNewReport) && !isNewReport(n) {
				report(n, "a report without a name is given to a call")
			}
		case *ast.ValueSpec:
			if isReport(n.Type) {
				for _, name := range n.Names {
					made[name.Name] = n
				}
			}
		case *ast.AssignStmt:
			for i, x := range n.Rhs {
				if name, ok := n.Lhs[min(i, len(n.Lhs)-1)].(*ast.Ident); ok && n.Tok == token.DEFINE && isNewReport(x) {
					made[name.Name] = n
				}
			}
		}
		return true
	})
	reads := readNames(body)
	for name, n := range made {
		if !reads[name] {
			report(n, "report "+name+" is never read")
		}
	}
}

// readNames returns the names of variables that are used for more than to be given to a call that fills them.
func readNames(body *ast.BlockStmt) map[string]bool {
	reads := make(map[string]bool)
	given := make(map[string]int)
	filled := make(map[ast.Node]bool) // the identifiers that are arguments, and those that only declare or fill
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ValueSpec:
			for _, name := range n.Names {
				filled[name] = true
			}
		case *ast.AssignStmt:
			for _, x := range n.Lhs {
				filled[x] = true
			}
		case *ast.CallExpr:
			f, ok := n.Fun.(*ast.SelectorExpr)
			if ok && fills(f.Sel.Name) {
				filled[f.X] = true
			}
			if ok && f.Sel.Name == "Append" { // reads its argument
				return true
			}
			for _, x := range n.Args {
				if u, ok := x.(*ast.UnaryExpr); ok && u.Op == token.AND {
					x = u.X
				}
				if name, ok := x.(*ast.Ident); ok {
					given[name.Name]++
					filled[x] = given[name.Name] == 1
				}
			}
		case *ast.Ident:
			reads[n.Name] = reads[n.Name] || !filled[n]
		}
		return true
	})
	return reads
}

// fills reports whether a method of Report only adds to it.
func fills(method string) bool {
	switch method {
	case "Source", "Done", "Skip", "Problem", "Add":
		return true
	}
	return false
}

func isReport(x ast.Expr) bool {
	if star, ok := x.(*ast.StarExpr); ok {
		x = star.X
	}
	s, ok := x.(*ast.SelectorExpr)
	return ok && s.Sel.Name == "Report" && isNamed(s.X, "fact")
}

// isNewReport reports whether an expression makes a report: new(fact.Report), &fact.Report{} or fact.Report{}.
func isNewReport(x ast.Expr) bool {
	switch x := x.(type) {
	case *ast.CallExpr:
		return isNamed(x.Fun, "new") && len(x.Args) == 1 && isReport(x.Args[0])
	case *ast.UnaryExpr:
		return x.Op == token.AND && isNewReport(x.X)
	case *ast.CompositeLit:
		return isReport(x.Type)
	}
	return false
}

func TestLostReports(t *testing.T) {
	for body, want := range map[string]int{
		"read(new(fact.Report))":                                         1,
		"read(&fact.Report{})":                                           1,
		"var r fact.Report; read(&r)":                                    1,
		"var r fact.Report; read(&r); r.Problem(``, ``, ``, err)":        1,
		"r := new(fact.Report); read(r)":                                 1,
		"r := new(fact.Report); read(r); settle(m, r)":                   0,
		"r := new(fact.Report); read(r); return r":                       0,
		"var r fact.Report; read(&r); return r.Problems":                 0,
		"var r fact.Report; read(&r); o.Append(&r)":                      0,
		"var r fact.Report; read(&r); return T{r: &r}":                   0,
		"var r fact.Report; read(&r); k.report = &r":                     0,
		"var r fact.Report; read(&r); if !r.Whole(`x`) { return }":       0,
		"var r fact.Report; f(func() { read(&r) })":                      1,
		"for range n { var r fact.Report; read(&r); use(r.Count(`x`)) }": 0,
	} {
		f := parsed(t, "func f() {"+body+"}")
		found := 0
		lostReports(f.Decls[0].(*ast.FuncDecl).Body, func(ast.Node, string) { found++ })
		if found != want {
			t.Errorf("%d findings in %q, want %d", found, body, want)
		}
	}
}
