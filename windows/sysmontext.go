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

// SourceSysmon is the source of drivers whose loading Sysmon logged.
const SourceSysmon = "sysmon"

// sysmonDriverLoaded is the id of Sysmon's event of a driver that was loaded.
const sysmonDriverLoaded = "6"

// ReadSysmon reads Sysmon's events 6, "Driver loaded", as the message of Event Viewer, as XML, or as JSON with the
// event's data by name. An event says that the driver was loaded once: whether it is now is unknown.
func ReadSysmon(text string, r *fact.Report) fact.Capture[Driver] {
	text = readConsole(text, SourceSysmon, r)
	b := newCapture(SourceSysmon, text)
	switch {
	case strings.HasPrefix(strings.TrimSpace(text), "<"):
		b.sysmonXML(text)
	default:
		b.Cut = false
		for _, o := range b.Objects(text, capture.ObjectForm{Header: sysmonHeader, Separators: ":"}) {
			if !b.sysmonEvent(o.Get) {
				b.Stray(o.Line, o.Text)
			}
		}
	}
	if b.Sure = b.rows > 0; b.Sure {
		r.Add(fact.Problem{Source: SourceSysmon, Field: "modules", Code: fact.CodeOther,
			Text: "events say what was loaded at some time: they are not a list of what is loaded"})
	}
	return b.done(r)
}

func sysmonHeader(columns []string) bool {
	return slices.Contains(columns, "ImageLoaded") && slices.Contains(columns, "Hashes")
}

// sysmonEvent adds a driver; false for another event. The event of a DLL has the same names, and a process besides.
func (b *captureBuilder) sysmonEvent(get func(string) string) bool {
	path := get("ImageLoaded")
	if !hasDrive(path) || get("Hashes") == "" && get("SignatureStatus") == "" || get("ProcessId") != "" ||
		get("ProcessGuid") != "" || get("Image") != "" || b.full() {
		return false
	}
	b.rows++
	e := b.entry(capturePaths.key(path), baseName(path), path)
	e.Driver.Columns = nil // of an earlier event about the same file
	for _, k := range []string{"UtcTime", "Signed", "Signature", "SignatureStatus"} {
		e.Driver.column(strings.ToLower(k[:1])+k[1:], get(k))
	}
	hashes := make(map[string]string)
	for h := range strings.SplitSeq(get("Hashes"), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(h), "=")
		hashes[name] = value
	}
	b.digests(e, func(name string) string { return hashes[name] })
	return true
}

// sysmonXML reads Event elements, one after the other, or in an element Events.
func (b *captureBuilder) sysmonXML(text string) {
	b.Cut = false
	d := xml.NewDecoder(strings.NewReader(text))
	d.CharsetReader = func(_ string, in io.Reader) (io.Reader, error) { return in, nil } // it was decoded already
	var id, name string
	data := map[string]string{}
	depth, inID, inData := 0, false, false
	for !b.full() {
		token, err := d.Token()
		if err != nil {
			b.Cut = depth != 0 || !errors.Is(err, io.EOF)
			return
		}
		switch t := token.(type) {
		case xml.StartElement:
			depth++
			inID, inData = t.Name.Local == "EventID", t.Name.Local == "Data"
			if t.Name.Local == "Event" {
				id, data = "", map[string]string{}
			}
			name = ""
			for _, a := range t.Attr {
				if a.Name.Local == "Name" {
					name = a.Value
				}
			}
		case xml.CharData:
			switch {
			case inID && len(id) < 16:
				id += string(t)
			case inData && name != "" && len(data) < 64 && len(data[name])+len(t) <= capture.MaxValue:
				data[name] += string(t)
			}
		case xml.EndElement:
			depth--
			inID, inData = false, false
			get := func(name string) string { return strings.TrimSpace(data[name]) }
			if t.Name.Local == "Event" && (strings.TrimSpace(id) != sysmonDriverLoaded || !b.sysmonEvent(get)) {
				line, _ := d.InputPos()
				b.Stray(line, "event "+strings.TrimSpace(id))
			}
		}
	}
}
