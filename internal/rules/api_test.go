// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"go/ast"
	"go/doc/comment"
	"maps"
	"slices"
	"strings"
	"testing"
)

// The page of package lkm can be read in one go: it has few names, methods apart, and each has its own sentence.
func TestNamesOfLkm(t *testing.T) {
	const most = 190
	names := 0
	each(t, false, func(s *source) {
		if s.dir() != "lkm" || s.test() {
			return
		}
		for _, n := range topLevel(s) {
			names++
			if !n.documented {
				t.Errorf("%s: %s has no comment of its own", at(n.node), n.name)
			}
		}
	})
	if names == 0 || names > most {
		t.Errorf("package lkm has %d exported names, more than %d: what nobody outside uses goes", names, most)
	}
	t.Logf("package lkm has %d exported names", names)
}

// A named is an exported name of a package, methods apart.
type named struct {
	node       ast.Node
	name       string
	documented bool // by a comment that is for no other name
}

// topLevel returns the exported names that a file declares, methods apart.
func topLevel(s *source) []named {
	var names []named
	for _, d := range s.syntax.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil && d.Name.IsExported() {
				names = append(names, named{d, d.Name.Name, d.Doc != nil})
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				alone := len(d.Specs) == 1 && d.Doc != nil
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					if spec.Name.IsExported() {
						own := alone || spec.Doc != nil || spec.Comment != nil
						names = append(names, named{spec, spec.Name.Name, own})
					}
				case *ast.ValueSpec:
					for _, id := range spec.Names {
						if id.IsExported() {
							own := alone || spec.Doc != nil || spec.Comment != nil
							names = append(names, named{spec, id.Name, own && len(spec.Names) == 1})
						}
					}
				}
			}
		}
	}
	return names
}

// Every exported field of a public package says what it is: its unit, its form, its source, when it is empty.
func TestFieldComments(t *testing.T) {
	each(t, false, func(s *source) {
		if s.test() || s.nested || !isPublic(s) || slices.Contains(laterFields, s.dir()) {
			return
		}
		for _, f := range uncommentedFieldsOf(s) {
			t.Errorf("%s: %s has no comment of its own", at(f.node), f.name)
		}
	})
}

// uncommentedFieldsOf returns the exported fields of a file's exported structs that have no comment of their own.
func uncommentedFieldsOf(s *source) []named {
	var found []named
	ast.Inspect(s.syntax, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok || !spec.Name.IsExported() {
			return true
		}
		st, ok := spec.Type.(*ast.StructType)
		if !ok {
			return false
		}
		for _, f := range st.Fields.List {
			if len(f.Names) > 0 && f.Names[0].IsExported() && !commented(f) {
				found = append(found, named{node: f, name: spec.Name.Name + "." + f.Names[0].Name})
			}
		}
		return false
	})
	return found
}

// isPublic reports whether a file is of a package that other modules can import.
func isPublic(s *source) bool {
	return !slices.Contains(strings.Split(s.dir(), "/"), "internal") && s.syntax.Name.Name != "main"
}

// declared are the names of all packages: folder → names, and Type.Name for methods and fields.
func declared(t *testing.T) map[string]map[string]bool {
	all := make(map[string]map[string]bool)
	each(t, false, func(s *source) {
		if s.test() {
			return
		}
		names := all[s.dir()]
		if names == nil {
			names = make(map[string]bool)
			all[s.dir()] = names
		}
		for _, d := range s.syntax.Decls {
			declare(names, d)
		}
	})
	return all
}

func declare(names map[string]bool, d ast.Decl) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil {
			names[d.Name.Name] = true
		} else {
			names[receiver(d)+"."+d.Name.Name] = true
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch spec := spec.(type) {
			case *ast.ValueSpec:
				for _, id := range spec.Names {
					names[id.Name] = true
				}
			case *ast.TypeSpec:
				names[spec.Name.Name] = true
				for _, member := range members(spec.Type) {
					names[spec.Name.Name+"."+member] = true
				}
			}
		}
	}
}

// members returns the names of a struct's fields, or of an interface's methods.
func members(x ast.Expr) []string {
	var list *ast.FieldList
	switch x := x.(type) {
	case *ast.StructType:
		list = x.Fields
	case *ast.InterfaceType:
		list = x.Methods
	default:
		return nil
	}
	var names []string
	for _, f := range list.List {
		for _, id := range f.Names {
			names = append(names, id.Name)
		}
	}
	return names
}

// What a comment of a public package links to is there: [Name], [Type.Method] and [pkg.Name]. Links to packages of
// the standard library are not followed.
func TestDocLinks(t *testing.T) {
	all := declared(t)
	folders := slices.Collect(maps.Keys(all))
	links := 0
	each(t, false, func(s *source) {
		if s.test() || !isPublic(s) {
			return
		}
		imports := make(map[string]string) // package name → folder
		for _, p := range s.imports(t) {
			if folder, ok := strings.CutPrefix(p, "./"); ok {
				imports[folder[strings.LastIndex(folder, "/")+1:]] = folder
			}
		}
		for _, group := range docsOf(s) {
			for _, l := range linksOf(group) {
				links++
				folder := s.dir()
				if l.pkg != "" {
					folder = imports[l.pkg]
					if folder == "" && slices.Contains(folders, l.pkg) {
						folder = l.pkg // not imported: go doc finds it by its whole path alone
					}
				}
				if folder != "" && !all[folder][l.name] {
					t.Errorf("%s: [%s] names nothing", at(group), l.text)
				}
			}
		}
	})
	if links < 100 {
		t.Errorf("%d links: the comments were not read", links)
	}
}

// docsOf returns the comments of a file that go doc shows.
func docsOf(s *source) []*ast.CommentGroup {
	docs := []*ast.CommentGroup{s.syntax.Doc}
	for _, d := range s.syntax.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && (d.Recv == nil || ast.IsExported(receiver(d))) {
				docs = append(docs, d.Doc)
			}
		case *ast.GenDecl:
			shown := false
			for _, spec := range d.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					if spec.Name.IsExported() {
						shown, docs = true, append(docs, spec.Doc)
						docs = append(docs, memberDocs(spec.Type)...)
					}
				case *ast.ValueSpec:
					if spec.Names[0].IsExported() {
						shown, docs = true, append(docs, spec.Doc)
					}
				}
			}
			if shown {
				docs = append(docs, d.Doc)
			}
		}
	}
	return slices.DeleteFunc(docs, func(g *ast.CommentGroup) bool { return g == nil })
}

// memberDocs returns the comments of a struct's fields, or of an interface's methods.
func memberDocs(x ast.Expr) []*ast.CommentGroup {
	var docs []*ast.CommentGroup
	var list *ast.FieldList
	switch x := x.(type) {
	case *ast.StructType:
		list = x.Fields
	case *ast.InterfaceType:
		list = x.Methods
	default:
		return nil
	}
	for _, f := range list.List {
		if len(f.Names) > 0 && f.Names[0].IsExported() {
			docs = append(docs, f.Doc)
		}
	}
	return docs
}

// A link is a name in brackets in a comment.
type link struct{ text, pkg, name string }

// linksOf returns the links to names in a comment.
func linksOf(group *ast.CommentGroup) []link {
	var links []link
	p := comment.Parser{
		LookupPackage: func(name string) (string, bool) { return name, name == strings.ToLower(name) },
		LookupSym:     func(recv, name string) bool { return true },
	}
	for _, block := range p.Parse(group.Text()).Content {
		walkText(block, func(l *comment.DocLink) {
			found := link{pkg: l.ImportPath, name: l.Name}
			if l.Recv != "" {
				found.name = l.Recv + "." + l.Name
			}
			for _, text := range l.Text {
				if plain, ok := text.(comment.Plain); ok {
					found.text += string(plain)
				}
			}
			if found.name != "" {
				links = append(links, found)
			}
		})
	}
	return links
}

func walkText(block comment.Block, see func(*comment.DocLink)) {
	var texts []comment.Text
	switch b := block.(type) {
	case *comment.Paragraph:
		texts = b.Text
	case *comment.Heading:
		texts = b.Text
	case *comment.List:
		for _, item := range b.Items {
			for _, inner := range item.Content {
				walkText(inner, see)
			}
		}
	}
	for _, text := range texts {
		if l, ok := text.(*comment.DocLink); ok {
			see(l)
		}
	}
}

// laterFields are folders whose fields do not all have a comment yet.
var laterFields = []string{}
