// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"strings"
)

// SourceMSInfo is the source of a capture of msinfo32.
const SourceMSInfo = "msinfo32"

// msinfoColumns is how many columns the section of system drivers has: name, description, file,
// type, started, start mode, state, status, error control, accept pause, accept stop.
const msinfoColumns = 11

// ParseMSInfo reads the section of system drivers of a report that msinfo32 /report wrote. The
// section is found by its rows, which are localised: eleven columns whose third is a path.
func ParseMSInfo(text string) *Capture {
	b := newCapture(SourceMSInfo, text)
	b.c.Truncated = false // the section ends long before the text does
	inSection, sections := false, 0
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimRight(line, "\r\n")
		if strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]") {
			inSection = false
			sections++
			continue
		}
		f := strings.Split(strings.TrimSuffix(line, "\t"), "\t")
		switch {
		case len(f) == msinfoColumns && serviceName(f[0]) && driverFile(f[2]):
			inSection = true
			if !b.full() {
				b.msinfoRow(f)
			}
		case inSection && strings.TrimSpace(line) != "":
			b.stray(n, line)
		}
	}
	b.c.Sure = b.c.Rows > 0 && sections > 1
	return b.done()
}

// driverFile reports whether s is a path, or the mark of a missing one, as the section has them.
func driverFile(s string) bool {
	return isDrivePath(s) || strings.HasPrefix(s, `\`) || s == ""
}

func (b *captureBuilder) msinfoRow(f []string) {
	e, s := b.driver(f[0], f[2])
	s.DisplayName = f[1]
	s.setType(f[3])
	if s.Type == "" {
		e.Driver.column("driverType", f[3])
	}
	e.Driver.column("started", f[4])
	s.setStart(f[5])
	e.setState(s, f[6])
	e.Driver.column("status", f[7])
	if w := fold(f[8]); containsString(errorControls, w) {
		s.ErrorControl = w
	} else {
		e.Driver.column("errorControl", f[8])
	}
	e.Driver.column("acceptPause", f[9])
	e.Driver.column("acceptStop", f[10])
}
