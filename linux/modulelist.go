// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/internal/order"
)

// A listEntry is one line of /proc/modules.
type listEntry struct {
	// Name is the module's name as the kernel has it; bytes that are not UTF-8 are written \xNN.
	Name string
	// Size is the memory of the module in bytes, init memory included while it is loading.
	Size int64
	// Refs is the reference count; -1 while it is being unloaded; unknown when the kernel has no
	// module unloading and prints "-".
	Refs fact.Count
	// UsedBy are the modules that need this one; nil when the kernel does not say (refs is "-"),
	// empty if no module needs it.
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

// A moduleList is what one read of /proc/modules says. Its memory can be used again by Parse.
type moduleList struct {
	// Entries are the lines that made sense: after Parse in the kernel's order, which is newest
	// first, after [listReader.Read] sorted by name.
	Entries []listEntry

	holders []string      // backs every listEntry.UsedBy
	places  []order.Place // memory for sorting
}

// Parse replaces the list's content with what text says. The entries share text's memory. A line that is invalid is
// reported and left out, and so is one that the text ends in. The error is why there is no list: no line makes sense.
func (l *moduleList) Parse(text string, r *fact.Report) error {
	l.reset(text)
	var first error
	for n := 1; text != ""; n++ {
		line, rest, whole := strings.Cut(text, "\n")
		text = rest
		if !whole {
			r.Problem(SourceModules, "", "modules",
				&fact.ParseError{Source: ModulesFile, Reason: "ends within a line: the list is cut off"})
			if first == nil {
				first = &fact.ParseError{Source: "/" + ModulesFile, Line: 1, Reason: "ends within the line"}
			}
			break
		}
		e, err := l.parseLine(line)
		if err == nil {
			l.Entries = append(l.Entries, e)
			continue
		}
		err.Source, err.Line = "/"+ModulesFile, n
		if first == nil {
			first = err
		}
		if r.Count(SourceModules) < fact.MaxProblems {
			r.Problem(SourceModules, "", "", err)
		} else {
			r.Add(fact.Problem{Source: SourceModules, Code: fact.CodeMalformed}) // it is counted
		}
	}
	if len(l.Entries) > 0 {
		return nil
	}
	return first
}

// reset empties the list and makes room for what text can hold, so that a parse allocates once
// for the entries and once for the holders.
func (l *moduleList) reset(text string) {
	lines, commas := strings.Count(text, "\n"), strings.Count(text, ",")
	if cap(l.Entries) < lines {
		l.Entries = make([]listEntry, 0, lines)
	}
	if cap(l.holders) < commas {
		l.holders = make([]string, 0, commas)
	}
	l.Entries, l.holders = l.Entries[:0], l.holders[:0]
}

// parseLine reads one line: name size refs holders state address [(taints)], where a kernel
// without module unloading prints "- -" for refs and holders.
func (l *moduleList) parseLine(line string) (listEntry, *fact.ParseError) {
	var e listEntry
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
		letters, ok := parseTaintSuffix(f[6])
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
// followed by a comma; "-" means no user, or unknown users if the kernel does not count references.
func (l *moduleList) parseHolders(s string, counted bool) (names []string, permanent bool) {
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

// parseTaintSuffix reads the last column of /proc/modules, such as "(OE)" or "(POE+)", and returns
// its letters without the mark for a module that is coming (+) or going (-).
func parseTaintSuffix(s string) (letters string, ok bool) {
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
	n, i := 0, 0
	for {
		for i < len(line) && isBlank(line[i]) {
			i++
		}
		if i == len(line) {
			return n
		}
		if n == len(f) {
			return n + 1
		}
		start := i
		for i < len(line) && !isBlank(line[i]) {
			i++
		}
		f[n] = line[start:i]
		n++
	}
}

// isBlank reports whether c separates the columns of /proc/modules, or of a copy of it.
func isBlank(c byte) bool { return c <= ' ' && (c == ' ' || c == '\t' || c == '\r') }

func word(s string) bool {
	for i := range len(s) {
		if c := s[i] | 0x20; c < 'a' || c > 'z' {
			return false
		}
	}
	return s != ""
}

// listTries is how often /proc/modules is read when it changes while being read.
const listTries = 3

// A listReader reads /proc/modules of one machine, as often as needed for one consistent list. It
// keeps its buffers and is not for concurrent use.
type listReader struct {
	fsys fs.FS
	buf  []byte
	last []byte
	seq  []byte
	text string // the last list, which shares its memory with what was parsed of it
	// parsed is the list that holds what the last text says, if nothing of it was lost; else nil.
	parsed *moduleList
}

// newListReader returns a reader of the machine whose root is fsys.
func newListReader(fsys fs.FS) *listReader { return &listReader{fsys: fsys} }

// Read replaces l's content with the kernel's list, sorted by name. The kernel gives the list in
// pieces, between which a module can come or go, so that a line is skipped or repeated. The list is
// therefore read again if the kernel's event counter moved meanwhile, a name appears twice or the text is cut off,
// until two reads agree, at most three times. What the last read lost is reported, and a list that kept changing; of
// repeated lines the first stays.
//
// The error is that of opening or reading /proc/modules, or why what is there is not the kernel's
// list: no line makes sense, or it is empty and something was put in its place. [noModuleSupport]
// reports whether a file that does not exist means a kernel without modules.
func (r *listReader) Read(l *moduleList, report *fact.Report) error {
	r.last = r.last[:0]
	for try := 1; ; try++ {
		before := r.readSeq(nil)
		var err error
		r.buf, err = limit.AppendFile(r.fsys, r.buf[:0], ModulesFile, limit.Proc)
		if err != nil {
			return err
		}
		r.seq = r.readSeq(r.seq)
		steady := before == nil || bytes.Equal(before, r.seq) || (try > 1 && bytes.Equal(r.buf, r.last))
		var lost fact.Report // of this try: only what the last one lost counts
		repeated := false
		if r.parsed != l || string(r.buf) != r.text {
			repeated, err = r.parse(l, &lost)
		}
		whole := len(r.buf) == 0 || r.buf[len(r.buf)-1] == '\n'
		if try < listTries && (!steady || repeated || !whole) {
			r.last = append(r.last[:0], r.buf...)
			continue
		}
		if err == nil && len(l.Entries) == 0 {
			err = r.shown()
		}
		if err != nil {
			return err
		}
		report.Append(&lost)
		if !steady || repeated {
			report.Add(fact.Problem{Source: SourceModules, Field: "modules", Code: fact.CodeOther,
				Text: "the list kept changing while it was read; a module that came or went may be missing"})
		}
		return nil
	}
}

// parse replaces l's content with what was read, sorted by name, and reports whether a name was there twice.
func (r *listReader) parse(l *moduleList, lost *fact.Report) (repeated bool, err error) {
	if string(r.buf) != r.text { // else nothing new has to be kept
		r.text = string(r.buf)
	}
	err = l.Parse(r.text, lost)
	repeated = l.dropRepeated()
	r.parsed = nil
	if err == nil && !repeated && len(lost.Problems) == 0 {
		r.parsed = l
	}
	return repeated, err
}

// shown returns why an empty list is not the kernel's word that nothing is loaded.
func (r *listReader) shown() error {
	info, err := fs.Stat(r.fsys, ModulesFile)
	if err != nil {
		return err
	}
	return masked(ModulesFile, info)
}

// masked returns an error when a file or directory of /proc is not the kernel's: a service manager or a
// container that hides one puts a device, a pipe, or something that nobody may read in its place,
// and to root all of them look empty.
func masked(name string, info fs.FileInfo) error {
	if (info.Mode().IsRegular() || info.IsDir()) && info.Mode().Perm() != 0 {
		return nil
	}
	return &fs.PathError{Op: "open", Path: "/" + name,
		Err: fmt.Errorf("%s is in its place, which hides it: %w", info.Mode(), fs.ErrPermission)}
}

// readSeq returns the event counter, or nil when the machine has none to show.
func (r *listReader) readSeq(dst []byte) []byte {
	b, err := limit.AppendAttr(r.fsys, dst[:0], ueventSeqFile, limit.Attr)
	if err != nil {
		return nil
	}
	return b
}

// dropRepeated sorts the entries by name, removes every one whose name an earlier one has, and
// reports whether there was one.
func (l *moduleList) dropRepeated() bool {
	l.places = order.By(l.Entries, l.places, func(e *listEntry) string { return e.Name })
	all, n := l.Entries, 0
	for i := range all {
		if i > 0 && all[i].Name == all[i-1].Name {
			continue
		}
		if n < i {
			all[n] = all[i]
		}
		n++
	}
	l.Entries = all[:n]
	return n < len(all)
}

// noModuleSupport reports whether the machine's kernel was built without loadable modules, given
// that it has no /proc/modules: its sysctl directory can be read and lacks modules_disabled. The error says why that is
// unknown; a service without access to /proc/sys sees neither file.
func noModuleSupport(fsys fs.FS) (bool, error) {
	_, err := fs.Stat(fsys, disabledFile)
	if err == nil {
		return false, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	info, err := fs.Stat(fsys, kernelDir)
	if err != nil {
		return false, err
	}
	if !info.IsDir() {
		return false, &fact.ParseError{Source: "/" + kernelDir, Reason: "is not a directory"}
	}
	if err := masked(kernelDir, info); err != nil {
		return false, err
	}
	return true, nil
}

// parseSeq reads the kernel's event counter, /sys/kernel/uevent_seqnum.
func parseSeq(b []byte) (uint64, error) {
	n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return 0, &fact.ParseError{Source: "/" + ueventSeqFile, Reason: "is not a number"}
	}
	return n, nil
}
