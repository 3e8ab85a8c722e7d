// SPDX-License-Identifier: Apache-2.0

package windows

import "strings"

// Bounds of what is looked at for the short names of one image.
const (
	maxShortTries = 64      // paths that one path with short names may stand for
	maxShortNames = 200_000 // names in folders, for all paths
)

// A shortNames finds what paths with short names stand for on an image, whose file system is not asked for them.
type shortNames struct {
	kernel *Kernel
	paths  ntPaths
	left   int // names that are still looked at
}

// long returns the path of the one file whose names may have the short ones; empty without one, or of several.
func (s *shortNames) long(dos string) string {
	if !isDrivePath(dos) {
		return ""
	}
	paths := []string{dos[:len("C:")]}
	for part := range strings.SplitSeq(dos[len(`C:\`):], `\`) {
		var next []string
		for _, dir := range paths {
			for _, name := range s.names(dir, part) {
				next = append(next, dir+`\`+name)
			}
			if s.left < 0 || len(next) > maxShortTries {
				return ""
			}
		}
		paths = next
	}
	if len(paths) != 1 {
		return ""
	}
	return paths[0]
}

// names returns the names in a folder that a name may mean: itself, or those that may have it as their short name.
func (s *shortNames) names(dir, name string) []string {
	entries, err := s.kernel.readFolder(s.paths, dir)
	if s.left -= len(entries) + 1; err != nil || s.left < 0 {
		return nil
	}
	var list []string
	for _, e := range entries {
		if strings.EqualFold(e.Name(), name) {
			return []string{e.Name()}
		}
		if len(list) <= maxShortTries && hasShortName(name) && isShortOf(name, e.Name()) {
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
