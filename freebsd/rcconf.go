// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
)

// readRCConf adds a file of rc.conf(5), which is a shell script. Plain assignments are read. The value of one that runs
// a command, uses a variable of elsewhere or depends on a condition is unknown, and so is every variable behind a
// command that may set anything.
func (c *conf) readRCConf(file, text string, r *fact.Report) {
	c.ended = false
	c.item = r.Budget.Content([]byte(text))
	defer func() { c.item.Done(); c.item = nil }()
	if i := redactedLine(text); i > 0 {
		defer c.hide(file, i, fact.CodeRedacted)
	}
	err := readShell(text, c.item, func(cmd command) {
		if !c.ended {
			c.run(file, cmd, r)
		}
	})
	if err != nil {
		r.Problem(c.source, "", "", fmt.Errorf("%s: %w", file, err))
		c.hide(file, 0, fact.CodeOf(err))
	}
}

// redactedLine returns the number of the first line that a recording lost; 0 if there is none.
func redactedLine(text string) int {
	n := 0
	for line := range strings.SplitSeq(text, "\n") {
		if n++; strings.TrimSpace(line) == "# "+redactedText {
			return n
		}
	}
	return 0
}

// run follows one command of a script.
func (c *conf) run(file string, cmd command, r *fact.Report) {
	words := cmd.words()
	if cmd.function != "" {
		if c.calls == nil {
			c.calls = map[string]bool{}
		}
		c.calls[cmd.function] = true
		return
	}
	switch word := words[0]; {
	case word == "export", word == "readonly":
		cmd.text = strings.TrimSpace(strings.TrimPrefix(cmd.text, word))
		c.assign(file, cmd, r)
	case word == "unset":
		for _, name := range words[1:] {
			c.set(setting{Name: name, File: file, Line: cmd.line, Code: codeIf(len(cmd.conds) > 0)}, r)
		}
	case word == ":":
		c.preset(file, cmd, r)
	case word == "." || word == "source" || word == "eval" || word == "read" || c.calls[word]:
		c.bad(r, file, cmd.line, "what %s sets is not known", escape.Text(word))
		c.hide(file, cmd.line, fact.CodeUnsupported)
	case word == "exit" || word == "return":
		if c.ended = len(cmd.conds) == 0; !c.ended {
			c.hide(file, cmd.line, fact.CodeUnsupported)
		}
	default:
		c.assign(file, cmd, r)
	}
}

// codeIf is the code of a value that is not known.
func codeIf(unknown bool) fact.Code {
	if unknown {
		return fact.CodeUnsupported
	}
	return ""
}

// hide makes every value unknown, with that code: a command of that line, or the whole file for line 0, may set any.
func (c *conf) hide(file string, line int, code fact.Code) {
	place := setting{File: file, Line: line, Code: code}
	for i := range c.Settings {
		place.Name = c.Settings[i].Name
		c.Settings[i] = place
	}
	place.Name = ""
	c.opaque = place
}

// assign sets what a command of assignments alone sets.
func (c *conf) assign(file string, cmd command, r *fact.Report) {
	var list []setting
	for text := cmd.text; text != ""; {
		name, rest, ok := strings.Cut(text, "=")
		if !ok || !confName(name, true) {
			return // a command, with variables of its own
		}
		v, rest, known := c.value(name, rest, true)
		s := setting{Name: name, Value: escape.UTF8(v), File: file, Line: cmd.line}
		if c.over = cmp.Or(c.over, c.item.Keep(int64(settingSize+len(v)))); c.over != nil {
			c.tooMuch(&s, r)
			c.set(s, r)
			return
		}
		if !known || len(cmd.conds) > 0 {
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
			c.bad(r, file, cmd.line, "%s: the value is computed, or depends on a condition", escape.Text(s.Name))
		}
		c.set(s, r)
	}
}

// preset sets what ": ${name:=value}" sets: a variable that is not set yet, or (with ":") empty.
func (c *conf) preset(file string, cmd command, r *fact.Report) {
	for _, word := range cmd.words()[1:] {
		word = strings.Trim(word, `"`)
		if !strings.HasPrefix(word, "${") || !strings.HasSuffix(word, "}") {
			continue
		}
		name, rest, ok := strings.Cut(word[2:len(word)-1], "=")
		empty := strings.HasSuffix(name, ":")
		name = strings.TrimSuffix(name, ":")
		if !ok || !confName(name, true) {
			continue
		}
		old, set := c.Lookup(name)
		if set && (old.Code != "" || old.Value != "" || !empty) {
			continue
		}
		v, _, known := c.value(name, rest, true)
		s := setting{Name: name, Value: escape.UTF8(v), File: file, Line: cmd.line}
		if !known || len(cmd.conds) > 0 {
			s.Value, s.Code = "", fact.CodeUnsupported
		}
		c.set(s, r)
	}
}

// unknown returns why the setting has no known value, as a reason of that code.
func (s setting) unknown(code string) fact.Reason {
	name := escape.Text(s.Name)
	switch {
	case s.Line == 0 && s.File != "":
		return s.reason(code, s.File+", which may set "+name+", was not read: "+string(s.Code))
	case s.Code == fact.CodeRedacted:
		return s.reason(code, "the value of "+name+" was removed from this recording")
	}
	return s.reason(code, "the value of "+name+" is computed, or this line may set it: only the boot itself tells")
}
