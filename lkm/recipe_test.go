// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/aix"
	"github.com/kernelext/kernelext/darwin"
	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/freebsd"
	"github.com/kernelext/kernelext/linux"
	"github.com/kernelext/kernelext/netbsd"
	"github.com/kernelext/kernelext/solaris"
	"github.com/kernelext/kernelext/windows"
)

// openedBy returns the type of what a kernel's package opens. It compiles only for the recipe's Open.
func openedBy[K any](func(fact.Machine, fact.Options) *K) reflect.Type { return reflect.TypeFor[*K]() }

// recipe returns the interfaces of the recipe for records of Own, and the type of the kernel itself.
func (a *adapter[Own]) recipe() (parts []reflect.Type, kernelType reflect.Type) {
	return []reflect.Type{
		reflect.TypeFor[kernel[Own]](), reflect.TypeFor[poller[Own]](), reflect.TypeFor[counter](),
		reflect.TypeFor[builder[Own]](), reflect.TypeFor[installer[Own]](), reflect.TypeFor[filer[Own]](),
		reflect.TypeFor[resolver[Own]](), reflect.TypeFor[planner](), reflect.TypeFor[enforcer](),
		reflect.TypeFor[configurer](), reflect.TypeFor[upgrader](),
		reflect.TypeFor[checker](), reflect.TypeFor[comparer](), reflect.TypeFor[fileComparer](),
		reflect.TypeFor[hinter](), reflect.TypeFor[finder[Own]](), reflect.TypeFor[clock](),
		reflect.TypeFor[refresher](), reflect.TypeFor[closer](),
	}, reflect.TypeOf(a.kernel)
}

// TestRecipe holds every kernel to the recipe. The adapter finds by assertion what a kernel answers, so a method with
// a wrong signature, or with a name that is almost right, would make the call unsupported without a word.
func TestRecipe(t *testing.T) {
	opened := map[OS]reflect.Type{
		Linux: openedBy(linux.Open), FreeBSD: openedBy(freebsd.Open), DragonFly: openedBy(freebsd.Open),
		NetBSD: openedBy(netbsd.Open), Illumos: openedBy(solaris.Open), Solaris: openedBy(solaris.Open),
		AIX: openedBy(aix.Open), Darwin: openedBy(darwin.Open), Windows: openedBy(windows.Open),
	}
	for _, r := range rows() {
		if (r.open == nil) != (opened[r.os] == nil) || (r.open == nil) != (r.reason != "") {
			t.Errorf("%s: has a row with open: %v, and in this test: %v", r.os, r.open != nil, opened[r.os])
		}
		if r.open == nil {
			continue
		}
		parts, k := r.open(&made{}, fact.Options{OS: r.os}).(interface {
			recipe() ([]reflect.Type, reflect.Type)
		}).recipe()
		if k != opened[r.os] || k.Elem().Name() != "Kernel" {
			t.Errorf("%s: the row opens a %v, its package a %v; want a *Kernel", r.os, k, opened[r.os])
		}
		for _, wrong := range misfits(k, parts) {
			t.Errorf("%s: %v.%s", r.os, k, wrong)
		}
	}
}

// misfits returns the exported methods of a type that are not as one of the interfaces has them.
func misfits(k reflect.Type, parts []reflect.Type) []string {
	want := make(map[string]reflect.Type)
	for _, part := range parts {
		for i := range part.NumMethod() {
			want[part.Method(i).Name] = part.Method(i).Type
		}
	}
	var wrong []string
	for i := range k.NumMethod() {
		m := k.Method(i)
		has := reflect.Zero(k).Method(i).Type()
		switch w := want[m.Name]; {
		case w == nil:
			wrong = append(wrong, m.Name+" is not a method of the recipe in kernel.go")
		case w != has:
			wrong = append(wrong, m.Name+" is a "+has.String()+", the recipe has a "+w.String())
		}
	}
	return wrong
}

// A misfit is a kernel whose Changed has another signature than the recipe's, and with a method that is misspelled.
type misfit struct{ kernel[fact.Other] }

func (*misfit) Changed() (uint64, error)              { return 0, nil }
func (*misfit) Polls(context.Context, *any)           {}
func (*misfit) Sources(fact.Detail) []fact.SourcePlan { return nil }

func TestMisfits(t *testing.T) {
	parts, k := (&adapter[fact.Other]{kernel: &misfit{}}).recipe()
	wrong := misfits(k, parts)
	if len(wrong) != 2 || !strings.HasPrefix(wrong[0], "Changed is a func() ") ||
		!strings.HasPrefix(wrong[1], "Polls is not a ") {
		t.Errorf("%q", wrong)
	}
}

// TestRecipeIsWhole: the recipe of the test above has every interface of kernel.go.
func TestRecipeIsWhole(t *testing.T) {
	parts, _ := (&adapter[fact.Other]{kernel: &misfit{}}).recipe()
	var tested, declared []string
	for _, p := range parts {
		name, _, _ := strings.Cut(p.Name(), "[")
		tested = append(tested, name)
	}
	file, err := parser.ParseFile(token.NewFileSet(), "kernel.go", nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.TypeSpec); ok {
			if _, ok := spec.Type.(*ast.InterfaceType); ok {
				declared = append(declared, spec.Name.Name)
			}
		}
		return true
	})
	slices.Sort(tested)
	slices.Sort(declared)
	if !slices.Equal(tested, declared) {
		t.Errorf("the test has %q, kernel.go %q", tested, declared)
	}
}
