// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"io"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/limit"
)

// An Entry is one line of /proc/modules.
type Entry struct {
	// Name is the module's name as the kernel has it; bytes that are not UTF-8 are written \xNN.
	Name string
	// Size is the memory of the module in bytes, init memory included while it is loading.
	Size int64
	// Refs is the reference count; -1 while it is being unloaded; unknown when the kernel has no
	// module unloading and prints "-".
	Refs fact.Count
	// UsedBy are the modules that need this one; nil when the kernel does not say (refs is "-"),
	// empty when there is none.
	UsedBy []string
	// Permanent is set for a module that cannot be unloaded: it has an init and no exit function.
	Permanent bool
	// State is the kernel's word: Live, Loading or Unloading; others are kept.
	State string
	// Address is where its code starts; 0 when the kernel hides it from the reader.
	Address fact.Address
	// Taints are the module's taint letters in the kernel's order; empty when it has none.
	Taints string
}

// A ModuleList is what one read of /proc/modules says. Its memory can be used again by Parse.
type ModuleList struct {
	// Entries are the lines that made sense: after Parse in the kernel's order, which is newest
	// first, after [ListReader.Read] sorted by name.
	Entries []Entry
	// Bad are the lines that did not, one error each, at most limit.Problems of them.
	Bad []*fact.ParseError
	// BadCount is how many lines made no sense, also those that Bad has no room for.
	BadCount int
	// Truncated is set when the text ends within a line; that line is not in Entries.
	Truncated bool

	holders []string // backs every Entry.UsedBy
}

// ParseModules reads /proc/modules from r, at most limit.Proc bytes. A line that makes no sense
// costs that line. The error is that of reading, or fact.ErrTooLarge.
func ParseModules(r io.Reader) (*ModuleList, error) {
	b, err := limit.AppendAll(r, nil, ModulesFile, limit.Proc)
	if err != nil {
		return nil, err
	}
	l := new(ModuleList)
	l.Parse(string(b))
	return l, nil
}

// Parse replaces the list's content with what text says. The entries share text's memory.
func (l *ModuleList) Parse(text string) {
	l.reset(text)
	for n := 1; text != ""; n++ {
		line, rest, whole := strings.Cut(text, "\n")
		text = rest
		if !whole {
			l.Truncated = true
			return
		}
		e, err := l.parseLine(line)
		if err == nil {
			l.Entries = append(l.Entries, e)
			continue
		}
		l.BadCount++
		if len(l.Bad) < limit.Problems {
			err.Source, err.Line = "/"+ModulesFile, n
			l.Bad = append(l.Bad, err)
		}
	}
}

// reset empties the list and makes room for what text can hold, so that a parse allocates once
// for the entries and once for the holders.
func (l *ModuleList) reset(text string) {
	lines, commas := strings.Count(text, "\n"), strings.Count(text, ",")
	if cap(l.Entries) < lines {
		l.Entries = make([]Entry, 0, lines)
	}
	if cap(l.holders) < commas {
		l.holders = make([]string, 0, commas)
	}
	l.Entries, l.holders = l.Entries[:0], l.holders[:0]
	l.Bad, l.BadCount, l.Truncated = nil, 0, false
}

// parseLine reads one line: name size refs holders state address [(taints)], where a kernel
// without module unloading prints "- -" for refs and holders.
func (l *ModuleList) parseLine(line string) (Entry, *fact.ParseError) {
	var e Entry
	var f [7]string
	n := fields(line, f[:])
	if n < 6 {
		return e, bad("", "has "+strconv.Itoa(n)+" fields, not 6 or 7")
	}
	if n > len(f) {
		return e, bad("", "has more than 7 fields")
	}
	size, err := strconv.ParseInt(f[1], 10, 64)
	if err != nil || size < 0 {
		return e, bad("size", "is "+strconv.Quote(f[1])+", not a number of bytes")
	}
	if e.Refs, err = parseRefs(f[2]); err != nil {
		return e, bad("refcnt", "is "+strconv.Quote(f[2])+", not a number")
	}
	if f[4] != "Live" && f[4] != "Loading" && f[4] != "Unloading" && !word(f[4]) {
		return e, bad("state", "is "+strconv.Quote(f[4])+", not a word")
	}
	if e.Address, err = parseAddress(f[5]); err != nil {
		return e, bad("address", "is "+strconv.Quote(f[5])+", not a hexadecimal number")
	}
	if n == 7 {
		letters, ok := ParseTaintSuffix(f[6])
		if !ok {
			return e, bad("taints", "is "+strconv.Quote(f[6])+", not letters in parentheses")
		}
		e.Taints = letters
	}
	e.Name, e.Size, e.State = escape.UTF8(f[0]), size, f[4]
	_, counted := e.Refs.Get()
	e.UsedBy, e.Permanent = l.parseHolders(f[3], counted)
	return e, nil
}

func bad(field, reason string) *fact.ParseError {
	return &fact.ParseError{Field: field, Reason: reason}
}

func parseRefs(s string) (fact.Count, error) {
	if s == "-" {
		return fact.Count{}, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return fact.CountOf(n), err
}

// parseHolders splits "a,b,[permanent]," into its names and the permanent mark. Every name is
// followed by a comma; "-" is none, or nothing known when the kernel does not count references.
func (l *ModuleList) parseHolders(s string, counted bool) (names []string, permanent bool) {
	if s == "-" {
		if counted {
			names = l.holders[len(l.holders):len(l.holders):len(l.holders)]
		}
		return notNilIf(counted, names), false
	}
	start := len(l.holders)
	for s != "" {
		name, rest, _ := strings.Cut(s, ",")
		s = rest
		switch name {
		case "":
		case "[permanent]":
			permanent = true
		default:
			l.holders = append(l.holders, escape.UTF8(name))
		}
	}
	end := len(l.holders)
	return notNilIf(true, l.holders[start:end:end]), permanent
}

func notNilIf(known bool, names []string) []string {
	if known && names == nil {
		return []string{}
	}
	return names
}

func parseAddress(s string) (fact.Address, error) {
	hex, ok := strings.CutPrefix(s, "0x")
	if !ok {
		return 0, fact.ErrMalformed
	}
	n, err := strconv.ParseUint(hex, 16, 64)
	return fact.Address(n), err
}

// ParseTaintSuffix reads the last column of /proc/modules, such as "(OE)" or "(POE+)", and returns
// its letters without the mark for a module that is coming (+) or going (-).
func ParseTaintSuffix(s string) (letters string, ok bool) {
	s, ok1 := strings.CutPrefix(s, "(")
	s, ok2 := strings.CutSuffix(s, ")")
	if !ok1 || !ok2 {
		return "", false
	}
	s = strings.TrimRight(s, "+-")
	for i := range len(s) {
		if c := s[i]; c < 'A' || c > 'Z' {
			return "", false
		}
	}
	return s, true
}

// fields splits line at blanks into f and returns how many fields it has; len(f)+1 means more.
func fields(line string, f []string) int {
	n, start := 0, -1
	for i := 0; i <= len(line); i++ {
		if i < len(line) && line[i] != ' ' && line[i] != '\t' && line[i] != '\r' {
			if start < 0 {
				start = i
			}
			continue
		}
		if start < 0 {
			continue
		}
		if n == len(f) {
			return n + 1
		}
		f[n] = line[start:i]
		n, start = n+1, -1
	}
	return n
}

func word(s string) bool {
	for i := range len(s) {
		if c := s[i] | 0x20; c < 'a' || c > 'z' {
			return false
		}
	}
	return s != ""
}
