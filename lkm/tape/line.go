// SPDX-License-Identifier: Apache-2.0

package tape

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"
)

// An entry begins with a line between these, and the tape ends with endLine.
const (
	marker    = "-- "
	markerEnd = " --"
	endLine   = "-- end --"
)

// The attributes of an entry line, in the order in which they are written.
const (
	attrMode     = "mode"
	attrType     = "type"
	attrSize     = "size"
	attrTime     = "mtime"
	attrEnd      = "end"
	attrRedacted = "redacted"
	attrExtents  = "extents"
	attrEncoding = "enc"
	attrNewline  = "newline"
)

// A span is where a piece of a file lies.
type span struct{ off, n int64 }

// A line is the first line of an entry: the entry without its content, and how that is written.
type line struct {
	entry
	spans  []span
	base64 bool
	chomp  bool // the content's last newline is the tape's
}

func (l *line) String() string {
	var b strings.Builder
	b.WriteString(marker + string(l.kind))
	if l.op != "" {
		b.WriteString(" " + l.op)
	}
	if l.isCall() {
		b.WriteString(" " + l.subject)
	} else {
		b.WriteString(" " + escapeWord(l.subject))
	}
	attr := func(key, value string) { b.WriteString(" " + key + "=" + value) }
	if l.info != nil {
		attr(attrMode, fmt.Sprintf("%04o", unixMode(l.info.mode)))
		if t := typeLetter(l.info.mode); l.kind == KindFile && t != 'f' {
			attr(attrType, string(t))
		}
		attr(attrSize, strconv.FormatInt(l.info.size, 10))
		if !l.info.mtime.IsZero() {
			attr(attrTime, l.info.mtime.Format(time.RFC3339Nano))
		}
	}
	if l.end != (failure{}) && l.kind != KindError {
		attr(attrEnd, escapeWord(l.end.String()))
	}
	if l.redacted {
		attr(attrRedacted, "yes")
	}
	if l.spans != nil {
		attr(attrExtents, formatSpans(l.spans))
	}
	if l.base64 {
		attr(attrEncoding, "base64")
	}
	if l.chomp {
		attr(attrNewline, "no")
	}
	b.WriteString(markerEnd)
	return b.String()
}

// parseLine reads an entry's first line. The content is not looked at.
func parseLine(s string, fold bool) (*line, error) {
	s, ok := strings.CutSuffix(s, markerEnd)
	if !ok {
		return nil, errors.New("an entry's first line does not end in \" --\"")
	}
	words := strings.Split(strings.TrimPrefix(s, marker), " ")
	attrs := len(words)
	for attrs > 1 && strings.Contains(words[attrs-1], "=") {
		attrs--
	}
	l := &line{}
	if err := l.setID(words[:attrs], fold); err != nil {
		return nil, err
	}
	seen := make(map[string]bool, len(words)-attrs)
	for _, word := range words[attrs:] {
		key, value, _ := strings.Cut(word, "=")
		if seen[key] {
			return nil, fmt.Errorf("attribute %s appears twice", key)
		}
		seen[key] = true
		if err := l.setAttr(key, value); err != nil {
			return nil, fmt.Errorf("attribute %s: %w", key, err)
		}
	}
	return l, l.check(seen)
}

func (l *line) setID(words []string, fold bool) error {
	l.kind = Kind(words[0])
	words = words[1:]
	switch l.kind {
	case KindError:
		if len(words) == 0 {
			return errors.New("an error entry without a question")
		}
		l.op, words = words[0], words[1:]
		switch l.op {
		case opOpen, opReadDir, opStat, opLstat, opReadLink, opCall:
		default:
			return fmt.Errorf("%q is not a question", l.op)
		}
	case KindFile, KindDir, KindLink, KindCall:
	default:
		return fmt.Errorf("%q is not a kind of entry", l.kind)
	}
	if l.isCall() {
		return l.setCall(words)
	}
	if len(words) != 1 {
		return errors.New("an entry for a path needs one path; a space in it is written %20")
	}
	name, err := unescape(words[0])
	if err != nil {
		return err
	}
	if !fs.ValidPath(name) {
		return fmt.Errorf("%q is not a slash path below the root", name)
	}
	l.subject = foldName(name, fold)
	return nil
}

func (l *line) setCall(words []string) error {
	if len(words) == 0 {
		return errors.New("a call without an op")
	}
	for i, w := range words {
		s, err := unescape(w)
		if err != nil {
			return err
		}
		words[i] = escapeWord(s)
	}
	l.subject = strings.Join(words, " ")
	return nil
}

func (l *line) setAttr(key, value string) (err error) {
	switch key {
	case attrMode:
		return l.setMode(value)
	case attrType:
		return l.setType(value)
	case attrSize:
		l.stated().size, err = size(value)
	case attrTime:
		l.stated().mtime, err = time.Parse(time.RFC3339Nano, value)
		l.info.mtime = l.info.mtime.UTC()
	case attrEnd:
		if value, err = unescape(value); err == nil {
			l.end, err = parseFailure(value)
		}
	case attrRedacted:
		l.redacted, err = yes(value)
	case attrExtents:
		l.spans, err = parseSpans(value)
	case attrEncoding:
		if l.base64 = value == "base64"; !l.base64 {
			err = fmt.Errorf("%q is not an encoding", value)
		}
	case attrNewline:
		if l.chomp = value == "no"; !l.chomp {
			err = errors.New("is not \"no\"")
		}
	default:
		err = errors.New("is not known")
	}
	return err
}

// stated returns the entry's info, or a new one with the values that its kind implies.
func (l *line) stated() *info {
	if l.info == nil {
		l.info = &info{mode: 0o444, size: -1}
		switch l.kind {
		case KindDir:
			l.info.mode = fs.ModeDir | 0o555
		case KindLink:
			l.info.mode = fs.ModeSymlink | 0o777
		}
	}
	return l.info
}

func (l *line) setMode(value string) error {
	n, err := strconv.ParseUint(value, 8, 32)
	if err != nil || n > 0o7777 {
		return errors.New("is not a mode of up to four octal digits")
	}
	i := l.stated()
	i.mode = i.mode.Type() | fileMode(uint32(n))
	return nil
}

func (l *line) setType(value string) error {
	t, ok := typeOf(value)
	if !ok || l.kind != KindFile || t.IsDir() || t == fs.ModeSymlink {
		return fmt.Errorf("%q is not the type of a file", value)
	}
	i := l.stated()
	i.mode = i.mode.Perm() | i.mode&(fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky) | t
	return nil
}

// check refuses attributes that the kind of entry does not have.
func (l *line) check(seen map[string]bool) error {
	for key := range seen {
		ok := false
		switch key {
		case attrMode, attrType, attrSize, attrTime:
			ok = l.kind == KindFile || l.kind == KindDir || l.kind == KindLink
		case attrEnd:
			ok = l.kind != KindError
		case attrRedacted, attrEncoding, attrNewline:
			ok = l.kind == KindFile || l.kind == KindCall
		case attrExtents:
			ok = l.kind == KindFile
		}
		if !ok {
			return fmt.Errorf("a %s entry has no attribute %s", l.kind, key)
		}
	}
	if l.chomp && (l.base64 || l.spans != nil) {
		return errors.New("newline=no is for plain text")
	}
	return nil
}

func size(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || s[0] == '+' {
		return 0, errors.New("is not a size")
	}
	return n, nil
}

func formatSpans(spans []span) string {
	words := make([]string, len(spans))
	for i, s := range spans {
		words[i] = strconv.FormatInt(s.off, 10) + "+" + strconv.FormatInt(s.n, 10)
	}
	return strings.Join(words, ",")
}

// parseSpans reads OFFSET+LENGTH,…: in order, apart, none empty.
func parseSpans(s string) ([]span, error) {
	var spans []span
	next := int64(0)
	for word := range strings.SplitSeq(s, ",") {
		off, n, ok := strings.Cut(word, "+")
		a, err1 := size(off)
		b, err2 := size(n)
		switch {
		case !ok || err1 != nil || err2 != nil:
			return nil, fmt.Errorf("%q is not OFFSET+LENGTH", word)
		case b == 0 || b > EntryCap || a > 1<<62:
			return nil, fmt.Errorf("%s: length 0, or out of range", word)
		case len(spans) > 0 && a <= next:
			return nil, fmt.Errorf("%s: does not come after a gap", word)
		}
		next = a + b
		spans = append(spans, span{a, b})
	}
	return spans, nil
}

// typeLetters are the types of directory entries, as find(1) writes them; ? is one that Go does
// not name.
var typeLetters = [...]struct {
	letter byte
	mode   fs.FileMode
}{
	{'f', 0}, {'d', fs.ModeDir}, {'l', fs.ModeSymlink}, {'p', fs.ModeNamedPipe}, {'s', fs.ModeSocket},
	{'b', fs.ModeDevice}, {'c', fs.ModeDevice | fs.ModeCharDevice}, {'?', fs.ModeIrregular},
}

func typeLetter(m fs.FileMode) byte {
	for _, t := range typeLetters {
		if t.mode == m.Type() {
			return t.letter
		}
	}
	return '?'
}

func typeOf(letter string) (fs.FileMode, bool) {
	for _, t := range typeLetters {
		if letter == string(t.letter) {
			return t.mode, true
		}
	}
	return 0, false
}

// unixMode returns the permission bits with setuid, setgid and sticky where Unix has them.
func unixMode(m fs.FileMode) uint32 {
	n := uint32(m.Perm())
	for _, b := range specialBits {
		if m&b.mode != 0 {
			n |= b.unix
		}
	}
	return n
}

func fileMode(n uint32) fs.FileMode {
	m := fs.FileMode(n & 0o777)
	for _, b := range specialBits {
		if n&b.unix != 0 {
			m |= b.mode
		}
	}
	return m
}

var specialBits = [...]struct {
	mode fs.FileMode
	unix uint32
}{{fs.ModeSetuid, 0o4000}, {fs.ModeSetgid, 0o2000}, {fs.ModeSticky, 0o1000}}
