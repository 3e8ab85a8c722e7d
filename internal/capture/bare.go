// SPDX-License-Identifier: Apache-2.0

package capture

import "strings"

// Bare empties the prompts before and after JSON or XML, whose decoders read nothing else. Lines keep their numbers.
// Any other text is returned as it is.
func Bare(s string) string {
	begin := 0
	for line := range strings.Lines(s) {
		if !blankOrPrompt(line) {
			break
		}
		begin += len(line)
	}
	first, _, _ := strings.Cut(s[begin:], "\n")
	if !beginsValue(strings.TrimSpace(first)) {
		return s
	}
	end := len(s)
	for end > begin {
		at := strings.LastIndexByte(s[:end-1], '\n') + 1
		if !blankOrPrompt(s[at:end]) {
			break
		}
		end = at
	}
	if begin == 0 && strings.TrimSpace(s[end:]) == "" {
		return s
	}
	return strings.Repeat("\n", strings.Count(s[:begin], "\n")) + s[begin:end] +
		strings.Repeat("\n", strings.Count(s[end:], "\n"))
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
