// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/capture"
)

// SourceWindowsDriver is the source of a capture of Get-WindowsDriver or of DISM.
const SourceWindowsDriver = "windows_driver"

// dismValues is how many values DISM /Get-Drivers prints of a package: published name, original file name, inbox,
// class, provider, date, version. Its labels are localized.
const dismValues = 7

// ReadWindowsDriver reads the driver packages that Get-WindowsDriver prints, as list, table, CSV or JSON, and those of
// DISM /Get-Drivers, as list or table, in any language.
func ReadWindowsDriver(text string, r *fact.Report) fact.Capture[Driver] {
	return windowsDriverRows(readConsole(text, SourceWindowsDriver, r)).done(r)
}

func windowsDriverRows(text string) *captureBuilder {
	b := newCapture(SourceWindowsDriver, text)
	list := b.Objects(text, capture.ObjectForm{Header: windowsDriverHeader, Separators: ":"})
	if len(list) == 0 {
		b = newCapture(SourceWindowsDriver, text)
	}
	for _, o := range list {
		if b.full() || !b.windowsDriver(o.Get) {
			b.Stray(o.Line, o.Text)
		}
	}
	if b.rows == 0 {
		return dismRows(text)
	}
	b.Sure = true
	return b
}

func windowsDriverHeader(columns []string) bool {
	for i := range columns {
		columns[i] = strings.TrimSpace(columns[i])
	}
	return slices.Contains(columns, "Driver") && slices.Contains(columns, "OriginalFileName")
}

// windowsDriver adds a package by the names of its properties, which are never localized.
func (b *captureBuilder) windowsDriver(get func(string) string) bool {
	inf := get("Driver")
	if !strings.HasSuffix(fold(inf), ".inf") || get("OriginalFileName") == "" && get("Inbox") == "" {
		return false
	}
	original := get("OriginalFileName")
	p := Package{Name: inf, INF: inf, OriginalINF: baseName(original), Provider: get("ProviderName"),
		Class: get("ClassName"), ClassGUID: strings.Trim(fold(get("ClassGuid")), "{}"), Date: wmiDate(get("Date")),
		Version: get("Version"), Catalog: baseName(get("CatalogFile"))}
	b.addPackage(p)
	d := b.entries[b.index[fold(inf)]].Driver
	if strings.Contains(original, `\`) {
		d.column("originalFileName", original)
	}
	for _, k := range []string{"Inbox", "BootCritical", "DriverSignature"} {
		d.column(strings.ToLower(k[:1])+k[1:], get(k))
	}
	if p.Date == "" {
		d.column("date", get("Date")) // in the words of some language, in which day and month may change places
	}
	return true
}

// dismRows reads what DISM prints: blocks of "label : value", or rows of a table of vertical lines.
func dismRows(text string) *captureBuilder {
	b := newCapture(SourceWindowsDriver, text)
	n := 0
	for line := range strings.Lines(text) {
		n++
		if strings.Count(line, "|") != dismValues-1 {
			continue
		}
		b.dismPackage(capture.PipeCells(line)) // the header and the ruler give no package
	}
	if b.rows > 0 {
		b.Sure = true
		return b
	}
	for _, r := range newCapture(SourceWindowsDriver, text).Records(text, ":") { // whose strays are titles
		values := make([]string, 0, len(r.Pairs))
		for _, p := range r.Pairs {
			values = append(values, p.Value)
		}
		if !b.dismPackage(values) && b.rows > 0 {
			b.Stray(r.Line, r.Pairs[0].Key)
		}
	}
	b.Sure = b.rows > 0
	return b
}

// dismPackage adds a package by the shapes of its values; false if they have others.
func (b *captureBuilder) dismPackage(v []string) bool {
	if len(v) != dismValues || !strings.HasSuffix(fold(v[0]), ".inf") || !strings.HasSuffix(fold(v[1]), ".inf") ||
		v[5] == "" || !dateShape(v[5]) || !versionShape(v[6]) || b.full() {
		return false
	}
	b.addPackage(Package{Name: v[0], INF: v[0], OriginalINF: v[1], Class: v[3], Provider: v[4], Version: v[6]})
	d := b.entries[b.index[fold(v[0])]].Driver
	d.column("inbox", v[2])
	d.column("date", v[5])
	return true
}
