// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/internal/testing/golden"
)

var (
	goMark   = regexp.MustCompile(`<!-- go ([^ :]+): ([^>]+) -->\s*$`)
	fileMark = regexp.MustCompile(`<!-- file ([^ ]+) -->\s*$`)
	headLine = regexp.MustCompile(`^(#.*\n)+`)
)

// TestPagesSources compares the code of the pages with what it is: functions of tests, or a whole file but for the
// comment at its head.
func TestPagesSources(t *testing.T) {
	for _, name := range pages(t) {
		page := readPage(t, name)
		var updated strings.Builder
		written := 0
		for _, b := range blocksOf(page) {
			text, err := origin(b)
			if err != nil {
				t.Errorf("%s: %v\n%s", name, err, b.text)
			}
			if err != nil || text == "" {
				continue
			}
			if text != b.text && !*update {
				t.Errorf("%s (-update rewrites it):\n%s", name, golden.Diff(b.text, text))
			}
			updated.WriteString(page[written:b.from] + text)
			written = b.to
		}
		if updated.WriteString(page[written:]); *update && updated.String() != page {
			if err := os.WriteFile(name, []byte(updated.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// origin returns the text that a block has to have; empty if it is of no other file.
func origin(b block) (string, error) {
	if m := goMark.FindStringSubmatch(b.above); m != nil {
		return sourceOf(filepath.Join("..", "..", filepath.FromSlash(m[1])), strings.Fields(m[2]))
	}
	if m := fileMark.FindStringSubmatch(b.above); m != nil {
		data, err := os.ReadFile(filepath.Join("..", "..", filepath.FromSlash(m[1])))
		return headLine.ReplaceAllString(string(data), ""), err
	}
	if b.kind == "go" {
		return "", errors.New("Go code of no test")
	}
	return "", nil
}

// sourceOf returns the source of declarations of a file: of an example, or another test, the lines of its body.
func sourceOf(file string, names []string) (string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, file, data, parser.ParseComments)
	if err != nil {
		return "", err
	}
	at := func(p token.Pos) int { return files.Position(p).Offset }
	var parts []string
	for _, name := range names {
		d := declaration(parsed, name)
		if d == nil {
			return "", fmt.Errorf("%s has no %s", file, name)
		}
		from, to, indent := at(d.Pos()), at(d.End()), ""
		switch f, isFunc := d.(*ast.FuncDecl); {
		case isFunc && strings.HasPrefix(name, "Example"):
			from, to, indent = at(f.Body.Lbrace)+2, at(f.Body.Rbrace), "\t"
		case isFunc && f.Doc != nil:
			from = at(f.Doc.Pos())
		}
		var part strings.Builder
		for line := range strings.Lines(string(data[from:to])) {
			part.WriteString(strings.TrimPrefix(line, indent))
		}
		parts = append(parts, strings.TrimSuffix(part.String(), "\n")+"\n")
	}
	return strings.Join(parts, "\n"), nil
}

// declaration returns the function, variable or type of that name.
func declaration(f *ast.File, name string) ast.Node {
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Name.Name == name {
				return d
			}
		case *ast.GenDecl:
			for _, s := range d.Specs {
				v, isValue := s.(*ast.ValueSpec)
				tp, isType := s.(*ast.TypeSpec)
				if isValue && v.Names[0].Name == name || isType && tp.Name.Name == name {
					return d
				}
			}
		}
	}
	return nil
}
