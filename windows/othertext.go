// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/capture"
)

// Sources of captures of tools that do not come with Windows.
const (
	SourceAutoruns   = "autoruns"    // autorunsc -c, or Get-PSAutorun
	SourceDriverList = "driver_list" // "name, display name, Driver, state, start," rows
	SourceOsquery    = "osquery"     // osqueryi --line of the table drivers
)

// ReadAutoruns reads the driver rows of autorunsc's CSV, or the driver records of Get-PSAutorun.
// Rows of other categories are no drivers.
func ReadAutoruns(text string, r *fact.Report) fact.Capture[Driver] {
	return autorunsRows(consoleText(text)).done(r)
}

func autorunsRows(text string) *captureBuilder {
	if c := autorunsCSV(text); c != nil {
		return c
	}
	b := newCapture(SourceAutoruns, text)
	b.cut = false // a record says when it is whole
	for _, r := range b.records(text, ":") {
		name, sub, ok := serviceKey(r.get("Path"))
		if !ok || sub != "" || r.get("Item") != "ImagePath" || r.get("Category") != "Drivers" {
			b.stray(r.line, r.pairs[0].key)
			continue
		}
		b.sure = true
		e, _ := b.driver(name, r.get("Value"))
		for _, k := range []string{"Size", "LastWriteTime", "Version"} {
			e.Driver.column(strings.ToLower(k[:1])+k[1:], r.get(k))
		}
	}
	return b
}

// autorunsCSV returns nil when the text has no header of autorunsc.
func autorunsCSV(text string) *captureBuilder {
	b := newCapture(SourceAutoruns, text)
	var header []string
	for i, row := range b.csvRows(text) {
		if header == nil {
			if len(row) > 5 && slices.Contains(row, "Entry Location") && slices.Contains(row, "Category") {
				header = row
			}
			continue
		}
		if len(row) != len(header) {
			b.stray(i+1, strings.Join(row, ","))
			continue
		}
		get := column(header, row)
		if !strings.EqualFold(get("Category"), "Drivers") || get("Entry") == "" {
			continue
		}
		e, s := b.driver(get("Entry"), get("Image Path"))
		s.DisplayName = get("Description")
		for _, k := range []string{"Company", "Signer", "Version", "Enabled", "Launch String"} {
			e.Driver.column(fold(strings.ReplaceAll(k, " ", "_")), get(k))
		}
	}
	if header == nil {
		return nil
	}
	b.sure = b.rows > 0
	return b
}

// ReadDriverList reads rows of "name, display name, Driver, state, start,".
func ReadDriverList(text string, r *fact.Report) fact.Capture[Driver] {
	text = consoleText(text)
	b := newCapture(SourceDriverList, text)
	b.strays = capture.Scan(text, capture.Form{Tool: SourceDriverList, Source: SourceDriverList}, r, b.driverListRow)
	return b.done(r)
}

func (b *captureBuilder) driverListRow(line string) error {
	if isRuler(strings.TrimSpace(line)) {
		return nil
	}
	f := strings.Split(strings.TrimRight(strings.TrimSpace(line), ","), ",")
	for i := range f {
		f[i] = strings.TrimSpace(f[i])
	}
	k := len(f)
	if k < 5 || f[k-3] != "Driver" || !serviceName(f[0]) || meaningOf(stateWords[:], f[k-2]) == "" || b.full() {
		return noRow(line)
	}
	e, s := b.driver(f[0], "")
	s.DisplayName = strings.Join(f[1:k-3], ", ")
	e.setState(s, f[k-2])
	s.setStart(f[k-1])
	return nil
}

// ReadOsquery reads osquery's table of drivers in its line form: one record a device. A service
// that is given as a driver object is none.
func ReadOsquery(text string, r *fact.Report) fact.Capture[Driver] {
	return osqueryRows(consoleText(text)).done(r)
}

func osqueryRows(text string) *captureBuilder {
	b := newCapture(SourceOsquery, text)
	b.cut = false
	for _, r := range b.records(text, "=") {
		service := r.get("service")
		if service == "" || r.get("service_key") == "" && r.get("device_id") == "" || b.full() {
			b.stray(r.line, r.pairs[0].key)
			continue
		}
		b.sure = true
		d := Device{
			Instance: r.get("device_id"), Description: r.get("description"), FriendlyName: r.get("device_name"),
			Class: r.get("class"),
			INF:   r.get("inf"), Provider: r.get("provider"), Manufacturer: r.get("manufacturer"), DriverVersion: r.get("version"),
			DriverDate: unixDay(r.get("date")),
		}
		switch r.get("signed") {
		case "1":
			d.Signed = fact.Yes
		case "0":
			d.Signed = fact.No
		}
		var e *entry
		e, d.Service = b.osqueryEntry(service, r.get("image"))
		e.Driver.Devices = append(e.Driver.Devices, d)
	}
	return b
}

// osqueryEntry finds or adds the entry of a device's service, and returns it with the service's name.
func (b *captureBuilder) osqueryEntry(service, image string) (*entry, string) {
	object := ""
	if strings.HasPrefix(service, `\Driver\`) || strings.HasPrefix(service, `\FileSystem\`) {
		object, service = service, baseName(service)
	}
	if i, ok := b.index["service "+fold(service)]; ok && image == "" {
		b.rows++
		e := &b.entries[i]
		return e, e.Driver.Services[0].Name
	}
	e, s := b.driver(service, image)
	s.ObjectName = object
	return e, s.Name
}

func unixDay(s string) string {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n <= 0 || n > 1<<40 {
		return ""
	}
	return time.Unix(n, 0).UTC().Format("2006-01-02")
}
