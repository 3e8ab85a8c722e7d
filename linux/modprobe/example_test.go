// SPDX-License-Identifier: Apache-2.0

package modprobe_test

import (
	"fmt"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// A plan has the steps of "modprobe -n -v", with their reasons.
func ExampleTree_Plan() {
	text := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	fsys := fstest.MapFS{
		"lib/modules/6.1.0/modules.dep":     text("kernel/e1000e.ko: kernel/ptp.ko\nkernel/ptp.ko:\n"),
		"lib/modules/6.1.0/modules.alias":   text("alias pci:v00008086d000010D3* e1000e\n"),
		"lib/modules/6.1.0/modules.symbols": text(""),
		"lib/modules/6.1.0/modules.builtin": text(""),
		"etc/modprobe.d/site.conf":          text("options e1000e IntMode=1\ninstall ptp /bin/false\n"),
	}
	dir, err := modprobe.FindRelease(fsys, "6.1.0")
	if err != nil {
		fmt.Println(err)
		return
	}
	var r fact.Report
	plan, err := modprobe.OpenTree(fsys, dir, false).Plan("pci:v00008086d000010D3sv00008086", &r)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, s := range plan.Steps {
		switch {
		case s.Command != "":
			fmt.Printf("%s: %s runs %q (%s), %s:%d\n", s.Reason, s.Name, s.Command,
				modprobe.EffectOf(s.Command, s.Name),
				s.CommandAt.File, s.CommandAt.Line)
		default:
			fmt.Printf("%s: %s is %s %s\n", s.Reason, s.Name, s.Path, s.Params)
		}
	}
	fmt.Println("problems:", len(r.Problems))
	// Output:
	// depends: ptp runs "/bin/false" (fails), etc/modprobe.d/site.conf:2
	// asked: e1000e is kernel/e1000e.ko IntMode=1
	// problems: 0
}
