// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"path"
	"slices"
	"strings"
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
		if fold != nil && fold(p) != p && !strings.Contains(p, "[") { // a range such as [a-z] keeps its dash
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

// match reports whether a text matches one of a few patterns.
func match(patterns []string, text string) bool { return newMatcher(patterns, nil).match(text) }

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
