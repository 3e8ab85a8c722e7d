// SPDX-License-Identifier: Apache-2.0

package fact

import (
	"fmt"
	"strings"

	"github.com/kernelext/kernelext/internal/escape"
)

// A ParseError says where bytes were invalid. It satisfies errors.Is(err, ErrMalformed), or
// ErrTooLarge when Err says so.
type ParseError struct {
	// Source is what was being read: a path, or a source's name.
	Source string
	// Field is the part that is wrong, as the format calls it; may be empty.
	Field string
	// Line is the line, counted from 1; 0 when the format has none.
	Line int
	// Offset is the byte offset of the trouble; -1 or 0 when it is not known.
	Offset int64
	// Reason says what is wrong.
	Reason string
	// Err is the kind of error; nil means ErrMalformed.
	Err error
}

// Error returns "source:line: field: reason", leaving out what is empty.
func (e *ParseError) Error() string {
	var b strings.Builder
	b.WriteString(escape.Text(e.Source))
	switch {
	case e.Line > 0 && e.Source == "":
		fmt.Fprintf(&b, "line %d", e.Line)
	case e.Line > 0:
		fmt.Fprintf(&b, ":%d", e.Line)
	case e.Offset > 0:
		fmt.Fprintf(&b, ": offset %d", e.Offset)
	}
	if b.Len() > 0 {
		b.WriteString(": ")
	}
	if e.Field != "" {
		b.WriteString(escape.Text(e.Field) + ": ")
	}
	b.WriteString(escape.Text(e.Reason))
	return b.String()
}

// Unwrap returns the kind of error, ErrMalformed unless Err says otherwise.
func (e *ParseError) Unwrap() error {
	if e.Err == nil {
		return ErrMalformed
	}
	return e.Err
}
