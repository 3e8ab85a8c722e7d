// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"

	"github.com/kernelext/kernelext/internal/capture"
)

// pnputilXML reads pnputil /enum-drivers /format xml: a Driver element for each package, or /enum-devices: a Device
// element for each device. Of deeper elements, such as the candidates in MatchingDrivers, which have the same names,
// only how deep they are counts.
func pnputilXML(text string) *captureBuilder {
	b := newCapture(SourcePnPUtil, text)
	b.Cut = false
	d := xml.NewDecoder(strings.NewReader(text))
	d.CharsetReader = func(_ string, in io.Reader) (io.Reader, error) { return in, nil } // it was decoded already
	var p pnpElement
	root, depth := false, 0
	for !b.full() {
		token, err := d.Token()
		if err != nil {
			b.Cut = depth != 0 || !errors.Is(err, io.EOF)
			break
		}
		switch t := token.(type) {
		case xml.StartElement:
			if depth++; depth == 1 && t.Name.Local != "PnpUtil" {
				return b
			}
			root = true
			p.start(depth, t)
		case xml.CharData:
			p.text(depth, t)
		case xml.EndElement:
			if depth == 2 && !b.pnpElement(&p) {
				line, _ := d.InputPos()
				b.Stray(line, p.kind)
			}
			depth--
		}
	}
	b.Sure = root && b.rows > 0
	return b
}

// A pnpElement is a Driver or a Device while it is read.
type pnpElement struct {
	kind, id string
	key      string // of the element below that is open
	values   map[string]string
	get      func(name string) string // of values, or of a row
}

func (p *pnpElement) start(depth int, t xml.StartElement) {
	switch depth {
	case 2:
		values := map[string]string{}
		*p = pnpElement{kind: t.Name.Local, values: values,
			get: func(name string) string { return strings.TrimSpace(values[name]) }}
		for _, a := range t.Attr {
			if a.Name.Local == "DriverName" || a.Name.Local == "InstanceId" {
				p.id = a.Value
			}
		}
	case 3:
		p.key = t.Name.Local
	}
}

func (p *pnpElement) text(depth int, t xml.CharData) {
	if depth == 3 && len(p.values[p.key])+len(t) <= capture.MaxValue && len(p.values) < 64 {
		p.values[p.key] += string(t)
	}
}

// pnpElement adds a package or a device; false if it is neither.
func (b *captureBuilder) pnpElement(p *pnpElement) bool {
	if p.id == "" {
		return false
	}
	get := p.get
	guid := strings.Trim(fold(get("ClassGuid")), "{}")
	switch {
	case p.kind == "Driver":
		date, version, ok := pnpVersion(get("DriverVersion"))
		k := Package{Name: p.id, INF: p.id, OriginalINF: get("OriginalName"), Provider: get("ProviderName"),
			Class: get("ClassName"), ClassGUID: guid, Signer: get("SignerName"), Catalog: get("CatalogFile")}
		if ok {
			k.Date, k.Version = usDate(date), version
		}
		if e := b.addPackage(k); !ok {
			e.Driver.column("driverVersion", get("DriverVersion"))
		}
	case p.kind == "Device":
		b.rows++
		name := get("DeviceDescription")
		if name == "" {
			name = p.id
		}
		e := b.entry("device "+fold(p.id), name, "")
		e.Driver.Devices = append(e.Driver.Devices, Device{Instance: p.id, Description: get("DeviceDescription"),
			Class: get("ClassName"), ClassGUID: guid, Manufacturer: get("ManufacturerName"), INF: get("DriverName")})
		e.Driver.column("status", get("Status"))
	default:
		return false
	}
	return true
}
