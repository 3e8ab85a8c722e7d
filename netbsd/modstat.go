// SPDX-License-Identifier: Apache-2.0

package netbsd

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/machine"
)

// A moduleStat is what modctl(2) says of one module.
type moduleStat struct {
	// Name is the module's name; bytes that are not UTF-8 are written \xNN.
	Name string
	// Address is where its code starts; 0 when the kernel hides it, and for a built-in module.
	Address uint64
	// Source and Class are the kernel's words.
	Source, Class string
	// Size is the size of its code in bytes; unknown when the kernel hides it, and for a built-in
	// module, of which the kernel does not know it.
	Size fact.Count
	// Refs is how many modules require it, or hold it otherwise; unknown for a disabled one.
	Refs fact.Count
	// Disabled is set for a built-in module that was unloaded.
	Disabled bool
	// Flags are the words of its flags; nil in the old form of the answer, which has none.
	Flags []string
	// Required are the names of the modules that it requires; nil when they could not be read.
	Required []string
	// Hidden is set when the kernel hid address and size of a loaded module.
	Hidden bool
	// Redacted is set when a recording's address was removed.
	Redacted bool
}

// redactedAddress is what Redact writes in place of a load address.
const redactedAddress = ^uint64(0)

// disabledRefs is the reference count of a disabled built-in module.
const disabledRefs = 0xffffffff

// readModules returns the kernel's list, loaded modules first, in the kernel's order. It asks again with a larger
// buffer as long as modules appear meanwhile. What is invalid, or was cut off, is reported.
func readModules(ctx context.Context, call callFunc, r *fact.Report) ([]moduleStat, error) {
	command, size := commandStat, firstSize
	for range maxAttempts {
		b, err := call(ctx, OpModctlStat, strconv.Itoa(command), strconv.Itoa(size))
		if errors.Is(err, errors.ErrUnsupported) && command == commandStat {
			command = commandOldStat
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", OpModctlStat, machine.PlainError(err))
		}
		order, needed, body, err := answer(b)
		if err != nil {
			return nil, err
		}
		if needed <= len(body) {
			return decode(command, order, body[:needed], r)
		}
		if needed > maxSize {
			return nil, fmt.Errorf("%s: %w: an answer of %d bytes", OpModctlStat, fact.ErrTooLarge, needed)
		}
		if size >= needed {
			return nil, &fact.ParseError{Source: OpModctlStat,
				Reason: fmt.Sprintf("%d of %d bytes in a buffer of %d", len(body), needed, size)}
		}
		size = needed + 4096 // room for modules that are loaded meanwhile
	}
	return nil, fmt.Errorf("%s: %w: the list grew at each of %d attempts", OpModctlStat, fact.ErrGone, maxAttempts)
}

// answer splits the line "little N" from the kernel's bytes.
func answer(b []byte) (binary.ByteOrder, int, []byte, error) {
	line, _, ok := bytes.Cut(b[:min(len(b), 64)], []byte("\n"))
	if ok {
		body := b[len(line)+1:]
		word, number, _ := strings.Cut(string(line), " ")
		n, err := strconv.Atoi(number)
		switch {
		case err != nil || n < 0:
		case word == "little":
			return binary.LittleEndian, n, body, nil
		case word == "big":
			return binary.BigEndian, n, body, nil
		}
	}
	return nil, 0, nil, &fact.ParseError{Source: OpModctlStat, Reason: "the answer lacks its first line"}
}

// A list collects the modules of an answer.
type list struct {
	modules []moduleStat
	report  *fact.Report
}

func decode(command int, order binary.ByteOrder, b []byte, r *fact.Report) ([]moduleStat, error) {
	l := &list{report: r}
	if command == commandOldStat {
		err := l.decodeOld(order, b)
		return l.modules, err
	}
	err := l.decodeNew(order, b)
	return l.modules, err
}

const (
	nameLen   = 32
	oldReqLen = 320
	oldSize   = 392
	newSize   = 64
)

// decodeNew decodes a count, the records, and one block of strings. The records begin at offset 4,
// so their 64-bit addresses are not aligned.
func (l *list) decodeNew(order binary.ByteOrder, b []byte) error {
	if len(b) < 4 {
		return &fact.ParseError{Source: OpModctlStat, Field: "count", Reason: fmt.Sprintf("answer of %d bytes", len(b))}
	}
	n := uint64(order.Uint32(b))
	if n > uint64(len(b)-4)/newSize {
		return &fact.ParseError{Source: OpModctlStat, Field: "count",
			Reason: fmt.Sprintf("%d modules in %d bytes", n, len(b))}
	}
	records, texts := b[4:4+n*newSize], b[4+n*newSize:]
	l.modules = make([]moduleStat, 0, n)
	at := 1 // byte 0 of the block is unused
	for ; len(records) > 0; records = records[newSize:] {
		r := records[:newSize]
		s := stat(order, r[:nameLen], r[32:], r[40:])
		s.Flags = flagWords(order.Uint32(r[56:]))
		s.refs(order.Uint32(r[48:]), order.Uint32(r[52:]))
		s.Required, at = l.required(s.Name, texts, at, order.Uint32(r[60:]))
		l.add(s)
	}
	return nil
}

// required returns the requirements of a module. The strings are in the records' order, so the
// offset, which some kernels get wrong, only says whether there is one.
func (l *list) required(name string, texts []byte, at int, offset uint32) ([]string, int) {
	if offset == 0 {
		return []string{}, at
	}
	if at >= len(texts) {
		l.bad(name, "required", "the block of strings has ended")
		return nil, at
	}
	end := bytes.IndexByte(texts[at:], 0)
	if end < 0 {
		l.bad(name, "required", "string does not end")
		return nil, len(texts)
	}
	return splitNames(string(texts[at : at+end])), at + end + 1
}

func (l *list) decodeOld(order binary.ByteOrder, b []byte) error {
	if len(b)%oldSize != 0 {
		return &fact.ParseError{Source: OpModctlStat,
			Reason: fmt.Sprintf("%d bytes are not a whole number of records of %d", len(b), oldSize)}
	}
	l.modules = make([]moduleStat, 0, len(b)/oldSize)
	for ; len(b) > 0; b = b[oldSize:] {
		r := b[:oldSize]
		s := stat(order, r[:nameLen], r[352:], r[360:])
		s.refs(order.Uint32(r[368:]), order.Uint32(r[372:]))
		s.Required = splitNames(text(r[nameLen : nameLen+oldReqLen]))
		l.add(s)
	}
	return nil
}

func stat(order binary.ByteOrder, name, addr, words []byte) moduleStat {
	s := moduleStat{Name: text(name), Address: order.Uint64(addr)}
	s.Source, s.Class = wordOf(sources, order.Uint32(words)), wordOf(classes, order.Uint32(words[4:]))
	return s
}

// refs fills what depends on size, reference count and address together.
func (s *moduleStat) refs(size, refs uint32) {
	s.Disabled = refs == disabledRefs
	if !s.Disabled {
		s.Refs = fact.CountOf(int64(int32(refs)))
	}
	if s.Address == redactedAddress {
		s.Address, s.Redacted = 0, true
	}
	if size > 0 {
		s.Size = fact.CountOf(int64(size))
	}
	s.Hidden = s.Source != sources[0] && !s.Redacted && s.Address == 0 && size == 0
}

func (l *list) add(s moduleStat) {
	if s.Name == "" {
		l.bad("", "name", "a module without a name")
		return
	}
	l.modules = append(l.modules, s)
}

func (l *list) bad(name, field, reason string) {
	if name != "" {
		reason = name + ": " + reason
	}
	l.report.Problem(SourceModctl, "", "", &fact.ParseError{Source: OpModctlStat, Field: field, Reason: reason})
}

// text is the text of a char array of fixed length.
func text(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return escape.UTF8(string(b))
}

// splitNames splits a list of names separated by commas; never nil.
func splitNames(s string) []string {
	out := []string{}
	for name := range strings.SplitSeq(s, ",") {
		if name = strings.TrimSpace(name); name != "" {
			out = append(out, escape.UTF8(name))
		}
	}
	return out
}
