// SPDX-License-Identifier: Apache-2.0

package bomb_test

import (
	"context"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/linuxtest"
	"github.com/kernelext/kernelext/linux"
)

// blowKeys asks who signed a module.
func blowKeys(files fstest.MapFS, r *fact.Report) {
	for name, f := range signedDisk() {
		if files[name] == nil {
			files[name] = f
		}
	}
	ctx := context.Background()
	k := linux.Open(disk{files}, fact.Options{Kernel: "6.1.0", Workers: 1, Detail: fact.DetailSignatures})
	_, _ = k.Check(ctx, "a", r)
	for range k.Installed(ctx, r) {
	}
}

// signedDisk is a machine that runs, whose kernel wants signatures.
func signedDisk() fstest.MapFS {
	files := linuxDisk()
	module := files["lib/modules/6.1.0/kernel/a.ko"].Data
	block := linuxtest.Trailer(module, []byte("no signature"))
	files["lib/modules/6.1.0/kernel/a.ko"] = &fstest.MapFile{Data: block, Mode: 0o644}
	files["boot/config-6.1.0"] = linuxtest.File("CONFIG_MODULES=y\nCONFIG_MODULE_SIG=y\nCONFIG_MODULE_SIG_FORCE=y\n")
	files["boot/vmlinuz-6.1.0"] = &fstest.MapFile{Data: linuxtest.Kernel{}.Plain(), Mode: 0o644}
	const secureBoot = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
	files[secureBoot] = linuxtest.File("\x06\x00\x00\x00\x01")
	return files
}
