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

// SourceWMIText is the source of a capture of Win32_SystemDriver or Win32_PnPSignedDriver.
const SourceWMIText = "wmi_text"

// ReadWMIText reads what Get-CimInstance, Get-WmiObject and wmic print of Win32_SystemDriver,
// Win32_PnPSignedDriver and services: lists (Name : value, Name=value), CSV, and JSON of
// ConvertTo-Json. Property names are never localized.
func ReadWMIText(text string, r *fact.Report) fact.Capture[Driver] {
	return wmiRows(readConsole(text, SourceWMIText, r)).done(r)
}

func wmiRows(text string) *captureBuilder {
	b := newCapture(SourceWMIText, text)
	list := b.Objects(text, capture.ObjectForm{Header: wmiHeader, Separators: ":="})
	for _, o := range list {
		if !b.wmiRow(o.Get) {
			b.Stray(o.Line, o.Text)
		}
	}
	b.Sure = b.rows > 0 && (b.Sure || strings.HasPrefix(strings.TrimSpace(text), "{") ||
		strings.HasPrefix(strings.TrimSpace(text), "["))
	return b
}

// wmiHeader reports whether the columns are properties of a driver or of a device.
func wmiHeader(columns []string) bool {
	has := func(name string) bool {
		return slices.ContainsFunc(columns, func(c string) bool {
			return strings.EqualFold(strings.TrimSpace(c),
				name)
		})
	}
	return has("Name") && slices.ContainsFunc(wmiKeys, has) || has("InfName") && (has("DeviceID") || has("DeviceName"))
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
// has for it: 2006-06-21T00:00:00Z and /Date(1150848000000)/. A date in the words of some language is not recognized.
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
