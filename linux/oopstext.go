// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/lazy"
)

// SourceOops is the source of the modules that an oops, a warning or a panic of the kernel lists.
const SourceOops = "kernel_log"

// oopsMark precedes the list, which print_modules (kernel/module/main.c) writes of every module.
const oopsMark = "Modules linked in:"

var (
	// oopsPrefix matches what dmesg, syslog and a serial console write before a line: a level, a time, a task.
	oopsPrefix = lazy.Regexp{Pattern: `^(?:<\d>\s*)?(?:[A-Z][a-z]{2}\s+\d{1,2} [0-9:]{8} \S+ kernel: )?` +
		`(?:\S+ \S+ kernel: )?\[\s*\+?\d{1,12}\.\d{1,9}\](?:\[\s*[CT]\d+\])? ?`}
	// oopsNext matches the text after the list in an oops.
	oopsNext = lazy.Regexp{Pattern: `^\s*(?:[A-Z][A-Za-z0-9_ ]{0,30}:|---\[ end|Process |Call Trace|\[<|<TASK>)`}
	// oopsModule matches a module with its taints (module_flags): letters, "+" while it comes and "-" while it goes.
	oopsModule = lazy.Regexp{Pattern: `^([A-Za-z0-9_.-]{1,64})(?:\(([A-Z]*)([+-]?)\))?$`}
)

// An oopsList is the list of modules of one oops while it is read.
type oopsList struct {
	entries []listEntry
	broken  [][2]int // pairs of words on both sides of a line's end, as places in entries; -1 for none
	lengths []int    // of the lines that go on on the next
	whole   bool     // text follows the list: it is not cut
	elided  bool     // "..." is among the names
	line    int
}

// ReadOops reads the modules that were linked in when the kernel wrote an oops, a warning or a panic, which are all
// that were loaded then. Of several lists in one text the last counts. A list goes on on further lines, with or without
// the times that the log puts before them; a name that a line's end may have broken is left out.
func ReadOops(text string, r *fact.Report) fact.Capture[Module] {
	var found *oopsList
	open := false
	item := r.Budget.Item(int64(len(text)))
	defer item.Done()
	n, last := 0, 0
	var full error
	for line := range strings.SplitSeq(text, "\n") {
		n++
		line = strings.TrimRight(line, "\r")
		rest, logged := line, false
		if m := oopsPrefix.FindStringSubmatch(line); m != nil {
			rest, logged = line[len(m[0]):], true
		}
		if i := strings.Index(rest, oopsMark); i >= 0 && i <= 120 {
			found, open = &oopsList{line: n}, true
			rest, logged = rest[i+len(oopsMark):], true
		}
		if !open {
			continue
		}
		if open, full = found.add(rest, logged, last, item); full != nil {
			break
		}
		last = len(line)
	}
	c := fact.Capture[Module]{}
	if found == nil {
		return c
	}
	found.report(full, r)
	c.Records = recordsOf(&moduleList{Entries: found.entries}, nil)
	for i := range c.Records {
		m := &c.Records[i]
		m.Size, m.Refs, m.UsedBy, m.Requires, m.Own.Refcnt = fact.Count{}, fact.Count{}, nil, nil, fact.Count{}
	}
	c.Rows, c.Sure = len(c.Records), true
	r.Done(SourceOops, fact.CountOf(int64(c.Rows)))
	return c
}

// oopsRow is the memory that a name takes as a record and as a Module, in bytes.
const oopsRow = 1024

// add takes the words of a line; false at the list's end. logged is set if the log began the line, before is the length
// of the line above. The error says that the list takes more than item allows.
func (l *oopsList) add(line string, logged bool, before int, item *fact.Item) (goesOn bool, err error) {
	first := len(l.entries)
	list, _, ended := strings.Cut(line, "[last unloaded:")
	words, err := fieldsOf(list, item)
	if err != nil {
		return false, err
	}
	if !logged && (len(words) == 0 || !oopsModule.MatchString(words[0]) && !elision(words[0])) ||
		logged && len(words) == 0 && !ended {
		l.whole = l.whole || oopsNext.MatchString(line) || logged && len(l.entries) > 0
		return logged && len(l.entries) == 0 && len(words) == 0, nil
	}
	var entries []listEntry
	for _, w := range words {
		if elision(w) {
			l.elided = true
			continue
		}
		m := oopsModule.FindStringSubmatch(w)
		if m == nil {
			l.whole = oopsNext.MatchString(line)
			return false, nil
		}
		if err := item.Keep(oopsRow); err != nil {
			return false, err
		}
		entries = append(entries, listEntry{Name: escape.UTF8(m[1]), Taints: m[2], State: oopsState(m[3])})
	}
	if !logged && first > 0 && len(entries) > 0 {
		l.broken = append(l.broken, [2]int{first - 1, first})
		l.lengths = append(l.lengths, before)
	}
	l.entries = append(l.entries, entries...)
	l.whole = l.whole || ended
	return !ended, nil
}

// elision reports whether a word says that somebody left names out: "...", "[...]".
func elision(word string) bool { return strings.Trim(word, ".…[]()<>") == "" }

// fieldsOf splits a line at its blanks.
func fieldsOf(line string, item *fact.Item) ([]string, error) {
	if err := item.Hold(int64(16 * (strings.Count(line, " ") + 1))); err != nil {
		return nil, err
	}
	return strings.Fields(line), nil
}

func oopsState(mark string) string {
	switch mark {
	case "+":
		return "Loading"
	case "-":
		return "Unloading"
	}
	return "Live"
}

// report leaves out the names that a line's end may have broken, and reports what is missing.
func (l *oopsList) report(full error, r *fact.Report) {
	ragged := false // lines of different lengths end at blanks: no name is broken
	for _, n := range l.lengths {
		ragged = ragged || n != l.lengths[0]
	}
	if len(l.broken) > 0 && !ragged {
		drop := make(map[int]bool)
		for _, b := range l.broken {
			drop[b[0]], drop[b[1]] = true, true
		}
		var kept []listEntry
		for i := range l.entries {
			if !drop[i] {
				kept = append(kept, l.entries[i])
			}
		}
		r.Add(fact.Problem{Source: SourceOops, Field: "modules", Code: fact.CodeOther, Line: l.line, Count: len(drop),
			Text: "names at the ends of lines are left out: they may be parts of one name"})
		l.entries = kept
	}
	switch {
	case l.elided:
		r.Add(fact.Problem{Source: SourceOops, Field: "modules", Code: fact.CodeOther, Line: l.line,
			Text: "the list has an ellipsis: names are left out"})
	case full != nil:
		r.Problem(SourceOops, "", "modules", full)
	case !l.whole:
		r.Problem(SourceOops, "", "modules", &fact.ParseError{Source: SourceOops, Line: l.line,
			Reason: "no text follows the list: its last name may be cut off, and more may be missing"})
	}
}
