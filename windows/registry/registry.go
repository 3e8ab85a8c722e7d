// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/utf16text"
)

// Types of registry values.
const (
	typeNone   = 0
	TypeString = 1 // text
	TypeExpand = 2 // text with variables, such as %SystemRoot%
	typeBinary = 3
	typeDword  = 4
	TypeMulti  = 7 // a list of texts
	typeQword  = 11
)

// Limits on what is read.
const (
	MaxKeys  = 100_000 // keys of one text
	MaxValue = 1 << 20 // bytes of one value
)

// A Key is one key of the registry with its values.
type Key struct {
	Path   string  // with the root's full name: HKEY_LOCAL_MACHINE\SYSTEM\…
	Values []Value // in the registry's order
	// Refused says that the key is there and could not be opened.
	Refused bool
	// Partial says that a value could not be read: one that is not in Values may be there.
	Partial bool
}

// A Value is one value of a key, its data as the registry keeps it: strings in UTF-16, little
// endian.
type Value struct {
	Name string // empty for the default value
	Type uint32 // such as TypeString
	Data []byte // as the registry keeps it
}

// Value returns the named value; names fold case.
func (k *Key) Value(name string) (Value, bool) {
	for _, v := range k.Values {
		if strings.EqualFold(v.Name, name) {
			return v, true
		}
	}
	return Value{}, false
}

// Text returns a string value; false when it is absent or of another type.
func (k *Key) Text(name string) (string, bool) {
	v, ok := k.Value(name)
	if !ok || v.Type != TypeString && v.Type != TypeExpand {
		return "", false
	}
	return utf16text.DecodeZ(v.Data), true
}

// Dword returns a numeric value; false when it is absent or of another type.
func (k *Key) Dword(name string) (uint32, bool) {
	v, ok := k.Value(name)
	if !ok || v.Type != typeDword || len(v.Data) != 4 {
		return 0, false
	}
	return binary.LittleEndian.Uint32(v.Data), true
}

// Multi returns a list of strings; a single string is a list of one.
func (k *Key) Multi(name string) ([]string, bool) {
	v, ok := k.Value(name)
	if !ok {
		return nil, false
	}
	switch v.Type {
	case TypeString, TypeExpand:
		return []string{utf16text.DecodeZ(v.Data)}, true
	case TypeMulti:
		list := []string{}
		for _, s := range strings.Split(utf16text.Decode(v.Data), "\x00") {
			if s != "" {
				list = append(list, s)
			}
		}
		return list, true
	}
	return nil, false
}

// Name returns the last part of the key's path.
func (k *Key) Name() string { return k.Path[strings.LastIndexByte(k.Path, '\\')+1:] }

// StringValue makes a value of text.
func StringValue(name string, typ uint32, s string) Value {
	return Value{Name: name, Type: typ, Data: utf16text.Encode(s + "\x00")}
}

// DwordValue makes a numeric value.
func DwordValue(name string, n uint32) Value {
	return Value{Name: name, Type: typeDword, Data: binary.LittleEndian.AppendUint32(nil, n)}
}

// textRefused is the comment below a key that could not be opened.
const textRefused = "; access denied"

// textPartial is the comment below a key of which a value could not be read.
const textPartial = "; a value could not be read"

const textHeader = "Windows Registry Editor Version 5.00\n"

// AppendText writes keys as the text of a .reg file in UTF-8. Text that does not fit on one line is
// written as bytes, so that it can be read back unchanged.
func AppendText(dst []byte, keys []Key) []byte {
	dst = append(dst, textHeader...)
	for _, k := range keys {
		dst = append(dst, "\n["+OneLine(k.Path)+"]\n"...)
		if k.Refused {
			dst = append(dst, textRefused+"\n"...)
		}
		if k.Partial {
			dst = append(dst, textPartial+"\n"...)
		}
		for _, v := range k.Values {
			dst = appendValue(dst, v)
		}
	}
	return dst
}

// OneLine keeps text, such as the name of a key, on its line: it replaces control characters.
func OneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 {
			return '\uFFFD'
		}
		return r
	}, s)
}

func appendValue(dst []byte, v Value) []byte {
	if v.Name == "" {
		dst = append(dst, "@="...)
	} else {
		dst = append(dst, `"`+escapeText(OneLine(v.Name))+`"=`...)
	}
	switch {
	case v.Type == TypeString && plainText(v.Data):
		dst = append(dst, `"`+escapeText(utf16text.DecodeZ(v.Data))+`"`...)
	case v.Type == typeDword && len(v.Data) == 4:
		dst = fmt.Appendf(dst, "dword:%08x", binary.LittleEndian.Uint32(v.Data))
	default:
		if v.Type == typeBinary {
			dst = append(dst, "hex:"...)
		} else {
			dst = fmt.Appendf(dst, "hex(%x):", v.Type)
		}
		for i, c := range v.Data {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = hex.AppendEncode(dst, []byte{c})
		}
	}
	return append(dst, '\n')
}

// plainText reports whether the data is text that a line can hold and that reads back the same.
func plainText(b []byte) bool {
	s := utf16text.Decode(b)
	if !strings.HasSuffix(s, "\x00") || !bytes.Equal(utf16text.Encode(s), b) {
		return false
	}
	return strings.IndexFunc(s[:len(s)-1], func(r rune) bool { return r < 0x20 || r == 0x7f }) < 0
}

func escapeText(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, `\`, `\\`), `"`, `\"`)
}

// ParseText reads the text of a .reg file, in UTF-8 or in UTF-16 with its mark, version 5 or REGEDIT4's text. A value
// that is invalid is reported of the source and left out. The error says that the text is not a .reg file.
func ParseText(source string, b []byte, r *fact.Report) ([]Key, error) {
	text := utf16text.DecodeFile(b)
	first, _, _ := strings.Cut(text, "\n")
	first = strings.TrimSpace(first)
	if first != strings.TrimSpace(textHeader) && first != "REGEDIT4" {
		return nil, &fact.ParseError{Source: source, Line: 1, Reason: "not the text of a .reg file"}
	}
	p := textParser{source: source, keys: []Key{}, report: r}
	for line, next, n := "", text, 0; next != ""; {
		line, next, _ = strings.Cut(next, "\n")
		n++
		line = strings.TrimRight(line, "\r")
		start := n
		if strings.HasSuffix(line, `\`) && strings.Contains(line, "hex") {
			var lines int
			line, next, lines = Continued(line, next, maxLine, strings.TrimSpace)
			n += lines
		}
		if err := p.line(line, start); err != nil {
			return nil, err
		}
	}
	return p.keys, nil
}

// maxLine is how much of a value that goes on over several lines is kept: more bytes than a value
// may have.
const maxLine = 4 * MaxValue

// Continued joins a line that ends in a backslash with those that it goes on in, each cleaned. What is
// longer than most is left out. It returns what follows, and how many lines it took.
func Continued(line, next string, most int, clean func(string) string) (joined, rest string, lines int) {
	var b strings.Builder
	for strings.HasSuffix(line, `\`) && next != "" {
		if b.Len() < most {
			b.WriteString(strings.TrimSuffix(line, `\`))
		}
		line, next, _ = strings.Cut(next, "\n")
		line = clean(line)
		lines++
	}
	if b.Len() < most {
		b.WriteString(line)
	}
	return b.String(), next, lines
}

type textParser struct {
	source string
	keys   []Key
	report *fact.Report
}

func (p *textParser) note(line int, reason string) {
	p.report.Problem(p.source, "", "", &fact.ParseError{Source: p.source, Line: line, Reason: reason})
}

func (p *textParser) line(s string, n int) error {
	switch {
	case strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]"):
		if len(p.keys) == MaxKeys {
			return &fact.ParseError{Source: p.source, Line: n, Reason: fmt.Sprintf("more than %d keys", MaxKeys),
				Err: fact.ErrTooLarge}
		}
		p.keys = append(p.keys, Key{Path: s[1 : len(s)-1]})
		return nil
	case s == textRefused && len(p.keys) > 0:
		p.keys[len(p.keys)-1].Refused = true
		return nil
	case s == textPartial && len(p.keys) > 0:
		p.keys[len(p.keys)-1].Partial = true
		return nil
	case !strings.HasPrefix(s, `"`) && !strings.HasPrefix(s, "@="):
		return nil
	case len(p.keys) == 0:
		p.note(n, "a value before the first key")
		return nil
	}
	k := &p.keys[len(p.keys)-1]
	v, err := parseValue(s)
	if err != "" {
		k.Partial = true
		p.note(n, err)
		return nil
	}
	k.Values = append(k.Values, v)
	return nil
}

func parseValue(s string) (Value, string) {
	var v Value
	rest := strings.TrimPrefix(s, "@")
	if rest == s {
		name, after, ok := quoted(s)
		if !ok {
			return v, "a value's name without its end"
		}
		v.Name, rest = name, after
	}
	data, ok := strings.CutPrefix(rest, "=")
	if !ok {
		return v, "a value's name without data"
	}
	switch {
	case strings.HasPrefix(data, `"`):
		text, _, ok := quoted(data)
		if !ok {
			return v, "text without its end"
		}
		v.Type, v.Data = TypeString, utf16text.Encode(text+"\x00")
	case strings.HasPrefix(data, "dword:"):
		n, err := strconv.ParseUint(strings.TrimSpace(data[6:]), 16, 32)
		if err != nil {
			return v, "a dword that is not a number"
		}
		v.Type, v.Data = typeDword, binary.LittleEndian.AppendUint32(nil, uint32(n))
	case strings.HasPrefix(data, "hex"):
		return parseHex(v, data[3:])
	default:
		return v, "data of an unknown kind"
	}
	return v, ""
}

func parseHex(v Value, s string) (Value, string) {
	v.Type = typeBinary
	if inner, ok := strings.CutPrefix(s, "("); ok {
		typ, after, ok := strings.Cut(inner, ")")
		n, err := strconv.ParseUint(typ, 16, 32)
		if !ok || err != nil {
			return v, "a value type that is not a number"
		}
		v.Type, s = uint32(n), after
	}
	s, ok := strings.CutPrefix(s, ":")
	if !ok {
		return v, "bytes without a colon"
	}
	if len(s) > 3*MaxValue {
		return v, "too many bytes"
	}
	for _, d := range strings.Split(strings.TrimSpace(s), ",") {
		if d = strings.TrimSpace(d); d == "" {
			continue
		}
		n, err := strconv.ParseUint(d, 16, 8)
		if err != nil {
			return v, "bytes that are not hexadecimal numbers"
		}
		v.Data = append(v.Data, byte(n))
	}
	return v, ""
}

// quoted takes quoted text from the front of s.
func quoted(s string) (text, rest string, ok bool) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			if i++; i < len(s) {
				b.WriteByte(s[i])
			}
		case '"':
			return b.String(), s[i+1:], true
		default:
			b.WriteByte(s[i])
		}
	}
	return "", "", false
}
