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
	matches, lost, err := tree.Resolve("demo")
	if err != nil || lost != nil || len(matches) != 1 || !matches[0].Builtin {
		t.Errorf("resolve: %+v %v %v", matches, lost, err)
	}
	plan, _, err := tree.Plan("demo")
	if err != nil || len(plan.Steps) != 1 || !plan.Steps[0].Builtin || plan.Steps[0].Path != "" {
		t.Errorf("plan: %+v %v", plan, err)
	}
}

// TestTreeWithoutIndex finds a module by its file, and does not say that there is none of another
// name.
func TestTreeWithoutIndex(t *testing.T) {
	tree := oddTree(map[string]string{"my-demo.ko": ""})
	matches, lost, err := tree.Resolve("my_demo")
	if err != nil || lost != nil || len(matches) != 1 || matches[0].By != MatchName {
		t.Errorf("resolve: %+v %v %v", matches, lost, err)
	}
	if file, err := tree.FileOf("my_demo"); file != "my-demo.ko" || err != nil {
		t.Errorf("file %q, %v", file, err)
	}
	for _, query := range []string{"pci:v1", "symbol:x", "other"} {
		matches, lost, err := tree.Resolve(query)
		if err != nil || matches != nil || len(lost) != 2 || !errors.Is(errors.Join(lost...), fs.ErrNotExist) {
			t.Errorf("%s: %+v %v %v", query, matches, lost, err)
		}
	}
	plan, matched, err := tree.Plan("my_demo")
	if err != nil || !matched || len(plan.Steps) > 0 || len(plan.Lost) == 0 {
		t.Errorf("plan: %+v %v %v", plan, matched, err)
	}
}

// TestBrokenDepIndex has a binary index that makes no sense beside a text: kmod reads the former.
func TestBrokenDepIndex(t *testing.T) {
	tree := oddTree(map[string]string{"modules.dep": "a.ko:\n", "modules.dep.bin": "garbage, no index", "a.ko": ""})
	matches, lost, err := tree.Resolve("a")
	if err != nil || len(matches) != 1 || !errors.Is(errors.Join(lost...), fact.ErrMalformed) {
		t.Errorf("resolve: %+v %v %v", matches, lost, err)
	}
	inv, err := tree.Inventory()
	if err != nil || !errors.Is(errors.Join(inv.Lost...), fact.ErrMalformed) {
		t.Errorf("inventory: %v %v", inv, err)
	}
	inv, err = oddTree(map[string]string{"modules.dep": "a.ko:\n", "modules.dep.bin": "", "a.ko": ""}).Inventory()
	if err != nil || len(inv.Stale) != 1 {
		t.Errorf("empty index: %+v %v", inv, err)
	}
}

// TestWholePathsInDep has modules.dep as Android writes it.
func TestWholePathsInDep(t *testing.T) {
	tree := oddTree(map[string]string{"modules.dep": "/lib/modules/6.1/a.ko: /lib/modules/6.1/b.ko\n" +
		"/lib/modules/6.1/b.ko:\n", "a.ko": "", "b.ko": ""})
	inv, err := tree.Inventory()
	if err != nil || inv.Stale != nil || len(inv.Modules) != 2 || strings.Join(inv.Modules[0].Needs, " ") != "b" {
		t.Errorf("%+v %v", inv, err)
	}
}

// TestDeepTree and a plan without end are cut, and say so.
func TestDeepTree(t *testing.T) {
	inv, err := oddTree(map[string]string{"modules.dep": "", strings.Repeat("d/", maxTreeDepth+1) +
		"deep.ko": ""}).Inventory()
	if err != nil || len(inv.Modules) != 0 || !errors.Is(errors.Join(inv.Lost...), fact.ErrTooLarge) {
		t.Errorf("%+v %v", inv, err)
	}
	inv, err = oddTree(map[string]string{"modules.dep": strings.Repeat("d/", 45) + "deep.ko:\n",
		strings.Repeat("d/", 45) + "deep.ko": ""}).Inventory()
	if err != nil || len(inv.Modules) != 1 || inv.Lost != nil {
		t.Errorf("%+v %v", inv, err)
	}
}

func TestLongPlan(t *testing.T) {
	first, lines := "a.ko:", ""
	for i := range maxSteps + 1 {
		file := fmt.Sprintf("m%d.ko", i)
		first, lines = first+" "+file, lines+file+":\n"
	}
	plan, _, err := oddTree(map[string]string{"modules.dep": first + "\n" + lines, "modules.alias": ""}).Plan("a")
	if err != nil || !errors.Is(errors.Join(plan.Lost...), fact.ErrTooLarge) {
		t.Errorf("%d steps, %v %v", len(plan.Steps), errors.Join(plan.Lost...) == nil, err)
	}
}
