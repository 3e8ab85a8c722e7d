// SPDX-License-Identifier: Apache-2.0

package rcconf

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
)

// ReadScript adds a file of rc.conf(5), which is a shell script. Plain assignments are read. The value of one that runs
// a command, uses a variable of elsewhere or depends on a condition is unknown, and so is every variable after a
// command that may set anything.
func (c *Conf) ReadScript(file, text string, r *fact.Report) {
	c.ended = false
	c.Item = r.Budget.Content([]byte(text))
	defer func() { c.Item.Done(); c.Item = nil }()
	if i := redactedLine(text); i > 0 {
		defer c.Hide(file, i, fact.CodeRedacted)
	}
	err := ReadShell(text, c.Item, func(cmd Command) {
		if !c.ended {
			c.Run(file, cmd, r)
		}
	})
	if err != nil {
		r.Problem(c.Source, "", "", fmt.Errorf("%s: %w", file, err))
		c.Hide(file, 0, fact.CodeOf(err))
	}
}

// redactedLine returns the number of the first line that a recording lost; 0 if no line is lost.
func redactedLine(text string) int {
	n := 0
	for line := range strings.SplitSeq(text, "\n") {
		if n++; strings.TrimSpace(line) == "# "+Redacted {
			return n
		}
	}
	return 0
}

// Run follows one command of a script.
func (c *Conf) Run(file string, cmd Command, r *fact.Report) {
	words := cmd.Words()
	if cmd.Function != "" {
		if c.calls == nil {
			c.calls = map[string]bool{}
		}
		c.calls[cmd.Function] = true
		return
	}
	switch word := words[0]; {
	case word == "export", word == "readonly":
		cmd.Body = strings.TrimSpace(strings.TrimPrefix(cmd.Body, word))
		c.Assign(file, cmd, r)
	case word == "unset":
		for _, name := range words[1:] {
			c.Set(Setting{Name: name, File: file, Line: cmd.Line, Code: codeIf(len(cmd.Conds) > 0)}, r)
		}
	case word == ":":
		c.preset(file, cmd, r)
	case (word == "." || word == "source") && len(words) == 2 && slices.Contains(c.Known, words[1]):
	case word == "." || word == "source" || word == "eval" || word == "read" || c.calls[word]:
		c.bad(r, file, cmd.Line, "what %s sets is not known", escape.Text(word))
		c.Hide(file, cmd.Line, fact.CodeUnsupported)
	case word == "exit" || word == "return":
		if c.ended = len(cmd.Conds) == 0; !c.ended {
			c.Hide(file, cmd.Line, fact.CodeUnsupported)
		}
	default:
		c.Assign(file, cmd, r)
	}
}

// codeIf is the code of a value that is not known.
func codeIf(unknown bool) fact.Code {
	if unknown {
		return fact.CodeUnsupported
	}
	return ""
}

// Hide makes every value unknown, with that code: a command of that line, or the whole file for line 0, may set any.
func (c *Conf) Hide(file string, line int, code fact.Code) {
	place := Setting{File: file, Line: line, Code: code}
	for i := range c.Settings {
		place.Name = c.Settings[i].Name
		c.Settings[i] = place
	}
	place.Name = ""
	c.opaque = place
}

// Assign sets what a command of assignments alone sets.
func (c *Conf) Assign(file string, cmd Command, r *fact.Report) {
	var list []Setting
	for text := cmd.Body; text != ""; {
		name, rest, ok := strings.Cut(text, "=")
		if !ok || !ValidName(name, true) {
			return // a command, with variables of its own
		}
		v, rest, known := c.Value(name, rest, true)
		s := Setting{Name: name, Value: escape.UTF8(v), File: file, Line: cmd.Line}
		if c.over = cmp.Or(c.over, c.Item.Keep(int64(settingSize+len(v)))); c.over != nil {
			c.tooMuch(&s, r)
			c.Set(s, r)
			return
		}
		if !known || len(cmd.Conds) > 0 {
			s.Value, s.Code = "", fact.CodeUnsupported
		}
		if !known {
			rest = ""
		}
		list = append(list, s)
		text = strings.TrimLeft(rest, " \t")
	}
	for _, s := range list {
		if s.Code != "" {
			c.bad(r, file, cmd.Line, "%s: the value is computed, or depends on a condition", escape.Text(s.Name))
		}
		c.Set(s, r)
	}
}

// preset sets what ": ${name:=value}" sets: a variable that is not set yet, or (with ":") empty.
func (c *Conf) preset(file string, cmd Command, r *fact.Report) {
	for _, word := range cmd.Words()[1:] {
		word = strings.Trim(word, `"`)
		if !strings.HasPrefix(word, "${") || !strings.HasSuffix(word, "}") {
			continue
		}
		name, rest, ok := strings.Cut(word[2:len(word)-1], "=")
		empty := strings.HasSuffix(name, ":")
		name = strings.TrimSuffix(name, ":")
		if !ok || !ValidName(name, true) {
			continue
		}
		old, set := c.Lookup(name)
		if set && (old.Code != "" || old.Value != "" || !empty) {
			continue
		}
		v, _, known := c.Value(name, rest, true)
		s := Setting{Name: name, Value: escape.UTF8(v), File: file, Line: cmd.Line}
		if !known || len(cmd.Conds) > 0 {
			s.Value, s.Code = "", fact.CodeUnsupported
		}
		c.Set(s, r)
	}
}

// Unknown returns why the setting has no known value, as a reason of that code.
func (s Setting) Unknown(code string) fact.Reason {
	name := escape.Text(s.Name)
	switch {
	case s.Line == 0 && s.File != "":
		return s.Reason(code, s.File+", which may set "+name+", was not read: "+string(s.Code))
	case s.Code == fact.CodeRedacted:
		return s.Reason(code, "the value of "+name+" was removed from this recording")
	}
	return s.Reason(code, "the value of "+name+" is computed, or this line may set it: its value is known only at boot")
}

// Reason returns the setting as a reason.
func (s Setting) Reason(code, text string) fact.Reason {
	return fact.Reason{Code: code, Text: text, File: s.File, Line: s.Line}
}
