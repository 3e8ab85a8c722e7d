// SPDX-License-Identifier: Apache-2.0

package capture_test

import (
	"fmt"
	"strings"

	"github.com/kernelext/kernelext/lkm/capture"
)

func ExampleRead() {
	text := "$ lsmod\nModule                  Size  Used by\nnvme                   57344  3\n" +
		"nvme_core             184320  5 nvme\n"
	snap, err := capture.Read(strings.NewReader(text), "")
	if err != nil {
		fmt.Println(err)
		return
	}
	core := snap.Module("linux_module:nvme_core")
	fmt.Println(core.Size, core.Refs, core.UsedBy)
	// Output: 184320 5 [nvme]
}
