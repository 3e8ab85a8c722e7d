// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"errors"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/capture"
)

// A reading is one text of a tool while it is read. Its records become those of the capture.
type reading struct {
	fact.Capture[Kext]
	source string
	report *fact.Report
	some   bool // the text leaves kexts out, which was reported
}

// readText gives every line of a text to row, which returns an error for a line that is not a row.
func readText(text, source string, r *fact.Report, row func(c *reading, line string) error) *reading {
	c := &reading{source: source, report: r}
	c.Records = []Record{}
	form := capture.Form{Tool: source, Source: source, Whole: true}
	if source == SourceKextstat {
		form.Columns = []string{"Index", "Refs", "Address", "Size", "Wired"}
	}
	c.Stray = capture.Scan(text, form, r, func(line string) error { return row(c, line) })
	return c
}

func (c *reading) add(m Record) { c.Records = append(c.Records, m) }

// full reports whether no more records are taken.
func (c *reading) full() bool { return len(c.Records) >= maxKexts }

// done finishes the records and reports the source.
func (c *reading) done() fact.Capture[Kext] {
	finish(c.Records, c.source)
	c.Rows = len(c.Records)
	c.report.Done(c.source, fact.CountOf(int64(c.Rows)))
	return c.Capture
}

// loadedKexts connects the records of a text that lists loaded kexts.
func (c *reading) loadedKexts() { connect(c.Records, c.source) }

// ends reports a text that ends early.
func (c *reading) ends(early bool) {
	if early {
		c.report.Problem(c.source, "", "modules", &fact.ParseError{Source: c.source,
			Reason: "the text ends early: its last row may be cut, and more may be missing"})
	}
}

// selects reports a text that leaves kexts out.
func (c *reading) selects(some bool) {
	if some && !c.some {
		c.some = true
		c.report.Add(fact.Problem{Source: c.source, Field: "modules", Code: fact.CodeOther,
			Text: "the text shows some kexts only: its command, or its form, leaves others out"})
	}
}

// isCut reports whether the last line of a text has no newline, so that its end may be missing.
func isCut(text string) bool { return text != "" && !strings.HasSuffix(text, "\n") }

// noRow is the error for a line that is not a row.
func noRow(line string) error { return errors.New(strconv.Quote(cutText(line, 60)) + " is not a row") }

func cutText(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n] + "…"
}

// noPrompt is noRow, but nil for a prompt.
func noPrompt(line string) error {
	if _, ok := capture.Prompt(strings.TrimSpace(line)); ok {
		return nil
	}
	return noRow(line)
}
