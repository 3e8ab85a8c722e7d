// SPDX-License-Identifier: Apache-2.0

package modprobe

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/linuxtest"
)

func oddTree(files map[string]string) *Tree {
	m := make(fstest.MapFS, len(files))
	for name, data := range files {
		m["lib/modules/6.1/"+name] = &fstest.MapFile{Data: []byte(data)}
	}
	return OpenTree(m, ReleaseDir{Release: "6.1", Dir: "lib/modules/6.1"}, false)
}

// TestBuiltinBeatsFile has a file of a module that is compiled in: for kmod it is loaded already.
func TestBuiltinBeatsFile(t *testing.T) {
	tree := oddTree(map[string]string{"modules.dep": "updates/demo.ko:\n", "modules.alias": "",
		"modules.builtin": "kernel/demo.ko\n", "updates/demo.ko": ""})
	var r fact.Report
	matches, err := tree.Resolve("demo", &r)
	if err != nil || r.Problems != nil || len(matches) != 1 || !matches[0].Builtin {
		t.Errorf("resolve: %+v %v %v", matches, r.Problems, err)
	}
	plan, err := tree.Plan("demo", new(fact.Report))
	if err != nil || len(plan.Steps) != 1 || !plan.Steps[0].Builtin || plan.Steps[0].Path != "" {
		t.Errorf("plan: %+v %v", plan, err)
	}
}

// TestTreeWithoutIndex finds a module by its file, and does not say that another name has no file.
func TestTreeWithoutIndex(t *testing.T) {
	tree := oddTree(map[string]string{"my-demo.ko": ""})
	var r fact.Report
	matches, err := tree.Resolve("my_demo", &r)
	if err != nil || r.Problems != nil || len(matches) != 1 || matches[0].By != MatchName {
		t.Errorf("resolve: %+v %v %v", matches, r.Problems, err)
	}
	if file, err := tree.FileOf("my_demo"); file != "my-demo.ko" || err != nil {
		t.Errorf("file %q, %v", file, err)
	}
	for _, query := range []string{"pci:v1", "symbol:x", "other"} {
		r = fact.Report{}
		matches, err := tree.Resolve(query, &r)
		if matches != nil || len(r.Problems) != 2 || !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %+v %v %v", query, matches, r.Problems, err)
		}
	}
	r = fact.Report{}
	plan, err := tree.Plan("my_demo", &r)
	if plan != nil || !errors.Is(err, fs.ErrNotExist) || len(r.Problems) != 1 {
		t.Errorf("plan: %+v %v %v", plan, r.Problems, err)
	}
}

// TestUnreadableTreeWithoutIndex: a module whose file may be in a directory that could not be read is not known
// to have none.
func TestUnreadableTreeWithoutIndex(t *testing.T) {
	fsys := linuxtest.Refusing(fstest.MapFS{"lib/modules/6.1/a.ko": {}, "lib/modules/6.1/extra/b.ko": {}},
		"lib/modules/6.1/extra", fs.ErrPermission)
	tree := OpenTree(fsys, ReleaseDir{Release: "6.1", Dir: "lib/modules/6.1"}, false)
	if file, err := tree.FileOf("a"); file != "a.ko" || err != nil {
		t.Errorf("%q, %v", file, err)
	}
	for range 2 { // the tree keeps it
		if file, err := tree.FileOf("b"); file != "" || !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%q, %v", file, err)
		}
	}
}

// TestBrokenDepIndex has a binary index that is invalid beside a text: kmod reads the former.
func TestBrokenDepIndex(t *testing.T) {
	tree := oddTree(map[string]string{"modules.dep": "a.ko:\n", "modules.dep.bin": "garbage, no index", "a.ko": ""})
	var r fact.Report
	matches, err := tree.Resolve("a", &r)
	if err != nil || len(matches) != 1 || len(r.Problems) != 1 || !errors.Is(r.Problems[0], fact.ErrMalformed) {
		t.Errorf("resolve: %+v %v %v", matches, r.Problems, err)
	}
	r = fact.Report{}
	inv, err := tree.Inventory(&r)
	if err != nil || inv.Whole || len(r.Problems) != 1 || !errors.Is(r.Problems[0], fact.ErrMalformed) {
		t.Errorf("inventory: %v %v %v", inv, r.Problems, err)
	}
	r = fact.Report{}
	inv, err = oddTree(map[string]string{"modules.dep": "a.ko:\n", "modules.dep.bin": "", "a.ko": ""}).Inventory(&r)
	if err != nil || !inv.Whole || len(r.Problems) != 1 {
		t.Errorf("empty index: %+v %v %v", inv, r.Problems, err)
	}
}

// TestWholePathsInDep has modules.dep as Android writes it.
func TestWholePathsInDep(t *testing.T) {
	tree := oddTree(map[string]string{"modules.dep": "/lib/modules/6.1/a.ko: /lib/modules/6.1/b.ko\n" +
		"/lib/modules/6.1/b.ko:\n", "a.ko": "", "b.ko": ""})
	var r fact.Report
	inv, err := tree.Inventory(&r)
	if err != nil || r.Problems != nil || len(inv.Modules) != 2 || strings.Join(inv.Modules[0].Needs, " ") != "b" {
		t.Errorf("%+v %v", inv, err)
	}
}

// TestDeepTree and a plan without end are cut, and say so.
func TestDeepTree(t *testing.T) {
	var r fact.Report
	inv, err := oddTree(map[string]string{"modules.dep": "", strings.Repeat("d/", maxTreeDepth+1) +
		"deep.ko": ""}).Inventory(&r)
	if err != nil || len(inv.Modules) != 0 || inv.Whole || len(r.Problems) != 1 ||
		!errors.Is(r.Problems[0], fact.ErrTooLarge) {
		t.Errorf("%+v %v %v", inv, r.Problems, err)
	}
	r = fact.Report{}
	inv, err = oddTree(map[string]string{"modules.dep": strings.Repeat("d/", 45) + "deep.ko:\n",
		strings.Repeat("d/", 45) + "deep.ko": ""}).Inventory(&r)
	if err != nil || len(inv.Modules) != 1 || r.Problems != nil {
		t.Errorf("%+v %v %v", inv, r.Problems, err)
	}
}

func TestLongPlan(t *testing.T) {
	first, lines := "a.ko:", ""
	for i := range maxSteps + 1 {
		file := fmt.Sprintf("m%d.ko", i)
		first, lines = first+" "+file, lines+file+":\n"
	}
	var r fact.Report
	plan, err := oddTree(map[string]string{"modules.dep": first + "\n" + lines, "modules.alias": ""}).Plan("a", &r)
	if err != nil || len(r.Problems) != 1 || !errors.Is(r.Problems[0], fact.ErrTooLarge) {
		t.Errorf("%d steps, %v %v", len(plan.Steps), r.Problems, err)
	}
	if !plan.Cut {
		t.Error("the plan does not say that it was cut")
	}
}
