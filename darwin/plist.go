// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"howett.net/plist"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/limit"
)

// A nodeKind is the type of a property list value.
type nodeKind byte

const (
	noNode nodeKind = iota
	stringNode
	integerNode
	boolNode
	dataNode
	arrayNode
	dictNode
	otherNode // a date or a real number, as text
)

func (k nodeKind) String() string {
	return [...]string{
		"nothing", "a string", "an integer", "a boolean", "data", "an array", "a dictionary", "of another type",
	}[k]
}

// A node is one value of a property list. It is the one type that property lists are decoded to,
// so that a value of an unexpected type costs that value only.
type node struct {
	kind nodeKind
	num  uint64 // integerNode, two's complement when negative; boolNode: 0 or 1
	str  string
	data []byte
	list []node
	dict map[string]node
}

// UnmarshalPlist takes whatever the value is. The types are tried from the most frequent on; a
// wrong one is refused before anything below it is decoded. Data comes after arrays, since an
// array of small integers would be taken for data.
func (n *node) UnmarshalPlist(unmarshal func(any) error) error {
	if unmarshal(&n.str) == nil {
		n.kind = stringNode
		return nil
	}
	if unmarshal(&n.num) == nil {
		n.kind = integerNode
		return nil
	}
	var b bool
	if unmarshal(&b) == nil {
		n.kind, n.num = boolNode, bit(b)
		return nil
	}
	if unmarshal(&n.dict) == nil {
		n.kind = dictNode
		return nil
	}
	if unmarshal(&n.list) == nil {
		n.kind = arrayNode
		return nil
	}
	if unmarshal(&n.data) == nil {
		n.kind = dataNode
		return nil
	}
	var t time.Time
	var f float64
	if unmarshal(&f) == nil {
		n.kind, n.str = otherNode, fmt.Sprint(f)
		return nil
	}
	if unmarshal(&t) == nil {
		n.kind, n.str = otherNode, t.UTC().Format(time.RFC3339)
		return nil
	}
	return fmt.Errorf("%w: value of an unknown type", fact.ErrMalformed)
}

func bit(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// What decoding a property list costs: work for each byte and for each value, and the memory of a value. A binary one
// may refer to one value very often.
const (
	plistWork   = 16
	valueWork   = 512
	valueMemory = 192
)

// decodeCounted is decodePlist for a file of which there are many; the call's budget counts it.
func decodeCounted(source string, data []byte, budget *fact.Budget) (node, error) {
	item := budget.Content(data)
	defer item.Done()
	if err := item.Work(plistWork * int64(len(data))); err != nil {
		return node{}, err
	}
	return decodeItem(source, data, item)
}

// decodePlist decodes a property list of any format whose top is a dictionary or an array. source
// is for the error, a fact.ParseError.
func decodePlist(source string, data []byte) (node, error) { return decodeItem(source, data, nil) }

// decodeItem is decodePlist whose values are counted.
func decodeItem(source string, data []byte, item *fact.Item) (node, error) {
	data = plainText(data)
	shape, err := limit.CheckPlist(data)
	if err != nil {
		return node{}, inSource(source, err)
	}
	if err := item.Work(valueWork * int64(shape.Values)); err != nil {
		return node{}, fmt.Errorf("%s: %w", source, err)
	}
	if err := item.Hold(valueMemory * int64(shape.Values)); err != nil {
		return node{}, fmt.Errorf("%s: %w", source, err)
	}
	if shape.Format == limit.PlistXML && shape.References {
		return readDialect(source, bytes.NewReader(data))
	}
	n, err := unmarshalPlist(data)
	if err != nil {
		return node{}, &fact.ParseError{Source: source, Field: "plist", Reason: err.Error()}
	}
	if n.kind != dictNode && n.kind != arrayNode {
		return node{}, &fact.ParseError{Source: source, Field: "plist",
			Reason: "it is " + n.kind.String() + ", not a dictionary"}
	}
	return n, nil
}

// unmarshalPlist calls the library, whose parsers let runtime errors through.
func unmarshalPlist(data []byte) (n node, err error) {
	defer func() {
		if r := recover(); r != nil {
			n, err = node{}, fmt.Errorf("the decoder failed: %v", r)
		}
	}()
	_, err = plist.Unmarshal(data, &n)
	return n, err
}

// inSource names the source in a ParseError that does not know it.
func inSource(source string, err error) error {
	var pe *fact.ParseError
	if !errors.As(err, &pe) || pe.Source != "" {
		return err
	}
	named := *pe
	named.Source = source
	return &named
}

// plainText returns XML and text property lists as UTF-8 without byte order mark and without the
// XML declaration, which may name an encoding that no longer applies; other data as it is.
func plainText(data []byte) []byte {
	switch {
	case bytes.HasPrefix(data, []byte("bplist")):
		return data
	case bytes.HasPrefix(data, []byte("\xef\xbb\xbf")):
		data = data[3:]
	case bytes.HasPrefix(data, []byte("\xfe\xff")), bytes.HasPrefix(data, []byte("\x00<")):
		data = fromUTF16(bytes.TrimPrefix(data, []byte("\xfe\xff")), true)
	case bytes.HasPrefix(data, []byte("\xff\xfe")), bytes.HasPrefix(data, []byte("<\x00")):
		data = fromUTF16(bytes.TrimPrefix(data, []byte("\xff\xfe")), false)
	}
	if !bytes.HasPrefix(data, []byte("<?xml")) {
		return data
	}
	end := bytes.Index(data[:min(len(data), 256)], []byte("?>"))
	if end < 0 {
		return data
	}
	declaration := strings.ToLower(string(data[:end]))
	data = data[end+2:]
	if strings.Contains(declaration, "iso-8859-1") && !utf8.Valid(data) {
		return fromLatin1(data)
	}
	return data
}

func fromUTF16(data []byte, bigEndian bool) []byte {
	if len(data) > 2*limit.PlistBytes {
		return data // refused by its size
	}
	units := make([]uint16, len(data)/2)
	for i := range units {
		a, b := uint16(data[2*i]), uint16(data[2*i+1])
		if bigEndian {
			a, b = b, a
		}
		units[i] = b<<8 | a
	}
	return []byte(string(utf16.Decode(units)))
}

func fromLatin1(data []byte) []byte {
	if len(data) > limit.PlistBytes {
		return data
	}
	out := make([]byte, 0, len(data)+len(data)/16)
	for _, b := range data {
		out = utf8.AppendRune(out, rune(b))
	}
	return out
}

// A losses reports what could not be taken from one source about one subject.
type losses struct {
	report          *fact.Report
	source, subject string
}

func (l *losses) add(field string, err error) { l.report.Problem(l.source, l.subject, field, err) }

// wrongType notes that the key of a dictionary has a value of an unexpected type; a key that is
// not there is no loss.
func (l *losses) wrongType(key, want string, got node) {
	if got.kind == noNode {
		return
	}
	l.add(key, &fact.ParseError{Source: l.source, Field: key, Reason: "it is " + got.kind.String() + ", not " + want})
}

// text returns the string at key, or "" with a loss when it is of another type. An integer is
// taken as its decimal text: hand-written property lists have versions without quotes.
func (n node) text(key string, l *losses) string {
	switch v := n.dict[key]; v.kind {
	case stringNode:
		return escape.UTF8(v.str)
	case integerNode:
		return fmt.Sprint(v.num)
	default:
		l.wrongType(key, "a string", v)
	}
	return ""
}

// integer returns the integer at key as 64 bits.
func (n node) integer(key string, l *losses) (uint64, bool) {
	v := n.dict[key]
	if v.kind != integerNode {
		l.wrongType(key, "an integer", v)
		return 0, false
	}
	return v.num, true
}

// count returns the integer at key as a Count; a negative one is a loss.
func (n node) count(key string, l *losses) fact.Count {
	v, ok := n.integer(key, l)
	if !ok {
		return fact.Count{}
	}
	if int64(v) < 0 {
		l.add(key, &fact.ParseError{Source: l.source, Field: key, Reason: fmt.Sprintf("negative: %d", int64(v))})
		return fact.Count{}
	}
	return fact.CountOf(int64(v))
}

// tri returns the boolean at key. The words and numbers that property list readers of the system
// take for booleans are taken too.
func (n node) tri(key string, l *losses) fact.Tri {
	switch v := n.dict[key]; v.kind {
	case boolNode, integerNode:
		return fact.TriOf(v.num != 0)
	case stringNode:
		switch strings.ToLower(v.str) {
		case "true", "yes", "1":
			return fact.Yes
		case "false", "no", "0":
			return fact.No
		}
		l.wrongType(key, "a boolean", v)
	default:
		l.wrongType(key, "a boolean", v)
	}
	return ""
}

func (n node) bytes(key string, l *losses) []byte {
	v := n.dict[key]
	if v.kind != dataNode {
		l.wrongType(key, "data", v)
		return nil
	}
	return v.data
}

func (n node) array(key string, l *losses) []node {
	v := n.dict[key]
	if v.kind != arrayNode {
		l.wrongType(key, "an array", v)
		return nil
	}
	return v.list
}

// sub returns the dictionary at key; its dict is nil if the key is missing.
func (n node) sub(key string, l *losses) node {
	v := n.dict[key]
	if v.kind != dictNode {
		l.wrongType(key, "a dictionary", v)
		return node{}
	}
	return v
}

// texts returns the strings of the array at key, or the one string that stands for an array.
func (n node) texts(key string, l *losses) []string {
	v := n.dict[key]
	switch v.kind {
	case stringNode:
		return []string{escape.UTF8(v.str)}
	case arrayNode:
		all := make([]string, 0, len(v.list))
		for _, item := range v.list {
			if item.kind != stringNode {
				l.wrongType(key, "a string", item)
				continue
			}
			all = append(all, escape.UTF8(item.str))
		}
		return all
	}
	l.wrongType(key, "an array of strings", v)
	return nil
}

// keys returns the dictionary's keys, sorted.
func (n node) keys() []string {
	all := make([]string, 0, len(n.dict))
	for k := range n.dict {
		all = append(all, k)
	}
	slices.Sort(all)
	return all
}
