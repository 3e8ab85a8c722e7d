// SPDX-License-Identifier: Apache-2.0

package netware

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"strconv"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/limit"
)

// An NLM is what the header of a NetWare Loadable Module says.
type NLM struct {
	// Name is the module's file name in the header, such as "CLIB.NLM".
	Name string
	// Description is what its maker says it does; empty for a packed file.
	Description string
	// Version is "major.minor" with a revision letter, as the MODULES command prints it; Date is
	// "YYYY-MM-DD". Both are empty when the file has no version header.
	Version, Date string
	// Copyright is the copyright text; empty when there is none.
	Copyright string
	// Type is the kind of module: NLM, LAN, DSK or NAM, else its number.
	Type string
	// Flags are the header's flags.
	Flags uint32
	// CodeSize, DataSize and BSSSize are the sizes of its segments in bytes.
	CodeSize, DataSize, BSSSize uint32
	// Depends are the modules that the server loads before this one.
	Depends []string
	// Imports and Exports are the names that it uses and offers; nil when they could not be read.
	Imports, Exports []string
	// Threads are the names of its screen and its thread; empty when they are not set.
	Screen, Thread string
	// StackSize is the size of its first stack in bytes.
	StackSize uint32
	// Packed is set for a compressed file: only the fixed header can be read.
	Packed bool
	// Size is the file's size in bytes.
	Size int64
	// Problems are the tables that make no sense, at most one each.
	Problems []fact.Problem
}

// SourceFile is the name of the source of NLM files.
const SourceFile = "nlm_file"

const (
	signature   = "NetWare Loadable Module\x1a"
	headerSize  = 130
	flagPacked  = 0x80
	maxNames    = 1 << 20
	maxStamped  = 16
	fieldsStart = 28
)

// IsNLM reports whether the bytes begin as an NLM does.
func IsNLM(head []byte) bool { return bytes.HasPrefix(head, []byte(signature)) }

// ReadNLM reads the named file of at most max bytes.
func ReadNLM(fsys fs.FS, name string, max int64) (*NLM, error) {
	b, err := limit.ReadFile(fsys, name, max)
	if err != nil {
		return nil, err
	}
	n, err := ParseNLM(b)
	var pe *fact.ParseError
	if errors.As(err, &pe) {
		pe.Source = name
	}
	return n, err
}

// ParseNLM decodes a file. Tables outside of it cost themselves; the error is for a file that is no
// NLM.
func ParseNLM(b []byte) (*NLM, error) {
	if !IsNLM(b) {
		return nil, &fact.ParseError{Source: "nlm", Field: "signature", Reason: "no NetWare Loadable Module"}
	}
	if len(b) < headerSize {
		return nil, &fact.ParseError{Source: "nlm", Reason: fmt.Sprintf("%d bytes, shorter than the header", len(b))}
	}
	le := binary.LittleEndian
	u32 := func(off int) uint32 { return le.Uint32(b[off:]) }
	n := &NLM{
		CodeSize: u32(46), DataSize: u32(54), BSSSize: u32(58), Flags: u32(126), Type: typeWord(u32(122)),
		Packed: u32(24)&flagPacked != 0, Size: int64(len(b)), Depends: []string{},
	}
	name, _, ok := pascal(b[fieldsStart:42])
	if !ok || name == "" {
		return nil, &fact.ParseError{Source: "nlm", Field: "name", Offset: fieldsStart, Reason: "module name is empty or longer than its field"}
	}
	n.Name = name
	if n.Packed {
		n.problem("imports", errors.New("packed file: only the fixed header can be read"), fact.CodeUnsupported)
		return n, nil
	}
	n.variable(b)
	room := len(b) // every name costs a byte of the file at least once, so tables may not overlap for ever
	n.Depends = n.names(b, "requires", u32(70), u32(74), &room, nil)
	n.Imports = n.names(b, "imports", u32(86), u32(90), &room, skipImport)
	n.Exports = n.names(b, "exports", u32(94), u32(98), &room, skipExport)
	return n, nil
}

func typeWord(t uint32) string {
	words := []string{"NLM", "LAN", "DSK", "NAM"}
	if int64(t) < int64(len(words)) {
		return words[t]
	}
	return strconv.FormatUint(uint64(t), 10)
}

func (n *NLM) problem(field string, err error, code fact.Code) {
	p := fact.ProblemOf(SourceFile, n.Name, field, err)
	if code != "" {
		p.Code = code
	}
	n.Problems = append(n.Problems, p)
}

func (n *NLM) malformed(field string, off int, format string, args ...any) {
	n.problem(field, &fact.ParseError{Source: "nlm", Field: field, Offset: int64(off), Reason: fmt.Sprintf(format, args...)}, "")
}

// pascal reads a string with its length before it, and returns what follows.
func pascal(b []byte) (s string, rest []byte, ok bool) {
	if len(b) == 0 || int(b[0]) > len(b)-1 {
		return "", nil, false
	}
	n := int(b[0])
	return escape.UTF8(string(bytes.TrimRight(b[1:1+n], "\x00"))), b[1+n:], true
}

// pascalZ is pascal with a NUL behind the string.
func pascalZ(b []byte) (s string, rest []byte, ok bool) {
	s, rest, ok = pascal(b)
	if !ok || len(rest) == 0 {
		return "", nil, false
	}
	return s, rest[1:], true
}

// variable reads the header that follows the fixed one: description, stack size, screen and thread
// names, and then stamped headers in any order.
func (n *NLM) variable(b []byte) {
	rest := b[headerSize:]
	d, rest, ok := pascalZ(rest)
	if !ok || len(rest) < 4+4+5 {
		n.malformed("description", headerSize, "passes the end of the file")
		return
	}
	n.Description = d
	n.StackSize = binary.LittleEndian.Uint32(rest)
	rest = rest[4+4+5:] // stack size, reserved, old thread name
	screen, rest, ok := pascalZ(rest)
	if !ok {
		n.malformed("screen", len(b)-len(rest), "passes the end of the file")
		return
	}
	thread, rest, ok := pascalZ(rest)
	if !ok {
		n.malformed("thread", 0, "passes the end of the file")
		return
	}
	n.Screen, n.Thread = screen, thread
	for range maxStamped {
		if rest, ok = n.stamped(rest); !ok {
			return
		}
	}
}

// stamped reads one optional header and returns what follows; ok is false at the first that has
// no known stamp.
func (n *NLM) stamped(b []byte) (rest []byte, ok bool) {
	le := binary.LittleEndian
	switch {
	case bytes.HasPrefix(b, []byte("VeRsIoN#")) && len(b) >= 32:
		n.version(le.Uint32(b[8:]), le.Uint32(b[12:]), le.Uint32(b[16:]))
		year, month, day := le.Uint32(b[20:]), le.Uint32(b[24:]), le.Uint32(b[28:])
		if year > 0 && year < 10000 && month >= 1 && month <= 12 && day >= 1 && day <= 31 {
			n.Date = fmt.Sprintf("%04d-%02d-%02d", year, month, day)
		}
		return b[32:], true
	case bytes.HasPrefix(b, []byte("CoPyRiGhT=")):
		s, rest, ok := pascalZ(b[10:])
		if !ok {
			n.malformed("copyright", 0, "passes the end of the file")
			return nil, false
		}
		n.Copyright = s
		return rest, true
	case bytes.HasPrefix(b, []byte("MeSsAgEs")):
		const size = 8 + 29*4 // the stamp and 29 numbers
		if len(b) < size {
			return nil, false
		}
		return b[size:], true
	case bytes.HasPrefix(b, []byte("CuStHeAd")) && len(b) >= 8+4+4+4+8:
		return b[8+4+4+4+8:], true
	}
	return nil, false
}

// version writes a version as MODULES does: 5.00a for 5, 0, 1.
func (n *NLM) version(major, minor, revision uint32) {
	if major > 9999 || minor > 9999 {
		n.malformed("version", 0, "%d.%d", major, minor)
		return
	}
	n.Version = fmt.Sprintf("%d.%02d", major, minor)
	if revision >= 1 && revision <= 26 {
		n.Version += string(rune('a' + revision - 1))
	}
}

// A skip says how many bytes follow a name in a table, −1 when that cannot be told.
type skip func(rest []byte) int

// skipImport skips the fixup list behind an imported name: a count, then that many offsets.
func skipImport(rest []byte) int {
	if len(rest) < 4 {
		return -1
	}
	c := binary.LittleEndian.Uint32(rest)
	if uint64(c) > uint64(len(rest)-4)/4 {
		return -1
	}
	return 4 + 4*int(c)
}

// skipExport skips the value behind an exported name.
func skipExport(rest []byte) int {
	if len(rest) < 4 {
		return -1
	}
	return 4
}

// names reads a table of count names at offset off. room is what all tables together may still use.
func (n *NLM) names(b []byte, field string, off, count uint32, room *int, after skip) []string {
	out := []string{}
	if count == 0 {
		return out
	}
	if int64(off) >= int64(len(b)) || count > maxNames || int64(count) > int64(len(b))-int64(off) {
		n.malformed(field, int(off), "%d names at offset %d of %d bytes", count, off, len(b))
		return nil
	}
	rest := b[off:]
	for i := range count {
		s, next, ok := pascal(rest)
		ok = ok && s != ""
		if ok && after != nil {
			k := after(next)
			if ok = k >= 0; ok {
				next = next[k:]
			}
		}
		if *room -= len(s) + 1; !ok || *room < 0 {
			n.malformed(field, len(b)-len(rest), "name %d of %d makes no sense", i+1, count)
			return nil
		}
		out = append(out, s)
		rest = next
	}
	return out
}
