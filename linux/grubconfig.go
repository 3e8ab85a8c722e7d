// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
)

// grubEnv are grub's variables: those of its environment block, and those that a grub.cfg sets.
// Neither is read before a variable is asked for.
type grubEnv struct {
	blocks  func() []string   // the texts of the environment blocks
	configs []string          // the texts of the grub.cfg
	values  map[string]string // nil until a variable is asked for
	unsure  map[string]bool   // set to several values, or to one that is not known
}

// lookup returns a variable's value, when it is known.
func (e *grubEnv) lookup(name string) (string, bool) {
	if e.values == nil {
		e.values, e.unsure = make(map[string]string), make(map[string]bool)
		for _, text := range e.blocks() {
			e.block(text)
		}
		for _, text := range e.configs {
			e.config(text)
		}
	}
	value, known := e.values[name]
	return value, known && !e.unsure[name]
}

// block reads an environment block: lines of NAME=VALUE.
func (e *grubEnv) block(text string) {
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(strings.TrimRight(line, "\n"), "=")
		if ok && !strings.HasPrefix(key, "#") {
			e.values[key] = value
		}
	}
}

// config reads the "set" lines of a grub.cfg. One that stands behind a test for an empty variable
// gives a default.
func (e *grubEnv) config(text string) {
	none := &grubEnv{values: map[string]string{}}
	before := ""
	for line := range grubLines(text) {
		words, unresolved := none.words(line.text)
		if len(words) == 2 && words[0] == "set" {
			name, value, _ := strings.Cut(words[1], "=")
			switch old, known := e.values[name]; {
			case len(unresolved) > 0:
				e.unsure[name] = true
			case !known:
				e.values[name] = value
			case old == value, old != "" && strings.Contains(before, "-z") && strings.Contains(before, name):
			default:
				e.unsure[name] = true
			}
		}
		before = line.text
	}
}

// A grubLine is one line of a grub.cfg, with the number of its last line when it goes on over
// several.
type grubLine struct {
	text   string
	number int
}

// grubLines joins lines that end in a backslash.
func grubLines(text string) func(yield func(grubLine) bool) {
	return func(yield func(grubLine) bool) {
		n, joined := 0, ""
		for line := range strings.Lines(text) {
			n++
			line = strings.TrimRight(line, "\r\n")
			if head, ok := strings.CutSuffix(line, `\`); ok && !strings.HasSuffix(head, `\`) {
				joined += head
				continue
			}
			if !yield(grubLine{joined + line, n}) {
				return
			}
			joined = ""
		}
		if joined != "" {
			yield(grubLine{joined, n})
		}
	}
}

// words divides a line as grub does: at blanks outside quotes, of which single ones keep everything
// and double ones replace variables; a variable outside quotes is divided again. unresolved are the
// variables whose value is not known.
func (e *grubEnv) words(line string) (words, unresolved []string) {
	var word strings.Builder
	inWord := false
	end := func() {
		if inWord {
			words = append(words, word.String())
		}
		word.Reset()
		inWord = false
	}
	quoted := false // in double quotes
	grown := 0      // by variables
	for i := 0; i < len(line); i++ {
		switch ch := line[i]; {
		case ch == '\\' && i+1 < len(line) && (!quoted || strings.IndexByte("$\"\\", line[i+1]) >= 0):
			i++
			word.WriteByte(line[i])
			inWord = true
		case ch == '"':
			quoted, inWord = !quoted, true
		case ch == '$':
			name, rest := variable(line[i+1:])
			if name == "" {
				word.WriteByte(ch)
				inWord = true
				break
			}
			i = len(line) - len(rest) - 1
			value, known := e.lookup(name)
			if grown += len(value); grown > maxExpansion {
				known, value = false, ""
			}
			if !known {
				unresolved = addName(unresolved, name)
			}
			inWord = inWord || quoted || value != ""
			if quoted {
				word.WriteString(value)
				break
			}
			for j, field := range strings.Split(value, " ") {
				if j > 0 {
					end()
				}
				word.WriteString(field)
				inWord = inWord || field != ""
			}
		case quoted:
			word.WriteByte(ch)
		case ch == '\'':
			inner, rest, _ := strings.Cut(line[i+1:], "'")
			word.WriteString(inner)
			inWord = true
			i = len(line) - len(rest) - 1
		case ch == ' ' || ch == '\t':
			end()
		case ch == ';' || ch == '#' && !inWord:
			end()
			return words, unresolved
		default:
			word.WriteByte(ch)
			inWord = true
		}
	}
	end()
	return words, unresolved
}

// maxGrubConfigs is how many grub.cfg are read.
const maxGrubConfigs = 32

// maxExpansion is how many bytes variables may add to one line; a kernel's command line has at most
// some thousand.
const maxExpansion = 64 << 10

// addName adds a variable to those that are not known, once.
func addName(unresolved []string, name string) []string {
	name = "$" + escape.UTF8(name)
	if len(unresolved) >= maxCmdlineWords || slices.Contains(unresolved[:min(len(unresolved), 64)], name) {
		return unresolved
	}
	return append(unresolved, name)
}

// variable divides what follows "$" into a name and the rest; the name is empty when it is none.
func variable(s string) (name, rest string) {
	if inner, ok := strings.CutPrefix(s, "{"); ok {
		name, rest, ok = strings.Cut(inner, "}")
		if !ok {
			return "", s
		}
		return name, rest
	}
	n := 0
	for n < len(s) && (s[n] == '_' || s[n] >= '0' && s[n] <= '9' || s[n]|0x20 >= 'a' && s[n]|0x20 <= 'z') {
		n++
	}
	return s[:n], s[n:]
}

// grub reads the "linux" lines of a grub.cfg, whichever menu entry they stand in, each with the
// "initrd" line that follows it.
func (r *bootReader) grub(name, text string) {
	title, last := "", -1
	env := r.environment()
	if len(env.configs) == maxGrubConfigs {
		r.lose(&fact.ParseError{Source: name, Reason: fmt.Sprintf("not read: more than %d grub.cfg", maxGrubConfigs), Err: fact.ErrTooLarge})
		return
	}
	env.configs, env.values = append(env.configs, text), nil
	for line := range grubLines(text) {
		words, unresolved := env.words(line.text)
		if len(words) < 2 {
			continue
		}
		switch words[0] {
		case "menuentry":
			title, last = escape.UTF8(words[1]), -1
		case "linux", "linux16", "linuxefi":
			e := BootEntry{Title: title, Release: kernelRelease(words[1]), File: name, Line: line.number, Unresolved: unresolved}
			for i, w := range words[2:] { // grub puts quotes around a word with blanks
				if strings.Contains(w, " ") {
					words[2+i] = `"` + w + `"`
				}
			}
			e.Text = strings.Join(words[2:], " ")
			e.Words = ParseCmdline(e.Text)
			last = r.add(e)
		case "initrd", "initrd16", "initrdefi":
			if last >= 0 {
				r.boot.Entries[last].Initrds = append(r.boot.Entries[last].Initrds, words[1:]...)
			}
		}
	}
}

// grubLinux returns what follows the command that loads a kernel.
func grubLinux(line string) (args string, ok bool) {
	command, args, found := strings.Cut(strings.ReplaceAll(strings.TrimSpace(line), "\t", " "), " ")
	switch command {
	case "linux", "linux16", "linuxefi":
		return strings.TrimSpace(args), found
	}
	return "", false
}
