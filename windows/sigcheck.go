// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/capture"
)

// SourceSigcheck is the source of a capture of sigcheck.
const SourceSigcheck = "sigcheck"

// ReadSigcheck reads the CSV that sigcheck -c and -ct print of files. Those that do not end in .sys are not drivers.
// The text does not say which files are in use.
func ReadSigcheck(text string, r *fact.Report) fact.Capture[Driver] {
	return sigcheckRows(readConsole(text, SourceSigcheck, r)).done(r)
}

func sigcheckRows(text string) *captureBuilder {
	b := newCapture(SourceSigcheck, text)
	comma := text
	if strings.Contains(text, "\tVerified\t") { // sigcheck -ct
		comma = tabsToCSV(text)
	}
	for i, line := range strings.Split(comma, "\n") {
		if !sigcheckHeader(capture.CSVHeader(line)) {
			continue
		}
		for _, o := range b.CSVObjects(comma, i) {
			if !b.sigcheckRow(o.Get) {
				b.Stray(o.Line, o.Text)
			}
		}
		break
	}
	b.Sure = b.Sure && b.rows > 0
	return b
}

// tabsToCSV turns values that tabs divide into quoted ones that commas divide.
func tabsToCSV(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if line = strings.TrimRight(line, "\r"); strings.Contains(line, "\t") {
			line = `"` + strings.ReplaceAll(strings.ReplaceAll(line, `"`, `""`), "\t", `","`) + `"`
		}
		lines[i] = line
	}
	return strings.Join(lines, "\n")
}

func sigcheckHeader(columns []string) bool {
	return slices.Contains(columns, "Path") && slices.Contains(columns, "Verified") && slices.Contains(columns,
		"Publisher")
}

// isVerdict reports whether a value is one of those that are never a publisher's name.
func isVerdict(s string) bool { return s == "Signed" || s == "Unsigned" }

// sigcheckRow adds a file; false if the row has no path. "n/a" is a value that the file does not have.
func (b *captureBuilder) sigcheckRow(column func(string) string) bool {
	get := func(name string) string {
		if v := column(name); !strings.EqualFold(v, "n/a") {
			return v
		}
		return ""
	}
	path := get("Path")
	if !hasDrive(path) || b.full() || isVerdict(get("Publisher")) && !isVerdict(get("Verified")) {
		return false
	}
	if !strings.HasSuffix(fold(path), ".sys") {
		return true
	}
	b.rows++
	e := b.entry(capturePaths.key(path), baseName(path), path)
	for _, k := range []string{"Verified", "Date", "Publisher", "Company", "Description", "Product", "Product Version",
		"File Version", "Machine Type"} {
		e.Driver.column(fold(strings.ReplaceAll(k, " ", "_")), get(k))
	}
	b.digests(e, get)
	return true
}

// hasDrive reports whether a path begins with a drive's letter.
func hasDrive(path string) bool {
	return len(path) > 3 && path[1] == ':' && path[2] == '\\' && (path[0]|0x20 >= 'a' && path[0]|0x20 <= 'z')
}
