// SPDX-License-Identifier: Apache-2.0

package solaris_test

import (
	"fmt"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/solaris"
)

func Example() {
	text := " Id Loadaddr   Size Info Rev Module Name\n" +
		" 22 fffffffff7b28000   4b18   1   1  specfs (filesystem for specfs)\n"
	var r fact.Report
	for _, m := range solaris.ReadModinfo(text, &r).Records {
		fmt.Println(m.ID, m.State, m.Size, m.Description)
	}
	// Output:
	// solaris_module:specfs loaded 19224 filesystem for specfs
}
