// SPDX-License-Identifier: Apache-2.0

package netware_test

import (
	"fmt"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/netware"
)

func Example() {
	text := "CLIB.NLM (Address Space = OS)\n   (Build 77) CLIB - C Language Library\n" +
		"   Version 5.00a   September 10, 1998\n"
	var r fact.Report
	for _, m := range netware.ReadModules(text, &r).Records {
		fmt.Println(m.ID, m.State, m.Version)
	}
	// Output:
	// netware_nlm:CLIB.NLM loaded 5.00a
}
