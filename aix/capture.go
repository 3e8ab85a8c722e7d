// SPDX-License-Identifier: Apache-2.0

package aix

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/capture"
	"github.com/kernelext/kernelext/internal/lazy"
)

var (
	dataRow = lazy.Regexp{Pattern: `^\s*([0-9a-f]{1,16})\s+([0-9a-f]{1,16})\s+([0-9a-f]{1,16})\s+` +
		`([0-9a-f]{1,16})\s+(/.*)$`}
	plainRow = lazy.Regexp{Pattern: `^\s*([0-9a-f]{1,16})\s+([0-9a-f]{1,16})\s+(/.*)$`}
)

// ReadGenkex reads the text that genkex, genkex -d or genkld prints, with all that it says. The header says that the
// text is theirs. A path may occur more than once. A line that is not a row is reported.
func ReadGenkex(text string, r *fact.Report) fact.Capture[fact.Other] {
	var c fact.Capture[fact.Other]
	form := capture.Form{Tool: "genkex", Source: SourceGenkex, Columns: []string{"address", "Size", "File"}}
	c.Stray = capture.Scan(text, form, r, func(line string) error {
		if isHeader(line) {
			c.Sure = true
			return nil
		}
		if strings.HasPrefix(line, "genkld") { // as somebody typed it
			return nil
		}
		m, ok := row(line)
		if !ok {
			return fmt.Errorf("%.80q is not a row of genkex", line)
		}
		c.Records = append(c.Records, m)
		return nil
	})
	if !c.Sure {
		c.Records = nil // numbers and a path prove nothing
	}
	c.Rows = len(c.Records)
	outcome := fact.OutcomeOK
	if c.Stray > 0 {
		outcome = fact.OutcomePartial
	}
	r.Source(SourceGenkex, outcome, fact.CountOf(int64(c.Rows)), nil)
	return c
}

// isHeader recognizes the header. Older systems say "Virtual Address".
func isHeader(line string) bool {
	l := strings.ToLower(line)
	return (strings.Contains(l, "text address") || strings.Contains(l, "virtual address")) &&
		strings.Contains(l, "size") && strings.Contains(l, "file")
}

// row reads a line of genkex -d or of genkex.
func row(line string) (Record, bool) {
	if m := dataRow.FindStringSubmatch(line); m != nil {
		r := record(m[5], address(m[1]), hexCount(m[2]))
		r.Own.AddCount("dataSize", hexCount(m[4]))
		r.Own.AddAddress(fieldDataAddress, address(m[3]))
		return r, true
	}
	if m := plainRow.FindStringSubmatch(line); m != nil {
		return record(m[3], address(m[1]), hexCount(m[2])), true
	}
	return Record{}, false
}

func address(s string) fact.Address {
	n, _ := strconv.ParseUint(s, 16, 64)
	return fact.Address(n)
}

func hexCount(s string) fact.Count {
	n, err := strconv.ParseInt(s, 16, 64)
	if err != nil {
		return fact.Count{}
	}
	return fact.CountOf(n)
}
