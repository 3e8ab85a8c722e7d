// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// kernels are the packages of one kernel each.
var kernels = []string{"aix", "darwin", "freebsd", "linux", "netbsd", "netware", "solaris", "vxworks", "windows"}

// windowsRooms are the packages that package windows imports.
var windowsRooms = []string{"windows/authenticode", "windows/pe", "windows/registry"}

// below reports whether the folder is dir or in it.
func below(folder, dir string) bool { return folder == dir || strings.HasPrefix(folder, dir+"/") }

// kernelOf returns the kernel that a folder belongs to, or "".
func kernelOf(folder string) string {
	top, _, _ := strings.Cut(folder, "/")
	if slices.Contains(kernels, top) {
		return top
	}
	return ""
}

// The arrows point one way: fact, the kernels' packages, lkm, and what is built on it.
func TestArrows(t *testing.T) {
	each(t, false, func(s *source) {
		if s.test() && strings.HasSuffix(s.syntax.Name.Name, "_test") {
			return // a package's outside tests may import everything
		}
		for _, p := range s.imports(t) {
			to, ours := strings.CutPrefix(p, "./")
			if p == "." {
				t.Errorf("%s imports the root package, which is documentation", s.name)
			}
			if ours {
				if reason := crooked(s.dir(), to); reason != "" {
					t.Errorf("%s imports %s: %s", s.name, to, reason)
				}
			}
		}
	})
}

// crooked returns why a package in one folder may not import that in another, or "".
func crooked(from, to string) string {
	kernel := kernelOf(from)
	switch {
	case below(to, "cmd"):
		return "nothing imports a command"
	case below(from, "fact") && !below(to, "internal"):
		return "fact imports only the standard library and internal packages"
	case kernel != "" && below(to, "lkm"):
		return "a kernel's package never imports lkm"
	case kernel != "" && kernelOf(to) != "" && kernelOf(to) != kernel:
		return "a kernel's package never imports a sibling"
	case kernel != "" && to != "fact" && kernelOf(to) == "" && !below(to, "internal"):
		return "a kernel's package imports fact and internal packages"
	case below(to, "fleet/otel") || below(to, "fleet/prometheus"):
		return "it is a module of its own, with everything that it needs"
	case from == "lkm" && to != "lkm" && (below(to, "lkm") || below(to, "fleet")):
		return "lkm does not know what is built on it"
	case below(from, "fleet") && !below(to, "lkm") && to != "fact" && !below(to, "fleet") && !below(to, "internal"):
		return "what is for fleets is a function of lkm's types"
	case to == "linux" && from != "linux" && below(from, "linux"):
		return "linux imports its rooms"
	case from == "linux/ko" && below(to, "linux"):
		return "a module's file is read alone"
	case from == "linux/modprobe" && below(to, "linux") && to != "linux/ko":
		return "modprobe knows of linux only module files"
	case slices.Contains(windowsRooms, from) && below(to, "windows") &&
		(from != "windows/authenticode" || to != "windows/pe"):
		return "windows imports its rooms, and of the rooms only authenticode imports pe"
	case to == "internal/applefw" && from != "darwin":
		return "only darwin calls macOS frameworks"
	case to == "windows/wmi" && !below(from, "cmd") && !below(from, "windows/wmi"):
		return "WMI is a caller's choice"
	}
	return ""
}

func TestCrooked(t *testing.T) {
	for _, c := range []struct {
		from, to string
		ok       bool
	}{
		{"linux", "fact", true}, {"linux", "internal/limit", true}, {"linux", "lkm", false},
		{"linux", "freebsd", false},
		{"windows/wmi", "windows", true}, {"lkm", "linux", true}, {"lkm", "lkm/tape", false},
		{"lkm", "lkm/capture", false}, {"lkm/tape", "lkm", true},
		{"fact", "linux", false}, {"cmd/lkm", "windows/wmi", true}, {"lkm", "windows/wmi", false},
		{"lkm", "cmd/lkm", false},
		{"linux", "linux/ko", true}, {"linux/ko", "linux", false}, {"linux/ko", "linux/modprobe", false},
		{"linux/modprobe", "linux/ko", true},
		{"linux/modprobe", "linux/boot", false}, {"linux/boot", "linux/modprobe", true}, {"linux/boot", "linux", false},
		{"windows", "windows/pe", true}, {"windows", "windows/authenticode", true},
		{"windows", "windows/registry", true},
		{"windows/authenticode", "windows/pe", true}, {"windows/pe", "windows/authenticode", false},
		{"windows/pe", "windows", false}, {"windows/authenticode", "windows", false},
		{"windows/registry", "windows", false}, {"windows/registry", "windows/pe", false},
		{"windows/authenticode", "windows/registry", false}, {"windows/pe", "internal/utf16text", true},
		{"windows/registry", "lkm", false}, {"lkm", "windows/registry", true},
		{"fleet/audit", "lkm", true}, {"fleet/audit", "fact", true}, {"fleet/audit", "linux", false},
		{"fleet/export", "lkm", true}, {"fleet/export", "linux", false}, {"lkm", "fleet/export", false},
		{"cmd/lkm", "fleet/otel", false}, {"fleet/export", "fleet/prometheus", false},
		{"linux", "fleet/export", false}, {"windows", "internal/applefw", false},
	} {
		if (crooked(c.from, c.to) == "") != c.ok {
			t.Errorf("crooked(%q, %q) = %q", c.from, c.to, crooked(c.from, c.to))
		}
	}
}

// What a package may import beside the standard library's harmless parts and this module's own.
func TestImports(t *testing.T) {
	restricted := map[string][]string{ // import → folders
		"os/exec":        {"aix", "darwin", "internal/testing"}, // with Options.Exec alone, and in tests
		"net":            nil,
		"net/http":       nil,
		"net/rpc":        nil,
		"plugin":         nil,
		"log":            nil,
		"expvar":         nil,
		"net/http/pprof": nil,
		"C":              nil,
		"testing":        {"internal/testing"},
		"flag":           nil,
		"os/signal":      {"cmd"},

		"github.com/spf13/cobra":       {"cmd"},
		"github.com/spf13/pflag":       {"cmd"},
		"go.yaml.in/yaml/v3":           {"cmd"},
		"github.com/yusufpapurcu/wmi":  {"windows/wmi"},
		"github.com/go-ole/go-ole":     {"windows/wmi"},
		"github.com/ebitengine/purego": {"internal/applefw"},
		"github.com/google/go-cmp/cmp": {"internal/testing"},
		"howett.net/plist":             {"darwin", "internal"},
	}
	each(t, false, func(s *source) {
		if s.test() {
			return
		}
		for _, p := range s.imports(t) {
			if p == "unsafe" && !strings.HasPrefix(s.base(), "live_") && s.dir() != "internal/applefw" {
				t.Errorf("%s imports unsafe; only live files may", s.name)
			}
			folders, ok := restricted[p]
			if ok && !slices.ContainsFunc(folders, func(f string) bool { return below(s.dir(), f) }) {
				t.Errorf("%s imports %s; only %q may", s.name, p, folders)
			}
		}
	})
}

// Fakes and builders of files are for tests alone: nothing that a user links contains them.
func TestTestSupport(t *testing.T) {
	const support = "internal/testing"
	each(t, true, func(s *source) {
		if s.test() || below(s.dir(), support) || below(s.dir(), "e2e") {
			return
		}
		for _, p := range s.imports(t) {
			if to, ours := strings.CutPrefix(p, "./"); ours && below(to, support) {
				t.Errorf("%s imports %s; only tests, %s and e2e may", s.name, to, support)
			}
		}
	})
}

// The library reads no environment and prints nothing.
func TestQuiet(t *testing.T) {
	loud := map[string]map[string]bool{
		"os": {"Getenv": true, "LookupEnv": true, "Environ": true, "ExpandEnv": true, "Stdout": true, "Stderr": true,
			"Stdin": true, "Exit": true},
		"fmt": {"Print": true, "Println": true, "Printf": true},
	}
	each(t, false, func(s *source) {
		if s.test() || below(s.dir(), "cmd") || below(s.dir(), "internal/testing") {
			return
		}
		ast.Inspect(s.syntax, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				if f, ok := call.Fun.(*ast.Ident); ok && (f.Name == "print" || f.Name == "println") {
					t.Errorf("%s: %s", at(n), f.Name)
				}
			}
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if pkg, ok := sel.X.(*ast.Ident); ok && loud[pkg.Name][sel.Sel.Name] {
				t.Errorf("%s: %s.%s", at(n), pkg.Name, sel.Sel.Name)
			}
			return true
		})
	})
}

// The module needs no more than was agreed on. A new dependency is a decision, made here too.
func TestDependencies(t *testing.T) {
	agreed := []string{
		"golang.org/x/sys", "github.com/yusufpapurcu/wmi", "howett.net/plist", "github.com/google/go-cmp",
		"github.com/ebitengine/purego", "github.com/klauspost/compress", "github.com/spf13/cobra",
		"github.com/mikelolasagasti/xz", "github.com/therootcompany/xz",
		"go.yaml.in/yaml/v3", // rule files of lkm audit
		// what those need
		"github.com/spf13/pflag", "github.com/inconshreveable/mousetrap", "github.com/go-ole/go-ole",
	}
	b, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^\s*(?:require\s+)?(\S+\.\S+/\S+) v\S+`).FindAllSubmatch(b, -1)
	if len(found) == 0 {
		t.Error("go.mod has no dependency that this test can read")
	}
	for _, m := range found {
		if !slices.Contains(agreed, string(m[1])) {
			t.Errorf("go.mod requires %s", m[1])
		}
	}
	if !regexp.MustCompile(`(?m)^go 1\.25\.0$`).Match(b) || regexp.MustCompile(`(?m)^(replace|toolchain)\b`).Match(b) {
		t.Error("go.mod: the go line is not 1.25.0, or there is a replace or toolchain line")
	}
}
