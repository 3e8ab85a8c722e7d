// SPDX-License-Identifier: Apache-2.0

package lkm_test

import (
	"context"
	"fmt"
	"testing/fstest"

	"github.com/kernelext/kernelext/lkm"
)

// hardened is a root with the usual lines against modules that nobody needs, and one mistake.
var hardened = fstest.MapFS{
	"etc/modprobe.d/cis.conf": {Data: []byte("install cramfs /bin/false\nblacklist udf\n")},
	"lib/modules/6.1.0/modules.dep": {Data: []byte(
		"kernel/fs/cramfs/cramfs.ko:\nkernel/fs/udf/udf.ko:\n")},
	"lib/modules/6.1.0/modules.builtin":            {Data: []byte("kernel/fs/squashfs/squashfs.ko\n")},
	"lib/modules/6.1.0/modules.alias":              {Data: []byte("alias fs-udf udf\nalias fs-cramfs cramfs\n")},
	"lib/modules/6.1.0/kernel/fs/cramfs/cramfs.ko": {},
	"lib/modules/6.1.0/kernel/fs/udf/udf.ko":       {},
	"boot/config-6.1.0":                            {Data: []byte("CONFIG_MODULES=y\n")},
	"boot/loader/entries/6.1.0.conf":               {Data: []byte("version 6.1.0\noptions quiet\n")},
}

// A compliance gate passes what cannot get into the kernel, and fails what can or what is not known.
func Example_compliance() {
	sys, err := lkm.OpenImage(hardened, lkm.Options{}) // lkm.Open(lkm.Options{}) for this machine
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sys.Close()
	for _, name := range []string{"cramfs", "udf", "squashfs", "hfsplus"} {
		verdicts, err := sys.Check(context.Background(), name)
		if err != nil {
			fmt.Println("FAIL", name, err)
			continue
		}
		for _, v := range verdicts {
			result := "FAIL"
			if worst := v.Worst(); worst == lkm.VerdictBlocked || worst == lkm.VerdictAbsent {
				result = "PASS"
			}
			why := v.Reasons[0] // the one that decides
			fmt.Println(result, name, v.Worst(), why.File, why.Text)
		}
	}
	// Output:
	// PASS cramfs blocked /etc/modprobe.d/cis.conf install cramfs /bin/false
	// FAIL udf loadable /lib/modules/6.1.0/kernel/fs/udf/udf.ko module file
	// FAIL squashfs builtin /lib/modules/6.1.0/modules.builtin compiled into the kernel
	// PASS hfsplus absent  no module or alias of that name on disk, compiled in, or in the configuration
}
