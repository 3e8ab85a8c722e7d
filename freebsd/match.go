// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
)

// A device is what a bus says of one device: the bus's name and the words of its pnpinfo.
type device struct {
	// Bus is the bus's driver without its unit number, such as "pci" or "uhub".
	Bus string
	// PNPInfo is the bus's text, such as "vendor=0x8086 device=0x10d3 class=0x020000".
	PNPInfo string
}

// parseDevice reads a device as a query names it: "pci:vendor=0x8086 device=0x10d3", or the text of
// a NOMATCH event of devctl(4), "? at slot=0 vendor=0x8086 device=0x10d3 on pci0", with or without
// its "?".
func parseDevice(query string) (device, error) {
	q := strings.TrimSpace(query)
	if rest, ok := strings.CutPrefix(strings.TrimSpace(strings.TrimPrefix(q, "?")), "at "); ok {
		i := strings.LastIndex(rest, " on ")
		if i < 0 {
			return device{}, &fact.ParseError{Source: "device",
				Reason: fmt.Sprintf("%.80q names no bus: no \" on BUS\"", query)}
		}
		return device{Bus: busName(strings.TrimSpace(rest[i+4:])), PNPInfo: strings.TrimSpace(rest[:i])}, nil
	}
	bus, info, ok := strings.Cut(q, ":")
	if !ok || bus == "" || !strings.Contains(info, "=") || strings.ContainsAny(bus, " =/") {
		return device{}, &fact.ParseError{Source: "device", Reason: fmt.Sprintf("%.80q is not BUS:key=value…", query)}
	}
	return device{Bus: busName(bus), PNPInfo: strings.TrimSpace(info)}, nil
}

// busName drops the unit number of a device name.
func busName(s string) string {
	if t := strings.TrimRight(s, "0123456789"); t != "" {
		s = t
	}
	if s == "usb" { // the driver that USB devices are attached to; tables say either
		return "uhub"
	}
	return s
}

// value returns the value of a key of the device's text; ok is false when it has none.
func (d device) value(key string) (v string, ok bool) {
	for at := 0; ; {
		i := strings.Index(d.PNPInfo[at:], key+"=")
		if i < 0 {
			return "", false
		}
		i += at
		at = i + len(key) + 1
		if i > 0 && d.PNPInfo[i-1] != ' ' {
			continue
		}
		rest := d.PNPInfo[at:]
		if rest != "" && (rest[0] == '"' || rest[0] == '\'') {
			if end := strings.IndexByte(rest[1:], rest[0]); end >= 0 {
				return rest[1 : end+1], true
			}
			return rest[1:], true
		}
		v, _, _ = strings.Cut(rest, " ")
		return v, true
	}
}

// number is value as a C program's strtol(…, 0) reads it, −1 when the device lacks the key.
func (d device) number(key string) int32 {
	v, ok := d.value(key)
	if !ok {
		return -1
	}
	n, err := strconv.ParseInt(numberPrefix(v), 0, 64)
	if err != nil {
		return 0
	}
	return int32(n)
}

// numberPrefix cuts v after its leading number.
func numberPrefix(v string) string {
	digits := "0123456789"
	start := 0
	switch {
	case strings.HasPrefix(v, "0x"), strings.HasPrefix(v, "0X"):
		digits, start = "0123456789abcdefABCDEF", 2
	case strings.HasPrefix(v, "-"), strings.HasPrefix(v, "+"):
		start = 1
	}
	end := start
	for end < len(v) && strings.IndexByte(digits, v[end]) >= 0 {
		end++
	}
	return v[:end]
}

// Matches reports whether the table drives the device, as devmatch(8) decides it, and which row.
func (t *deviceTable) Matches(d device) (row int, ok bool) {
	if busName(t.Bus) != d.Bus {
		return 0, false
	}
	for i := range t.rows {
		if t.rows[i].matches(d) {
			return i, true
		}
	}
	return 0, false
}

func (r *pnpRow) matches(d device) bool {
	mask := int32(-1)
	for i, f := range r.fields {
		// As devmatch counts, bit 0 of a mask is about the second field.
		if bit := i - 1; bit >= 0 && bit < 32 && f.Kind != 'T' && mask&(1<<bit) == 0 {
			continue
		}
		if f.Kind == 'M' {
			mask = r.nums[i]
			continue
		}
		if !f.matches(d, r.nums[i], r.texts[i]) {
			return false
		}
	}
	return len(r.fields) > 0
}

func (f pnpField) matches(d device, n int32, s string) bool {
	if f.Name == "#" {
		return true
	}
	switch f.Kind {
	case 'I':
		return d.number(f.Name) == n
	case 'J':
		return n == -1 || d.number(f.Name) == n
	case 'G':
		return d.number(f.Name) >= n
	case 'L':
		return d.number(f.Name) <= n
	case 'Z':
		v, ok := d.value(f.Name)
		return ok && v == s
	case 'T':
		i := strings.Index(d.PNPInfo, f.Name)
		return i == 0 || i > 0 && d.PNPInfo[i-1] == ' '
	}
	return true // D: a description
}
