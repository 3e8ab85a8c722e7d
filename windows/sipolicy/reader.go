// SPDX-License-Identifier: Apache-2.0

package sipolicy

import (
	"encoding/binary"
	"fmt"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/utf16text"
)

// A reader takes values from the front of a policy. After the first error every value is zero and every count 0.
type reader struct {
	b    []byte
	at   int
	item *fact.Item
	err  error
}

// keep asks for n bytes of what the policy says.
func (r *reader) keep(n int) {
	if r.err == nil {
		r.err = r.item.Keep(int64(n))
	}
}

func (r *reader) fail(field, format string, args ...any) {
	if r.err == nil {
		r.err = policyError(field, "%s (at byte %d of %d)", fmt.Sprintf(format, args...), r.at, len(r.b))
	}
}

// take returns the next n bytes; nil at the end.
func (r *reader) take(n int) []byte {
	if r.err != nil {
		return nil
	}
	if n > len(r.b)-r.at {
		r.fail("length", "%d bytes wanted", n)
		return nil
	}
	b := r.b[r.at : r.at+n]
	r.at += n
	return b
}

func (r *reader) u8() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) u64() uint64 {
	if b := r.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// count reads how many records of at least size bytes follow.
func (r *reader) count(field string, size int) int {
	n := r.u32()
	if r.err == nil && int64(n)*int64(size) > int64(len(r.b)-r.at) {
		r.fail(field, "%d of them", n)
	}
	if r.err != nil {
		return 0
	}
	return int(n)
}

// bytes reads a length, the bytes, and the zeros that fill up to four.
func (r *reader) bytes() []byte {
	n := r.count("length", 1)
	if n == 0 {
		return nil
	}
	b := r.take(n)
	for _, c := range r.take(-n & 3) {
		if c != 0 {
			r.fail("padding", "%#x", c)
		}
	}
	return b
}

// text reads bytes in UTF-16 and the zero after them.
func (r *reader) text() string {
	b := r.bytes()
	if len(b)%2 != 0 {
		r.fail("text", "%d bytes", len(b))
	}
	if end := r.u32(); end != 0 {
		r.fail("text", "it ends in %#x", end)
	}
	if r.err != nil {
		return ""
	}
	if r.keep(len(b)); r.err != nil {
		return ""
	}
	return utf16text.Decode(b)
}

// guid reads a GUID in lower case without braces.
func (r *reader) guid() string {
	b := r.take(16)
	if b == nil {
		return ""
	}
	le := binary.LittleEndian
	return fmt.Sprintf("%08x-%04x-%04x-%x-%x", le.Uint32(b), le.Uint16(b[4:]), le.Uint16(b[6:]), b[8:10], b[10:16])
}
