// SPDX-License-Identifier: Apache-2.0

package capture

import "strings"

// The widths at which terminals and mail programs break lines, in bytes.
const (
	leastWrap = 60
	mostWrap  = 256
)

// leastWrapped is how many lines of one length prove a width: one or two may happen to be as long as each other.
const leastWrapped = 3

// Unwrap joins lines that a terminal broke at its width: all that are as long as the longest with what follows. An
// empty line stands for each that is joined, so that lines keep their numbers. It returns how many were joined; 0 if
// too few are so long.
func Unwrap(s string) (joined string, count int) {
	lines := strings.Split(s, "\n")
	width := 0
	for _, line := range lines {
		width = max(width, len(line))
	}
	if width < leastWrap || width > mostWrap {
		return s, 0
	}
	var b strings.Builder
	b.Grow(len(s))
	pending := 0
	for i, line := range lines {
		b.WriteString(line)
		if len(line) == width && i+1 < len(lines) && lines[i+1] != "" {
			pending++
			count++
			continue
		}
		if i+1 < len(lines) {
			b.WriteString(strings.Repeat("\n", pending+1))
		}
		pending = 0
	}
	if count < leastWrapped {
		return s, 0
	}
	return b.String(), count
}

// Untable turns the rows of a Markdown table into lines with two blanks between the cells. ok is false if there is no
// such table.
func Untable(s string) (plain string, ok bool) {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") || !strings.HasSuffix(line, "|") || len(line) < 3 {
			continue
		}
		if strings.Trim(line, "|-: ") == "" {
			lines[i], ok = "", true
			continue
		}
		lines[i] = strings.TrimRight(strings.Join(PipeCells(line), "  "), " ")
	}
	return strings.Join(lines, "\n"), ok
}
