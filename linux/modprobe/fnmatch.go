// SPDX-License-Identifier: Apache-2.0

package modprobe

import "strings"

// MatchAlias reports whether a pattern of an alias matches a string, as fnmatch(3) does without
// flags in the C locale: '*', '?', brackets with ranges, classes and '!' or '^', and '\'.
func MatchAlias(pattern, s string) bool {
	p, i := 0, 0
	star, retry := -1, 0
	for i < len(s) {
		n, ok := matchOne(pattern[p:], s[i])
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, retry = p+1, i
			p++
		case ok:
			p, i = p+n, i+1
		case star >= 0:
			retry++
			p, i = star, retry
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// matchOne matches one byte with the first element of a pattern, which is not '*', and returns the
// element's length.
func matchOne(pattern string, c byte) (int, bool) {
	if pattern == "" {
		return 0, false
	}
	switch pattern[0] {
	case '?':
		return 1, true
	case '\\':
		if len(pattern) == 1 {
			return 0, false
		}
		return 2, pattern[1] == c
	case '[':
		if set, n, ok := parseBracket(pattern); ok {
			return n, set.has(c)
		}
	}
	return 1, pattern[0] == c
}

// A byteSet is a set of bytes.
type byteSet [4]uint64

func (s *byteSet) add(c byte)      { s[c>>6] |= 1 << (c & 63) }
func (s *byteSet) has(c byte) bool { return s[c>>6]>>(c&63)&1 != 0 }

// parseBracket reads the bracket expression that a pattern begins with, and returns its length. It
// reports false when the bracket is not closed: '[' stands for itself then.
func parseBracket[T string | []byte](pattern T) (set byteSet, n int, ok bool) {
	i := 1
	negated := i < len(pattern) && (pattern[i] == '!' || pattern[i] == '^')
	if negated {
		i++
	}
	for first := true; ; first = false {
		if i >= len(pattern) {
			return set, 0, false
		}
		if pattern[i] == ']' && !first {
			break
		}
		if end := className(pattern[i:]); end > 0 {
			if !set.addClass(string(pattern[i+2 : i+end-2])) {
				return byteSet{}, i + end, true // an unknown class matches nothing
			}
			i += end
			continue
		}
		low, width, ok := bracketByte(pattern[i:])
		if !ok {
			return set, 0, false
		}
		i += width
		if i+1 >= len(pattern) || pattern[i] != '-' || pattern[i+1] == ']' {
			set.add(low)
			continue
		}
		high, width, ok := bracketByte(pattern[i+1:])
		if !ok {
			return set, 0, false
		}
		i += 1 + width
		for c := int(low); c <= int(high); c++ {
			set.add(byte(c))
		}
	}
	if negated {
		for j := range set {
			set[j] = ^set[j]
		}
	}
	return set, i + 1, true
}

// bracketByte reads one byte of a bracket expression, which '\' may quote.
func bracketByte[T string | []byte](b T) (c byte, width int, ok bool) {
	if b[0] != '\\' {
		return b[0], 1, true
	}
	if len(b) < 2 {
		return 0, 0, false
	}
	return b[1], 2, true
}

// className returns the length of the "[:name:]" that b begins with, 0 for none.
func className[T string | []byte](b T) int {
	if len(b) < 4 || b[0] != '[' || b[1] != ':' {
		return 0
	}
	for i := 2; i+1 < len(b) && i < 16; i++ {
		if b[i] == ':' && b[i+1] == ']' {
			return i + 2
		}
		if b[i] < 'a' || b[i] > 'z' {
			return 0
		}
	}
	return 0
}

// addClass adds a named class of the C locale.
func (s *byteSet) addClass(name string) bool {
	in, ok := map[string]func(byte) bool{
		"lower":  func(c byte) bool { return c >= 'a' && c <= 'z' },
		"upper":  func(c byte) bool { return c >= 'A' && c <= 'Z' },
		"alpha":  isAlpha,
		"digit":  isDigit,
		"alnum":  func(c byte) bool { return isAlpha(c) || isDigit(c) },
		"xdigit": func(c byte) bool { return isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'f' },
		"space":  func(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' },
		"blank":  func(c byte) bool { return c == ' ' || c == '\t' },
		"punct":  func(c byte) bool { return c > ' ' && c < 0x7f && !isAlpha(c) && !isDigit(c) },
		"graph":  func(c byte) bool { return c > ' ' && c < 0x7f },
		"print":  func(c byte) bool { return c >= ' ' && c < 0x7f },
		"cntrl":  func(c byte) bool { return c < ' ' || c == 0x7f },
	}[name]
	if !ok {
		return false
	}
	for c := range 256 {
		if in(byte(c)) {
			s.add(byte(c))
		}
	}
	return true
}

func isAlpha(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
func isDigit(c byte) bool { return c >= '0' && c <= '9' }

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
