// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"fmt"

	"github.com/kernelext/kernelext/windows"
)

// The kinds of Windows captures.
const (
	CaptureDriverQuery CaptureKind = "driverquery" // driverquery, with and without /v and /si, table or CSV, any language
	CaptureSC          CaptureKind = "sc"          // sc query, queryex and qc
	CaptureFltmc       CaptureKind = "fltmc"       // fltmc filters and instances
	CapturePnPUtil     CaptureKind = "pnputil"     // pnputil /enum-drivers and -e, any language
	CaptureWMI         CaptureKind = "wmi"         // Win32_SystemDriver and Win32_PnPSignedDriver as list, CSV or JSON
	CaptureMSInfo      CaptureKind = "msinfo32"    // msinfo32 /report
	CaptureAutoruns    CaptureKind = "autoruns"    // autorunsc -c and Get-PSAutorun
	CaptureDriverList  CaptureKind = "driver_list" // rows of "name, display name, Driver, state, start,"
	CaptureOsquery     CaptureKind = "osquery"     // osquery's table of drivers, line form
)

// windowsReader makes a reader of captures of a parser and the name of its source.
func windowsReader(source string, parse func(string) *windows.Capture) func(string) captured {
	return func(text string) captured { return windowsCapture(parse(windows.ConsoleText(text)), source) }
}

// windowsCapture makes a Snapshot of a capture's rows.
func windowsCapture(c *windows.Capture, source string) captured {
	if c.Rows == 0 {
		return captured{}
	}
	s := &Snapshot{OS: Windows}
	for i := range c.Entries {
		m := windowsModule(&c.Entries[i], 0)
		m.State = windowsCaptureState(&c.Entries[i])
		s.Modules = append(s.Modules, m)
	}
	var r report
	outcome := OutcomeOK
	if c.Stray > 0 {
		outcome = OutcomePartial
		p := problemOf(source, "", "", c.Bad[0])
		if c.Stray > 1 {
			p.Text = fmt.Sprintf("%d lines are no rows; the first: %s", c.Stray, p.Text)
			p.Count = c.Stray
		}
		r.add(p)
	}
	if c.Truncated {
		outcome = OutcomePartial
		r.problem(source, "", "modules", &ParseError{Source: source, Reason: "the text ends within a line: its last row may be cut, and more may be missing"})
	}
	r.source(source, outcome, CountOf(int64(c.Rows)), nil)
	s.Sources, s.Problems = r.Sources, r.Problems
	return captured{snapshot: s, rows: c.Rows, stray: c.Stray, sure: c.Sure}
}

// windowsCaptureState is unknown where the text does not say, or says it in an unknown language.
func windowsCaptureState(e *windows.Entry) State {
	if e.Loaded {
		return windowsState(e)
	}
	if len(e.Driver.Packages) > 0 {
		return StateInstalled
	}
	for _, s := range e.Driver.Services {
		if s.State == "stopped" {
			return StateInstalled
		}
	}
	return ""
}
