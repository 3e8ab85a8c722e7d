// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/capture"
)

// SourceMSInfo is the source of a capture of msinfo32.
const SourceMSInfo = "msinfo32"

// msinfoColumns is how many columns the section of system drivers has: name, description, file,
// type, started, start mode, state, status, error control, accept pause, accept stop.
const msinfoColumns = 11

// ReadMSInfo reads the section of system drivers of a report that msinfo32 wrote, as text (/report)
// or as XML (/nfo). The section is found by its rows, which are localized: eleven columns whose third
// is a path.
func ReadMSInfo(text string, r *fact.Report) fact.Capture[Driver] {
	return msinfoRows(readConsole(text, SourceMSInfo, r)).done(r)
}

func msinfoRows(text string) *captureBuilder {
	if strings.HasPrefix(strings.TrimLeft(text, " \t\r\n"), "<") {
		return msinfoXML(text)
	}
	b := newCapture(SourceMSInfo, text)
	b.Cut = false // the section ends long before the text does
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
				b.msinfoRow(n, f)
			}
		case inSection && strings.TrimSpace(line) != "":
			b.Stray(n, line)
		}
	}
	b.Sure = b.rows > 0 && sections > 1
	return b
}

// msinfoXML reads a .nfo: a Data element for each row, with an element for each column.
func msinfoXML(text string) *captureBuilder {
	b := newCapture(SourceMSInfo, text)
	d := xml.NewDecoder(strings.NewReader(text))
	d.CharsetReader = func(_ string, in io.Reader) (io.Reader, error) { return in, nil } // it was decoded already
	var row []string
	root, inRow, depth := "", false, 0
	for !b.full() {
		tok, err := d.RawToken()
		if err != nil {
			b.Cut = !errors.Is(err, io.EOF) || depth != 0
			break
		}
		switch t := tok.(type) {
		case xml.StartElement:
			if root == "" {
				root = t.Name.Local
			}
			depth++
			switch {
			case t.Name.Local == "Data":
				row, inRow = row[:0], true
			case inRow && len(row) <= msinfoColumns:
				row = append(row, "")
			}
		case xml.CharData:
			if n := len(row); inRow && n > 0 && len(row[n-1])+len(t) <= capture.MaxValue {
				row[n-1] += string(t)
			}
		case xml.EndElement:
			depth--
			if t.Name.Local != "Data" {
				continue
			}
			for i := range row {
				row[i] = strings.TrimSpace(row[i])
			}
			if inRow = false; len(row) == msinfoColumns && serviceName(row[0]) && driverFile(row[2]) {
				line, _ := d.InputPos()
				b.msinfoRow(line, row)
			}
		}
	}
	b.Sure = b.rows > 0 && root == "MsInfo"
	return b
}

// driverFile reports whether s is a path, or the mark of a missing one, as the section has them.
func driverFile(s string) bool {
	return isDrivePath(s) || strings.HasPrefix(s, `\`) || s == ""
}

// msinfoMoved reports whether the columns of a row are in another order: the start mode is a word for yes or no, which
// other columns of the row have in its language.
func msinfoMoved(f []string) bool { return f[5] != "" && (f[5] == f[9] || f[5] == f[10]) }

// msinfoRow adds the row in line n.
func (b *captureBuilder) msinfoRow(n int, f []string) {
	if msinfoMoved(f) {
		b.Stray(n, strings.Join(f, " "))
		return
	}
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
	if w := fold(f[8]); slices.Contains(errorControls, w) {
		s.ErrorControl = w
	} else {
		e.Driver.column("errorControl", f[8])
	}
	e.Driver.column("acceptPause", f[9])
	e.Driver.column("acceptStop", f[10])
}
