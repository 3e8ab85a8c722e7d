// SPDX-License-Identifier: Apache-2.0

package aix_test

import (
	"fmt"

	"github.com/kernelext/kernelext/aix"
	"github.com/kernelext/kernelext/fact"
)

func Example() {
	text := "    Text address     Size File\n\n f1000000c0338000    77000 /usr/lib/drivers/cluster\n"
	var r fact.Report
	for _, m := range aix.ReadGenkex(text, &r).Records {
		fmt.Println(m.ID, m.State, m.Size)
	}
	// Output:
	// aix_kext:/usr/lib/drivers/cluster loaded 487424
}
