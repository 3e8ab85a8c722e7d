// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"slices"
	"strings"

	"github.com/kernelext/kernelext/internal/lazy"
)

// A Record is a block of "key: value" lines.
type Record struct {
	// Line is that of the first pair, counted from 1.
	Line int
	// Pairs are its keys with their values, in the text's order.
	Pairs []Pair
}

// A Pair is a key with its value.
type Pair struct {
	// Key and Value have no blanks around them.
	Key, Value string
}

// Get returns the value of a key, whatever its case; empty if the key is missing.
func (r Record) Get(key string) string {
	for _, p := range r.Pairs {
		if strings.EqualFold(p.Key, key) {
			return p.Value
		}
	}
	return ""
}

// Has reports whether there is such a key.
func (r Record) Has(key string) bool {
	return slices.ContainsFunc(r.Pairs, func(p Pair) bool { return strings.EqualFold(p.Key, key) })
}

// pathPrompt matches the prompt of cmd or PowerShell: its folder looks like a key.
var pathPrompt = lazy.Regexp{Pattern: `^(?:PS )?[A-Za-z]:\\[^<>|"]*>`}

// PathPrompt reports whether a line is a prompt of cmd or PowerShell that shows a folder.
func PathPrompt(line string) bool { return pathPrompt.MatchString(line) }

// Records splits a text at its blank lines and prompts into blocks of pairs, and where the first key of a block comes
// again. A line that starts with blanks and has no separator continues the value above it, up to MaxValue.
func (b *Table) Records(text, separators string) []Record {
	var list []Record
	var cur Record
	flush := func() {
		if len(cur.Pairs) > 0 {
			list = append(list, cur)
		}
		cur = Record{}
	}
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimRight(line, " \t\r\n")
		if line == "" || PathPrompt(line) {
			flush()
			continue
		}
		key, value, ok := CutAny(line, separators)
		switch {
		case ok && strings.TrimSpace(key) != "":
			if len(cur.Pairs) > 1 && cur.Pairs[0].Key == strings.TrimSpace(key) { // the blank line is missing
				flush()
			}
			if len(cur.Pairs) == 0 {
				cur.Line = n
			}
			cur.Pairs = append(cur.Pairs, Pair{strings.TrimSpace(key), strings.TrimSpace(value)})
		case len(cur.Pairs) > 0 && (line[0] == ' ' || line[0] == '\t' || cur.Pairs[len(cur.Pairs)-1].Value == ""):
			p := &cur.Pairs[len(cur.Pairs)-1]
			if len(p.Value)+len(line) <= MaxValue {
				p.Value = strings.TrimSpace(p.Value + " " + strings.TrimSpace(line))
			}
		default:
			b.Stray(n, line)
		}
		if len(list) >= MaxRows {
			b.TooMany = true
			break
		}
	}
	flush()
	return list
}

// CutAny cuts at the first of the separators' characters.
func CutAny(s, separators string) (before, after string, ok bool) {
	i := strings.IndexAny(s, separators)
	if i < 0 {
		return s, "", false
	}
	rest := s[i:]
	for j := range rest {
		if j > 0 {
			return s[:i], rest[j:], true
		}
	}
	return s[:i], "", true
}
