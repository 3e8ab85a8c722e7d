// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fleet/audit"
	"github.com/kernelext/kernelext/internal/escape"
)

// writeReport writes the report in the format that was asked for.
func (a *app) writeReport(r *audit.Report) error {
	write := func(b []byte, err error) error {
		if err == nil {
			_, err = a.stdout.Write(append(safeJSON(b), '\n'))
		}
		return err
	}
	switch a.flags.format {
	case "json":
		return writeJSON(a.stdout, r, "  ")
	case "sarif":
		return write(r.SARIF())
	case "junit":
		b, err := r.JUnit()
		if err == nil {
			_, err = a.stdout.Write(b)
		}
		return err
	}
	t := reportTable(r)
	if a.flags.format != "table" {
		return writeRows(a, t, r.Rows)
	}
	if a.flags.explain {
		a.explainRows(r)
	} else if len(t.rows) > 0 {
		a.print(t)
	}
	a.countRows(r)
	return nil
}

// reportTable makes a table of the rows; with a column for the machine if there are several.
func reportTable(r *audit.Report) *table {
	t := &table{head: []string{"RESULT", "RULE", "SUBJECT", "TEXT", "EFFECTIVE", "BECAUSE"}}
	many := len(r.Targets) > 1
	if many {
		t.head = append([]string{"MACHINE"}, t.head...)
	}
	for i := range r.Rows {
		row := &r.Rows[i]
		cells := []string{resultWord(row.Status), row.Rule, cmp.Or(row.Subject, none), cmp.Or(string(row.Text), none),
			cmp.Or(row.Effective, none), rowBecause(row)}
		if many {
			cells = append([]string{row.Target}, cells...)
		}
		t.rows = append(t.rows, cells)
	}
	return t
}

// resultWord is the status as the table shows it: what needs attention in capitals.
func resultWord(s audit.Status) string {
	switch s {
	case audit.Fail, audit.Unknown:
		return strings.ToUpper(string(s))
	}
	return string(s)
}

// rowBecause is why, with the place and the exception.
func rowBecause(row *audit.Row) string {
	text := strings.TrimSpace(row.Because + placeSuffix(rowPlace(row)))
	if row.Text == audit.Fail && row.Text != row.Status { // where the two answers differ
		text += "; text: " + row.TextBecause
	}
	if e := row.Exception; e != nil {
		text += fmt.Sprintf("; exception %q (%s)", e.Reason, e.Owner)
		if row.Expired {
			text += " expired " + e.Expires
		} else {
			text += " until " + e.Expires
		}
	}
	return strings.TrimPrefix(text, "; ")
}

func rowPlace(row *audit.Row) string {
	if row.Line > 0 {
		return row.File + ":" + strconv.Itoa(row.Line)
	}
	return row.File
}

// explainRows prints each row with all that is known of it.
func (a *app) explainRows(r *audit.Report) {
	for i := range r.Rows {
		row := &r.Rows[i]
		fmt.Fprintln(a.stdout, escape.Text(strings.TrimSpace(resultWord(row.Status)+"  "+row.Target+"  "+row.Rule+"  "+
			row.Subject)))
		line := func(label, text string) {
			if text != "" {
				fmt.Fprintf(a.stdout, "  %-10s %s\n", label, escape.Text(text))
			}
		}
		line("rule", strings.TrimSpace(string(row.Kind)+"  "+row.Title))
		line("severity", string(row.Severity))
		line("effective", strings.TrimSpace(row.Effective+"  "+row.Because))
		line("where", rowPlace(row))
		line("text", strings.TrimSpace(string(row.Text)+"  "+row.TextBecause))
		line("references", strings.Join(row.References, " · "))
		for _, remedy := range row.Remedies {
			line("to block", remedy)
		}
		if e := row.Exception; e != nil {
			state := "until "
			if row.Expired {
				state = "expired "
			}
			line("exception", fmt.Sprintf("%s (%s, %s%s)", e.Reason, e.Owner, state, e.Expires))
		}
	}
}

// countRows prints how many rows have which result.
func (a *app) countRows(r *audit.Report) {
	c := r.Counts
	fmt.Fprintf(a.stdout, "%s: %d fail, %d unknown, %d excepted, %d pass\n", countText(len(r.Rows), "row", "rows"),
		c.Fail, c.Unknown, c.Excepted, c.Pass)
}
