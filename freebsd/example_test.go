// SPDX-License-Identifier: Apache-2.0

package freebsd_test

import (
	"fmt"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/freebsd"
)

func Example() {
	text := "Id Refs Address                Size Name\n" +
		" 1   28 0xffffffff80200000  1f3e2d0 kernel\n" +
		" 2    1 0xffffffff82141000   5e2b50 zfs.ko\n"
	var r fact.Report
	for _, f := range freebsd.ReadKldstat(text, &r).Records {
		fmt.Println(f.ID, f.State, f.Size, f.Own.ID)
	}
	// Output:
	// freebsd_kld:kernel loaded 32760528 1
	// freebsd_kld:zfs.ko loaded 6171472 2
}
