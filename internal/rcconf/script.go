// SPDX-License-Identifier: Apache-2.0

package rcconf

import (
	"cmp"
	"errors"
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
	c.ended, c.doubt, c.reading = false, false, file
	c.Item = r.Budget.Content([]byte(text))
	defer func() { c.Item.Done(); c.Item, c.doubt, c.reading = nil, false, "" }()
	if slices.Contains(c.Known, file) {
		if c.again == nil {
			c.again = map[string][]replay{}
		}
		c.again[file] = []replay{}
	}
	if i := redactedLine(text); i > 0 {
		defer c.end(file, i, fact.CodeRedacted)
	}
	err := ReadShell(text, c.Item, func(cmd Command) {
		if !c.ended {
			c.Run(file, cmd, r)
		}
	})
	if err == nil {
		return
	}
	line := 0
	var syntax *fact.ParseError
	if errors.As(err, &syntax) {
		line = syntax.Line
	}
	r.Problem(c.Source, "", "", fmt.Errorf("%s: %w", file, err))
	c.end(file, line, fact.CodeOf(err))
}

// end makes every value unknown, also of what is set later: the shell may end at that line.
func (c *Conf) end(file string, line int, code fact.Code) {
	if c.gone.File == "" {
		c.gone = Setting{File: file, Line: line, Code: code}
	}
	c.Hide(file, line, code)
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
	if cmd.Function != "" {
		c.mark(&c.calls, cmd.Function)
		return
	}
	p := place{c, file, cmd.Line, cmd.Conds, cmd.Within, r}
	x, ok := split(cmd.Body)
	if cmd.Subshell {
		if kills(cmd.Body) {
			p.mayEnd()
		}
		return
	}
	if !ok {
		p.unclear("a command")
		return
	}
	if len(x.args) == 0 {
		p.assign(x.sets, x.redirected)
	} else {
		p.command(x)
	}
	if x.redirected || len(x.args) > 0 && x.args[0] != ":" {
		p.effects(cmd.Body)
	}
}

// kills reports whether a text may end the script from a subshell: "kill $$".
func kills(text string) bool { return strings.Contains(text, "kill") }

// mark notes a name in a set of them.
func (c *Conf) mark(set *map[string]bool, name string) {
	if *set == nil {
		*set = map[string]bool{}
	}
	(*set)[name] = true
}

// calls reports whether a word may call a function of a script that was read, or of one that was not.
func (c *Conf) called(word string) bool {
	for ; c != nil; c = c.Parent {
		if c.calls[word] || c.calls[""] {
			return true
		}
	}
	return false
}

// isFixed reports whether a variable is, or may be, readonly: a shell that is to set it ends.
func (c *Conf) isFixed(name string) bool {
	for ; c != nil; c = c.Parent {
		if c.fixed[name] {
			return true
		}
	}
	return false
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
	for _, i := range c.known {
		name := c.Settings[i].Name
		c.Settings[i] = place
		c.Settings[i].Name = name
	}
	c.known = nil
	c.opaque = place
	c.record(place, true)
}

// A replay is what a file that is Known sets, for when another script runs it again.
type replay struct {
	Setting
	// plain is set if it sets the same value again.
	plain bool
}

// record notes what the file that is being read sets. A setting without a name may set anything.
func (c *Conf) record(s Setting, plain bool) {
	if list, ok := c.again[c.reading]; ok {
		c.again[c.reading] = append(list, replay{s, plain})
	}
}

// Assign sets what a command of assignments alone sets.
func (c *Conf) Assign(file string, cmd Command, r *fact.Report) {
	if x, ok := split(cmd.Body); ok && len(x.args) == 0 && !cmd.Subshell {
		p := place{c, file, cmd.Line, cmd.Conds, cmd.Within, r}
		p.assign(x.sets, x.redirected)
	}
}

// A simple is a simple command taken apart; its words are as they are written.
type simple struct {
	// sets are the assignments before the command.
	sets []string
	// args are the command's name and its arguments.
	args       []string
	redirected bool
}

// maxName is how long the name of a variable may be.
const maxName = 256

// split takes a command apart. It returns false for what is not one.
func split(body string) (x simple, ok bool) {
	l := &lexer{text: body, line: 1}
	for t := l.next(); t.op != "EOF"; t = l.next() {
		l.docs = nil
		name, _, isSet := strings.Cut(t.text, "=")
		switch {
		case t.op == "<":
			x.redirected = x.redirected || !strings.Contains(t.text, "<<") // a here-document is always there
		case t.op != "":
			return x, false
		case len(x.args) > 0 || !isSet || !ValidName(name[:min(len(name), maxName)], true):
			x.args = append(x.args, t.text)
		case len(name) > maxName:
			return x, false
		default:
			x.sets = append(x.sets, t.text)
		}
	}
	return x, l.err == nil
}

// A place is a command of a script that is being followed.
type place struct {
	*Conf
	file   string
	line   int
	conds  []Cond
	within bool
	r      *fact.Report
}

// put sets a variable. What comes after a command that may end the script is unknown.
func (p *place) put(s Setting, plain bool) {
	if p.isFixed(s.Name) {
		p.mayEnd()
	}
	at, gone := p.Ends()
	if !gone {
		at = p.opaque
	}
	switch {
	case gone, p.doubt:
		s.Value, s.File, s.Line, s.Code = "", at.File, at.Line, cmp.Or(s.Code, at.Code)
	case len(p.conds) > 0:
		s.Value, s.Code = "", cmp.Or(s.Code, fact.CodeUnsupported)
	}
	p.Set(s, p.r)
	p.record(s, plain && len(p.conds) == 0)
}

// computed makes the value of a variable unknown.
func (p *place) computed(name string) {
	p.put(Setting{Name: name, File: p.file, Line: p.line, Code: fact.CodeUnsupported}, false)
}

// unclear makes every value unknown: what the command sets, and what functions it makes, is not known, nor whether the
// script goes on behind it.
func (p *place) unclear(word string) {
	p.bad(p.r, p.file, p.line, "what %s sets is not known", escape.Text(word))
	p.mark(&p.calls, "")
	p.mayEnd()
}

// mayEnd makes every value unknown, because the shell may end here, and so what is set later.
func (p *place) mayEnd() {
	if p.gone.File == "" {
		p.end(p.file, p.line, fact.CodeUnsupported)
	}
	p.doubt = true
}

// mayReturn makes every value unknown, because the file may end here, and so what the rest of it sets.
func (p *place) mayReturn() {
	if !p.doubt {
		p.Hide(p.file, p.line, fact.CodeUnsupported)
	}
	p.doubt = true
}

// effects makes unknown what the expansions in a text may set.
func (p *place) effects(text string) {
	names, more := effects(text, true)
	if more || strings.ContainsAny(text, "(`") && kills(text) {
		p.mayEnd()
	}
	for _, name := range names {
		if s, ok := p.Lookup(name); !ok || s.Code != "" || s.Value == "" {
			p.computed(name)
		}
	}
}

// assign sets what assignments set.
func (p *place) assign(sets []string, redirected bool) {
	for _, text := range sets {
		name, raw, _ := strings.Cut(text, "=")
		v, rest, known := p.Value(name, raw, true)
		known = known && rest == "" && !redirected && (len(sets) == 1 || !strings.Contains(raw, "$"))
		s := Setting{Name: name, Value: escape.UTF8(v), File: p.file, Line: p.line}
		if p.over = cmp.Or(p.over, p.Item.Keep(int64(settingSize+len(v)))); p.over != nil {
			p.tooMuch(&s, p.r)
			p.Set(s, p.r)
			return
		}
		if !known || len(p.conds) > 0 {
			s.Value, s.Code = "", fact.CodeUnsupported
			p.bad(p.r, p.file, p.line, "%s: the value is computed, or depends on a condition", escape.Text(name))
		}
		p.put(s, !strings.Contains(raw, "$"))
		p.effects(raw)
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

// IsPlain reports whether a line of a script is one assignment that sets nothing beside its variable.
func IsPlain(line string) bool {
	l := &lexer{text: line, line: 1}
	set, end := l.next(), l.next()
	if set.word("export") {
		set, end = end, l.next()
	}
	name, value, ok := strings.Cut(set.text, "=")
	names, more := effects(value, true)
	return ok && set.op == "" && ValidName(name, true) && len(names) == 0 && !more && l.err == nil &&
		(end.op == "EOF" || end.op == "\n")
}
