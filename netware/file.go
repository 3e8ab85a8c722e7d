// SPDX-License-Identifier: Apache-2.0

package netware

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"strconv"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/limit"
)

// SourceFile is the name of the source of NLM files.
const SourceFile = "nlm_file"

const (
	signature   = "NetWare Loadable Module\x1a"
	headerSize  = 130
	flagPacked  = 0x80
	maxNames    = 1 << 20
	maxStamped  = 16
	fieldsStart = 28
	nameMemory  = 80 // bytes of a name in a list, and of the field that it becomes
)

// ReadFile reads an NLM by itself, within r's budget. ok is false for a file that is not an NLM. head is the file's
// beginning. A part that could not be read is a Problem of its record.
func ReadFile(
	_ context.Context, fsys fs.FS, name string, head []byte, o fact.Options, r *fact.Report,
) (m []Record, ok bool, err error) {
	if !bytes.HasPrefix(head, []byte(signature)) {
		return nil, false, nil
	}
	b, item, err := limit.ReadItem(fsys, name, o.FileCap(), r.Budget)
	defer item.Done()
	if err != nil {
		return nil, true, err
	}
	record, err := decode(b, item)
	var pe *fact.ParseError
	if errors.As(err, &pe) {
		pe.Source = name
	}
	if err != nil {
		return nil, true, err
	}
	record.Path = name
	return []Record{record}, true, nil
}

// An nlm is a file while it is decoded.
type nlm struct {
	file   []byte
	record Record
	item   *fact.Item
	room   int // how much all tables together may still use, in bytes

	date, copyright, screen, thread string
	imports, exports                []string // nil if they could not be read
}

func (n *nlm) u32(off int) uint32 { return binary.LittleEndian.Uint32(n.file[off:]) }

// decode returns the record of a file. A table outside of the file costs itself; the error is for a file that is no
// NLM. item pays.
func decode(b []byte, item *fact.Item) (Record, error) {
	if !bytes.HasPrefix(b, []byte(signature)) {
		return Record{}, &fact.ParseError{Source: "nlm", Field: "signature", Reason: "no NetWare Loadable Module"}
	}
	if len(b) < headerSize {
		return Record{}, &fact.ParseError{Source: "nlm", Reason: fmt.Sprintf("%d bytes, shorter than the header",
			len(b))}
	}
	name, _, ok := pascal(b[fieldsStart:42])
	if !ok || name == "" {
		return Record{}, &fact.ParseError{Source: "nlm", Field: "name", Offset: fieldsStart,
			Reason: "module name is empty or longer than its field"}
	}
	// Every name costs a byte of the file at least once, so tables cannot overlap for ever.
	n := &nlm{file: b, record: record(name, fact.StateInstalled), room: len(b), item: item}
	n.record.Size = fact.CountOf(int64(len(b)))
	n.record.Requires = []string{}
	if n.u32(24)&flagPacked != 0 {
		n.record.AddProblem(fact.Problem{Source: SourceFile, Subject: name, Field: "imports",
			Code: fact.CodeUnsupported,
			Text: "packed file: only the fixed header can be read"})
	} else {
		n.variable()
		n.record.Requires = n.names("requires", n.u32(70), n.u32(74), nil)
		n.imports = n.names("imports", n.u32(86), n.u32(90), skipImport)
		n.exports = n.names("exports", n.u32(94), n.u32(98), skipExport)
	}
	n.fields()
	return n.record, nil
}

// fields gives the record what only NetWare has.
func (n *nlm) fields() {
	o := n.record.Own
	o.Add("type", typeWord(n.u32(122)))
	o.Add("date", n.date)
	o.Add("copyright", n.copyright)
	o.Add("screen", n.screen)
	o.Add("thread", n.thread)
	o.Add("flags", fmt.Sprintf("0x%x", n.u32(126)))
	o.Add("codeSize", strconv.FormatUint(uint64(n.u32(46)), 10))
	o.Add("dataSize", strconv.FormatUint(uint64(n.u32(54)), 10))
	o.Add("bssSize", strconv.FormatUint(uint64(n.u32(58)), 10))
	for _, name := range n.imports {
		o.Add("import", name)
	}
	for _, name := range n.exports {
		o.Add("export", name)
	}
}

// typeWord returns the kind of module: NLM, LAN, DSK or NAM, else its number.
func typeWord(t uint32) string {
	words := []string{"NLM", "LAN", "DSK", "NAM"}
	if int64(t) < int64(len(words)) {
		return words[t]
	}
	return strconv.FormatUint(uint64(t), 10)
}

func (n *nlm) malformed(field string, off int, format string, args ...any) {
	n.record.Problem(SourceFile, field,
		&fact.ParseError{Source: "nlm", Field: field, Offset: int64(off), Reason: fmt.Sprintf(format, args...)})
}

// pascal reads a string with its length before it, and returns what follows.
func pascal(b []byte) (s string, rest []byte, ok bool) {
	if len(b) == 0 || int(b[0]) > len(b)-1 {
		return "", nil, false
	}
	n := int(b[0])
	return escape.UTF8(string(bytes.TrimRight(b[1:1+n], "\x00"))), b[1+n:], true
}

// pascalZ is pascal with a NUL after the string.
func pascalZ(b []byte) (s string, rest []byte, ok bool) {
	s, rest, ok = pascal(b)
	if !ok || len(rest) == 0 {
		return "", nil, false
	}
	return s, rest[1:], true
}

// variable reads the header that follows the fixed one: description, stack size, screen and thread
// names, and then stamped headers in any order.
func (n *nlm) variable() {
	rest := n.file[headerSize:]
	d, rest, ok := pascalZ(rest)
	if !ok || len(rest) < 4+4+5 {
		n.malformed("description", headerSize, "passes the end of the file")
		return
	}
	n.record.Description = d
	rest = rest[4+4+5:] // stack size, reserved, old thread name
	screen, rest, ok := pascalZ(rest)
	if !ok {
		n.malformed("screen", len(n.file)-len(rest), "passes the end of the file")
		return
	}
	thread, rest, ok := pascalZ(rest)
	if !ok {
		n.malformed("thread", 0, "passes the end of the file")
		return
	}
	n.screen, n.thread = screen, thread
	for range maxStamped {
		if rest, ok = n.stamped(rest); !ok {
			return
		}
	}
}

// stamped reads one optional header and returns what follows; ok is false at the first that has
// no known stamp.
func (n *nlm) stamped(b []byte) (rest []byte, ok bool) {
	le := binary.LittleEndian
	switch {
	case bytes.HasPrefix(b, []byte("VeRsIoN#")) && len(b) >= 32:
		n.version(le.Uint32(b[8:]), le.Uint32(b[12:]), le.Uint32(b[16:]))
		year, month, day := le.Uint32(b[20:]), le.Uint32(b[24:]), le.Uint32(b[28:])
		if year > 0 && year < 10000 && month >= 1 && month <= 12 && day >= 1 && day <= 31 {
			n.date = fmt.Sprintf("%04d-%02d-%02d", year, month, day)
		}
		return b[32:], true
	case bytes.HasPrefix(b, []byte("CoPyRiGhT=")):
		s, rest, ok := pascalZ(b[10:])
		if !ok {
			n.malformed("copyright", 0, "passes the end of the file")
			return nil, false
		}
		n.copyright = s
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
func (n *nlm) version(major, minor, revision uint32) {
	if major > 9999 || minor > 9999 {
		n.malformed("version", 0, "%d.%d", major, minor)
		return
	}
	n.record.Version = fmt.Sprintf("%d.%02d", major, minor)
	if revision >= 1 && revision <= 26 {
		n.record.Version += string(rune('a' + revision - 1))
	}
}

// A skip says how many bytes follow a name in a table, −1 if that is unknown.
type skip func(rest []byte) int

// skipImport skips the fixup list after an imported name: a count, then that many offsets.
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

// skipExport skips the value after an exported name.
func skipExport(rest []byte) int {
	if len(rest) < 4 {
		return -1
	}
	return 4
}

// names reads a table of count names at offset off.
func (n *nlm) names(field string, off, count uint32, after skip) []string {
	b, out := n.file, []string{}
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
		if n.room -= len(s) + 1; !ok || n.room < 0 {
			n.malformed(field, len(b)-len(rest), "name %d of %d is invalid", i+1, count)
			return nil
		}
		if err := n.item.Keep(nameMemory + int64(len(s))); err != nil {
			n.record.Problem(SourceFile, field, err)
			return nil
		}
		out = append(out, s)
		rest = next
	}
	return out
}
