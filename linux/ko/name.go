// SPDX-License-Identifier: Apache-2.0

package ko

import (
	"path"
	"strings"
)

// moduleSuffixes are the file name endings that make a file a module, longest first.
var moduleSuffixes = [...]string{".ko.zst", ".ko.xz", ".ko.gz", ".ko"}

// Suffix returns the ending of a module's file name, "" for any other file.
func Suffix(file string) string {
	for _, s := range moduleSuffixes {
		if strings.HasSuffix(file, s) && len(file) > len(s) {
			return s
		}
	}
	return ""
}

// NameOfFile returns the module name that kmod derives from a file's name: the base name up to its
// first dot, with '-' written '_'. The name in the file itself (modinfo "name") may differ.
func NameOfFile(file string) string {
	base := path.Base(file)
	if i := strings.IndexByte(base, '.'); i >= 0 {
		base = base[:i]
	}
	return strings.ReplaceAll(base, "-", "_")
}
