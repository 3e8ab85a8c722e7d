// SPDX-License-Identifier: Apache-2.0

package modprobe

import (
	"io/fs"
	"path"
)

// Kmodloader is OpenWrt's modprobe: it takes the files of the release directory as they are, and what
// etc/modules.d lists, and knows neither indexes nor configuration.
const Kmodloader = "kmodloader"

// Program looks whether modprobe is a link to a program that is known not to read its
// configuration as kmod does; program is empty when it is not.
func Program(fsys fs.FS) (file, program string) {
	for _, start := range []string{"sbin/modprobe", "usr/sbin/modprobe", "bin/modprobe", "usr/bin/modprobe"} {
		name := start
		for range 8 {
			target := LinkTarget(fsys, name)
			if target == "" {
				break
			}
			name = target
			if base := path.Base(name); base == "busybox" || base == "toybox" || base == Kmodloader {
				return start, base
			}
		}
		if name != start {
			return "", ""
		}
		if _, err := fs.Lstat(fsys, start); err == nil {
			return "", ""
		}
	}
	return "", ""
}
