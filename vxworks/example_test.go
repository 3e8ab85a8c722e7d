// SPDX-License-Identifier: Apache-2.0

package vxworks_test

import (
	"fmt"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/vxworks"
)

func Example() {
	text := "MODULE NAME     MODULE ID  GROUP #    TEXT START DATA START  BSS START\n" +
		"--------------- ---------- ---------- ---------- ---------- ----------\n" +
		"         foo.o  0x3f0dd8          1   0x3ed4d8          0x0   0x3ee500\n"
	var r fact.Report
	for _, m := range vxworks.ReadModuleShow(text, &r).Records {
		fmt.Println(m.ID, m.State, m.Address)
	}
	// Output:
	// vxworks_module:foo.o loaded 0x00000000003ed4d8
}
