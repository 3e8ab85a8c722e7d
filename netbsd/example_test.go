// SPDX-License-Identifier: Apache-2.0

package netbsd_test

import (
	"fmt"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/netbsd"
)

func Example() {
	text := "NAME         CLASS   SOURCE   FLAG REFS SIZE  REQUIRES\n" +
		"exec_elf32   exec    filesys  a    1    13000 coredump\n"
	var r fact.Report
	for _, m := range netbsd.ReadModstat(text, &r).Records {
		fmt.Println(m.ID, m.State, m.Own.Class, m.Requires)
	}
	// Output:
	// netbsd_module:exec_elf32 loaded exec [coredump]
}
