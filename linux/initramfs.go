// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/kernelext/kernelext/fact"
)

// initramfsFiles are the initial file systems of a release.
func initramfsFiles(release string) []string {
	return []string{"boot/initrd.img-" + release, "boot/initramfs-" + release + ".img", "boot/initrd-" + release, "boot/initramfs-" + release, "boot/initrd.img"}
}

// FindInInitramfs says what the initial file system of a release does with a module. The error is
// fs.ErrNotExist when there is none.
func FindInInitramfs(fsys fs.FS, release, module string) ([]fact.Reason, error) {
	for _, name := range initramfsFiles(release) {
		if !fs.ValidPath(name) {
			continue
		}
		_, err := fs.Stat(fsys, name)
		if err == nil {
			return nil, fmt.Errorf("/%s: not read: %w", name, errors.ErrUnsupported)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return nil, fs.ErrNotExist
}
