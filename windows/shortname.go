// SPDX-License-Identifier: Apache-2.0

package windows

import "strings"

// maxShortTries is how many paths one path with short names may stand for.
const maxShortTries = 64

// imageLongPath returns what a path with short names stands for on an image, whose file system is not asked for them:
// the one file whose names may have these short ones; empty without one, or of several.
func (k *Kernel) imageLongPath(p ntPaths, dos string) string {
	if !isDrivePath(dos) {
		return ""
	}
	paths := []string{dos[:len("C:")]}
	parts := strings.Split(dos[len(`C:\`):], `\`)
	for _, part := range parts {
		var next []string
		for _, dir := range paths {
			for _, name := range k.longNames(p, dir, part) {
				next = append(next, dir+`\`+name)
			}
		}
		if paths = next; len(paths) > maxShortTries {
			return ""
		}
	}
	if len(paths) != 1 {
		return ""
	}
	return paths[0]
}

// longNames returns the names in a folder that a name may mean: itself, or those that may have it as their short name.
func (k *Kernel) longNames(p ntPaths, dir, name string) []string {
	entries, err := k.readFolder(p, dir)
	if err != nil {
		return nil
	}
	var list []string
	for _, e := range entries {
		if strings.EqualFold(e.Name(), name) {
			return []string{e.Name()}
		}
		if hasShortName(name) && isShortOf(name, e.Name()) {
			list = append(list, e.Name())
		}
	}
	return list
}

// isShortOf reports whether a short name, up to six characters with ~ and a number and an extension, may be that of a
// long one: blanks and dots are left out of the characters.
func isShortOf(short, long string) bool {
	clean := strings.NewReplacer(" ", "", ".", "")
	split := func(s string) (base, ext string) {
		if i := strings.LastIndexByte(s, '.'); i > 0 {
			base, ext = s[:i], clean.Replace(s[i+1:])
			return base, ext[:min(len(ext), 3)]
		}
		return s, ""
	}
	base, ext := split(short)
	longBase, longExt := split(long)
	prefix, number, _ := strings.Cut(base, "~")
	return strings.EqualFold(ext, longExt) && number != "" && strings.Trim(number, "0123456789") == "" &&
		prefix != "" && hasFoldPrefix(clean.Replace(longBase), prefix)
}
