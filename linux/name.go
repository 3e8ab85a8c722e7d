// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"path"
	"strings"
)

// moduleSuffixes are the file name endings that make a file a module, longest first.
var moduleSuffixes = [...]string{".ko.zst", ".ko.xz", ".ko.gz", ".ko"}

// moduleSuffix returns the ending of a module's file name, "" for any other file.
func moduleSuffix(file string) string {
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

// NormalizeAlias returns a module name or alias as the indexes and the configuration store it: '-'
// written '_' except inside brackets. It reports false for unbalanced brackets, which make kmod
// refuse the alias.
func NormalizeAlias(alias string) (string, bool) {
	if !strings.ContainsAny(alias, "-[]") {
		return alias, true
	}
	b := []byte(alias)
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '-':
			b[i] = '_'
		case ']':
			return "", false
		case '[':
			n := strings.IndexByte(alias[i:], ']')
			if n < 0 {
				return "", false
			}
			i += n
		}
	}
	return string(b), true
}
