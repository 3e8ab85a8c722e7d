// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/e2e/lab"
)

// TestInfoField compares lkm info -F with modinfo -F, word for word, over modules of both Debian kernels that have many
// parameters, aliases, firmware, softdeps and signatures.
func TestInfoField(t *testing.T) {
	t.Parallel()
	lab.Tools(t, "modinfo")
	program := filepath.Join(t.TempDir(), "lkm")
	if err := os.WriteFile(program, lab.Program(t, ".", "./cmd/lkm"), 0o755); err != nil {
		t.Fatal(err)
	}
	wanted := []string{"kvm.ko", "btrfs.ko", "iwlwifi.ko", "r8169.ko", "scsi_debug.ko", "xt_hashlimit.ko", "loop.ko",
		"nvme.ko", "snd-hda-intel.ko", "usb-storage.ko"}
	compared := 0
	for _, k := range []string{"plain", "xz"} {
		tree := plainTree
		if k == "xz" {
			tree = xzTree
		}
		for _, file := range moduleFiles(t, tree(t)) {
			base, _, _ := strings.Cut(filepath.Base(file), ".xz")
			found := false
			for _, name := range wanted {
				found = found || base == name
			}
			if !found {
				continue
			}
			for _, word := range []string{"filename", "alias", "author", "depends", "description", "firmware", "intree",
				"license", "name", "parm", "parmtype", "retpoline", "softdep", "srcversion", "vermagic", "version",
				"sig_id",
				"signer", "sig_key", "sig_hashalgo", "import_ns"} {
				ours, theirs := output(t, program, "info", file, "-F", word), output(t, "modinfo", "-F", word, file)
				if ours != theirs {
					t.Errorf("-F %s of %s: ours %q, modinfo's %q", word, file, ours, theirs)
				}
				compared++
			}
		}
	}
	if compared < 300 {
		t.Errorf("only %d compared", compared)
	}
	t.Logf("%d compared", compared)
}
