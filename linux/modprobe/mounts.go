// SPDX-License-Identifier: Apache-2.0

package modprobe

import (
	"io/fs"
	"path"
	"strings"

	"github.com/kernelext/kernelext/internal/limit"
)

// MountedElsewhere returns the mount point of /etc/fstab that a path leads through and that holds nothing, because
// its file system is not mounted; empty if the path is the root's own. What is not there may then be there after a
// boot.
func MountedElsewhere(fsys fs.FS, file string) string {
	text, err := limit.ReadFile(fsys, "etc/fstab", maxConfigFile)
	if err != nil {
		return "" // without it, nothing else is mounted
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0][0] == '#' || !strings.HasPrefix(fields[1], "/") {
			continue
		}
		dir := path.Clean(fields[1])[1:]
		if dir == "" || !strings.HasPrefix(file, dir+"/") {
			continue
		}
		if entries, err := fs.ReadDir(fsys, dir); err != nil || len(entries) == 0 {
			return "/" + dir
		}
	}
	return ""
}
