// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/linuxtest"
)

// TestNoKernel: each question to an image without a release directory says so, and none reads indexes of no release.
func TestNoKernel(t *testing.T) {
	const want = "this root has no kernel (no release directory below /mnt/lib/modules)"
	for name, files := range map[string]fstest.MapFS{
		"no directory":    {"etc/os-release": linuxtest.File("ID=x\n")},
		"empty directory": {"lib/modules/README": linuxtest.File("")},
		"stray index": {"lib/modules/modules.dep": linuxtest.File("a.ko:\n"),
			"lib/modules/modules.builtin": linuxtest.File("a.ko\n")},
	} {
		k := Open(diskOf(files), fact.Options{Image: true, Root: "/mnt"})
		says := func(what string, err error) {
			if err == nil || !strings.Contains(err.Error(), want) || !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: %s: %v", name, what, err)
			}
		}
		for _, query := range []string{"a", "algif_aead", "pci:v1"} {
			verdicts, err := k.Check(t.Context(), query, new(fact.Report))
			if err != nil || len(verdicts) != 1 || verdicts[0].NextBoot.Outcome != fact.VerdictUnknown {
				t.Fatalf("%s: %s: %+v, %v", name, query, verdicts, err)
			}
			said := ""
			for _, r := range verdicts[0].Reasons {
				said += r.Text + " "
			}
			if !strings.Contains(said, want) || strings.Contains(said, "invalid argument") {
				t.Errorf("%s: %s: %s", name, query, said)
			}
		}
		for _, err := range k.Installed(t.Context(), new(fact.Report)) {
			says("installed", err)
		}
		_, err := k.Upgrade(t.Context(), "6", new(fact.Report))
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: upgrade: %v", name, err)
		}
	}
}
