// SPDX-License-Identifier: Apache-2.0

// Package escape makes text that others chose safe to print: a module may be named so that it
// moves the cursor, hides the rest of a table or reads right to left.
package escape

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Text returns s with every byte that is not UTF-8 and every character that is not printable on
// one line (controls, line and paragraph separators, bidirectional and other format characters)
// written as a Go escape: \x1b, \n, \u202e. Backslashes stay as they are, so that Windows paths
// stay readable; Text is for people, not for parsing back. Clean text is returned as it is.
func Text(s string) string {
	if clean(s) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			b.WriteString(`\x` + hex2(s[i]))
		case printable(r):
			b.WriteRune(r)
		default:
			q := strconv.QuoteRuneToASCII(r)
			b.WriteString(q[1 : len(q)-1])
		}
		i += n
	}
	return b.String()
}

// UTF8 returns s with only the bytes that are not UTF-8 written as \xNN, which keeps different
// byte strings different in JSON. Valid UTF-8 is returned as it is.
func UTF8(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			b.WriteString(`\x` + hex2(s[i]))
		} else {
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}

func clean(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < 0x20 || c >= 0x7f {
			return cleanUnicode(s)
		}
	}
	return true
}

func cleanUnicode(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if !printable(r) {
			return false
		}
	}
	return true
}

// printable is strconv's notion (letters, marks, numbers, punctuation, symbols, ASCII space), which
// leaves out controls, separators and format characters such as the bidirectional overrides.
func printable(r rune) bool {
	return strconv.IsPrint(r)
}

func hex2(b byte) string {
	const digits = "0123456789abcdef"
	return string([]byte{digits[b>>4], digits[b&15]})
}
