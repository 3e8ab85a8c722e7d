// SPDX-License-Identifier: Apache-2.0

package rcconf

import "strings"

// A Part is a command of a list.
type Part struct {
	// Op is the operator before it; empty for the first.
	Op string
	// Body is the command, without blanks around it.
	Body string
}

// Parts splits a line at ";", "&&", "||", "|" and "&" outside of quotes and substitutions.
func Parts(line string) []Part {
	var out []Part
	op, start, quote, depth := "", 0, byte(0), 0
	add := func(end, skip int, next string) {
		out = append(out, Part{op, strings.TrimSpace(line[start:end])})
		op, start = next, end+skip
	}
	for i := 0; i < len(line); i++ {
		ch := line[i]
		if ch == '\\' && quote != '\'' {
			i++
			continue
		}
		quote = quoteAfter(quote, ch)
		switch {
		case quote != 0:
		case ch == '(' && i > 0 && line[i-1] == '$':
			depth++
		case ch == ')' && depth > 0:
			depth--
		case depth > 0:
		case strings.HasPrefix(line[i:], "&&"), strings.HasPrefix(line[i:], "||"), strings.HasPrefix(line[i:], ";;"):
			add(i, 2, line[i:i+2])
			i++
		case ch == ';', ch == '|', ch == '&' && !redirects(line, i):
			add(i, 1, line[i:i+1])
		}
	}
	if start <= len(line) {
		add(len(line), 0, "")
	}
	return out
}

// redirects reports whether the "&" at index i belongs to a redirection.
func redirects(line string, i int) bool {
	return i > 0 && (line[i-1] == '>' || line[i-1] == '<') || i+1 < len(line) && line[i+1] == '>'
}

// quoteAfter returns the quote that is open after a byte.
func quoteAfter(quote, ch byte) byte {
	switch {
	case quote == ch:
		return 0
	case quote == 0 && (ch == '\'' || ch == '"' || ch == '`'):
		return ch
	}
	return quote
}
