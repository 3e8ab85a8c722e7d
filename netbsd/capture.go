// SPDX-License-Identifier: Apache-2.0

package netbsd

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/limit"
)

// A Capture is what the text that modstat(8) prints says, of any generation.
type Capture struct {
	// Rows are the modules, in order.
	Rows []Stat
	// Lines are the lines they stand on, counted from 1.
	Lines []int
	// Bad are the lines that make no sense, at most 100; BadCount is how many there were.
	Bad      []*fact.ParseError
	BadCount int
}

const maxCapture = 16 << 20

// defaultColumns are those of a row without a header.
var defaultColumns = []string{"NAME", "CLASS", "SOURCE", "REFS", "SIZE", "REQUIRES"}

// ParseCapture reads the output of modstat. Which columns there are is told by the header. The
// error is fact.ErrTooLarge, or a *fact.ParseError when no line is modstat's.
func ParseCapture(text string) (*Capture, error) {
	if len(text) > maxCapture {
		return nil, limit.TooLarge("modstat", maxCapture)
	}
	c := &Capture{}
	columns, known := defaultColumns, false
	n := 0
	for line := range strings.SplitSeq(text, "\n") {
		n++
		words := strings.Fields(line)
		if len(words) == 0 || prompt(line) {
			continue
		}
		if isHeader(words) {
			columns, known = words, true
			continue
		}
		s, err := row(columns, words)
		if err != nil {
			c.BadCount++
			if len(c.Bad) < limit.Problems {
				c.Bad = append(c.Bad, &fact.ParseError{Source: "modstat", Line: n, Reason: err.Error()})
			}
			continue
		}
		c.Rows, c.Lines = append(c.Rows, s), append(c.Lines, n)
	}
	if !known && len(c.Rows) == 0 {
		return nil, &fact.ParseError{Source: "modstat", Reason: "neither a header nor a row of modstat"}
	}
	return c, nil
}

// LooksLikeCapture reports whether text is the output of modstat: it has its header.
func LooksLikeCapture(text string) bool {
	for line := range strings.SplitSeq(text, "\n") {
		if isHeader(strings.Fields(line)) {
			return true
		}
	}
	return false
}

func isHeader(words []string) bool {
	return len(words) >= 5 && words[0] == "NAME" && words[1] == "CLASS" && words[2] == "SOURCE"
}

func prompt(line string) bool {
	i := strings.Index(line, "modstat")
	return i == 0 || i > 0 && strings.ContainsAny(line[:i], "#$%>") || strings.HasSuffix(strings.TrimSpace(line), "#")
}

func row(columns, words []string) (Stat, error) {
	var s Stat
	if len(words) < len(columns)-1 || len(words) > len(columns) {
		return s, fmt.Errorf("%d columns, not %d", len(words), len(columns))
	}
	if !slices.Contains(classes, words[1]) || !slices.Contains(sources, words[2]) {
		return s, fmt.Errorf("%.40q and %.40q are no class and source of modstat", words[1], words[2])
	}
	for i, word := range words {
		if err := s.column(columns[i], word); err != nil {
			return s, err
		}
	}
	if len(words) < len(columns) { // nothing is printed for no requirements by the oldest modstat
		s.Required = []string{}
	}
	return s, nil
}

func (s *Stat) column(name, word string) error {
	switch name {
	case "NAME":
		s.Name = escape.UTF8(word)
	case "CLASS":
		s.Class = word
	case "SOURCE":
		s.Source = word
	case "FLAG", "FLAGS":
		s.Flags = captureFlags(word)
	case "REFS":
		n, err := strconv.ParseInt(word, 10, 32)
		if err != nil {
			return fmt.Errorf("reference count %.40q", word)
		}
		s.Disabled = n == -1
		if !s.Disabled {
			s.Refs = fact.CountOf(n)
		}
	case "ADDRESS":
		a, err := strconv.ParseUint(strings.TrimPrefix(word, "0x"), 16, 64)
		if err != nil && word != "-" {
			return fmt.Errorf("address %.40q", word)
		}
		s.Address = a
	case "SIZE":
		n, err := strconv.ParseInt(word, 10, 64)
		if err != nil && word != "-" {
			return fmt.Errorf("size %.40q", word)
		}
		if err == nil && n > 0 {
			s.Size = fact.CountOf(n)
		}
	case "REQUIRES":
		s.Required = []string{}
		if word != "-" {
			s.Required = splitNames(word)
		}
	}
	return nil
}

func captureFlags(word string) []string {
	out := []string{}
	for _, c := range word {
		switch c {
		case '-':
		case 'f':
			out = append(out, "must_force")
		case 'a':
			out = append(out, "auto_loaded")
		default:
			out = append(out, escape.UTF8(string(c)))
		}
	}
	return out
}
