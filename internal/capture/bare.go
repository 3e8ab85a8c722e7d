// SPDX-License-Identifier: Apache-2.0

package capture

import "strings"

// Bare empties the prompts before and after JSON or XML, whose decoders read nothing else. Lines keep their numbers. Any
// other text is returned as it is.
func Bare(s string) string {
	lines := strings.Split(s, "\n")
	first := 0
	for first < len(lines) && blankOrPrompt(lines[first]) {
		first++
	}
	if first == len(lines) || !beginsValue(strings.TrimSpace(lines[first])) {
		return s
	}
	last := len(lines) - 1
	for last > first && blankOrPrompt(lines[last]) {
		last--
	}
	rest := len(lines) - 1 - last
	return strings.Repeat("\n", first) + strings.Join(lines[first:last+1], "\n") + strings.Repeat("\n", rest)
}

// blankOrPrompt reports whether a line is empty, or a prompt and not the begin of JSON or XML.
func blankOrPrompt(line string) bool {
	line = strings.TrimSpace(line)
	if line == "" {
		return true
	}
	_, ok := Prompt(line)
	return ok && !beginsValue(line)
}

// beginsValue reports whether a line begins, or goes on with, JSON or XML: "[root@host ~]#" does not.
func beginsValue(line string) bool {
	switch {
	case line == "":
		return false
	case strings.ContainsAny(line[:1], `{<"}`):
		return true
	case line[0] == '[':
		next := strings.TrimLeft(line[1:], " \t")
		return next == "" || strings.ContainsAny(next[:1], "{]")
	}
	return line[0] == ']'
}
