// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"

	"github.com/kernelext/kernelext/fact"
)

// Types of registry values.
const (
	regNone     = 0
	RegString   = 1
	RegExpand   = 2
	regBinary   = 3
	regDword    = 4
	RegMulti    = 7
	regQword    = 11
	maxRegKeys  = 100_000
	maxRegValue = 1 << 20 // bytes of one value that are kept
)

// A RegKey is one key of the registry with its values.
type RegKey struct {
	Path   string // with the root's full name: HKEY_LOCAL_MACHINE\SYSTEM\…
	Values []RegValue
	// Refused says that the key is there and could not be opened.
	Refused bool
	// Partial says that a value could not be read: one that is not in Values may be there.
	Partial bool
}

// A RegValue is one value of a key, its data as the registry keeps it: strings in UTF-16, little
// endian.
type RegValue struct {
	Name string // empty for the default value
	Type uint32
	Data []byte
}

// value returns the named value; names fold case.
func (k *RegKey) value(name string) (RegValue, bool) {
	for _, v := range k.Values {
		if strings.EqualFold(v.Name, name) {
			return v, true
		}
	}
	return RegValue{}, false
}

// text returns a string value; false when it is absent or of another type.
func (k *RegKey) text(name string) (string, bool) {
	v, ok := k.value(name)
	if !ok || v.Type != RegString && v.Type != RegExpand {
		return "", false
	}
	return cutNUL(utf16Text(v.Data)), true
}

// dword returns a numeric value; false when it is absent or of another type.
func (k *RegKey) dword(name string) (uint32, bool) {
	v, ok := k.value(name)
	if !ok || v.Type != regDword || len(v.Data) != 4 {
		return 0, false
	}
	return binary.LittleEndian.Uint32(v.Data), true
}

// multi returns a list of strings; a single string is a list of one.
func (k *RegKey) multi(name string) ([]string, bool) {
	v, ok := k.value(name)
	if !ok {
		return nil, false
	}
	switch v.Type {
	case RegString, RegExpand:
		return []string{cutNUL(utf16Text(v.Data))}, true
	case RegMulti:
		list := []string{}
		for _, s := range strings.Split(utf16Text(v.Data), "\x00") {
			if s != "" {
				list = append(list, s)
			}
		}
		return list, true
	}
	return nil, false
}

// Name returns the last part of the key's path.
func (k *RegKey) Name() string { return k.Path[strings.LastIndexByte(k.Path, '\\')+1:] }

// StringValue makes a value of text.
func StringValue(name string, typ uint32, s string) RegValue {
	return RegValue{Name: name, Type: typ, Data: utf16Bytes(s + "\x00")}
}

// DwordValue makes a numeric value.
func DwordValue(name string, n uint32) RegValue {
	return RegValue{Name: name, Type: regDword, Data: binary.LittleEndian.AppendUint32(nil, n)}
}

func utf16Bytes(s string) []byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}

// regRefused is the comment below a key that could not be opened.
const regRefused = "; access denied"

// regPartial is the comment below a key of which a value could not be read.
const regPartial = "; a value could not be read"

const regHeader = "Windows Registry Editor Version 5.00\n"

// AppendReg writes keys as the text of a .reg file in UTF-8. Text that does not fit on one line is
// written as bytes, so that it can be read back unchanged.
func AppendReg(dst []byte, keys []RegKey) []byte {
	dst = append(dst, regHeader...)
	for _, k := range keys {
		dst = append(dst, "\n["+oneLine(k.Path)+"]\n"...)
		if k.Refused {
			dst = append(dst, regRefused+"\n"...)
		}
		if k.Partial {
			dst = append(dst, regPartial+"\n"...)
		}
		for _, v := range k.Values {
			dst = appendRegValue(dst, v)
		}
	}
	return dst
}

// oneLine keeps a key's name, which may hold any character but a backslash, on its line.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 {
			return '\uFFFD'
		}
		return r
	}, s)
}

func appendRegValue(dst []byte, v RegValue) []byte {
	if v.Name == "" {
		dst = append(dst, "@="...)
	} else {
		dst = append(dst, `"`+regEscape(oneLine(v.Name))+`"=`...)
	}
	switch {
	case v.Type == RegString && plainText(v.Data):
		dst = append(dst, `"`+regEscape(cutNUL(utf16Text(v.Data)))+`"`...)
	case v.Type == regDword && len(v.Data) == 4:
		dst = fmt.Appendf(dst, "dword:%08x", binary.LittleEndian.Uint32(v.Data))
	default:
		if v.Type == regBinary {
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
	s := utf16Text(b)
	if !strings.HasSuffix(s, "\x00") || !bytes.Equal(utf16Bytes(s), b) {
		return false
	}
	return strings.IndexFunc(s[:len(s)-1], func(r rune) bool { return r < 0x20 || r == 0x7f }) < 0
}

func regEscape(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, `\`, `\\`), `"`, `\"`)
}

// ParseReg reads the text of a .reg file, in UTF-8 or in UTF-16 with its mark, version 5 or REGEDIT4's text. A value
// that makes no sense is reported of the source and left out. The error says that the text is no .reg file.
func ParseReg(source string, b []byte, r *fact.Report) ([]RegKey, error) {
	text := decodeText(b)
	first, _, _ := strings.Cut(text, "\n")
	first = strings.TrimSpace(first)
	if first != strings.TrimSpace(regHeader) && first != "REGEDIT4" {
		return nil, &fact.ParseError{Source: source, Line: 1, Reason: "not the text of a .reg file"}
	}
	p := regParser{source: source, keys: []RegKey{}, report: r}
	for line, next, n := "", text, 0; next != ""; {
		line, next, _ = strings.Cut(next, "\n")
		n++
		line = strings.TrimRight(line, "\r")
		start := n
		if strings.HasSuffix(line, `\`) && strings.Contains(line, "hex") {
			var lines int
			line, next, lines = continued(line, next, maxRegLine, strings.TrimSpace)
			n += lines
		}
		if err := p.line(line, start); err != nil {
			return nil, err
		}
	}
	return p.keys, nil
}

// maxRegLine is how much of a value that goes on over several lines is kept: more bytes than a value
// may have.
const maxRegLine = 4 * maxRegValue

// continued joins a line that ends in a backslash with those that it goes on in, each cleaned. What is
// longer than most is left out. It returns what follows, and how many lines it took.
func continued(line, next string, most int, clean func(string) string) (joined, rest string, lines int) {
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

type regParser struct {
	source string
	keys   []RegKey
	report *fact.Report
}

func (p *regParser) note(line int, reason string) {
	p.report.Problem(p.source, "", "", &fact.ParseError{Source: p.source, Line: line, Reason: reason})
}

func (p *regParser) line(s string, n int) error {
	switch {
	case strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]"):
		if len(p.keys) == maxRegKeys {
			return &fact.ParseError{Source: p.source, Line: n, Reason: fmt.Sprintf("more than %d keys", maxRegKeys), Err: fact.ErrTooLarge}
		}
		p.keys = append(p.keys, RegKey{Path: s[1 : len(s)-1]})
		return nil
	case s == regRefused && len(p.keys) > 0:
		p.keys[len(p.keys)-1].Refused = true
		return nil
	case s == regPartial && len(p.keys) > 0:
		p.keys[len(p.keys)-1].Partial = true
		return nil
	case !strings.HasPrefix(s, `"`) && !strings.HasPrefix(s, "@="):
		return nil
	case len(p.keys) == 0:
		p.note(n, "a value before the first key")
		return nil
	}
	k := &p.keys[len(p.keys)-1]
	v, err := parseRegValue(s)
	if err != "" {
		k.Partial = true
		p.note(n, err)
		return nil
	}
	k.Values = append(k.Values, v)
	return nil
}

func parseRegValue(s string) (RegValue, string) {
	var v RegValue
	rest := strings.TrimPrefix(s, "@")
	if rest == s {
		name, after, ok := regQuoted(s)
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
		text, _, ok := regQuoted(data)
		if !ok {
			return v, "text without its end"
		}
		v.Type, v.Data = RegString, utf16Bytes(text+"\x00")
	case strings.HasPrefix(data, "dword:"):
		n, err := strconv.ParseUint(strings.TrimSpace(data[6:]), 16, 32)
		if err != nil {
			return v, "a dword that is no number"
		}
		v.Type, v.Data = regDword, binary.LittleEndian.AppendUint32(nil, uint32(n))
	case strings.HasPrefix(data, "hex"):
		return parseRegHex(v, data[3:])
	default:
		return v, "data of an unknown kind"
	}
	return v, ""
}

func parseRegHex(v RegValue, s string) (RegValue, string) {
	v.Type = regBinary
	if inner, ok := strings.CutPrefix(s, "("); ok {
		typ, after, ok := strings.Cut(inner, ")")
		n, err := strconv.ParseUint(typ, 16, 32)
		if !ok || err != nil {
			return v, "a value type that is no number"
		}
		v.Type, s = uint32(n), after
	}
	s, ok := strings.CutPrefix(s, ":")
	if !ok {
		return v, "bytes without a colon"
	}
	if len(s) > 3*maxRegValue {
		return v, "too many bytes"
	}
	for _, d := range strings.Split(strings.TrimSpace(s), ",") {
		if d = strings.TrimSpace(d); d == "" {
			continue
		}
		n, err := strconv.ParseUint(d, 16, 8)
		if err != nil {
			return v, "bytes that are no hexadecimal numbers"
		}
		v.Data = append(v.Data, byte(n))
	}
	return v, ""
}

// regQuoted takes quoted text from the front of s.
func regQuoted(s string) (text, rest string, ok bool) {
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

// decodeText returns text as UTF-8: UTF-16 with a mark, or without one when every other of its
// first bytes is zero, is converted, a UTF-8 mark dropped.
func decodeText(b []byte) string {
	switch {
	case bytes.HasPrefix(b, []byte{0xff, 0xfe}):
		return utf16Text(b[2:])
	case bytes.HasPrefix(b, []byte{0xfe, 0xff}):
		return utf16BEText(b[2:])
	case bytes.HasPrefix(b, []byte{0xef, 0xbb, 0xbf}):
		return string(b[3:])
	case len(b) >= 4 && b[0] != 0 && b[1] == 0 && b[2] != 0 && b[3] == 0:
		return utf16Text(b)
	}
	return string(b)
}

func utf16BEText(b []byte) string {
	u := make([]uint16, 0, len(b)/2)
	for ; len(b) >= 2; b = b[2:] {
		u = append(u, binary.BigEndian.Uint16(b))
	}
	return string(utf16.Decode(u))
}
