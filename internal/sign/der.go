// SPDX-License-Identifier: Apache-2.0

package sign

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/kernelext/kernelext/fact"
)

// ASN.1 universal tags.
const (
	TagBoolean         = 1
	TagInteger         = 2
	TagBitString       = 3
	TagOctetString     = 4
	TagNull            = 5
	TagOID             = 6
	TagEnumerated      = 10
	TagUTF8String      = 12
	TagSequence        = 16
	TagSet             = 17
	TagT61String       = 20
	TagUTCTime         = 23
	TagGeneralizedTime = 24
	TagUniversalString = 28
	TagBMPString       = 30
)

// ASN.1 classes.
const (
	Universal       = 0
	ContextSpecific = 2
)

// A Value is one ASN.1 value in BER or DER. Its slices refer to the input.
type Value struct {
	Class       int    // 0 universal, 1 application, 2 context-specific, 3 private
	Tag         int    // the tag number
	Constructed bool   // the body is itself made of values
	Body        []byte // the contents, without an end-of-contents mark
	Full        []byte // tag, length and contents
}

// Is reports whether the value has this universal tag.
func (v Value) Is(tag int) bool { return v.Class == Universal && v.Tag == tag }

// IsContext reports whether the value has this context-specific tag.
func (v Value) IsContext(tag int) bool { return v.Class == ContextSpecific && v.Tag == tag }

// Reader returns a reader of the values inside.
func (v Value) Reader() Reader { return Reader{v.Body} }

// A Reader takes ASN.1 values from the front of its bytes.
type Reader struct{ b []byte }

// NewReader returns a reader of b.
func NewReader(b []byte) Reader { return Reader{b} }

// Empty reports whether nothing is left.
func (r *Reader) Empty() bool { return len(r.b) == 0 }

// Rest returns what is left.
func (r *Reader) Rest() []byte { return r.b }

// Next takes the next value.
func (r *Reader) Next() (Value, error) {
	v, n, err := parseValue(r.b)
	if err != nil {
		return Value{}, err
	}
	r.b = r.b[n:]
	return v, nil
}

// Peek returns the next value without taking it; false if there is no further value or it is invalid.
func (r *Reader) Peek() (Value, bool) {
	v, _, err := parseValue(r.b)
	return v, err == nil
}

// Expect takes the next value, which must have this universal tag.
func (r *Reader) Expect(tag int, field string) (Value, error) {
	v, err := r.Next()
	if err != nil {
		return v, bad(field, "%v", err)
	}
	if !v.Is(tag) {
		return v, bad(field, "tag %d class %d, want tag %d", v.Tag, v.Class, tag)
	}
	return v, nil
}

// Optional takes the next value if it has this context-specific tag.
func (r *Reader) Optional(tag int) (Value, bool) {
	v, ok := r.Peek()
	if !ok || !v.IsContext(tag) {
		return Value{}, false
	}
	_, err := r.Next()
	return v, err == nil
}

func parseValue(b []byte) (Value, int, error) {
	h, err := parseHeader(b)
	if err != nil {
		return Value{}, 0, err
	}
	v := Value{Class: int(b[0] >> 6), Tag: h.tag, Constructed: b[0]&0x20 != 0}
	if !h.indefinite {
		end := h.head + h.length
		v.Body, v.Full = b[h.head:end], b[:end]
		return v, end, nil
	}
	body, err := indefiniteLength(b[h.head:])
	if err != nil {
		return Value{}, 0, err
	}
	end := h.head + body + 2
	v.Body, v.Full = b[h.head:h.head+body], b[:end]
	return v, end, nil
}

type header struct {
	tag, head, length int
	indefinite        bool
}

// parseHeader reads tag and length; a definite length is within b.
func parseHeader(b []byte) (header, error) {
	var h header
	if len(b) < 2 {
		return h, bad("", "ends within a tag")
	}
	h.tag, h.head = int(b[0]&0x1f), 1
	if h.tag == 0x1f {
		if err := h.longTag(b); err != nil {
			return h, err
		}
	}
	if h.head >= len(b) {
		return h, bad("", "ends within a length")
	}
	c := b[h.head]
	h.head++
	switch {
	case c < 0x80:
		h.length = int(c)
	case c == 0x80:
		if b[0]&0x20 == 0 {
			return h, bad("", "indefinite length of a primitive value")
		}
		h.indefinite = true
		return h, nil
	default:
		if err := h.longLength(b, int(c&0x7f)); err != nil {
			return h, err
		}
	}
	if h.length > len(b)-h.head {
		return h, bad("", "length %d, %d bytes left", h.length, len(b)-h.head)
	}
	return h, nil
}

// longTag reads a tag number above 30, seven bits in each byte.
func (h *header) longTag(b []byte) error {
	h.tag = 0
	for {
		if h.head >= len(b) || h.head > 4 {
			return bad("", "tag too long")
		}
		c := b[h.head]
		h.head++
		h.tag = h.tag<<7 | int(c&0x7f)
		if c&0x80 == 0 {
			return nil
		}
	}
}

// longLength reads a length of n bytes.
func (h *header) longLength(b []byte, n int) error {
	if n > 4 || h.head+n > len(b) {
		return bad("", "length of %d bytes", n)
	}
	var length uint64
	for _, d := range b[h.head : h.head+n] {
		length = length<<8 | uint64(d)
	}
	h.head += n
	if length > uint64(len(b)) {
		return bad("", "length %d, %d bytes left", length, len(b)-h.head)
	}
	h.length = int(length)
	return nil
}

// indefiniteLength returns how many bytes are before the end-of-contents mark that closes the value
// whose contents begin b.
func indefiniteLength(b []byte) (int, error) {
	depth, pos := 1, 0
	for {
		if len(b)-pos < 2 {
			return 0, bad("", "no end of contents")
		}
		if b[pos] == 0 && b[pos+1] == 0 {
			depth--
			if depth == 0 {
				return pos, nil
			}
			pos += 2
			continue
		}
		h, err := parseHeader(b[pos:])
		if err != nil {
			return 0, err
		}
		pos += h.head
		if !h.indefinite {
			pos += h.length
			continue
		}
		depth++
		if depth > maxDepth {
			return 0, bad("", "nested deeper than %d", maxDepth)
		}
	}
}

// isShortest reports whether tag and length of the value are encoded as DER has it: a length that is definite, and in
// as few bytes as it may take.
func (v Value) isShortest() bool {
	head := 2
	if v.Tag >= 0x1f || len(v.Full) < head || v.Full[1] == 0x80 {
		return false
	}
	for n := len(v.Body); len(v.Body) >= 0x80 && n > 0; n >>= 8 {
		head++
	}
	return len(v.Full) == head+len(v.Body)
}

// OctetString returns the bytes of an octet string, joining the parts of a constructed one.
func OctetString(v Value) ([]byte, error) {
	if !v.Constructed {
		return v.Body, nil
	}
	var out []byte
	r := v.Reader()
	for !r.Empty() {
		p, err := r.Next()
		if err != nil {
			return nil, err
		}
		if p.Constructed || !p.Is(TagOctetString) {
			return nil, bad("", "octet string made of tag %d", p.Tag)
		}
		out = append(out, p.Body...)
	}
	return out, nil
}

// OID returns an object identifier in dotted form; "" if v is not an object identifier.
func OID(v Value) string {
	if !v.Is(TagOID) || len(v.Body) == 0 || len(v.Body) > 64 {
		return ""
	}
	return oidText(v.Body)
}

func oidText(b []byte) string {
	var room [128]byte
	text := room[:0]
	var n uint64
	for i, c := range b {
		if n > 1<<56 {
			return ""
		}
		n = n<<7 | uint64(c&0x7f)
		if c&0x80 != 0 {
			if i == len(b)-1 {
				return ""
			}
			continue
		}
		if len(text) == 0 {
			top := min(n/40, 2)
			text = strconv.AppendUint(text, top, 10)
			n -= top * 40
		}
		text = strconv.AppendUint(append(text, '.'), n, 10)
		n = 0
	}
	return string(text)
}

// Text returns the value of any of ASN.1's string types as UTF-8; ok is false if v has another type. Bytes that the
// type does not allow are read as Latin-1.
func Text(v Value) (string, bool) {
	if v.Class != Universal || v.Constructed {
		return "", false
	}
	switch v.Tag {
	case TagBMPString:
		return UTF16BE(v.Body), true
	case TagUniversalString:
		var s strings.Builder
		for b := v.Body; len(b) >= 4; b = b[4:] {
			s.WriteRune(rune(uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])))
		}
		return s.String(), true
	case TagUTF8String, 18, 19, TagT61String, 22, 26, 27:
		if utf8.Valid(v.Body) {
			return string(v.Body), true
		}
		return latin1(v.Body), true
	}
	return "", false
}

// UTF16BE decodes big-endian UTF-16; an odd last byte is dropped, a lone surrogate replaced.
func UTF16BE(b []byte) string {
	u := make([]uint16, 0, len(b)/2)
	for ; len(b) >= 2; b = b[2:] {
		u = append(u, uint16(b[0])<<8|uint16(b[1]))
	}
	return string(utf16.Decode(u))
}

func latin1(b []byte) string {
	r := make([]rune, len(b))
	for i, c := range b {
		r[i] = rune(c)
	}
	return string(r)
}

// Time reads UTCTime or GeneralizedTime, with or without seconds and fraction.
func Time(v Value) (time.Time, error) {
	s := string(v.Body)
	switch {
	case v.Is(TagUTCTime):
		return parseTime(s, "060102150405Z0700", "0601021504Z0700")
	case v.Is(TagGeneralizedTime):
		return parseTime(s, "20060102150405Z0700", "200601021504Z0700")
	}
	return time.Time{}, bad("time", "tag %d", v.Tag)
}

func parseTime(s string, layouts ...string) (time.Time, error) {
	for _, l := range layouts {
		if t, err := time.Parse(l, s); err == nil {
			t = t.UTC()
			// UTCTime has two digits of the year: below 50 is this century (RFC 5280).
			if strings.HasPrefix(l, "06") && t.Year() >= 2050 {
				t = t.AddDate(-100, 0, 0)
			}
			return t, nil
		}
	}
	return time.Time{}, bad("time", "%q", s)
}

func bad(field, format string, args ...any) error {
	return &fact.ParseError{Field: field, Reason: fmt.Sprintf(format, args...)}
}
