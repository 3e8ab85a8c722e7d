// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/capture"
	"github.com/kernelext/kernelext/windows/pe"
)

// Sources of captures of tools that do not come with Windows.
const (
	SourceAutoruns   = "autoruns"    // autorunsc -c, or Get-PSAutorun
	SourceDriverList = "driver_list" // "name, display name, Driver, state, start," rows
	SourceOsquery    = "osquery"     // osqueryi's table drivers, in any of its forms
)

// ReadAutoruns reads the driver rows of autorunsc's CSV, or the driver records of Get-PSAutorun.
// Rows of other categories are not drivers.
func ReadAutoruns(text string, r *fact.Report) fact.Capture[Driver] {
	return autorunsRows(readConsole(text, SourceAutoruns, r)).done(r)
}

func autorunsRows(text string) *captureBuilder {
	if c := autorunsCSV(text); c != nil {
		return c
	}
	b := newCapture(SourceAutoruns, text)
	b.Cut = false // a record says when it is whole
	for _, r := range b.Records(text, ":") {
		name, sub, ok := serviceKey(r.Get("Path"))
		if !ok || sub != "" || r.Get("Item") != "ImagePath" || r.Get("Category") != "Drivers" {
			b.Stray(r.Line, r.Pairs[0].Key)
			continue
		}
		b.Sure = true
		e, _ := b.driver(name, r.Get("Value"))
		for _, k := range []string{"Size", "LastWriteTime", "Version"} {
			e.Driver.column(strings.ToLower(k[:1])+k[1:], r.Get(k))
		}
	}
	return b
}

// autorunsCSV returns nil when the text has no header of autorunsc.
func autorunsCSV(text string) *captureBuilder {
	b := newCapture(SourceAutoruns, text)
	var header []string
	for i, row := range b.CSVRows(text) {
		if header == nil {
			if len(row) > 5 && slices.Contains(row, "Entry Location") && slices.Contains(row, "Category") {
				header = row
			}
			continue
		}
		if len(row) != len(header) {
			b.Stray(i+1, strings.Join(row, ","))
			continue
		}
		get := capture.Column(header, row)
		if !strings.EqualFold(get("Category"), "Drivers") || get("Entry") == "" {
			continue
		}
		if hasDrive(get("Company")) || hasDrive(get("Signer")) || hasDrive(get("Version")) {
			b.Stray(i+1, strings.Join(row, ",")) // the columns are in another order
			continue
		}
		b.autorunsRow(get)
	}
	if header == nil {
		return nil
	}
	b.Sure = b.rows > 0
	return b
}

// missingFile is what autoruns puts before the path of a file that it did not find.
const missingFile = "File not found: "

// autorunsRow adds a driver. The launch string is the registry's ImagePath, the image path what autoruns made of it.
func (b *captureBuilder) autorunsRow(get func(string) string) {
	path, missing := strings.CutPrefix(get("Image Path"), missingFile)
	image := get("Launch String")
	if image == "" {
		image = path
	}
	e, s := b.driver(get("Entry"), image)
	s.DisplayName = get("Description")
	for _, k := range []string{"Time", "Company", "Signer", "Version", "Enabled", "Launch String"} {
		e.Driver.column(fold(strings.ReplaceAll(k, " ", "_")), get(k))
	}
	if missing {
		e.Driver.column("image_file", "not found")
	}
	b.digests(e, get)
}

// digests takes the digests that the tools of Sysinternals print: PESHA is the Authenticode digest, IMP the import
// hash.
func (b *captureBuilder) digests(e *entry, get func(string) string) {
	of := func(size int, names ...string) string {
		for _, name := range names {
			if v := fold(get(name)); len(v) == 2*size && strings.Trim(v, "0123456789abcdef") == "" {
				return v
			}
		}
		return ""
	}
	h := pe.Hashes{MD5: of(16, "MD5"), SHA1: of(20, "SHA-1", "SHA1"), SHA256: of(32, "SHA-256", "SHA256"),
		AuthentihashSHA1: of(20, "PESHA-1", "PESHA1"), AuthentihashSHA256: of(32, "PESHA-256", "PESHA256"),
		Imphash: of(16, "IMP", "IMPHASH")}
	if h != (pe.Hashes{}) {
		e.Driver.Hashes = &h
	}
}

// ReadDriverList reads rows of "name, display name, Driver, state, start,".
func ReadDriverList(text string, r *fact.Report) fact.Capture[Driver] {
	text = readConsole(text, SourceDriverList, r)
	b := newCapture(SourceDriverList, text)
	b.Strays = capture.Scan(text, capture.Form{Tool: SourceDriverList, Source: SourceDriverList}, r, b.driverListRow)
	return b.done(r)
}

func (b *captureBuilder) driverListRow(line string) error {
	if capture.IsRuler(strings.TrimSpace(line)) {
		return nil
	}
	f := strings.Split(strings.TrimRight(strings.TrimSpace(line), ","), ",")
	for i := range f {
		f[i] = strings.TrimSpace(f[i])
	}
	k := len(f)
	if k < 5 || f[k-3] != "Driver" || !serviceName(f[0]) || meaningOf(stateWords[:], f[k-2]) == "" || b.full() {
		return capture.NoRow(line)
	}
	e, s := b.driver(f[0], "")
	s.DisplayName = strings.Join(f[1:k-3], ", ")
	e.setState(s, f[k-2])
	s.setStart(f[k-1])
	return nil
}

// ReadOsquery reads osquery's table of drivers as lines, JSON, CSV or a box: one record a device. A service that is
// given as a driver object is not a service. A device without a service has no driver, which is reported.
func ReadOsquery(text string, r *fact.Report) fact.Capture[Driver] {
	return osqueryRows(readConsole(text, SourceOsquery, r)).done(r)
}

func osqueryRows(text string) *captureBuilder {
	b := newCapture(SourceOsquery, text)
	b.Cut = false
	for _, o := range b.Objects(text, capture.ObjectForm{Header: osqueryHeader, Separators: "="}) {
		service := o.Get("service")
		if service == "" || o.Get("service_key") == "" && o.Get("device_id") == "" || b.full() {
			b.Stray(o.Line, o.Text)
			continue
		}
		b.Sure = true
		d := Device{
			Instance: o.Get("device_id"), Description: o.Get("description"), FriendlyName: o.Get("device_name"),
			Class: o.Get("class"), INF: o.Get("inf"), Provider: o.Get("provider"), Manufacturer: o.Get("manufacturer"),
			DriverVersion: o.Get("version"), DriverDate: unixDay(o.Get("date")),
		}
		switch o.Get("signed") {
		case "1":
			d.Signed = fact.Yes
		case "0":
			d.Signed = fact.No
		}
		var e *entry
		e, d.Service = b.osqueryEntry(service, o.Get("image"))
		e.Driver.Devices = append(e.Driver.Devices, d)
	}
	return b
}

// osqueryHeader reports whether the columns are those of the table drivers.
func osqueryHeader(columns []string) bool {
	return slices.Contains(columns, "service") &&
		(slices.Contains(columns, "service_key") || slices.Contains(columns, "device_id"))
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
