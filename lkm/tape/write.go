// SPDX-License-Identifier: Apache-2.0

package tape

import (
	"encoding/base64"
	"io"
	"slices"
)

// WriteTo writes the tape as text, its entries in order. What Read read is written as the same
// bytes again, unless it was written by hand in another order or spelling.
func (t *Tape) WriteTo(w io.Writer) (int64, error) {
	cw := &countWriter{w: w}
	cw.write(t.header.appendTo(nil))
	for _, e := range t.sorted() {
		if cw.err != nil {
			break
		}
		cw.write(e.appendTo(nil))
	}
	cw.write([]byte(endLine + "\n"))
	return cw.n, cw.err
}

func (t *Tape) sorted() []*entry {
	entries := make([]*entry, 0, len(t.entries))
	for _, e := range t.entries {
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b *entry) int { return a.id.compare(b.id) })
	return entries
}

type countWriter struct {
	w   io.Writer
	n   int64
	err error
}

func (c *countWriter) write(b []byte) {
	if c.err != nil {
		return
	}
	var n int
	n, c.err = c.w.Write(b)
	c.n += int64(n)
}

// appendTo writes the entry.
func (e *entry) appendTo(b []byte) []byte {
	l := line{entry: *e}
	body := e.body()
	switch {
	case e.kind == KindDir || e.kind == KindLink || e.kind == KindError:
	case !isText(body):
		l.base64 = true
	default:
		l.chomp = len(body) > 0 && body[len(body)-1] != '\n'
	}
	for _, p := range e.pieces {
		l.spans = append(l.spans, span{p.off, int64(len(p.data))})
	}
	if l.spans != nil {
		l.base64, l.chomp = l.base64 || l.chomp, false
		if l.end == unrecorded {
			l.end = failure{} // what extents mean when nothing else is said
		}
	}
	b = append(b, l.String()+"\n"...)
	switch {
	case l.base64:
		return appendBase64(b, body)
	case l.chomp:
		return append(append(b, body...), '\n')
	}
	return append(b, body...)
}

// body returns the content as one string of bytes, still to be encoded.
func (e *entry) body() []byte {
	switch {
	case e.kind == KindLink && len(e.data) > 0:
		return []byte(escapeWord(string(e.data)) + "\n")
	case e.kind == KindError:
		return []byte(escapeLine(e.end.String()) + "\n")
	case e.pieces == nil:
		return e.data
	}
	var b []byte
	for _, p := range e.pieces {
		b = append(b, p.data...)
	}
	return b
}

// base64Line is how many bytes one line of base64 stands for: 76 characters.
const base64Line = 57

func appendBase64(b, data []byte) []byte {
	for part := range slices.Chunk(data, base64Line) {
		b = base64.StdEncoding.AppendEncode(b, part)
		b = append(b, '\n')
	}
	return b
}

// textSize returns how many bytes the entry takes on a tape, or a few more.
func (e *entry) textSize() int64 {
	const line = 256 // kind, attributes, ends
	n := int64(line + 3*len(e.subject) + 3*len(e.end.text))
	for _, p := range e.pieces {
		n += 48 // its extent
		n += base64Size(len(p.data))
	}
	switch {
	case e.kind == KindLink:
		n += 3 * int64(len(e.data))
	case e.kind == KindDir || isText(e.data):
		n += int64(len(e.data))
	default:
		n += base64Size(len(e.data))
	}
	return n
}

func base64Size(n int) int64 { return int64(n+base64Line-1) / base64Line * 77 }
