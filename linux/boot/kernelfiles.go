// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"io/fs"
	"path"
	"strings"

	"github.com/kernelext/kernelext/internal/limit"
)

// kernelDirs are where kernel-install(8) puts a folder for each machine, with one for each release in it.
var kernelDirs = []string{"boot", "boot/efi", "efi"}

// KernelFiles returns the places of a release's kernel that bear the release in their names, as paths below the root,
// those that a boot loader starts first.
func KernelFiles(release string) []string {
	if release == "" || !fs.ValidPath(release) || path.Base(release) != release {
		return nil
	}
	return []string{"boot/vmlinuz-" + release, "boot/vmlinux-" + release, "boot/Image-" + release,
		"boot/kernel-" + release, "usr/lib/ostree-boot/vmlinuz-" + release,
		"usr/lib/modules/" + release + "/vmlinuz", "lib/modules/" + release + "/vmlinuz",
		"usr/lib/modules/" + release + "/vmlinux", "usr/lib/modules/" + release + "/Image",
		"lib/modules/" + release + "/vmlinux", "lib/modules/" + release + "/Image",
		"usr/lib/modules/" + release + "/vmlinuz-virt.efi"}
}

// UnifiedKernels returns the unified kernel images of a release, and the kernels that kernel-install(8) copied to the
// boot loader's partition, as paths below the root.
func (b *Setup) UnifiedKernels(fsys fs.FS, release string) []string {
	var files []string
	for _, e := range b.Entries {
		if e.unified && e.Release == release && release != "" {
			files = append(files, e.File)
		}
	}
	id := machineID(fsys)
	if id == "" || release == "" || path.Base(release) != release {
		return files
	}
	for _, dir := range kernelDirs {
		files = append(files, dir+"/"+id+"/"+release+"/linux")
	}
	return files
}

// machineID returns what machine-id(5) says; empty if that is not an identifier.
func machineID(fsys fs.FS) string {
	text, err := limit.ReadFile(fsys, "etc/machine-id", maxLoaderFile)
	id := strings.TrimSpace(string(text))
	if err != nil || len(id) != 32 || strings.Trim(id, "0123456789abcdef") != "" {
		return ""
	}
	return id
}
