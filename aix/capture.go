// SPDX-License-Identifier: Apache-2.0

// Package aix reads what AIX says of its kernel extensions: the text of genkex(1), with and
// without -d, and of genkld(1), which lists shared objects.
//
// AIX has no documented call that lists its kernel extensions: loadquery(L_GETINFO) shows those of
// the calling process only, and sysconfig(SYS_QUERYLOAD) answers for one given path. So a live
// look runs the system's own /usr/bin/genkex, by that path, with a limit on time and output, and
// only when the caller allows processes to be started.
//
// # Limits
//
// genkex tells path, address and size, and nothing else: no references, no dependencies, no
// versions. The same path can be loaded more than once. No recording of plain genkex, without -d,
// was at hand: reading that form is experimental.
package aix

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/lazy"
	"github.com/kernelext/kernelext/internal/limit"
)

// The calls that an AIX machine answers. Both run a program of the system's and are refused unless
// the caller allows that.
const (
	// OpGenkex is the output of "/usr/bin/genkex -d".
	OpGenkex = "genkex"
	// OpUname is uname(2): text, one "key value" a line.
	OpUname = "uname"
	// OpClock is the time: text, RFC 3339 in UTC.
	OpClock = "clock"
	// OpIdentity is who is asking: text, "euid N".
	OpIdentity = "identity"
	// Program is what OpGenkex runs.
	Program = "/usr/bin/genkex"
)

// Names of the sources of AIX facts.
const (
	SourceGenkex  = "genkex"  // the list of kernel extensions, genkex -d
	SourceMachine = "machine" // release, identity and clock
)

// A Row is one kernel extension.
type Row struct {
	// Path is its file; an archive's member is in brackets or parentheses behind it.
	Path string
	// Text is where its code starts; 0 is unknown. TextSize is the code's size in bytes.
	Text     fact.Address
	TextSize fact.Count
	// Data and DataSize are the same of its data; unknown without -d.
	Data     fact.Address
	DataSize fact.Count
	// Line is where it stands.
	Line int
}

// A Capture is what a text says.
type Capture struct {
	// Rows are the extensions, in order. A path may occur more than once.
	Rows []Row
	// WithData is set for the form of -d.
	WithData bool
	// Bad are the lines that make no sense, at most 100; BadCount is how many there were.
	Bad      []*fact.ParseError
	BadCount int
}

const maxCapture = 16 << 20

var (
	dataRow  = lazy.Regexp{Pattern: `^\s*([0-9a-f]{1,16})\s+([0-9a-f]{1,16})\s+([0-9a-f]{1,16})\s+([0-9a-f]{1,16})\s+(/.*)$`}
	plainRow = lazy.Regexp{Pattern: `^\s*([0-9a-f]{1,16})\s+([0-9a-f]{1,16})\s+(/.*)$`}
)

// ParseCapture reads the output of genkex, genkex -d or genkld. The error is fact.ErrTooLarge, or a
// *fact.ParseError when no line is theirs.
func ParseCapture(text string) (*Capture, error) {
	if len(text) > maxCapture {
		return nil, limit.TooLarge("genkex", maxCapture)
	}
	c := &Capture{}
	known := false
	n := 0
	for line := range strings.SplitSeq(text, "\n") {
		n++
		line = strings.TrimRight(line, " \t\r")
		if strings.TrimSpace(line) == "" || prompt(line) {
			continue
		}
		if ok, data := isHeader(line); ok {
			known, c.WithData = true, data
			continue
		}
		r, ok := row(line)
		if !ok {
			c.BadCount++
			if len(c.Bad) < limit.Problems {
				c.Bad = append(c.Bad, &fact.ParseError{Source: "genkex", Line: n, Reason: fmt.Sprintf("%.80q is no row of genkex", line)})
			}
			continue
		}
		r.Line = n
		c.Rows = append(c.Rows, r)
	}
	if !known {
		return nil, &fact.ParseError{Source: "genkex", Reason: "no header of genkex"}
	}
	return c, nil
}

// isHeader recognises the header, and whether it is that of -d. Older systems say "Virtual
// Address".
func isHeader(line string) (ok, data bool) {
	l := strings.ToLower(line)
	ok = (strings.Contains(l, "text address") || strings.Contains(l, "virtual address")) && strings.Contains(l, "size") && strings.Contains(l, "file")
	return ok, ok && strings.Contains(l, "data address")
}

func prompt(line string) bool {
	i := strings.Index(line, "genk")
	return i == 0 || i > 0 && strings.ContainsAny(line[:i], "#$%>")
}

func row(line string) (Row, bool) {
	if m := dataRow.FindStringSubmatch(line); m != nil {
		return Row{Path: escape.UTF8(m[5]), Text: address(m[1]), TextSize: hexCount(m[2]), Data: address(m[3]), DataSize: hexCount(m[4])}, true
	}
	if m := plainRow.FindStringSubmatch(line); m != nil {
		return Row{Path: escape.UTF8(m[3]), Text: address(m[1]), TextSize: hexCount(m[2])}, true
	}
	return Row{}, false
}

func address(s string) fact.Address {
	n, _ := strconv.ParseUint(s, 16, 64)
	return fact.Address(n)
}

func hexCount(s string) fact.Count {
	n, err := strconv.ParseInt(s, 16, 64)
	if err != nil {
		return fact.Count{}
	}
	return fact.CountOf(n)
}

// Name returns the extension's name: the last part of its path.
func (r Row) Name() string { return r.Path[strings.LastIndexByte(r.Path, '/')+1:] }

// LooksLikeCapture reports whether text is the output of genkex or genkld: it has their header.
func LooksLikeCapture(text string) bool {
	for line := range strings.SplitSeq(text, "\n") {
		if ok, _ := isHeader(line); ok {
			return true
		}
	}
	return false
}

var addresses = lazy.Regexp{Pattern: `(?m)^(\s*)[0-9a-f]{1,16}(\s+[0-9a-f]{1,16}\s+)([0-9a-f]{1,16})?`}

// Redact returns data without load addresses. key is a file's slash path, or an op and its
// arguments joined by blanks. Addresses become 0, which AIX never gives an extension.
func Redact(key string, data []byte) []byte {
	if key != OpGenkex {
		return data
	}
	return addresses.ReplaceAllFunc(data, func(b []byte) []byte {
		m := addresses.FindSubmatch(b)
		out := append(append([]byte{}, m[1]...), '0')
		out = append(out, m[2]...)
		if len(m[3]) > 0 {
			out = append(out, '0')
		}
		return out
	})
}

// Redacts reports whether Redact can alter answers for key.
func Redacts(key string) bool { return key == OpGenkex }
