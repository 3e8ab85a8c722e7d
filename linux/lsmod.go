// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"errors"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/capture"
)

// SourceLsmod is the source of a list made from the text that lsmod prints.
const SourceLsmod = "lsmod"

// ReadLsmod reads the text that lsmod prints: that of kmod, of BusyBox and of Linux 2.4, with or
// without the header, with prompts and stray lines around it. The records have no taint, and a
// state only where the text has a word for it or a reference count. A line that is not a row is
// reported, and so is a text that ends within a line.
func ReadLsmod(text string, r *fact.Report) fact.Capture[Module] {
	l := listText{command: "lsmod", source: SourceLsmod, row: lsmodRow}
	c := l.read(text, r)
	for i := range c.Records {
		m := &c.Records[i]
		m.Own.Taints = nil // lsmod does not print it
		if refs, ok := m.Refs.Get(); m.State == "" && ok && refs >= 0 {
			m.State = fact.StateLoaded
		}
	}
	return c
}

// ReadModulesText reads the text of /proc/modules, with prompts and stray lines around it, in the same way.
func ReadModulesText(text string, r *fact.Report) fact.Capture[Module] {
	var list moduleList
	l := listText{command: "/proc/modules", source: SourceModules, row: func(line string) (listEntry, bool) {
		e, err := list.parseLine(line)
		return e, err == nil && moduleName(e.Name)
	}}
	return l.read(text, r)
}

// A listText is a text capture of the list of loaded modules.
type listText struct {
	command string // in a prompt, it says what the text is
	source  string
	row     func(line string) (listEntry, bool)

	entries  []listEntry
	sure     bool // the header was seen, or the command: rows are then those of this tool
	headed   bool // the header was seen: an empty list is then one that was printed
	printed  bool // a prompt prints the file, which has no header: an empty list may be the file's
	filtered bool // a prompt pipes the command's output into another: rows may be missing
	kernel   fact.Kernel
}

func (l *listText) read(text string, r *fact.Report) fact.Capture[Module] {
	form := capture.Form{Source: l.source, Typed: l.typed}
	if l.source == SourceLsmod {
		form.Columns = []string{"Module", "Size", "Used"}
	}
	stray := capture.Scan(text, form, r, func(line string) error {
		switch {
		case l.header(line), harmless(line):
			return nil
		case strings.Trim(line, " \t`*#:") == l.command:
			l.sure = true
			return nil
		}
		e, ok := l.row(line)
		if !ok {
			return errors.New(strconv.Quote(cut(line, 60)) + " is not a row")
		}
		l.entries = append(l.entries, e)
		return nil
	})
	if text != "" && !strings.HasSuffix(text, "\n") {
		r.Problem(l.source, "", "modules", &fact.ParseError{Source: l.source,
			Reason: "the text ends within a line: its last row may be cut, and more may be missing"})
	}
	if l.source == SourceLsmod && len(l.entries) > 0 {
		capture.Headed(r, l.source, l.headed)
	}
	if user := l.missing(); user != "" {
		r.Add(missingUser(l.source, user))
	}
	r.Done(l.source, fact.CountOf(int64(len(l.entries))))
	return fact.Capture[Module]{
		Records: recordsOf(&moduleList{Entries: l.entries}, nil), Header: fact.Header{Kernel: l.kernel},
		Rows: len(l.entries), Stray: stray,
		Sure: l.headed || l.printed || (l.sure || l.filtered) && len(l.entries) > 0,
	}
}

// missing returns a module that the text names as a user, and that has no row; empty if all have rows. Who uses a
// module is loaded (/sys/module/NAME/holders).
func (l *listText) missing() string {
	names := make(map[string]bool, len(l.entries))
	for i := range l.entries {
		names[l.entries[i].Name] = true
	}
	for i := range l.entries {
		for _, user := range l.entries[i].UsedBy {
			if !names[user] {
				return user
			}
		}
	}
	return ""
}

// header recognizes lsmod's header, with the kernel's taint on old systems.
func (l *listText) header(line string) bool {
	rest, ok := headerRest(line)
	if !ok || l.source != SourceLsmod {
		return false
	}
	l.sure, l.headed = true, true
	switch letters, tainted := strings.CutPrefix(rest, "Tainted:"); {
	case tainted:
		l.kernel.TaintFlags = flagsOfLetters(strings.Join(strings.Fields(letters), ""))
	case rest == "Not tainted":
		l.kernel.TaintFlags = flagsOfLetters("")
	}
	return true
}

// typed looks for the command after a prompt.
func (l *listText) typed(command string) {
	switch {
	case !strings.Contains(command, l.command):
	case strings.Contains(command, "|"):
		l.filtered = true
	default:
		l.sure = true
		words := strings.Fields(command)
		if words[0] == "sudo" {
			words = words[1:]
		}
		l.printed = len(words) == 2 && strings.TrimPrefix(words[0], "/bin/") == "cat" && words[1] == "/proc/modules"
	}
}

func headerRest(line string) (string, bool) {
	var f [5]string
	line = strings.TrimPrefix(line, "> ") // a mail program that quotes the first line alone
	n := fields(line, f[:])
	if n < 4 || f[0] != "Module" || f[1] != "Size" || f[2] != "Used" || f[3] != "by" {
		return "", false
	}
	return strings.TrimSpace(line[strings.Index(line, "by")+2:]), true
}

// harmless recognizes lines that are known beside the rows: the errors of the tools themselves, which make the text a
// part, and warnings of the shell.
func harmless(line string) bool {
	for _, start := range []string{"lsmod: ", "libkmod: ", "WARNING: "} {
		if strings.HasPrefix(line, start) {
			return true
		}
	}
	return capture.ShellWarning(line)
}

// lsmodRow reads "name size refs [users]". Users are separated by commas (kmod, BusyBox), or are in brackets separated
// by blanks (2.4), beside words such as (autoclean) and [permanent].
func lsmodRow(line string) (listEntry, bool) {
	var f [3]string
	n := fields(line, f[:])
	if n < 3 || !moduleName(f[0]) {
		return listEntry{}, false
	}
	size, err := strconv.ParseInt(f[1], 10, 64)
	if err != nil || size < 0 {
		return listEntry{}, false
	}
	refs, err := parseRefs(f[2])
	if err != nil {
		return listEntry{}, false
	}
	e := listEntry{Name: f[0], Size: size, Refs: refs}
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
			return listEntry{}, false
		}
	}
	return e, true
}

// cutField returns the first word of s and what follows the blanks after it.
func cutField(s string) (word, rest string, ok bool) {
	end := strings.IndexAny(s, " \t")
	if end < 0 {
		return s, "", s != ""
	}
	return s[:end], strings.TrimLeft(s[end:], " \t"), true
}

// users reads lsmod's last column.
func (e *listEntry) users(s string) bool {
	// 2.4 puts the users in brackets, which the mark of a permanent module also has.
	s = strings.ReplaceAll(s, "[permanent]", " permanent] ")
	for word := range strings.FieldsFuncSeq(s,
		func(r rune) bool { return r == ' ' || r == '\t' || r == ',' || r == '[' }) {
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
		if !moduleName(name) || strings.HasPrefix(name, "0x") && len(name) >= len("0x00000000") { // of /proc/modules
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
	return len(s) <= 64 && s != "" && s[0] != '-' && s[0] != '.' && (letter || s == "8250")
}

func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n] + "…"
}
