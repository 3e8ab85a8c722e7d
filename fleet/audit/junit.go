// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"encoding/xml"
	"strings"
)

type (
	junitSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Name     string       `xml:"name,attr"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Errors   int          `xml:"errors,attr"`
		Skipped  int          `xml:"skipped,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Errors   int         `xml:"errors,attr"`
		Skipped  int         `xml:"skipped,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Name    string      `xml:"name,attr"`
		Class   string      `xml:"classname,attr"`
		Failure *junitCause `xml:"failure"`
		Error   *junitCause `xml:"error"`
		Skipped *junitCause `xml:"skipped"`
	}
	junitCause struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr,omitempty"`
		Text    string `xml:",chardata"`
	}
)

// JUnit returns the report as JUnit XML: a suite for each target, a case for each row. An unknown row is an error, a
// row with a valid exception is skipped.
func (r *Report) JUnit() ([]byte, error) {
	all := junitSuites{Name: "lkm audit"}
	index := make(map[string]int)
	for i := range r.Rows {
		row := &r.Rows[i]
		at, ok := index[row.Target]
		if !ok {
			at = len(all.Suites)
			index[row.Target] = at
			all.Suites = append(all.Suites, junitSuite{Name: row.Target})
		}
		s := &all.Suites[at]
		s.Cases = append(s.Cases, junitCaseOf(row, s))
		s.Tests++
	}
	for _, s := range all.Suites {
		all.Tests, all.Failures = all.Tests+s.Tests, all.Failures+s.Failures
		all.Errors, all.Skipped = all.Errors+s.Errors, all.Skipped+s.Skipped
	}
	out, err := xml.MarshalIndent(all, "", "  ")
	if err != nil {
		return nil, err
	}
	return append([]byte(xml.Header), append(out, '\n')...), nil
}

// junitCaseOf is the case of a row, counted in its suite.
func junitCaseOf(row *Row, s *junitSuite) junitCase {
	c := junitCase{Name: strings.TrimSpace(row.Rule + " " + row.Subject), Class: string(row.Kind)}
	why := &junitCause{Message: row.message(), Type: string(row.Severity), Text: strings.Join(row.Remedies, "\n")}
	switch row.Status {
	case Fail:
		s.Failures++
		c.Failure = why
	case Unknown:
		s.Errors++
		c.Error = why
	case Excepted:
		s.Skipped++
		c.Skipped = &junitCause{Message: row.message() + "; exception: " + row.Exception.text()}
	}
	return c
}
