// SPDX-License-Identifier: Apache-2.0

package netbsd

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/capture"
	"github.com/kernelext/kernelext/internal/escape"
)

// defaultColumns are those of a row without a header.
var defaultColumns = []string{"NAME", "CLASS", "SOURCE", "REFS", "SIZE", "REQUIRES"}

// ReadModstat reads the text that modstat(8) of any generation prints. The header says which columns there are. A line
// that is not a row is reported.
func ReadModstat(text string, r *fact.Report) fact.Capture[Module] {
	var c fact.Capture[Module]
	var stats []moduleStat
	columns := defaultColumns
	c.Stray = capture.Scan(text, capture.Form{Tool: "modstat", Source: SourceModctl}, r, func(line string) error {
		words := strings.Fields(line)
		if isHeader(words) {
			columns, c.Sure = words, true
			return nil
		}
		s, err := row(columns, words)
		if err == nil {
			stats = append(stats, s)
		}
		return err
	})
	c.Rows, c.Records = len(stats), records(stats, true, r)
	if c.Rows > 0 {
		capture.Headed(r, SourceModctl, c.Sure)
		builtin := slices.ContainsFunc(c.Records, func(m Record) bool { return m.State == fact.StateBuiltin })
		capture.Anchored(r, SourceModctl, builtin && c.Rows > 1, "a built-in module") // modstat -n NAME
	}
	r.Done(SourceModctl, fact.CountOf(int64(c.Rows)))
	return c
}

func isHeader(words []string) bool {
	return len(words) >= 5 && words[0] == "NAME" && words[1] == "CLASS" && words[2] == "SOURCE"
}

func row(columns, words []string) (moduleStat, error) {
	var s moduleStat
	if len(words) < len(columns)-1 || len(words) > len(columns) {
		return s, fmt.Errorf("%d columns, not %d", len(words), len(columns))
	}
	if !slices.Contains(classes, words[1]) || !slices.Contains(sources, words[2]) {
		return s, fmt.Errorf("%.40q and %.40q are not a class and source of modstat", words[1], words[2])
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

func (s *moduleStat) column(name, word string) error {
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
