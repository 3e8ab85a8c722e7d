// SPDX-License-Identifier: Apache-2.0

package fact

import (
	"cmp"
	"errors"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/internal/escape"
)

// A Problem says that one thing could not be read, and why. The rest of the result is kept. It is an error: errors.Is
// answers by its Code, also after a trip through JSON, so errors.Is(p, fs.ErrPermission) holds for a Problem with code
// permission.
type Problem struct {
	// Source is the name of the source that was being read, such as "proc_modules".
	Source string `json:"source,omitzero"`
	// Subject is what it is about: a module's name, a path or a call; empty when it concerns the
	// source as a whole.
	Subject string `json:"subject,omitzero"`
	// Field is the JSON name of the field that is missing because of this; empty when there is no
	// one such field.
	Field string `json:"field,omitzero"`
	// Code is why, as one word.
	Code Code `json:"code"`
	// Text is why, for a person, with the remedy where there is one. It holds no terminal escapes.
	Text string `json:"text,omitzero"`
	// Line is the line in the source's text, counted from 1; 0 when it has no lines.
	Line int `json:"line,omitzero"`
	// Count is how many alike Problems this one stands for, when there were too many to list; 0
	// means just this one.
	Count int `json:"count,omitzero"`
}

// ProblemOf makes a Problem of err. A ParseError gives its field and line too. Its Text is err's
// text with unprintable characters escaped, without the field that the Problem names already. A
// Problem keeps its code, text, line and count, and its field if field is empty.
func ProblemOf(source, subject, field string, err error) Problem {
	if told, ok := err.(Problem); ok {
		told.Source, told.Subject, told.Field = source, subject, cmp.Or(field, told.Field)
		return told
	}
	p := Problem{Source: source, Subject: subject, Field: field, Code: CodeOf(err)}
	var pe *ParseError
	if errors.As(err, &pe) {
		p.Line = pe.Line
		if p.Field == "" {
			p.Field = pe.Field
		}
	}
	if plain, ok := err.(*ParseError); ok && plain.Field == p.Field {
		said := *plain
		said.Field = ""
		err = &said
	}
	p.Text = escape.Text(err.Error())
	return p
}

// Error returns "source: subject: field: text", leaving out what is empty.
func (p Problem) Error() string {
	var b strings.Builder
	for _, s := range []string{p.Source, p.Subject, p.Field} {
		if s == "" {
			continue
		}
		b.WriteString(escape.Text(s))
		b.WriteString(": ")
	}
	if p.Text != "" {
		b.WriteString(escape.Text(p.Text))
	} else {
		b.WriteString(string(p.Code))
	}
	if p.Count > 1 {
		b.WriteString(" (" + strconv.Itoa(p.Count) + " times)")
	}
	return b.String()
}

// Is reports whether the Problem's code stands for target, or for the same code as target.
func (p Problem) Is(target error) bool {
	if p.Code == CodeOlder && target == errors.ErrUnsupported {
		return true // as ErrOlder
	}
	for _, s := range sentinels {
		if s.code == p.Code && s.err == target {
			return true
		}
	}
	return false
}
