// SPDX-License-Identifier: Apache-2.0

package solaris

import (
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/limit"
)

// A Directive is one line of /etc/system that is about loading modules.
type Directive struct {
	// Word is "exclude", "forceload", "moddir", "rootfs" or "rootdev".
	Word string
	// Module is what it is about, such as "drv/fd"; for moddir a search path.
	Module string
	// Line is where it stands, counted from 1.
	Line int
}

// Name returns the module's name without its kind: "fd" of "drv/fd".
func (d Directive) Name() string { return d.Module[strings.LastIndexByte(d.Module, '/')+1:] }

// ParseSystem reads /etc/system: the directives about modules, in order, and the lines that make no
// sense, at most 100. A line that begins with "*" or "#" is a comment; "set" lines are left out.
func ParseSystem(text string) ([]Directive, []*fact.ParseError) {
	out := []Directive{}
	var bad []*fact.ParseError
	n := 0
	for line := range strings.SplitSeq(text, "\n") {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '*' || line[0] == '#' {
			continue
		}
		word, rest, ok := strings.Cut(line, ":")
		word = strings.TrimSpace(word)
		switch {
		case strings.HasPrefix(line, "set ") || strings.HasPrefix(line, "set\t"):
		case ok && (word == "exclude" || word == "forceload" || word == "moddir" || word == "rootfs" || word == "rootdev"):
			out = append(out, Directive{Word: word, Module: escape.UTF8(strings.TrimSpace(rest)), Line: n})
		case len(bad) < limit.Problems:
			bad = append(bad, &fact.ParseError{Source: "/etc/system", Line: n, Reason: "unknown directive"})
		}
	}
	return out, bad
}
