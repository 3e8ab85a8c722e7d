// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strconv"
	"unicode/utf8"
)

// Caps for the parts of an XML property list.
const (
	xmlTag  = 4096    // one tag with its attributes
	xmlText = 4 << 20 // one string or data
)

// An XMLKind is what an [XMLToken] is.
type XMLKind byte

// The kinds.
const (
	XMLOpen  XMLKind = iota // <dict>
	XMLEmpty                // <true/>
	XMLClose                // </dict>
	XMLChars                // text between tags, references resolved; blank text is left out
	XMLEnd                  // the end of the document
)

// An XMLToken is one piece of an XML property list. Name and Text are valid until the next token.
type XMLToken struct {
	Kind XMLKind
	// Name is the element's name without prefix, for XMLOpen, XMLEmpty and XMLClose.
	Name []byte
	// Text is the content, for XMLChars.
	Text []byte
	// ID and IDRef are the attributes by which kernel caches share values; usually empty.
	ID, IDRef string
	// Offset is where the token starts, in bytes.
	Offset int64
}

// An XMLScanner splits the XML of a property list into tags and text, reading as it goes. It knows
// only what property lists use: no entities but the five of XML, no internal document type, no
// nesting deeper than PlistDepth, and every end tag must fit its start tag. It never holds more
// than one tag or one text, with a cap on each.
type XMLScanner struct {
	r      *bufio.Reader
	offset int64
	open   []string // names of the open elements
	text   []byte
	tag    []byte
	seen   bool // an element was seen
}

// NewXMLScanner returns a scanner of r.
func NewXMLScanner(r io.Reader) *XMLScanner {
	return &XMLScanner{r: bufio.NewReaderSize(r, 64<<10)}
}

// Depth is the number of open elements.
func (s *XMLScanner) Depth() int { return len(s.open) }

// Next returns the next token; at the end one of kind XMLEnd. An error is a fact.ParseError, or
// the reader's own.
func (s *XMLScanner) Next() (XMLToken, error) {
	for {
		start := s.offset
		text, err := s.chars()
		if err != nil {
			return XMLToken{}, err
		}
		if len(text) > 0 && !blank(text) {
			return XMLToken{Kind: XMLChars, Text: text, Offset: start}, nil
		}
		start = s.offset
		c, err := s.byte() // the '<'
		if errors.Is(err, io.EOF) {
			return s.end()
		}
		if err != nil {
			return XMLToken{}, err
		}
		if c != '<' {
			return XMLToken{}, plistMalformed(start, "expected a tag")
		}
		next, err := s.r.Peek(1)
		if err != nil {
			return XMLToken{}, plistMalformed(start, "ends inside a tag")
		}
		switch next[0] {
		case '?':
			err = s.skipTo("?>")
		case '!':
			var cdata bool
			cdata, err = s.declaration()
			if cdata {
				return XMLToken{Kind: XMLChars, Text: s.text, Offset: start}, nil
			}
		default:
			return s.element(start)
		}
		if err != nil {
			return XMLToken{}, err
		}
	}
}

func (s *XMLScanner) end() (XMLToken, error) {
	if len(s.open) > 0 {
		return XMLToken{}, plistMalformed(s.offset, "ends inside <%s>", s.open[len(s.open)-1])
	}
	if !s.seen {
		return XMLToken{}, plistMalformed(s.offset, "no element")
	}
	return XMLToken{Kind: XMLEnd, Offset: s.offset}, nil
}

func (s *XMLScanner) byte() (byte, error) {
	c, err := s.r.ReadByte()
	if err == nil {
		s.offset++
	}
	return c, err
}

// chars reads up to the next '<', which stays unread, and resolves references.
func (s *XMLScanner) chars() ([]byte, error) {
	s.text = s.text[:0]
	for {
		part, err := s.r.ReadSlice('<')
		if err == nil {
			part = part[:len(part)-1]
			if err := s.r.UnreadByte(); err != nil {
				return nil, err
			}
		}
		s.offset += int64(len(part))
		s.text = append(s.text, part...)
		if len(s.text) > xmlText {
			return nil, plistTooLarge("text of more than %d bytes", xmlText)
		}
		switch {
		case err == nil, errors.Is(err, io.EOF):
			return s.resolve(s.text)
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
	}
}

// resolve replaces &amp; and its like, in place: a reference is never shorter than what it means.
func (s *XMLScanner) resolve(text []byte) ([]byte, error) {
	i := bytes.IndexByte(text, '&')
	if i < 0 {
		return text, nil
	}
	out := text[:i]
	for i < len(text) {
		if text[i] != '&' {
			out = append(out, text[i])
			i++
			continue
		}
		n := bytes.IndexByte(text[i:min(i+12, len(text))], ';')
		if n < 0 {
			return nil, plistMalformed(s.offset, "reference without end")
		}
		r, ok := reference(string(text[i+1 : i+n]))
		if !ok {
			return nil, plistMalformed(s.offset, "unknown reference")
		}
		out = utf8.AppendRune(out, r)
		i += n + 1
	}
	return out, nil
}

func reference(name string) (rune, bool) {
	switch name {
	case "amp":
		return '&', true
	case "lt":
		return '<', true
	case "gt":
		return '>', true
	case "quot":
		return '"', true
	case "apos":
		return '\'', true
	}
	base := 10
	if len(name) < 2 || name[0] != '#' {
		return 0, false
	}
	name = name[1:]
	if name[0] == 'x' {
		name, base = name[1:], 16
	}
	n, err := strconv.ParseUint(name, base, 32)
	if err != nil || n == 0 || n > utf8.MaxRune {
		return 0, false
	}
	return rune(n), true
}

func blank(text []byte) bool { return len(bytes.Trim(text, " \t\r\n")) == 0 }

// skipTo reads up to and with end.
func (s *XMLScanner) skipTo(end string) error {
	matched := 0
	for {
		c, err := s.byte()
		if err != nil {
			return plistMalformed(s.offset, "no %q", end)
		}
		switch {
		case c == end[matched]:
			if matched++; matched == len(end) {
				return nil
			}
		case c == end[0] && end[0] == end[max(matched-1, 0)] && matched > 0:
			// "---" before ">": still all but the last matched
		case c == end[0]:
			matched = 1
		default:
			matched = 0
		}
	}
}

// declaration reads a comment, a document type or a CDATA section; the last is left in s.text.
func (s *XMLScanner) declaration() (cdata bool, err error) {
	if head, _ := s.r.Peek(3); string(head) == "!--" {
		s.discard(3)
		return false, s.skipTo("-->")
	}
	if head, _ := s.r.Peek(8); string(head) == "![CDATA[" {
		s.discard(8)
		return true, s.cdata()
	}
	// A document type, without an internal subset.
	var quote byte
	for n := 0; n < xmlTag; n++ {
		c, err := s.byte()
		switch {
		case err != nil:
			return false, plistMalformed(s.offset, "ends inside a declaration")
		case c == '<' || c == '[' && quote == 0:
			return false, plistMalformed(s.offset, "declaration inside a declaration")
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '>':
			return false, nil
		}
	}
	return false, plistTooLarge("declaration of more than %d bytes", xmlTag)
}

func (s *XMLScanner) discard(n int) {
	n, _ = s.r.Discard(n)
	s.offset += int64(n)
}

func (s *XMLScanner) cdata() error {
	s.text = s.text[:0]
	for !bytes.HasSuffix(s.text, []byte("]]>")) {
		c, err := s.byte()
		if err != nil {
			return plistMalformed(s.offset, "ends inside CDATA")
		}
		if s.text = append(s.text, c); len(s.text) > xmlText {
			return plistTooLarge("text of more than %d bytes", xmlText)
		}
	}
	s.text = s.text[:len(s.text)-3]
	return nil
}

// element reads the rest of a tag, after its '<'.
func (s *XMLScanner) element(start int64) (XMLToken, error) {
	if err := s.readTag(start); err != nil {
		return XMLToken{}, err
	}
	tag := s.tag
	t := XMLToken{Kind: XMLOpen, Offset: start}
	switch {
	case len(tag) > 0 && tag[0] == '/':
		t.Kind, tag = XMLClose, tag[1:]
	case len(tag) > 0 && tag[len(tag)-1] == '/':
		t.Kind, tag = XMLEmpty, tag[:len(tag)-1]
	}
	name, attrs, _ := bytes.Cut(tag, []byte(" "))
	if i := bytes.IndexAny(tag, "\t\r\n"); i >= 0 && i < len(name) {
		name, attrs = tag[:i], tag[i+1:]
	}
	full := name
	if i := bytes.IndexByte(name, ':'); i >= 0 {
		name = name[i+1:]
	}
	if len(name) == 0 || !letter(name[0]) {
		return XMLToken{}, plistMalformed(start, "tag without a name")
	}
	t.Name, s.seen = name, true
	switch t.Kind {
	case XMLClose:
		if len(s.open) == 0 || s.open[len(s.open)-1] != string(full) {
			return XMLToken{}, plistMalformed(start, "</%s> ends nothing", full)
		}
		s.open = s.open[:len(s.open)-1]
		return t, nil
	case XMLOpen:
		if len(s.open) >= PlistDepth {
			return XMLToken{}, plistTooLarge("nested deeper than %d", PlistDepth)
		}
		s.open = append(s.open, intern(full))
	}
	t.ID, t.IDRef = attribute(attrs, "ID"), attribute(attrs, "IDREF")
	return t, nil
}

// readTag reads up to the '>' that is not quoted into s.tag.
func (s *XMLScanner) readTag(start int64) error {
	s.tag = s.tag[:0]
	var quote byte
	for {
		c, err := s.byte()
		switch {
		case errors.Is(err, io.EOF):
			return plistMalformed(start, "ends inside a tag")
		case err != nil:
			return err
		case c == '<':
			return plistMalformed(start, "< inside a tag")
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case quote == 0 && c == '>':
			return nil
		}
		if s.tag = append(s.tag, c); len(s.tag) > xmlTag {
			return plistTooLarge("tag of more than %d bytes", xmlTag)
		}
	}
}

// intern returns name without allocating for the names that property lists use.
func intern(name []byte) string {
	switch string(name) {
	case "dict":
		return "dict"
	case "key":
		return "key"
	case "string":
		return "string"
	case "integer":
		return "integer"
	case "array":
		return "array"
	case "data":
		return "data"
	}
	return string(name)
}

func letter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_' }

// attribute returns the value of the attribute name, or "".
func attribute(attrs []byte, name string) string {
	for len(attrs) > 0 {
		attrs = bytes.TrimLeft(attrs, " \t\r\n")
		eq := bytes.IndexByte(attrs, '=')
		if eq < 0 || eq+1 >= len(attrs) {
			return ""
		}
		key, rest := bytes.TrimRight(attrs[:eq], " \t\r\n"), bytes.TrimLeft(attrs[eq+1:], " \t\r\n")
		if len(rest) == 0 || (rest[0] != '"' && rest[0] != '\'') {
			return ""
		}
		end := bytes.IndexByte(rest[1:], rest[0])
		if end < 0 {
			return ""
		}
		if string(key) == name {
			return string(rest[1 : 1+end])
		}
		attrs = rest[end+2:]
	}
	return ""
}
