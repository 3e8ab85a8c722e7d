// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/lkm"
)

// A matcher is a list of patterns in a form whose cost does not grow with the number of those that are plain names.
type matcher struct {
	names    map[string]bool
	patterns []string // with * ? or […], as flat makes them
}

// newMatcher returns the matcher of patterns. fold is how names are compared; nil for as they are.
func newMatcher(patterns []string, fold func(string) string) *matcher {
	m := &matcher{names: make(map[string]bool, len(patterns))}
	add := func(p string) {
		if name, ok := plain(p); ok {
			m.names[name] = true
		} else {
			m.patterns = append(m.patterns, flat(p))
		}
	}
	for _, p := range patterns {
		add(p)
		if fold != nil && fold(p) != p {
			add(fold(p))
		}
	}
	return m
}

// match reports whether a text matches one of the patterns.
func (m *matcher) match(text string) bool {
	if m.names[text] {
		return true
	}
	if len(m.patterns) == 0 {
		return false
	}
	text = flat(text)
	return slices.ContainsFunc(m.patterns, func(p string) bool {
		ok, err := path.Match(p, text)
		return err == nil && ok
	})
}

// flat replaces slashes: unlike in paths, * matches / too.
func flat(s string) string { return strings.ReplaceAll(s, "/", "\x01") }

// plain returns the one name that a pattern matches, without its backslashes; not ok if it may match several.
func plain(pattern string) (name string, ok bool) {
	if !strings.ContainsAny(pattern, `*?[\`) {
		return pattern, true
	}
	var b []byte
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; {
		case c == '*' || c == '?' || c == '[':
			return "", false
		case c == '\\' && i+1 == len(pattern):
			return "", false
		case c == '\\':
			i++
		}
		b = append(b, pattern[i])
	}
	return string(b), true
}

func (m *machine) fold(name string) string { return foldFor(m.system(), name) }

// foldFor returns a name or a pattern as a system compares names: Linux takes - for _, Windows small letters for large
// ones.
func foldFor(os lkm.OS, name string) string {
	switch os {
	case fact.Linux:
		return foldDashes(name)
	case fact.Windows:
		return strings.ToLower(name)
	}
	return name
}

// foldDashes replaces - by _, but not in […], where it makes a range.
func foldDashes(pattern string) string {
	if !strings.Contains(pattern, "[") {
		return strings.ReplaceAll(pattern, "-", "_")
	}
	b := []byte(pattern)
	in := false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == '\\':
			if i++; i < len(b) && b[i] == '-' && !in {
				b[i] = '_'
			}
		case c == '[' && !in:
			in = true
		case c == ']' && in:
			in = false
		case c == '-' && !in:
			b[i] = '_'
		}
	}
	return string(b)
}

func (m *machine) bare(name string) string { return bareFor(m.system(), name) }

// bareFor returns a name without the suffix of its file where the system's names have one.
func bareFor(os lkm.OS, name string) string {
	suffix := ""
	switch os {
	case fact.FreeBSD, fact.DragonFly:
		suffix = ".ko"
	case fact.Windows:
		suffix = ".sys"
	}
	return strings.TrimSuffix(name, suffix)
}

// matchName reports whether a module's name matches one of the patterns, with or without its file's suffix. A pattern
// of what is allowed, or excused, is of the whole name: *fs allows no zfs.ko.
func matchName(os lkm.OS, patterns *matcher, name string, kind Kind) bool {
	folded := foldFor(os, name)
	if patterns.match(folded) || patterns.match(name) {
		return true
	}
	bare := bareFor(os, folded)
	return bare != folded && (patterns.names[bare] || kind == Deny && patterns.match(bare))
}

// fileSuffixes returns the suffixes of module files that the names of the system's modules lack.
func fileSuffixes(os lkm.OS) []string {
	switch os {
	case fact.Linux:
		return []string{".ko", ".ko.gz", ".ko.xz", ".ko.zst"}
	case fact.NetBSD:
		return []string{".kmod"}
	case fact.Darwin:
		return []string{".kext"}
	}
	return nil
}

// notName returns why no module of the system can have a name: it is that of a file, or a path. The system knows no
// module under it, so that a search for it finds nothing. A pattern of deny is compared with names; of another rule
// lkm.System.Check takes the path of a file, and an alias, which may have a slash behind a colon.
func (m *machine) notName(name string, kind Kind) error {
	os := m.system()
	text := name
	if kind == Deny {
		text = strings.TrimRight(name, "*")
	}
	isFile := slices.ContainsFunc(fileSuffixes(os), func(suffix string) bool {
		bare, ok := strings.CutSuffix(text, suffix) // an identifier of macOS may end in .kext, too
		return ok && (os != fact.Darwin || !strings.Contains(bare, "."))
	})
	isPath := strings.Contains(name, "/") && !slices.Contains([]lkm.OS{fact.Illumos, fact.Solaris, fact.AIX}, os)
	switch {
	case isPath && (kind == Deny || os == fact.Linux && !isFile && !strings.Contains(name, ":")):
		return fmt.Errorf("%s is a path: no module of %s has a / in its name", name, os)
	case isFile && !isPath:
		return fmt.Errorf("%s is the name of a file: no module of %s has its suffix", name, os)
	}
	return nil
}
