// SPDX-License-Identifier: Apache-2.0

package tape

import (
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"
)

const hexDigits = "0123456789ABCDEF"

// noWord stands for an empty word in an entry line. A quotation mark within a word is escaped, so
// nothing else is written like it.
const noWord = `""`

// escapeWord writes s as one word of an entry line: every byte that is not a visible ASCII
// character, and the four that the line gives a meaning (space, %, = and "), becomes %XX.
func escapeWord(s string) string {
	if s == "" {
		return noWord
	}
	return percent(s, func(r rune) bool { return r > ' ' && r < 0x7f && r != '%' && r != '=' && r != '"' })
}

// escapeLine writes s as the rest of a line that people read: only %, and what is not printable
// on one line or not UTF-8, becomes %XX.
func escapeLine(s string) string {
	return percent(s, func(r rune) bool { return r != '%' && strconv.IsPrint(r) })
}

func percent(s string, plain func(rune) bool) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if plain(r) && (r != utf8.RuneError || n > 1) {
			b.WriteString(s[i : i+n])
			i += n
			continue
		}
		for ; n > 0; n-- {
			b.WriteByte('%')
			b.WriteByte(hexDigits[s[i]>>4])
			b.WriteByte(hexDigits[s[i]&15])
			i++
		}
	}
	return b.String()
}

var errEscape = errors.New("a % is not followed by two hexadecimal digits")

// unescape undoes escapeWord and escapeLine.
func unescape(s string) (string, error) {
	if s == noWord {
		return "", nil
	}
	if !strings.Contains(s, "%") {
		return s, nil
	}
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, "%")
		b.WriteString(before)
		if !found {
			return b.String(), nil
		}
		if len(after) < 2 {
			return "", errEscape
		}
		c, err := strconv.ParseUint(after[:2], 16, 8)
		if err != nil {
			return "", errEscape
		}
		b.WriteByte(byte(c))
		s = after[2:]
	}
}
