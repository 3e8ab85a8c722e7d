// SPDX-License-Identifier: Apache-2.0

package modprobe

import (
	"errors"
	"strconv"
	"strings"
)

// An ere is a POSIX extended regular expression over bytes, as regcomp with REG_EXTENDED takes it in the C locale.
// Package regexp would add a quarter of a megabyte to every program, for two directives of depmod.d.
type ere []ereStep

// An ereStep is one step of the machine that matches. Jumps are relative, so that a part can be copied.
type ereStep struct {
	kind ereKind
	set  *[256]bool // the bytes that it takes
	x, y int        // where to go on, of a jump and of a fork
}

type ereKind uint8

const (
	ereByte ereKind = iota // takes one byte of the set
	ereFork                // goes on at x and at y
	ereJump                // goes on at x
	ereStart
	ereEnd
)

// The most steps that an expression may have, and the most that a count may say (RE_DUP_MAX).
const (
	maxERESteps = 2048
	maxEREDup   = 32767
)

var (
	errEREForm = errors.New("not a regular expression of POSIX")
	errERESize = errors.New("a regular expression that is too large")
)

// An ereLevel is an expression between parentheses that is being read.
type ereLevel struct {
	before   ere  // the alternatives before this one
	branched bool // there are any
	seq      ere  // what this alternative has but for the last item
	item     ere
	repeats  bool // item may be followed by a repetition
}

func (l *ereLevel) add(item ere, repeats bool) {
	l.seq, l.item, l.repeats = append(l.seq, l.item...), item, repeats
}

// whole returns what was read of the level.
func (l *ereLevel) whole() ere {
	seq := append(l.seq, l.item...)
	if !l.branched {
		return seq
	}
	e := ere{{kind: ereFork, x: 1, y: len(l.before) + 2}}
	e = append(append(e, l.before...), ereStep{kind: ereJump, x: len(seq) + 1})
	return append(e, seq...)
}

// parseERE reads an expression. It returns an error where POSIX leaves the meaning undefined.
func parseERE(text string) (ere, error) {
	levels := []ereLevel{{}}
	for text != "" {
		l := &levels[len(levels)-1]
		c := text[0]
		rest := text[1:]
		var err error
		switch {
		case c == '(':
			levels = append(levels, ereLevel{})
		case c == ')' && len(levels) > 1:
			inner := l.whole()
			levels = levels[:len(levels)-1]
			levels[len(levels)-1].add(inner, true)
		case c == '|':
			*l = ereLevel{before: l.whole(), branched: true}
		case strings.IndexByte("*+?{", c) >= 0:
			rest, err = l.repeat(c, rest)
		default:
			rest, err = l.single(c, rest)
		}
		if err != nil {
			return nil, err
		}
		size := 0
		for i := range levels {
			size += levels[i].size()
		}
		if size > maxERESteps {
			return nil, errERESize
		}
		text = rest
	}
	if len(levels) > 1 {
		return nil, errEREForm
	}
	return levels[0].whole(), nil
}

func (l *ereLevel) size() int { return len(l.before) + len(l.seq) + len(l.item) }

// single reads an item of one byte, or an anchor.
func (l *ereLevel) single(c byte, rest string) (string, error) {
	set := new([256]bool)
	switch c {
	case '^', '$':
		kind := ereStart
		if c == '$' {
			kind = ereEnd
		}
		l.add(ere{{kind: kind}}, false)
		return rest, nil
	case '.':
		for i := range set {
			set[i] = i != 0
		}
	case '[':
		var err error
		if rest, err = readBracket(set, rest); err != nil {
			return "", err
		}
	case '\\':
		// A letter or a digit after a backslash has a meaning for some libraries and none for POSIX.
		if rest == "" || isWordByte(rest[0]) {
			return "", errEREForm
		}
		c, rest = rest[0], rest[1:]
		set[c] = true
	default:
		set[c] = true
	}
	l.add(ere{{kind: ereByte, set: set}}, true)
	return rest, nil
}

func isWordByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
}

// repeat repeats the last item.
func (l *ereLevel) repeat(c byte, rest string) (string, error) {
	if !l.repeats {
		return "", errEREForm
	}
	least, most := 0, -1
	switch c {
	case '+':
		least = 1
	case '?':
		most = 1
	case '{':
		var ok bool
		if least, most, rest, ok = readInterval(rest); !ok {
			return "", errEREForm
		}
	}
	n := max(least, most, 1)
	if n*(len(l.item)+2) > maxERESteps {
		return "", errERESize
	}
	var e ere
	for range least {
		e = append(e, l.item...)
	}
	size := len(l.item)
	if most < 0 {
		e = append(e, ereStep{kind: ereFork, x: 1, y: size + 2})
		e = append(append(e, l.item...), ereStep{kind: ereJump, x: -size - 1})
	}
	for i := least; i < most; i++ {
		e = append(e, ereStep{kind: ereFork, x: 1, y: (most - i) * (size + 1)})
		e = append(e, l.item...)
	}
	l.item = e
	return rest, nil
}

// readInterval reads "m}", "m,}" and "m,n}".
func readInterval(text string) (least, most int, rest string, ok bool) {
	text, rest, ok = strings.Cut(text, "}")
	first, second, both := strings.Cut(text, ",")
	if !ok || first == "" || len(text) > 11 || strings.Trim(first+second, "0123456789") != "" {
		return 0, 0, "", false
	}
	least, _ = strconv.Atoi(first) // digits, and few
	most = least
	if both {
		most = -1
	}
	if second != "" {
		most, _ = strconv.Atoi(second)
	}
	ok = least <= maxEREDup && most <= maxEREDup && (most < 0 || least <= most)
	return least, most, rest, ok
}

// readBracket reads a bracket expression after its "[" into set.
func readBracket(set *[256]bool, text string) (string, error) {
	not := strings.HasPrefix(text, "^")
	text = strings.TrimPrefix(text, "^")
	for first := true; first || !strings.HasPrefix(text, "]"); first = false {
		if text == "" {
			return "", errEREForm
		}
		if strings.HasPrefix(text, "[:") {
			name, rest, ok := strings.Cut(text[2:], ":]")
			if !ok || !addEREClass(set, name) {
				return "", errEREForm
			}
			text = rest
			continue
		}
		low, rest, ok := ereBound(text)
		high := low
		if ok && len(rest) > 1 && rest[0] == '-' && rest[1] != ']' {
			high, rest, ok = ereBound(rest[1:])
		}
		if !ok || high < low {
			return "", errEREForm
		}
		for c := int(low); c <= int(high); c++ {
			set[c] = true
		}
		text = rest
	}
	if not {
		for i := range set {
			set[i] = !set[i]
		}
	}
	return text[1:], nil
}

// ereBound reads one byte of a bracket expression, as it is or as "[.x.]" or "[=x=]".
func ereBound(text string) (c byte, rest string, ok bool) {
	if len(text) >= 2 && text[0] == '[' && (text[1] == '.' || text[1] == '=') {
		if len(text) < 5 || text[3] != text[1] || text[4] != ']' {
			return 0, "", false
		}
		return text[2], text[5:], true
	}
	if strings.HasPrefix(text, "[:") {
		return 0, "", false // a class does not end a range
	}
	return text[0], text[1:], true
}

// addEREClass adds the bytes of a class of the C locale to set. It reports whether there is such a class.
func addEREClass(set *[256]bool, name string) bool {
	var ranges string
	switch name {
	case "alnum":
		ranges = "09AZaz"
	case "alpha":
		ranges = "AZaz"
	case "blank":
		ranges = "\t\t  "
	case "cntrl":
		ranges = "\x00\x1f\x7f\x7f"
	case "digit":
		ranges = "09"
	case "graph":
		ranges = "!~"
	case "lower":
		ranges = "az"
	case "print":
		ranges = " ~"
	case "punct":
		ranges = "!/:@[`{~"
	case "space":
		ranges = "\t\r  "
	case "upper":
		ranges = "AZ"
	case "xdigit":
		ranges = "09AFaf"
	}
	for i := 0; i < len(ranges); i += 2 {
		for c := ranges[i]; c <= ranges[i+1]; c++ {
			set[c] = true
		}
	}
	return ranges != ""
}

// matches reports whether some part of the text fits. It costs at most the length of both, multiplied.
func (e ere) matches(text string) bool {
	var now, next []int
	seen := make([]int, len(e)+1) // the place of the text, plus one, that a step was last added for
	for at := 0; ; at++ {
		now = e.follow(append(now, 0), seen, at, len(text))
		if seen[len(e)] == at+1 {
			return true
		}
		if at == len(text) {
			return false
		}
		next = next[:0]
		for _, step := range now {
			if e[step].set[text[at]] {
				next = append(next, step+1)
			}
		}
		now, next = next, now
	}
}

// follow replaces steps by those of a byte that they lead to, each once, and marks the end if they lead to it.
func (e ere) follow(steps, seen []int, at, size int) []int {
	var found []int
	for len(steps) > 0 {
		i := steps[len(steps)-1]
		steps = steps[:len(steps)-1]
		if seen[i] == at+1 {
			continue
		}
		seen[i] = at + 1
		if i == len(e) {
			continue
		}
		switch s := &e[i]; s.kind {
		case ereByte:
			found = append(found, i)
		case ereFork:
			steps = append(steps, i+s.x, i+s.y)
		case ereJump:
			steps = append(steps, i+s.x)
		case ereStart:
			if at == 0 {
				steps = append(steps, i+1)
			}
		case ereEnd:
			if at == size {
				steps = append(steps, i+1)
			}
		}
	}
	return found
}
