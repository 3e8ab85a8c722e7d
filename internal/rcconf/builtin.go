// SPDX-License-Identifier: Apache-2.0

package rcconf

import (
	"cmp"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
)

// special are the special built-in utilities (POSIX.1, 2.14): an assignment before one of them stays, and an error of
// theirs ends the script.
func special(word string) bool {
	switch word {
	case ":", ".", "source", "eval", "exec", "exit", "export", "readonly", "return", "set", "shift", "times", "trap",
		"unset", "break", "continue":
		return true
	}
	return false
}

// literal returns a word that no expansion changes, without its quotes.
func (p *place) literal(word string) (string, bool) {
	if strings.ContainsAny(word, "$`*?~") || strings.Contains(word, "[") && strings.Trim(word, "[") != "" {
		return "", false
	}
	v, rest, known := p.Value("", word, true)
	return v, known && rest == ""
}

// command follows a command that is more than assignments.
func (p *place) command(x simple) {
	args := x.args
	word, ok := p.literal(args[0])
	if ok && p.called(word) {
		p.unclear(word)
		return
	}
	for ok && (word == "command" || word == "builtin") && len(args) > 1 {
		args = args[1:]
		switch word, ok = p.literal(args[0]); {
		case word == "-v" || word == "-V":
			return
		case word == "-p" || word == "--":
			word = "command"
		}
	}
	if !ok {
		p.unclear("a command that is computed")
		return
	}
	for _, set := range x.sets {
		name, _, _ := strings.Cut(set, "=")
		if special(word) || p.isFixed(name) {
			p.computed(name)
		}
	}
	if x.redirected && special(word) {
		p.mayEnd()
	}
	p.builtin(word, args[1:])
}

// builtin follows a command that the shell itself runs. Programs set no variables.
func (p *place) builtin(word string, args []string) {
	switch word {
	case ":":
		for _, a := range args {
			p.preset(a)
		}
	case "export", "readonly":
		p.export(word, args)
	case "unset":
		p.unset(args)
	case ".", "source":
		p.source(word, args)
	case "eval", "alias", "trap", "let", "fc", "local", "declare", "typeset", "[[":
		p.unclear(word)
	case "read", "getopts", "setvar", "wait", "mapfile", "readarray":
		if word != "wait" || len(args) > 0 { // "wait -p NAME"
			p.Hide(p.file, p.line, fact.CodeUnsupported)
		}
	case "printf":
		if len(args) > 0 && strings.Contains(args[0], "-") { // "printf -v NAME" of some shells
			p.Hide(p.file, p.line, fact.CodeUnsupported)
		}
	case "for":
		p.forLoop(args)
	case "cd", "chdir":
		p.computed("PWD")
		p.computed("OLDPWD")
	case "exit", "return", "exec":
		p.leave(word, args)
	case "set":
		if len(args) > 0 && args[0] != "--" && !strings.ContainsAny(args[0][:1], nameBytes) {
			p.mayEnd() // options such as -e
		}
	case "shift", "kill", "suspend", "times":
		p.mayEnd()
	}
}

// leave follows a command that ends the file, if it runs, and all but return the shell, too: rc(8) runs rc.conf(5)
// itself.
func (p *place) leave(word string, args []string) {
	runs := len(p.conds) == 0 && !p.within && !p.doubt
	switch {
	case word != "return":
		p.mayEnd()
	case !runs:
		p.mayReturn()
	}
	p.ended = runs && (word != "exec" || len(args) > 0)
}

// forLoop follows the head of a for, which sets its variable.
func (p *place) forLoop(args []string) {
	if len(args) > 0 && ValidName(args[0], true) {
		p.computed(args[0])
		return
	}
	p.unclear("for")
}

// export follows export and readonly.
func (p *place) export(word string, args []string) {
	for i, a := range args {
		name, raw, isSet := strings.Cut(a, "=")
		switch {
		case i == 0 && (a == "-p" || a == "--"):
			continue
		case !ValidName(name, true): // an error, or more than one word
			p.unclear(word)
			continue
		case isSet && strings.ContainsAny(raw, "$`") && !(strings.HasPrefix(raw, `"`) && strings.Count(raw, `"`) == 2):
			p.Hide(p.file, p.line, fact.CodeUnsupported) // some shells split the value
			p.computed(name)
		case isSet:
			p.assign([]string{a}, false)
		}
		if word == "readonly" {
			p.mark(&p.fixed, name)
		}
	}
}

// unset follows unset.
func (p *place) unset(args []string) {
	for i, a := range args {
		name, ok := p.literal(a)
		switch {
		case i == 0 && ok && (name == "-v" || name == "--"):
		case i == 0 && ok && name == "-f": // functions
			return
		case !ok || !ValidName(name, true):
			p.unclear("unset")
		default:
			p.put(Setting{Name: name, File: p.file, Line: p.line, Code: codeIf(len(p.conds) > 0)}, true)
		}
	}
}

// source follows a command that runs a file. What one that was read before sets is known.
func (p *place) source(word string, args []string) {
	if len(args) != 1 {
		p.unclear(word)
		return
	}
	name, ok := p.literal(args[0])
	list, read := p.again[name]
	switch {
	case !ok || !slices.Contains(p.Known, name) || name == p.reading:
		p.unclear(word)
	case read:
		p.replay(name, list)
	case len(p.conds) == 0:
		p.mayEnd() // there is no such file
	}
}

// replay sets what a file set before.
func (p *place) replay(file string, list []replay) {
	at := *p
	if len(p.conds) == 1 && !p.conds[0].Not && slices.Contains([]string{"-r", "-f", "-e"}, testOf(p.conds[0], file)) {
		at.conds = nil // the file is there
	}
	if err := cmp.Or(p.Item.Work(commandWork*int64(len(list))), p.Item.Keep(settingSize*int64(len(list)))); err != nil {
		p.unclear(".")
		return
	}
	first := !p.replayed[file] // it was read before only to know it
	p.mark(&p.replayed, file)
	for _, s := range list {
		old, ok := p.Lookup(s.Name)
		switch {
		case s.Name == "":
			at.unclear(".")
		case ok && (s.plain || first) && old.Code == s.Code && old.Value == s.Value:
		case s.plain:
			at.put(s.Setting, true)
		default:
			at.computed(s.Name)
		}
	}
}

// testOf returns the operator of a condition "[ OPERATOR FILE ]"; empty for another condition.
func testOf(c Cond, file string) string {
	if f := strings.Fields(c.Body); len(f) == 4 && f[0] == "[" && f[2] == file && f[3] == "]" {
		return f[1]
	}
	return ""
}

// preset sets what "${name:=value}" sets: a variable that is not set yet, or (with ":") empty.
func (p *place) preset(word string) {
	inside, ok := strings.CutPrefix(word, "${")
	quote := ""
	if !ok {
		quote = `"`
		inside, ok = strings.CutPrefix(word, `"${`)
		inside = strings.TrimSuffix(inside, quote)
		ok = ok && !strings.ContainsAny(inside, "\"'\\") // which quotes count differs
	}
	inside, closed := strings.CutSuffix(inside, "}")
	name, raw, isSet := strings.Cut(inside, "=")
	name, empty := strings.CutSuffix(name, ":")
	if !ok || !closed || !isSet || !ValidName(name, true) {
		p.effects(word)
		return
	}
	old, set := p.Lookup(name)
	if set && (old.Code != "" || old.Value != "") {
		p.effects(raw)
		return
	}
	v, rest, known := p.Value(name, quote+raw+quote, true)
	known = known && !strings.Contains(raw, `\`) && strings.Count(raw, "}") == strings.Count(raw, "${")
	if known && rest == "" && (!set || empty) {
		p.put(Setting{Name: name, Value: v, File: p.file, Line: p.line}, false)
	} else {
		p.computed(name)
		p.effects(raw)
	}
}
