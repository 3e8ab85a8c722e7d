// SPDX-License-Identifier: Apache-2.0

package rcconf

import "strings"

// effects returns the variables that the expansions in a text may set, ${NAME=…} and ${NAME:=…}. More is true if they
// may set others, or may end the script: ${NAME?…}, what some shell refuses, and arithmetic but of numbers. What is
// between single quotes is left out if quotes is set and nothing makes that uncertain.
func effects(text string, quotes bool) (names []string, more bool) {
	if quotes && strings.Contains(text, "'") && !strings.ContainsAny(text, "\"`\\") && !strings.Contains(text, "$(") {
		text = unquoted(text)
	}
	for !more {
		i := strings.IndexByte(text, '$')
		if i < 0 || i+1 == len(text) {
			break
		}
		text = text[i+1:]
		if strings.HasPrefix(text, "((") {
			expression, _, _ := strings.Cut(text[2:], "))")
			more = !isSum(expression)
			continue
		}
		inside, ok := strings.CutPrefix(text, "{")
		if !ok {
			continue
		}
		var name string
		if name, more = assigned(inside); name != "" {
			names = append(names, name)
		}
	}
	return names, more
}

// unquoted removes what is between single quotes.
func unquoted(text string) string {
	var b strings.Builder
	for i, part := range strings.Split(text, "'") {
		if i%2 == 0 {
			b.WriteString(part)
		}
	}
	return b.String()
}

// assigned returns the variable that ${ with that text behind it may set; empty for none. More is true if it may end
// the script.
func assigned(inside string) (name string, more bool) {
	rest := strings.TrimLeft(inside, nameBytes)
	name = inside[:len(inside)-len(rest)]
	if name == "" && rest != "" && isByte(rest[0], "@*#?$-!") { // a parameter of the shell's own, or a length
		if rest[0] == '#' && len(rest) > 1 && isByte(rest[1], nameBytes) {
			rest = strings.TrimLeft(rest[1:], nameBytes)
		} else {
			rest = rest[1:]
		}
	} else if name == "" {
		return "", true
	}
	op := strings.TrimPrefix(rest, ":")
	switch {
	case op == "", op[0] == '?', op[0] == '=' && !ValidName(name, true):
		return "", true
	case op[0] == '=':
		return name, false
	case op[0] == '-', op[0] == '+':
		return "", false
	}
	return "", len(op) < len(rest) || !isByte(op[0], "}%#")
}

// isSum reports whether an arithmetic expression is one of numbers alone, which ends no script.
func isSum(text string) bool {
	for {
		text = strings.TrimLeft(text, " \t")
		rest := strings.TrimLeft(text, "0123456789")
		n := len(text) - len(rest)
		if n == 0 || n > 9 || n > 1 && text[0] == '0' {
			return false
		}
		if text = strings.TrimLeft(rest, " \t"); text == "" {
			return true
		}
		switch {
		case strings.HasPrefix(text, "<<"), strings.HasPrefix(text, ">>"):
			text = text[2:]
		case isByte(text[0], "+-*&|^"):
			text = text[1:]
		default:
			return false
		}
	}
}

// nameBytes are the bytes that the names of variables have.
const nameBytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"
