// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"bytes"
	"go/ast"
	"go/build"
	"go/build/constraint"
	"go/format"
	"io"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// Only the few lines that make system calls may be built for one system alone; all else compiles
// and is tested everywhere. What counts is go/build's own rule for file names, by which
// decode_windows.go is constrained and windows.go is not.
func TestBuildTags(t *testing.T) {
	live := regexp.MustCompile(`^live_[a-z0-9]+(_test)?\.go$`)
	exprs := map[string]*regexp.Regexp{
		"internal/hostfs":  regexp.MustCompile(`^!?unix$`),
		"internal/applefw": regexp.MustCompile(`^darwin \|\| .*linux`), // tested on Linux as far as it goes
	}
	each(t, false, func(s *source) {
		if constrainedByName(t, s.base()) &&
			(!live.MatchString(s.base()) || strings.HasPrefix(s.base(), "live_other")) {
			t.Errorf("%s: the name makes go build leave it out on most systems; only live_GOOS.go and "+
				"live_GOOS_test.go may be so", s.name)
		}
		expr := buildLine(t, s)
		if expr == "" {
			return
		}
		if ok := exprs[s.dir()]; ok != nil && ok.MatchString(expr) {
			return
		}
		if !live.MatchString(s.base()) {
			t.Errorf("%s: //go:build %s; only live_GOOS.go, live_GOOS_test.go and live_other.go may have a build line",
				s.name, expr)
		}
	})
}

// Every package whose files differ by system has the same exported names on all of them.
func TestLivePairs(t *testing.T) {
	exported := make(map[string]map[string]string) // folder → file → exported names
	each(t, false, func(s *source) {
		if !strings.HasPrefix(s.base(), "live_") || s.test() {
			return
		}
		if exported[s.dir()] == nil {
			exported[s.dir()] = make(map[string]string)
		}
		var names []string
		for _, d := range s.syntax.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Name.IsExported() && f.Recv == nil {
				names = append(names, "func "+f.Name.Name)
			} else if g, ok := d.(*ast.GenDecl); ok {
				for _, spec := range g.Specs {
					if ts, ok := spec.(*ast.TypeSpec); ok && ts.Name.IsExported() {
						t.Errorf("%s: type %s is exported by a file that is not built everywhere", s.name, ts.Name.Name)
					}
				}
			}
		}
		exported[s.dir()][s.base()] = strings.Join(names, ", ")
	})
	for dir, files := range exported {
		if _, ok := files["live_other.go"]; !ok {
			t.Errorf("%s has live files and no live_other.go", dir)
		}
		for file, names := range files {
			if names != files["live_other.go"] {
				t.Errorf("%s: %s has %q and live_other.go %q", dir, file, names, files["live_other.go"])
			}
		}
	}
}

// constrainedByName reports whether go build leaves a file of that name out for some system.
func constrainedByName(t *testing.T, base string) bool {
	t.Helper()
	ctx := build.Context{
		GOOS: "none", GOARCH: "none", Compiler: "gc",
		OpenFile: func(string) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("package x\n")), nil },
	}
	match, err := ctx.MatchFile(".", base)
	if err != nil {
		t.Fatal(err)
	}
	return !match
}

func TestConstrainedByName(t *testing.T) {
	for base, want := range map[string]bool{
		"windows.go": false, "live_windows.go": true, "decode_windows_test.go": true, "kmod_wasm.go": true,
		"live_other.go": false, "live_unix.go": false, "amd64.go": false, "x_linux_arm64.go": true,
	} {
		if constrainedByName(t, base) != want {
			t.Errorf("constrainedByName(%q) is not %v", base, want)
		}
	}
}

func buildLine(t *testing.T, s *source) string {
	t.Helper()
	for _, group := range s.syntax.Comments {
		for _, c := range group.List {
			if c.Pos() < s.syntax.Package && constraint.IsGoBuild(c.Text) {
				x, err := constraint.Parse(c.Text)
				if err != nil {
					t.Fatalf("%s: %v", s.name, err)
				}
				return x.String()
			}
		}
	}
	return ""
}

func TestLicenceLine(t *testing.T) {
	const line = "// SPDX-License-Identifier: Apache-2.0\n"
	each(t, true, func(s *source) {
		if !bytes.HasPrefix(s.text, []byte(line+"\n")) {
			t.Errorf("%s does not begin with %q and an empty line", s.name, line)
		}
	})
}

func TestGofmt(t *testing.T) {
	each(t, true, func(s *source) {
		formatted, err := format.Source(s.text)
		if err != nil {
			t.Errorf("%s: %v", s.name, err)
		} else if !bytes.Equal(formatted, s.text) {
			t.Errorf("%s is not formatted: gofmt -w %s", s.name, s.name)
		}
	})
}

// Nothing runs because a package was imported.
func TestNoInit(t *testing.T) {
	each(t, false, func(s *source) {
		for _, d := range s.syntax.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s: an init function", at(f))
			}
		}
	})
}

// A file is one noun and can be read in one go.
func TestFileLength(t *testing.T) {
	const most = 700
	each(t, false, func(s *source) {
		if n := bytes.Count(s.text, []byte("\n")); n > most && !s.test() {
			t.Errorf("%s has %d lines, more than %d: divide it", s.name, n, most)
		}
	})
}

// A line fits a screen: code, comments, documents and comments of scripts. Long inputs are files below testdata. A tab
// counts four columns.
func TestLineLength(t *testing.T) {
	const most = 120
	check := func(name, text string, counts func(line string) bool, see ...func(line string)) {
		n := 0
		for line := range strings.Lines(text) {
			n++
			for _, f := range see {
				f(line)
			}
			line = strings.ReplaceAll(strings.TrimRight(line, "\r\n"), "\t", "    ")
			if columns := utf8.RuneCountInString(line); columns > most && counts(line) {
				t.Errorf("%s:%d: %d columns, more than %d", name, n, columns, most)
			}
		}
	}
	each(t, true, func(s *source) { check(s.name, string(s.text), func(string) bool { return true }) })
	eachText(t, func(name, text string) {
		switch {
		case path.Base(name) == "CHANGELOG.md", name == "docs/captures.md": // an entry, and a row, is one line
		case path.Ext(name) == ".md": // a row of a table is one line, and so is a command
			fenced := false
			check(name, text, func(line string) bool {
				return !fenced && !strings.HasPrefix(line, "|") && !strings.HasPrefix(line, "    ")
			}, func(line string) { fenced = fenced != strings.HasPrefix(line, "```") })
		default:
			check(name, text, func(line string) bool { return strings.HasPrefix(strings.TrimSpace(line), "# ") })
		}
	})
}

// Every package says what it is, and every exported name what it means. A struct's comment can
// speak for all of its fields; where one of them has its own, all have.
func TestComments(t *testing.T) {
	packages := make(map[string]bool)
	each(t, false, func(s *source) {
		if s.test() {
			return
		}
		packages[s.dir()] = packages[s.dir()] || s.syntax.Doc != nil
		for _, d := range s.syntax.Decls {
			uncommented(d, func(n ast.Node, name string) {
				if field := strings.Contains(name, "."); field && below(s.dir(), "internal") {
					return
				}
				t.Errorf("%s: %s has no comment", at(n), name)
			})
		}
	})
	for dir, ok := range packages {
		if !ok {
			t.Errorf("%s has no package comment", dir)
		}
	}
}

// uncommented finds the exported names of a declaration that have no comment of their own, nor
// share one with the names around them.
func uncommented(d ast.Decl, report func(n ast.Node, name string)) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Name.IsExported() && d.Doc == nil &&
			(d.Recv == nil || ast.IsExported(receiver(d)) && !obvious(d.Name.Name)) {
			report(d, d.Name.Name)
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				if !spec.Name.IsExported() {
					continue
				}
				if d.Doc == nil && spec.Doc == nil && spec.Comment == nil {
					report(spec, spec.Name.Name)
				}
				uncommentedFields(spec, report)
			case *ast.ValueSpec:
				if d.Doc == nil && spec.Doc == nil && spec.Comment == nil && spec.Names[0].IsExported() {
					report(spec, spec.Names[0].Name)
				}
			}
		}
	}
}

// obvious reports whether a method's name says all: the standard library defines what it does.
func obvious(name string) bool {
	switch name {
	case "Error", "Unwrap", "String", "Is":
		return true
	}
	return false
}

func receiver(f *ast.FuncDecl) string {
	x := f.Recv.List[0].Type
	for {
		switch e := x.(type) {
		case *ast.StarExpr:
			x = e.X
		case *ast.IndexExpr:
			x = e.X
		case *ast.Ident:
			return e.Name
		default:
			return ""
		}
	}
}

// uncommentedFields looks at the fields of an exported struct. Several may share the comment of the
// first, and the first ones that of the struct, if no empty line is between them.
func uncommentedFields(spec *ast.TypeSpec, report func(n ast.Node, name string)) {
	st, ok := spec.Type.(*ast.StructType)
	if !ok || !slices.ContainsFunc(st.Fields.List, commented) {
		return
	}
	shared, last := true, fset.Position(st.Fields.Opening).Line
	for _, f := range st.Fields.List {
		line := fset.Position(f.Pos()).Line
		shared = commented(f) || shared && line == last+1
		last = fset.Position(f.End()).Line
		if len(f.Names) > 0 && f.Names[0].IsExported() && !shared {
			report(f, spec.Name.Name+"."+f.Names[0].Name)
		}
	}
}

func commented(f *ast.Field) bool { return f.Doc != nil || f.Comment != nil }

// Text files have LF line ends and no trailing blanks, so that what a test compares is what is
// committed.
func TestLineEnds(t *testing.T) {
	each(t, true, func(s *source) {
		if bytes.Contains(s.text, []byte("\r\n")) {
			t.Errorf("%s has CR LF line ends", s.name)
		}
	})
	if b, err := os.ReadFile(path.Join(root, ".gitattributes")); err == nil && !bytes.Contains(b, []byte("* -text")) {
		t.Error(".gitattributes lets git convert line ends")
	}
}
