// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"encoding/binary"
	"strings"
)

// Redactions names what Redact takes out of recordings.
func Redactions() []string { return []string{"addresses", "device_ids", "file_names"} }

// Redacts reports whether Redact can alter answers for key.
func Redacts(key string) bool {
	switch key {
	case OpModules, OpModulesEx, OpDevices, OpWMIPnP, OpRegistry + " " + sessionManagerKey:
		return true
	}
	return false
}

// Redact returns what a recording may keep of an answer: data itself when there is nothing to take
// out, nil when nothing may be kept. key is a call's op and arguments with spaces between them, or
// a file's slash path.
//
// What goes:
//   - kernel addresses: those of the list of images become zeros. An address that the kernel itself
//     showed as zero is left.
//   - serial numbers and addresses in device ids: the part that distinguishes one device from another of its kind
//     becomes "-", and so do twelve hexadecimal digits in a row, which are the address of a network or Bluetooth
//     device, and names that a person gave.
//   - names of files that are no drivers': of those that are renamed at the next boot.
//
// An invalid list is not kept: what is in it is not known.
func Redact(key string, data []byte) []byte {
	switch key {
	case OpModules:
		return redactModules(data)
	case OpModulesEx:
		return redactModulesEx(data)
	case OpDevices:
		return redactDevices(data)
	case OpWMIPnP:
		return redactWMI(data)
	case OpRegistry + " " + sessionManagerKey:
		return redactSessionManager(data)
	}
	return data
}

// blank zeroes the pointers of an entry of class 11: section, mapped base and image base.
func (l layout) blank(e []byte) bool {
	changed := false
	for i := range l.base + l.base/2 {
		changed = changed || e[i] != 0
		e[i] = 0
	}
	return changed
}

func redactModules(data []byte) []byte {
	if _, err := parseModules(data); err != nil {
		return nil
	}
	n := int(binary.LittleEndian.Uint32(data))
	l, _ := layoutOf(len(data), n)
	out := append([]byte(nil), data...)
	changed := false
	for i := range n {
		changed = l.blank(out[l.first+i*l.entry:]) || changed
	}
	if !changed {
		return data
	}
	return out
}

func redactModulesEx(data []byte) []byte {
	if _, err := parseModulesEx(data); err != nil {
		return nil
	}
	out := append([]byte(nil), data...)
	changed := false
	for pos := 0; pos+2 <= len(out); {
		next := int(binary.LittleEndian.Uint16(out[pos:]))
		if next == 0 {
			break
		}
		l := layout64
		if next == layout32.ex {
			l = layout32
		}
		e := out[pos:min(pos+next, len(out))]
		next = len(e)
		changed = l.blank(e[l.first:]) || changed
		// The default base is the last pointer of the entry; what a later Windows may add after it
		// is not known.
		for i := l.ex - l.base/2; i < next; i++ {
			changed = changed || e[i] != 0
			e[i] = 0
		}
		pos += next
	}
	if !changed {
		return data
	}
	return out
}

func redactDevices(data []byte) []byte {
	list, err := ParseDevices(data)
	if err != nil {
		return nil
	}
	changed := false
	for i := range list {
		d := &list[i]
		hide := func(s *string, hidden string) {
			changed = changed || hidden != *s
			*s = hidden
		}
		hide(&d.Instance, withoutSerial(d.Instance))
		hide(&d.MatchingID, withoutMAC(d.MatchingID))
		for k := range d.HardwareIDs {
			hide(&d.HardwareIDs[k], withoutMAC(d.HardwareIDs[k]))
		}
		if d.FriendlyName != "" {
			hide(&d.FriendlyName, "-")
		}
	}
	if !changed {
		return data
	}
	return AppendDevices([]byte{}, list)
}

func redactWMI(data []byte) []byte {
	list, err := ParseWMISigned(data)
	if err != nil {
		return nil
	}
	for i := range list {
		list[i].DeviceID, list[i].HardwareID = withoutSerial(list[i].DeviceID), withoutMAC(list[i].HardwareID)
		if list[i].DeviceName != "" {
			list[i].DeviceName = "-"
		}
	}
	return AppendWMISigned([]byte{}, list)
}

// withoutSerial replaces the last part of a device instance id, ENUMERATOR\DEVICE\INSTANCE, and any
// address before it. That of a root-enumerated device is a plain counter and stays.
func withoutSerial(id string) string {
	i := strings.LastIndexByte(id, '\\')
	if i < 0 || hasFoldPrefix(id, `ROOT\`) || hasFoldPrefix(id, `HTREE\`) {
		return id
	}
	return withoutMAC(id[:i+1]) + "-"
}

// withoutMAC replaces runs of exactly twelve hexadecimal digits. Behind a dash they end a GUID.
func withoutMAC(id string) string {
	const digits = 12
	var b strings.Builder
	for i := 0; i < len(id); {
		n := 0
		for i+n < len(id) && isHex(id[i+n]) {
			n++
		}
		if n == digits && (i == 0 || id[i-1] != '-') {
			b.WriteByte('-')
			i += n
			continue
		}
		n = max(n, 1)
		b.WriteString(id[i : i+n])
		i += n
	}
	return b.String()
}
