// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"go/ast"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestContributingNames keeps the walks of CONTRIBUTING.md true: each path, test and fuzz target that it names exists.
func TestContributingNames(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "CONTRIBUTING.md"))
	if err != nil {
		t.Fatal(err)
	}
	tests := make(map[string]bool)
	each(t, true, func(s *source) {
		for _, d := range s.syntax.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && s.test() {
				tests[f.Name.Name] = true
			}
		}
	})
	paths, names := codeNames(string(text))
	for _, p := range paths {
		if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(p))); err != nil {
			t.Errorf("CONTRIBUTING.md names %s: %v", p, err)
		}
	}
	for _, name := range names {
		if !tests[name] {
			t.Errorf("CONTRIBUTING.md names %s, which no test file has", name)
		}
	}
	if len(paths) < 30 || len(names) < 5 {
		t.Errorf("only %d paths and %d tests found", len(paths), len(names))
	}
}

var (
	codeSpan = regexp.MustCompile("`[^`]+`|(?m:^    .+$)")
	// A path is relative to the root and has a slash. A word in capitals is a placeholder.
	pathWord = regexp.MustCompile(`^(?:\./)?(\.?[a-z0-9_]+(?:[/.-][a-z0-9_.-]+)*/?)$`)
	document = regexp.MustCompile(`^[A-Z]+\.md$`)
	testWord = regexp.MustCompile(`^(?:Test|Fuzz)[A-Z]\w*$`)
)

// codeNames returns the paths and the names of tests in the code of a document.
func codeNames(text string) (paths, tests []string) {
	for _, span := range codeSpan.FindAllString(text, -1) {
		span, _, _ = strings.Cut(span, " // ")
		for _, word := range strings.Fields(strings.Trim(span, "`")) {
			word = strings.Trim(word, "\"',;:()")
			m := pathWord.FindStringSubmatch(word)
			switch {
			case testWord.MatchString(word):
				tests = append(tests, word)
			case document.MatchString(word):
				paths = append(paths, word)
			case m != nil && strings.Contains(word, "/") && !strings.HasPrefix(word, "testdata/"):
				paths = append(paths, m[1])
			}
		}
	}
	return paths, tests
}

func TestCodeNames(t *testing.T) {
	paths, tests := codeNames("See `lkm/rows.go`, `fact` and `README.md`, `/sys/module/NAME`, `live_GOOS.go`, " +
		"`TestDocs`.\n\n" +
		"    go test ./lkm ./cmd/lkm -run Docs\n    lkm record -o my.tape  # one/two\n")
	if want := []string{"lkm/rows.go", "README.md", "lkm", "cmd/lkm", "one/two"}; !slices.Equal(paths, want) {
		t.Errorf("paths %q, want %q", paths, want)
	}
	if want := []string{"TestDocs"}; !slices.Equal(tests, want) {
		t.Errorf("tests %q, want %q", tests, want)
	}
}

// systems returns the constants of type fact.OS, by name.
func systems(t *testing.T) map[string]string {
	t.Helper()
	found := make(map[string]string)
	each(t, false, func(s *source) {
		if s.name != "fact/os.go" {
			return
		}
		ast.Inspect(s.syntax, func(n ast.Node) bool {
			if v, ok := n.(*ast.ValueSpec); ok && isNamed(v.Type, "OS") {
				found[v.Names[0].Name], _ = strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
			}
			return true
		})
	})
	if len(found) < 10 {
		t.Fatalf("only %d systems in fact/os.go", len(found))
	}
	return found
}

// TestEverySystem keeps the lists of systems whole: each has a row, a name in lkm, a line in README's table, and may be
// named in a rule of an audit.
func TestEverySystem(t *testing.T) {
	rowsHave := make(map[string]bool)
	words := make(map[string]map[string]bool) // file → identifiers and texts
	each(t, false, func(s *source) {
		if s.dir() != "lkm" && s.name != "fleet/audit/read.go" {
			return
		}
		words[s.name] = wordsOf(s.syntax)
		ast.Inspect(s.syntax, func(n ast.Node) bool {
			if kv, ok := n.(*ast.KeyValueExpr); ok && !s.test() && isNamed(kv.Key, "os") {
				rowsHave[lastName(kv.Value)] = true
			}
			return true
		})
	})
	for name, value := range systems(t) {
		if !rowsHave[name] {
			t.Errorf("no row of lkm has os: %s (one of lkm/rows.go, in a file of its kernel)", name)
		}
		for _, file := range []string{"lkm/alias.go", "lkm/support_test.go"} {
			if !words[file][name] {
				t.Errorf("%s does not name %s", file, name)
			}
		}
		if file := "fleet/audit/read.go"; !words[file][value] {
			t.Errorf("%s: systems has no %q", file, value)
		}
		if !slices.Contains(systemNames, name) {
			t.Errorf("internal/rules/lkm_test.go: systemNames has no %s", name)
		}
	}
}

// wordsOf returns the identifiers and the texts of a file.
func wordsOf(f *ast.File) map[string]bool {
	words := make(map[string]bool)
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Ident:
			words[n.Name] = true
		case *ast.BasicLit:
			if text, err := strconv.Unquote(n.Value); n.Kind == token.STRING && err == nil {
				words[text] = true
			}
		}
		return true
	})
	return words
}

// TestKernelFolders: a folder of the root is a kernel's, which kernels names, or one of these.
func TestKernelFolders(t *testing.T) {
	others := []string{".ci", "cmd", "docs", "e2e", "fact", "fleet", "internal", "lkm", "packaging", "schema"}
	each(t, false, func(s *source) {
		top, _, ok := strings.Cut(s.name, "/")
		if ok && !slices.Contains(kernels, top) && !slices.Contains(others, top) {
			t.Errorf("%s: kernels in internal/rules/imports_test.go does not name %s", s.name, top)
		}
	})
}
