// SPDX-License-Identifier: Apache-2.0

package modprobe

import (
	"errors"
	"io/fs"
	"path"
	"strings"

	"github.com/kernelext/kernelext/internal/limit"
)

// EffectIn is [EffectOf] for a machine whose root is fsys: it also looks at what the command runs. A program that does
// not exist loads nothing, and neither does a short script of the shell that only prints, logs and exits.
func EffectIn(fsys fs.FS, command, module string) Effect {
	if effect := EffectOf(command, module); effect != CommandUnknown {
		return effect
	}
	s := shell{fsys: fsys, left: maxShellCommands}
	return s.run(command, 0)
}

// Caps of what is followed.
const (
	maxShellCommands = 256     // commands of all scripts together
	maxShellDepth    = 4       // scripts within scripts
	maxScript        = 8 << 10 // bytes of one script
)

// A shell follows commands of which none can load anything. Whatever it does not know makes the effect unknown.
type shell struct {
	fsys fs.FS
	left int
}

// A shellCommand is one simple command, with the operator before it.
type shellCommand struct {
	op    string
	words []shellWord
}

// A shellWord is one word without its quotes.
type shellWord struct {
	text  string
	plain bool // nothing in it is replaced by something else
}

// run returns the effect of a list of commands.
func (s *shell) run(text string, depth int) Effect {
	commands, ok := shellCommands(text)
	if !ok || depth > maxShellDepth {
		return CommandUnknown
	}
	status, skip := CommandNothing, false
	for i, c := range commands {
		switch c.op {
		case "&&":
			skip = status == CommandFails
		case "||":
			skip = status != CommandFails
		case ";":
			skip = false
		}
		piped := c.op == "|" || i+1 < len(commands) && commands[i+1].op == "|"
		effect, exits := s.command(c.words, depth)
		if effect == CommandUnknown || exits && piped {
			return CommandUnknown // also of one that is skipped: nothing in the list may load something
		}
		if skip {
			continue
		}
		if exits {
			if len(c.words) == 1 {
				return status
			}
			return effect
		}
		status = effect
	}
	return status
}

// command returns the effect of one simple command, and whether it ends the shell.
func (s *shell) command(words []shellWord, depth int) (effect Effect, exits bool) {
	if s.left--; s.left < 0 || len(words) == 0 || !words[0].plain {
		return CommandUnknown, false
	}
	name := words[0].text
	switch {
	case name == "exit":
		if len(words) > 1 && words[1].plain && words[1].text == "0" {
			return CommandNothing, true
		}
		return CommandFails, true
	case name == "exec" && len(words) > 1:
		effect, _ = s.command(words[1:], depth)
		return effect, true
	case name == "set" && len(words) == 2 && strings.HasPrefix(words[1].text, "-"):
		return CommandNothing, false // only how the shell goes on
	}
	switch systemProgram(name) {
	case "false", "nologin":
		return CommandFails, false
	case "true", ":", "echo", "logger", "printf":
		return CommandNothing, false
	case "env":
		if len(words) > 1 && words[1].plain && !strings.ContainsAny(words[1].text, "=") &&
			!strings.HasPrefix(words[1].text, "-") {
			return s.command(words[1:], depth)
		}
		return CommandUnknown, false
	case "sh", "bash", "dash":
		if len(words) >= 3 && words[1].text == "-c" && words[2].plain {
			return s.run(words[2].text, depth+1), false
		}
		return CommandUnknown, false
	}
	if !strings.HasPrefix(name, "/") {
		return CommandUnknown, false // a word of the shell's, or one of several files
	}
	return s.script(name, depth), false
}

// script returns the effect of a program that is no known one.
func (s *shell) script(name string, depth int) Effect {
	file := path.Clean(name)[1:]
	switch path.Base(file) {
	case "modprobe", "insmod", "kmod", "busybox", "toybox":
		return CommandUnknown // also if a root lacks it: a machine without one has not got this line
	}
	if file == "dev/null" {
		return CommandFails // no program: the shell ends with 126
	}
	info, err := fs.Stat(s.fsys, file)
	switch {
	case errors.Is(err, fs.ErrNotExist) && MountedElsewhere(s.fsys, file) == "":
		return CommandFails // the shell ends with 127
	case err != nil, !info.Mode().IsRegular(), info.Size() > maxScript:
		return CommandUnknown
	}
	text, err := limit.ReadFile(s.fsys, file, maxScript)
	if err != nil {
		return CommandUnknown
	}
	first, rest, _ := strings.Cut(string(text), "\n")
	interpreter, ok := strings.CutPrefix(first, "#!")
	words := strings.Fields(interpreter)
	if !ok || len(words) == 0 {
		return CommandUnknown
	}
	if systemProgram(words[0]) == "env" {
		words = words[1:]
	}
	if len(words) == 0 || len(words) > 2 || len(words) == 2 && !strings.HasPrefix(words[1], "-") {
		return CommandUnknown
	}
	switch systemProgram(words[0]) {
	case "sh", "bash", "dash", "ash":
		return s.run(rest, depth+1)
	}
	return CommandUnknown
}

// shellCommands divides a text of the shell. It is false for all but simple commands between ";", "&&", "||", "|" and
// newlines, with output that goes to another descriptor, to the terminal, the log or nowhere.
func shellCommands(text string) (commands []shellCommand, ok bool) {
	l := shellLexer{rest: text, op: ";"}
	for l.next() {
	}
	return l.commands, !l.bad
}

// A shellLexer divides a text into commands.
type shellLexer struct {
	rest     string
	op       string // before the command that is being read
	words    []shellWord
	commands []shellCommand
	bad      bool
}

// next reads one word or operator. It is false at the end.
func (l *shellLexer) next() bool {
	l.rest = strings.TrimLeft(l.rest, " \t")
	if l.rest == "" || l.bad {
		l.end("")
		return false
	}
	switch {
	case l.rest[0] == '#':
		_, l.rest, _ = strings.Cut(l.rest, "\n")
		l.end(";")
	case strings.HasPrefix(l.rest, "\\\n"):
		l.rest = l.rest[2:]
	case l.take("&&"):
		l.end("&&")
	case l.take("||"):
		l.end("||")
	case l.take("|"):
		l.end("|")
	case l.take("\n"), l.take(";"), l.take("\r\n"):
		l.end(";")
	case l.redirection():
	default:
		l.word()
	}
	return true
}

func (l *shellLexer) take(prefix string) bool {
	rest, ok := strings.CutPrefix(l.rest, prefix)
	if ok {
		l.rest = rest
	}
	return ok
}

// end ends the command, of which braces only group. Before an operator that joins two, there must be a command.
func (l *shellLexer) end(op string) {
	for len(l.words) > 0 && (l.words[0] == shellWord{"{", true} || l.words[0] == shellWord{"}", true}) {
		l.words = l.words[1:]
	}
	switch {
	case len(l.words) > 0:
		l.commands = append(l.commands, shellCommand{l.op, l.words})
		l.words = nil
	case op == "&&" || op == "||" || op == "|":
		if len(l.commands) == 0 {
			l.bad = true
		}
	case l.op != ";": // a newline after an operator goes on with it
		return
	}
	l.op = op
	l.bad = l.bad || len(l.commands) > maxShellCommands
}

// redirection passes over output that goes where nothing comes of it.
func (l *shellLexer) redirection() bool {
	s := strings.TrimPrefix(strings.TrimPrefix(l.rest, "1"), "2")
	if !strings.HasPrefix(s, ">") {
		return false
	}
	s = strings.TrimLeft(strings.TrimPrefix(s[1:], ">"), " \t")
	for _, to := range []string{"&1", "&2", "/dev/null", "/dev/stderr", "/dev/stdout", "/dev/kmsg", "/dev/tty",
		"/dev/console"} {
		rest, ok := strings.CutPrefix(s, to)
		if ok && (rest == "" || strings.IndexByte(" \t\n\r;|&}", rest[0]) >= 0) {
			l.rest = rest
			return true
		}
	}
	l.bad = true
	return true
}

// word reads one word.
func (l *shellLexer) word() {
	var text strings.Builder
	plain, i := true, 0
	for ; i < len(l.rest); i++ {
		c := l.rest[i]
		if strings.IndexByte(" \t\n;|", c) >= 0 {
			break
		}
		switch c {
		case '\'', '"':
			quoted, _, closed := l.quoted(i)
			inner := quoted
			if !closed || c == '"' && !harmlessExpansion(inner) {
				l.bad = true
				return
			}
			plain = plain && (c == '\'' || !strings.ContainsAny(inner, "$\\"))
			text.WriteString(inner)
			i += 1 + len(quoted)
			continue
		case '`', '(', ')', '<', '>', '&', '\\':
			l.bad = true
			return
		case '$':
			if !harmlessExpansion(l.rest[i:min(i+2, len(l.rest))]) {
				l.bad = true
				return
			}
			plain = false
		case '*', '?', '[', '~':
			plain = false
		}
		text.WriteByte(c)
	}
	l.words, l.rest = append(l.words, shellWord{text.String(), plain}), l.rest[i:]
}

// quoted returns the text in the quotes that begin at i, and the text after them.
func (l *shellLexer) quoted(i int) (inner, rest string, closed bool) {
	quote := l.rest[i]
	for j := i + 1; j < len(l.rest); j++ {
		switch {
		case l.rest[j] == '\\' && quote == '"':
			j++
		case l.rest[j] == quote:
			return l.rest[i+1 : j], l.rest[j+1:], true
		}
	}
	return "", "", false
}

// harmlessExpansion reports whether the shell runs no command to work out what is in double quotes: variables alone.
func harmlessExpansion(s string) bool {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '`':
			return false
		case '$':
			if i+1 < len(s) && (s[i+1] == '(' || s[i+1] == '{') {
				return false
			}
		}
	}
	return true
}
