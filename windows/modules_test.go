// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/fact"
)

// moduleEntry writes one entry of class 11 for a pointer width.
func moduleEntry(l layout, m LoadedImage) []byte {
	e := make([]byte, l.entry)
	le := binary.LittleEndian
	if l == layout32 {
		le.PutUint32(e[l.base:], uint32(m.Base))
	} else {
		le.PutUint64(e[l.base:], uint64(m.Base))
	}
	f := e[l.size:]
	le.PutUint32(f, uint32(m.Size))
	le.PutUint16(f[8:], uint16(m.LoadOrder))
	le.PutUint16(f[12:], uint16(m.LoadCount))
	le.PutUint16(f[14:], uint16(strings.LastIndexByte(m.NTPath, '\\')+1))
	copy(f[16:], m.NTPath)
	return e
}

func moduleList(l layout, list []LoadedImage) []byte {
	b := make([]byte, l.first)
	binary.LittleEndian.PutUint32(b, uint32(len(list)))
	for _, m := range list {
		b = append(b, moduleEntry(l, m)...)
	}
	return b
}

func moduleListEx(l layout, list []LoadedImage, closed bool) []byte {
	var b []byte
	for _, m := range list {
		e := make([]byte, l.ex)
		binary.LittleEndian.PutUint16(e, uint16(l.ex))
		copy(e[l.first:], moduleEntry(l, m))
		tail := e[l.first+l.size+16+256:]
		binary.LittleEndian.PutUint32(tail, 0x1234)
		binary.LittleEndian.PutUint32(tail[4:], 0x5f5e1000)
		b = append(b, e...)
	}
	if closed {
		b = append(b, 0, 0)
	}
	return b
}

var someImages = []LoadedImage{
	{NTPath: `\SystemRoot\system32\ntoskrnl.exe`, Base: 0xfffff80012345000, Size: 0x1046000, LoadCount: 65535},
	{NTPath: `\SystemRoot\System32\drivers\tcpip.sys`, Base: 0, Size: 0x300000, LoadOrder: 1, LoadCount: 1},
	{NTPath: `\SystemRoot\System32\Drivers\dump_stornvme.sys`, Base: 0x1000, Size: 0x2000, LoadOrder: 2, LoadCount: 1},
}

func TestParseModules(t *testing.T) {
	for name, l := range map[string]layout{"32": layout32, "64": layout64} {
		want := append([]LoadedImage(nil), someImages...)
		if l == layout32 {
			want[0].Base = 0x12345000
		}
		list, err := parseModules(moduleList(l, want))
		check(t, name+" class 11", list, err, want, "")
		for _, closed := range []bool{false, true} {
			list, err = parseModulesEx(moduleListEx(l, want, closed))
			check(t, name+" class 77", list, err, want, "0x00001234")
		}
		// A buffer that is longer than what was used.
		if l == layout64 {
			list, err = parseModules(append(moduleList(l, want), make([]byte, 500)...))
			check(t, name+" with slack", list, err, want, "")
		}
	}
}

func check(t *testing.T, name string, got []LoadedImage, err error, want []LoadedImage, checksum string) {
	t.Helper()
	if err != nil || len(got) != len(want) {
		t.Errorf("%s: %d images, %v", name, len(got), err)
		return
	}
	for i, m := range got {
		if m.NTPath != want[i].NTPath || m.Base != want[i].Base || m.Size != want[i].Size || m.LoadOrder != i ||
			m.Checksum != checksum {
			t.Errorf("%s: %+v, want %+v", name, m, want[i])
		}
	}
	if got[2].AliasOf != "stornvme.sys" || got[1].AliasOf != "" || got[1].Name() != "tcpip.sys" {
		t.Errorf("%s: alias %q, name %q", name, got[2].AliasOf, got[1].Name())
	}
}

func TestParseModulesNonsense(t *testing.T) {
	good := moduleListEx(layout64, someImages, true)
	for name, b := range map[string][]byte{
		"empty": {}, "a count without entries": {5, 0, 0, 0}, "a huge count": {255, 255, 255, 255},
		"cut": moduleList(layout64, someImages)[:400],
	} {
		if list, err := parseModules(b); err == nil || list != nil || !errors.Is(err, fact.ErrMalformed) {
			t.Errorf("class 11, %s: %d images, %v", name, len(list), err)
		}
	}
	small := append([]byte(nil), good...)
	binary.LittleEndian.PutUint16(small, 8)
	for name, b := range map[string][]byte{"an offset into itself": small, "cut": good[:500], "a byte": {64}} {
		if list, err := parseModulesEx(b); err == nil || list != nil || !errors.Is(err, fact.ErrMalformed) {
			t.Errorf("class 77, %s: %d images, %v", name, len(list), err)
		}
	}
	// An image whose name was wiped costs its own name.
	blank := append([]byte(nil), good...)
	blank[layout64.first+layout64.size+16] = 0
	if list, err := parseModulesEx(blank); err != nil || len(list) != len(someImages) || list[0].NTPath != "" ||
		list[0].Name() != "" || list[1].Name() != "tcpip.sys" {
		t.Errorf("no name: %+v, %v", list, err)
	}
	// A kernel that reports neither checksum nor time stamp.
	clear(blank[len(blank)-2-16:][:8])
	if list, err := parseModulesEx(blank); err != nil || list[2].Checksum != "" || list[2].TimeStamp != "" ||
		list[1].Checksum == "" {
		t.Errorf("no checksum: %+v, %v", list, err)
	}
	if list, err := parseModulesEx([]byte{0, 0}); err != nil || list == nil || len(list) != 0 {
		t.Errorf("a bare end: %v, %v", list, err)
	}
}

// Entries that a later Windows made longer are read, and no byte of what is added is kept on a tape.
func TestLongerEntries(t *testing.T) {
	var b []byte
	for _, m := range someImages {
		e := append(moduleListEx(layout64, []LoadedImage{m}, false), 1, 2, 3, 4, 5, 6, 7, 8)
		binary.LittleEndian.PutUint16(e, uint16(len(e)))
		b = append(b, e...)
	}
	list, err := parseModulesEx(b)
	check(t, "longer entries", list, err, someImages, "0x00001234")
	kept := Redact(OpModulesEx, b)
	if list, err := parseModulesEx(kept); err != nil || len(list) != len(someImages) ||
		bytes.Contains(kept, []byte{3, 4, 5, 6}) {
		t.Errorf("redacted: %d images, %v", len(list), err)
	}
}

// A tape keeps no address, and what is kept decodes to the same list otherwise.
func TestRedactModules(t *testing.T) {
	for name, c := range map[string]struct {
		op    string
		data  []byte
		parse func([]byte) ([]LoadedImage, error)
	}{
		"11, 32": {OpModules, moduleList(layout32, someImages), parseModules},
		"11, 64": {OpModules, moduleList(layout64, someImages), parseModules},
		"77, 32": {OpModulesEx, moduleListEx(layout32, someImages, true), parseModulesEx},
		"77, 64": {OpModulesEx, moduleListEx(layout64, someImages, true), parseModulesEx},
	} {
		kept := Redact(c.op, c.data)
		list, err := c.parse(kept)
		if err != nil || len(list) != len(someImages) || &kept[0] == &c.data[0] {
			t.Errorf("%s: %d images, %v", name, len(list), err)
			continue
		}
		for i, m := range list {
			if m.Base != 0 || m.NTPath != someImages[i].NTPath || m.Size != someImages[i].Size {
				t.Errorf("%s: %+v", name, m)
			}
		}
		if again := Redact(c.op, kept); &again[0] != &kept[0] {
			t.Errorf("%s: what has nothing to take out changes", name)
		}
		if Redact(c.op, c.data[:len(c.data)/2]) != nil {
			t.Errorf("%s: a list that is invalid is kept", name)
		}
	}
}

func TestRedactDevices(t *testing.T) {
	b := AppendDevices(nil,
		[]Device{{Instance: `USB\VID_0781&PID_5581\4C530001230507117214`, FriendlyName: "John's stick",
			Service: "USBSTOR"}, {Instance: `ROOT\ACPI_HAL\0000`}})
	list, err := ParseDevices(Redact(OpDevices, b))
	if err != nil || list[0].Instance != `USB\VID_0781&PID_5581\-` || list[0].FriendlyName != "-" ||
		list[0].Service != "USBSTOR" || list[1].Instance != `ROOT\ACPI_HAL\0000` {
		t.Errorf("%+v, %v", list, err)
	}
	for _, c := range []struct{ id, want string }{
		{`BTHENUM\Dev_F4F5D8AABBCC\7&1B2C3D4E&0&BluetoothDevice_F4F5D8AABBCC`, `BTHENUM\Dev_-\-`},
		{`HID\{00001812-0000-1000-8000-00805f9b34fb}_Dev_VID&02046d_f4f5d8aabbcc&Col01\9&2`,
			`HID\{00001812-0000-1000-8000-00805f9b34fb}_Dev_VID&02046d_-&Col01\-`},
		{`PCI\VEN_8086&DEV_15B7&SUBSYS_00000000&REV_31\3&11583659&0&FE`,
			`PCI\VEN_8086&DEV_15B7&SUBSYS_00000000&REV_31\-`},
	} {
		b := Redact(OpDevices,
			AppendDevices(nil,
				[]Device{{Instance: c.id, HardwareIDs: []string{`BTHENUM\Dev_F4F5D8AABBCC`, `PCI\CC_0200`},
					MatchingID: `a_001122334455`}}))
		list, err := ParseDevices(b)
		if err != nil || list[0].Instance != c.want || list[0].HardwareIDs[0] != `BTHENUM\Dev_-` ||
			list[0].HardwareIDs[1] != `PCI\CC_0200` || list[0].MatchingID != "a_-" {
			t.Errorf("%s: %s, %v", c.id, b, err)
		}
	}
	if strings.Contains(string(Redact(OpWMIPnP,
		AppendWMISigned(nil, []WMISignedDriver{{DeviceID: `USB\VID_1\SECRET`, DeviceName: "SECRET"}}))), "SECRET") {
		t.Error("WMI's device id keeps its serial number")
	}
}

func FuzzParseModules(f *testing.F) {
	f.Add(moduleList(layout32, someImages))
	f.Add(moduleList(layout64, someImages))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := parseModules(b)
		bounded(t, list, err, len(b), 0)
	})
}

func FuzzParseModulesEx(f *testing.F) {
	f.Add(moduleListEx(layout32, someImages, true))
	f.Add(moduleListEx(layout64, someImages, false))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := parseModulesEx(b)
		bounded(t, list, err, len(b), 0)
	})
}

// bounded checks that there is a value or an error, and that the value has no more parts than the
// input can hold.
func bounded[T any](t *testing.T, list []T, err error, n, least int) {
	t.Helper()
	if (err == nil) == (list == nil) {
		t.Fatalf("value %v and error %v", list, err)
	}
	if len(list) > n+least {
		t.Fatalf("%d parts of %d bytes", len(list), n)
	}
}
