// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"slices"
	"strings"

	"github.com/kernelext/kernelext/internal/rcconf"
)

// A call is a word in a function of a script, which may call another one; with "$" before it, it is a variable, which
// may hold a command.
type call struct {
	from string // the function; empty outside of functions
	word string
}

// callSize is the memory of a call beside its texts, in bytes, and maxCall how far a substitution is looked into for
// what it calls.
const (
	callSize = 96
	maxCall  = 256
)

// A span is a part of the loads of a script.
type span struct{ from, to int }

// note keeps what a command may call. rc(8) reads a script as sh(1) does: the commands outside of functions run, and
// what they call. Whether the service is on, only run_rc_command of rc.subr(8) asks.
func (p *scriptReader) note(cmd rcconf.Command, words []string) {
	for _, w := range callsOf(cmd.Body, words) {
		c := call{cmd.Function, strings.Clone(w)}
		if p.noted[c] {
			continue
		}
		if p.over == nil {
			p.over = p.vars.Item.Keep(int64(callSize + len(c.from) + len(w)))
		}
		if p.over != nil {
			return
		}
		p.noted[c] = true
		p.calls[c.from] = append(p.calls[c.from], c.word)
	}
}

// callsOf returns the words of a command that may call a function, and its variables with "$" before their names.
func callsOf(body string, words []string) []string {
	var out []string
	for _, w := range words {
		name, _, isSet := strings.Cut(w, "=")
		if isSet && rcconf.ValidName(name, true) {
			continue
		}
		out = append(out, strings.Trim(w, "\"'\\"))
		if !slices.Contains(wrappers, w) && !strings.HasPrefix(w, "-") {
			break
		}
	}
	for i := range len(body) {
		rest := body[i+1:]
		switch {
		case body[i] == '`', body[i] == '$' && strings.HasPrefix(rest, "("):
			rest = strings.TrimLeft(rest[:min(len(rest), maxCall)], "( \t\n")
			if end := strings.IndexAny(rest, " \t\n;|&)`\"'"); end >= 0 {
				rest = rest[:end]
			}
			out = append(out, rest)
		case body[i] == '$':
			if name := nameAt(strings.TrimPrefix(rest, "{")); name != "" {
				out = append(out, "$"+name)
			}
		}
	}
	return out
}

// nameAt returns the name of a variable that a text begins with; empty if it begins with none.
func nameAt(text string) string {
	n := 0
	for n < len(text) && rcconf.ValidName(text[n:n+1], n == 0) && strings.IndexByte(".-/+%,*?", text[n]) < 0 {
		n++
	}
	return text[:n]
}

// holds notes that a command only gives its text to variables: the klds that it names from the load of that index on
// are loaded where one of the variables is used.
func (p *scriptReader) holds(cmd rcconf.Command, from int) {
	var names []string
	word, _, _ := strings.Cut(strings.TrimPrefix(cmd.Body, "export "), "=")
	switch {
	case strings.ContainsAny(cmd.Body, "`("):
		return
	case rcconf.IsPlain(cmd.Body):
		names = []string{"$" + word}
	case cmd.Words()[0] == ":":
		names = callsOf(cmd.Body, nil)
	default:
		return
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if p.over == nil {
		p.over = p.vars.Item.Keep(int64(callSize * len(names)))
	}
	if p.over != nil {
		return
	}
	held := span{from, len(p.service.loads)}
	for i := held.from; i < held.to; i++ {
		p.service.loads[i].always = false
	}
	for _, name := range names {
		p.holders[name] = append(p.holders[name], held)
	}
}

// reach finds the loads that run when rc(8) reads the script, whether the service is on or not.
func (p *scriptReader) reach() {
	loads := p.service.loads
	runs := map[string]bool{"": true}
	for queue := []string{""}; len(queue) > 0; queue = queue[1:] {
		for _, w := range p.calls[queue[0]] {
			for _, held := range p.holders[w] {
				for i := held.from; i < held.to; i++ {
					loads[i].always = true
				}
			}
			if !runs[w] {
				runs[w] = true
				queue = append(queue, w)
			}
		}
	}
	for i := range loads {
		loads[i].always = loads[i].always || loads[i].inside != "" && runs[loads[i].inside]
	}
}
