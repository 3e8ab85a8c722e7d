// SPDX-License-Identifier: Apache-2.0

// Typecheck checks that every package below this folder, tests included, compiles for other platforms. It reads types
// alone and makes no code, which takes a tenth of the time of a build.
//
//	go run .ci/typecheck.go OS/ARCH…
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A listed is what go list says of one package.
type listed struct {
	ImportPath, Dir string
	GoFiles         []string
	ImportMap       map[string]string
	DepOnly         bool
	Error           *struct{ Err string }
}

func main() {
	failed := false
	for _, platform := range os.Args[1:] {
		n, err := check(platform)
		fmt.Printf("types %s: %d packages\n", platform, n)
		if err != nil {
			fmt.Println(err)
			failed = true
		}
	}
	if failed {
		os.Exit(1)
	}
}

// check checks one platform and returns how many packages of ours it checked.
func check(platform string) (int, error) {
	goos, goarch, _ := strings.Cut(platform, "/")
	list := exec.Command("go", "list", "-deps", "-test", "-json=ImportPath,Dir,GoFiles,ImportMap,DepOnly,Error",
		"./...")
	list.Env = append(os.Environ(), "GOOS="+goos, "GOARCH="+goarch, "CGO_ENABLED=0")
	list.Stderr = os.Stderr
	out, err := list.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := list.Start(); err != nil {
		return 0, err
	}
	c := checker{known: map[string]*types.Package{"unsafe": types.Unsafe}, sizes: types.SizesFor("gc", goarch)}
	n := 0
	for d := json.NewDecoder(out); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return n, err
		}
		if p.ImportPath == "unsafe" || strings.HasSuffix(p.ImportPath, ".test") {
			continue // a test's main is generated
		}
		if !p.DepOnly {
			n++
		}
		c.check(&p)
	}
	return n, errors.Join(append(c.errs, list.Wait())...)
}

// A checker has the types of the packages checked so far, by their path.
type checker struct {
	known map[string]*types.Package
	sizes types.Sizes
	errs  []error
}

func (c *checker) check(p *listed) {
	if p.Error != nil {
		c.errs = append(c.errs, errors.New(p.Error.Err))
		return
	}
	fset := token.NewFileSet()
	var files []*ast.File
	for _, name := range p.GoFiles {
		if !filepath.IsAbs(name) {
			name = filepath.Join(p.Dir, name)
		}
		f, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
		if err != nil {
			c.errs = append(c.errs, err)
			return
		}
		files = append(files, f)
	}
	conf := types.Config{
		Importer: importer{c, p.ImportMap}, Sizes: c.sizes, IgnoreFuncBodies: p.DepOnly,
		Error: func(err error) {
			if !p.DepOnly {
				c.errs = append(c.errs, err)
			}
		},
	}
	path, _, _ := strings.Cut(p.ImportPath, " ") // "a [b.test]" is a as b's tests see it
	c.known[p.ImportPath], _ = conf.Check(path, fset, files, nil)
}

// An importer finds the packages that one package imports.
type importer struct {
	c    *checker
	maps map[string]string
}

func (i importer) Import(path string) (*types.Package, error) {
	if mapped, ok := i.maps[path]; ok {
		path = mapped
	}
	if p := i.c.known[path]; p != nil {
		return p, nil
	}
	return nil, fmt.Errorf("no package %s", path)
}
