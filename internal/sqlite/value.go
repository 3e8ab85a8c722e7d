// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"encoding/binary"
	"unicode/utf16"

	"github.com/kernelext/kernelext/internal/escape"
)

type valueKind byte

const (
	kindNull valueKind = iota
	kindInt
	kindFloat
	kindText
	kindBlob
)

// A Value is one value of a row. It is valid until the next row. The zero Value is NULL.
type Value struct {
	kind  valueKind
	int   int64
	bytes []byte
	order binary.ByteOrder // of text in UTF-16; nil for UTF-8
}

// Null reports whether the value is NULL, or was not stored because its column is younger than its row.
func (v Value) Null() bool { return v.kind == kindNull }

// Size returns how many bytes a text or a blob has, as the database stores it.
func (v Value) Size() int { return len(v.bytes) }

// Int returns the value if it is an integer.
func (v Value) Int() (n int64, ok bool) { return v.int, v.kind == kindInt }

// Text returns the value if it is a text, as valid UTF-8; empty otherwise.
func (v Value) Text() string {
	if v.kind != kindText {
		return ""
	}
	if v.order == nil {
		return escape.UTF8(string(v.bytes))
	}
	units := make([]uint16, len(v.bytes)/2)
	for i := range units {
		units[i] = v.order.Uint16(v.bytes[2*i:])
	}
	return string(utf16.Decode(units))
}

// Bytes returns the bytes of a blob; nil for any other value.
func (v Value) Bytes() []byte {
	if v.kind != kindBlob {
		return nil
	}
	return v.bytes
}

// record decodes the wanted values of a row: the types of all values come first, then the values.
func (s *scan) record(number uint32, id int64, b []byte) error {
	clear(s.row)
	size, at, ok := varint(b, 0)
	if !ok || size > uint64(len(b)) {
		return s.db.malformed(number, "a header of %d bytes in a row of %d", size, len(b))
	}
	end := int(size)
	body := end
	for i := 0; at < end; i++ {
		serial, next, ok := varint(b[:end], at)
		if !ok {
			return s.db.malformed(number, "the header of a row is cut")
		}
		at = next
		n, ok := serialSize(serial)
		if !ok || n > uint64(len(b)-body) {
			return s.db.malformed(number, "a value of type %d where %d bytes are left", serial, len(b)-body)
		}
		for j, want := range s.wanted {
			if want == i {
				s.row[j] = s.db.value(serial, b[body:body+int(n)])
			}
		}
		body += int(n)
	}
	for j, want := range s.wanted {
		if want >= 0 && want == s.rowid {
			s.row[j] = Value{kind: kindInt, int: id}
		}
	}
	return nil
}

// serialSize returns how many bytes a value of that type has. ok is false for a type that no file has.
func serialSize(serial uint64) (n uint64, ok bool) {
	switch {
	case serial <= 4:
		return serial, true
	case serial == 5:
		return 6, true
	case serial <= 7:
		return 8, true
	case serial <= 9:
		return 0, true
	}
	return (serial - 12) / 2, serial >= 12
}

// value decodes one value of that type.
func (d *DB) value(serial uint64, b []byte) Value {
	switch {
	case serial == 0:
		return Value{}
	case serial <= 6:
		return Value{kind: kindInt, int: signed(b)}
	case serial == 7:
		return Value{kind: kindFloat}
	case serial <= 9:
		return Value{kind: kindInt, int: int64(serial - 8)}
	case serial%2 == 0:
		return Value{kind: kindBlob, bytes: b}
	}
	return Value{kind: kindText, bytes: b, order: d.order}
}

// signed reads a number in two's complement.
func signed(b []byte) int64 {
	v := int64(int8(b[0]))
	for _, c := range b[1:] {
		v = v<<8 | int64(c)
	}
	return v
}
