// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kernelext/kernelext/fact"
)

// SourceWMIText is the source of a capture of Win32_SystemDriver or Win32_PnPSignedDriver.
const SourceWMIText = "wmi_text"

// ReadWMIText reads what Get-CimInstance, Get-WmiObject and wmic print of Win32_SystemDriver,
// Win32_PnPSignedDriver and services: lists (Name : value, Name=value), CSV, and JSON of
// ConvertTo-Json. Property names are never localised.
func ReadWMIText(text string, r *fact.Report) fact.Capture[Driver] {
	return wmiRows(consoleText(text)).done(r)
}

func wmiRows(text string) *captureBuilder {
	trimmed := strings.TrimLeft(text, " \t\r\n")
	switch {
	case strings.HasPrefix(trimmed, "[") || strings.HasPrefix(trimmed, "{"):
		return wmiJSON(text, trimmed)
	case wmiCSVHeader(text):
		return wmiCSV(text)
	}
	b := newCapture(SourceWMIText, text)
	for _, r := range b.records(text, ":=") {
		if !b.wmiRow(r.get) {
			b.stray(r.line, r.pairs[0].key)
		}
	}
	return b
}

// wmiKeys are the properties of which a row has at least one beside its name.
var wmiKeys = []string{"State", "Started", "StartMode", "PathName", "ServiceType"}

// wmiRow adds a driver, or a device, whose properties get returns; false when it is neither.
func (b *captureBuilder) wmiRow(get func(string) string) bool {
	if b.full() {
		return true
	}
	if inf, id := get("InfName"), get("DeviceID"); inf != "" || id != "" && get("DriverVersion") != "" {
		b.wmiDevice(get, id)
		return true
	}
	name := get("Name")
	if !serviceName(name) {
		return false
	}
	known := false
	for _, k := range wmiKeys {
		known = known || get(k) != ""
	}
	if !known {
		return false
	}
	e, s := b.driver(name, get("PathName"))
	s.DisplayName = get("DisplayName")
	e.setState(s, get("State"))
	s.setStart(get("StartMode"))
	s.setType(get("ServiceType"))
	if w := fold(get("ErrorControl")); slices.Contains(errorControls, w) {
		s.ErrorControl = w
	}
	if s.State == "" && strings.EqualFold(get("Started"), "True") {
		s.State, e.Loaded = stateRunning, true
	}
	for _, k := range []string{"Status", "Started", "ExitCode", "AcceptStop", "AcceptPause", "Description"} {
		if v := get(k); v != "" && v != s.DisplayName {
			e.Driver.column(strings.ToLower(k[:1])+k[1:], v)
		}
	}
	return true
}

func (b *captureBuilder) wmiDevice(get func(string) string, id string) {
	b.rows++
	name := get("DeviceName")
	if name == "" {
		name = get("Description")
	}
	key := id
	if key == "" {
		key = name + "|" + get("InfName")
	}
	if name == "" {
		name = key
	}
	e := b.entry("device "+fold(key), name, "")
	d := Device{
		Instance: id, Description: get("DeviceName"), FriendlyName: get("FriendlyName"), Class: get("DeviceClass"),
		ClassGUID: strings.Trim(fold(get("ClassGuid")), "{}"), Manufacturer: get("Manufacturer"), INF: get("InfName"),
		Provider: get("DriverProviderName"), DriverVersion: get("DriverVersion"),
		DriverDate: wmiDate(get("DriverDate")), Signer: get("Signer"),
	}
	if hw := get("HardWareID"); hw != "" {
		d.HardwareIDs = []string{hw}
	}
	switch fold(get("IsSigned")) {
	case "true":
		d.Signed = fact.Yes
	case "false":
		d.Signed = fact.No
	}
	e.Driver.Devices = append(e.Driver.Devices, d)
}

// wmiDate takes the day of a CIM date, 20060621000000.******+***, or of the forms that ConvertTo-Json
// has for it: 2006-06-21T00:00:00Z and /Date(1150848000000)/. A date in the words of some language
// is none.
func wmiDate(s string) string {
	if ms, ok := strings.CutPrefix(s, "/Date("); ok {
		n, err := strconv.ParseInt(strings.TrimSuffix(ms, ")/"), 10, 64)
		if err != nil || n <= 0 || n > 1<<44 {
			return ""
		}
		return time.UnixMilli(n).UTC().Format(time.DateOnly)
	}
	if len(s) > 10 && s[10] == 'T' {
		if t, err := time.Parse(time.DateOnly, s[:10]); err == nil {
			return t.Format(time.DateOnly)
		}
	}
	if len(s) < 8 || strings.Trim(s[:8], "0123456789") != "" {
		return ""
	}
	return s[:4] + "-" + s[4:6] + "-" + s[6:8]
}

// wmiCSVHeader reports whether the first line that is neither blank nor a type is a header with
// properties of drivers.
func wmiCSVHeader(text string) bool {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#TYPE") {
			continue
		}
		low := "," + strings.ReplaceAll(fold(line), `"`, "") + ","
		if !strings.Contains(low, ",") {
			return false
		}
		if strings.Contains(low, ",infname,") && strings.Contains(low, ",driverversion,") {
			return true
		}
		if !strings.Contains(low, ",name,") {
			return false
		}
		for _, k := range wmiKeys {
			if strings.Contains(low, ","+fold(k)+",") {
				return true
			}
		}
		return false
	}
	return false
}

func wmiCSV(text string) *captureBuilder {
	b := newCapture(SourceWMIText, text)
	var header []string
	for i, row := range b.csvRows(text) {
		switch {
		case len(row) == 0 || len(row) == 1 && (row[0] == "" || strings.HasPrefix(row[0], "#TYPE")):
			if row == nil && header != nil {
				b.stray(i+1, "a line")
			}
		case header == nil:
			header, b.sure = row, true
		case len(row) != len(header):
			b.stray(i+1, strings.Join(row, ","))
		default:
			if !b.wmiRow(column(header, row)) {
				b.stray(i+1, strings.Join(row, ","))
			}
		}
	}
	b.sure = b.sure && b.rows > 0
	return b
}

func column(header, row []string) func(string) string {
	return func(name string) string {
		for i, h := range header {
			if strings.EqualFold(strings.TrimSpace(h), name) {
				return strings.TrimSpace(row[i])
			}
		}
		return ""
	}
}

// wmiJSON reads one object or a list of them. A list that is cut off keeps what stands before.
func wmiJSON(text, trimmed string) *captureBuilder {
	b := newCapture(SourceWMIText, text)
	b.cut = false
	d := json.NewDecoder(strings.NewReader(trimmed))
	list := trimmed[0] == '['
	if list {
		_, _ = d.Token()
	}
	for i := 1; !b.full() && (!list && i == 1 || list && d.More()); i++ {
		var m map[string]any
		if err := d.Decode(&m); err != nil {
			b.cut = errors.Is(err, io.ErrUnexpectedEOF)
			if !b.cut {
				b.stray(i, "JSON: "+err.Error())
			}
			break
		}
		if !b.wmiRow(jsonProperty(m)) {
			b.stray(i, "an object that is no driver")
		}
	}
	b.sure = b.rows > 0
	return b
}

// jsonProperty returns an object's properties by name; the name as it stands counts first, then one
// that differs in case.
func jsonProperty(m map[string]any) func(string) string {
	return func(name string) string {
		v, ok := m[name]
		if !ok {
			for _, k := range slices.Sorted(maps.Keys(m)) {
				if strings.EqualFold(k, name) {
					v = m[k]
					break
				}
			}
		}
		switch v := v.(type) {
		case nil:
			return ""
		case string:
			return strings.TrimSpace(v)
		case []any:
			if len(v) == 0 {
				return ""
			}
			return strings.TrimSpace(fmt.Sprint(v[0]))
		default:
			return fmt.Sprint(v)
		}
	}
}
