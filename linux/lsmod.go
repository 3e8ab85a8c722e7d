// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/capture"
	"github.com/kernelext/kernelext/internal/limit"
)

// A Capture is what a text capture of lsmod, or of /proc/modules, says.
type Capture struct {
	// Entries are the rows, in the capture's order, repeated ones too. Those of lsmod have no address, no taints, and
	// a state only where the text has a word for it.
	Entries []Entry
	// Header is set when lsmod's header was seen, or a prompt with the command: an empty list is
	// then one that the tool printed.
	Header bool
	// Filtered is set when a prompt shows the command with its output going through another, so
	// that rows may be missing.
	Filtered bool
	// KernelTaint are the kernel's taint letters from the header of a 2.4 or BusyBox lsmod; empty
	// when it has none, valid when HasKernelTaint is set.
	KernelTaint    string
	HasKernelTaint bool
	// Stray counts the lines that are no rows and not known to be harmless; Bad are the first of
	// them.
	Stray int
	Bad   []*fact.ParseError
	// Truncated is set when the last line has no newline, so that its end may be missing.
	Truncated bool
}

// ParseLsmod reads the text that lsmod prints: that of kmod, of BusyBox and of Linux 2.4, with or
// without the header, with prompts and stray lines around it. A line that is no row is counted,
// and costs nothing else.
func ParseLsmod(text string) *Capture { return parseCapture("lsmod", text, lsmodRow) }

// ParseModulesText reads a capture of /proc/modules in the same way.
func ParseModulesText(text string) *Capture {
	var l ModuleList
	return parseCapture("/proc/modules", text, func(line string) (Entry, bool) {
		e, err := l.parseLine(line)
		return e, err == nil && moduleName(e.Name)
	})
}

// parseCapture reads the rows of text that row recognises; a prompt with command in it says what the
// text is.
func parseCapture(command, text string, row func(line string) (Entry, bool)) *Capture {
	c := &Capture{Entries: []Entry{}, Truncated: text != "" && !strings.HasSuffix(text, "\n")}
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimRight(line, " \t\n")
		if line == "" || c.prompt(line, command) || (command == "lsmod" && c.header(line)) || harmless(line) {
			continue
		}
		if e, ok := row(line); ok {
			c.Entries = append(c.Entries, e)
		} else {
			c.stray(n, line)
		}
	}
	return c
}

func (c *Capture) stray(n int, line string) {
	c.Stray++
	if len(c.Bad) < limit.Problems {
		c.Bad = append(c.Bad, &fact.ParseError{Line: n, Reason: strconv.Quote(cut(line, 60)) + " is no row"})
	}
}

// header recognises lsmod's header, with the kernel's taint on old systems.
func (c *Capture) header(line string) bool {
	rest, ok := headerRest(line)
	if !ok {
		return false
	}
	c.Header = true
	switch letters, tainted := strings.CutPrefix(rest, "Tainted:"); {
	case tainted:
		c.KernelTaint, c.HasKernelTaint = strings.Join(strings.Fields(letters), ""), true
	case rest == "Not tainted":
		c.HasKernelTaint = true
	}
	return true
}

// prompt recognises a shell's prompt, and what stands behind it.
func (c *Capture) prompt(line, command string) bool {
	typed, ok := capture.Prompt(line)
	if !ok || !strings.Contains(typed, command) {
		return ok
	}
	if strings.Contains(typed, "|") {
		c.Filtered = true
	} else {
		c.Header = true
	}
	return true
}

func headerRest(line string) (string, bool) {
	var f [5]string
	n := fields(line, f[:])
	if n < 4 || f[0] != "Module" || f[1] != "Size" || f[2] != "Used" || f[3] != "by" {
		return "", false
	}
	return strings.TrimSpace(line[strings.Index(line, "by")+2:]), true
}

// harmless recognises the error lines of the tools themselves and of what stands before them in a
// pipe.
func harmless(line string) bool {
	for _, start := range []string{"lsmod: ", "libkmod: ", "grep: ", "cat: ", "sudo: ", "bash: ", "sh: ", "-sh: ", "ERROR: ", "WARNING: "} {
		if strings.HasPrefix(line, start) {
			return true
		}
	}
	return strings.Trim(line, ".-… ") == "" // an elision
}

// lsmodRow reads "name size refs [users]". Users are separated by commas (kmod, BusyBox), or stand
// in brackets separated by blanks (2.4), beside words such as (autoclean) and [permanent].
func lsmodRow(line string) (Entry, bool) {
	var f [3]string
	n := fields(line, f[:])
	if n < 3 || !moduleName(f[0]) {
		return Entry{}, false
	}
	size, err := strconv.ParseInt(f[1], 10, 64)
	if err != nil || size < 0 {
		return Entry{}, false
	}
	refs, err := parseRefs(f[2])
	if err != nil {
		return Entry{}, false
	}
	e := Entry{Name: f[0], Size: size, Refs: refs}
	count, counted := refs.Get()
	if counted && count < -1 {
		// kmod prints the error number of a reference count that it could not read.
		e.Refs, counted = fact.Count{}, false
	}
	if counted {
		e.UsedBy = []string{}
	}
	if n > 3 {
		rest := strings.TrimLeft(line, " \t")
		for range 3 {
			_, rest, _ = cutField(rest)
		}
		if !e.users(rest) {
			return Entry{}, false
		}
	}
	return e, true
}

// cutField returns the first word of s and what follows the blanks behind it.
func cutField(s string) (word, rest string, ok bool) {
	end := strings.IndexAny(s, " \t")
	if end < 0 {
		return s, "", s != ""
	}
	return s[:end], strings.TrimLeft(s[end:], " \t"), true
}

// users reads lsmod's last column.
func (e *Entry) users(s string) bool {
	// 2.4 puts the users in brackets, which the mark of a permanent module also has.
	s = strings.ReplaceAll(s, "[permanent]", " permanent] ")
	for word := range strings.FieldsFuncSeq(s, func(r rune) bool { return r == ' ' || r == '\t' || r == ',' || r == '[' }) {
		switch word {
		case "permanent]":
			e.Permanent = true
			continue
		case "-", "]", "(autoclean)", "(unused)", "(bad)":
			continue
		case "(initializing)":
			e.State = "Loading"
			continue
		case "(deleted)":
			e.State = "Unloading"
			continue
		case "(uninitialized)":
			continue
		}
		name := strings.TrimSuffix(word, "]")
		if !moduleName(name) {
			return false
		}
		e.UsedBy = append(e.UsedBy, name)
	}
	return true
}

// moduleName reports whether s looks like the name of a module in a text: letters, digits, "_",
// "-" and ".", with a letter among them; 8250 is the one module without.
func moduleName(s string) bool {
	letter := false
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
			letter = true
		case c >= '0' && c <= '9', c == '_', c == '-', c == '.':
		default:
			return false
		}
	}
	return len(s) <= 64 && (letter || s == "8250")
}

func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n] + "…"
}
