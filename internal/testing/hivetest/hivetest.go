// SPDX-License-Identifier: Apache-2.0

// Package hivetest writes a small registry hive for tests, as Windows lays it out.
package hivetest

import (
	"encoding/binary"
	"strings"
	"unicode/utf16"
)

// segmentSize is how many bytes one part of a large value holds; bins is where the bins begin.
const (
	segmentSize = 16344
	bins        = 4096
	checksumAt  = 508
)

// LongName returns the display name of the driver Filter: a value of several parts.
func LongName() string { return strings.Repeat("long ", 4000) + "name" }

// DiskClass is the setup class of the one device, which Disk drives and Filter filters.
const DiskClass = "{4d36e967-e325-11ce-bfc1-08002be10318}"

// OtherName is a driver whose name is not in ASCII: the key has it in UTF-16.
const OtherName = "Гость"

type value struct {
	name string
	typ  uint32
	data []byte
}

func text(name string, typ uint32, s string) value {
	return value{name, typ, utf16Bytes(s + "\x00")}
}

func utf16Bytes(s string) []byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}

func dword(name string, n uint32) value {
	return value{name, 4, binary.LittleEndian.AppendUint32(nil, n)}
}

// A hiveMaker writes a registry hive as Windows lays it out.
type hiveMaker struct {
	b        []byte
	security uint32 // where the security descriptor of all keys is
}

// newHive begins a hive with the header of its one bin and the security descriptor of its keys, an
// empty one.
func newHive() *hiveMaker {
	m := &hiveMaker{b: make([]byte, 32)}
	sk := make([]byte, 20+20)
	copy(sk, "sk")
	at := uint32(len(m.b))
	for i, v := range []uint32{at, at, 64, 20} { // next and one before, users, length
		binary.LittleEndian.PutUint32(sk[4+4*i:], v)
	}
	sk[20], sk[23] = 1, 0x80
	m.security = m.cell(sk)
	return m
}

func (m *hiveMaker) cell(data []byte) uint32 {
	off := uint32(len(m.b))
	size := (4 + len(data) + 7) &^ 7
	c := make([]byte, size)
	binary.LittleEndian.PutUint32(c, uint32(-int32(size)))
	copy(c[4:], data)
	m.b = append(m.b, c...)
	return off
}

func (m *hiveMaker) words(mark string, n int, words ...uint32) uint32 {
	c := []byte(mark)
	if mark != "" {
		c = binary.LittleEndian.AppendUint16(c, uint16(n))
	}
	for _, w := range words {
		c = binary.LittleEndian.AppendUint32(c, w)
	}
	return m.cell(c)
}

func (m *hiveMaker) value(v value) uint32 {
	c := make([]byte, 20)
	copy(c, "vk")
	binary.LittleEndian.PutUint16(c[2:], uint16(len(v.name)))
	binary.LittleEndian.PutUint32(c[12:], v.typ)
	binary.LittleEndian.PutUint16(c[16:], 1)
	size, at := uint32(len(v.data)), uint32(0)
	switch {
	case len(v.data) <= 4:
		copy(c[8:12], v.data)
		size |= 1 << 31
	case len(v.data) > segmentSize:
		var parts []uint32
		for b := v.data; len(b) > 0; {
			n := min(len(b), segmentSize)
			parts = append(parts, m.cell(b[:n]))
			b = b[n:]
		}
		at = m.words("db", len(parts), m.words("", 0, parts...))
		binary.LittleEndian.PutUint32(c[8:], at)
	default:
		binary.LittleEndian.PutUint32(c[8:], m.cell(v.data))
	}
	binary.LittleEndian.PutUint32(c[4:], size)
	return m.cell(append(c, v.name...))
}

func (m *hiveMaker) key(name, list string, values []value, subs ...uint32) uint32 {
	c := make([]byte, 76)
	copy(c, "nk")
	raw := []byte(name)
	if isASCII(name) {
		c[2] = 0x20
	} else {
		raw = utf16Bytes(name)
	}
	put := func(at int, v uint32) { binary.LittleEndian.PutUint32(c[at:], v) }
	for _, at := range []int{28, 32, 40, 48} { // lists and class that it does not have
		put(at, 0xffffffff)
	}
	put(44, m.security)
	put(20, uint32(len(subs)))
	if len(subs) > 0 {
		words := subs
		if list != "li" {
			words = nil
			for _, s := range subs {
				words = append(words, s, 0)
			}
		}
		at := m.words(list, len(subs), words...)
		if list == "lh" { // one more level
			at = m.words("ri", 1, at)
		}
		put(28, at)
	}
	put(36, uint32(len(values)))
	var offs []uint32
	for _, v := range values {
		offs = append(offs, m.value(v))
	}
	if offs != nil {
		put(40, m.words("", 0, offs...))
	}
	binary.LittleEndian.PutUint16(c[72:], uint16(len(raw)))
	at := m.cell(append(c, raw...))
	for _, sub := range subs {
		binary.LittleEndian.PutUint32(m.b[sub+4+16:], at) // its parent
	}
	return at
}

func isASCII(s string) bool { return strings.IndexFunc(s, func(r rune) bool { return r > 0x7e }) < 0 }

// System is a SYSTEM hive with three drivers, a service that is not a driver, and settings.
func System() []byte {
	m := newHive()
	instance := m.key("Filter Instance", "lf", []value{text("Altitude", 1, "385250.5"), dword("Flags", 0)})
	instances := m.key("Instances", "li", []value{text("DefaultInstance", 1, "Filter Instance")}, instance)
	filter := m.key("Filter", "lf", []value{dword("Type", 2), dword("Start", 0),
		text("DisplayName", 1, LongName())}, instances)
	disk := m.key("Disk", "lf",
		[]value{dword("Type", 1), dword("Start", 3), text("ImagePath", 2, `System32\drivers\disk.sys`)})
	dhcp := m.key("Dhcp", "lf", []value{dword("Type", 0x20)})
	other := m.key(OtherName, "lf", []value{dword("Type", 1), dword("Start", 4)})
	services := m.key("Services", "lh", nil, filter, disk, dhcp, other)
	config := m.key("Config", "lf", []value{dword("VulnerableDriverBlocklistEnable", 1)})
	driver := m.key("0003", "lf", []value{text("InfPath", 1, "oem9.inf"), text("ProviderName", 1, "Ket Disks"),
		text("DriverDate", 1, "9-19-2022"), text("DriverVersion", 1, "4.1.0.2")})
	class := m.key("Class", "li", nil, m.key(DiskClass, "lf", []value{text("Class", 1, "DiskDrive")}, driver))
	control := m.key("Control", "lf", nil, m.key("CI", "lf", nil, config), class)
	device := m.key("4&1", "lf", []value{text("Service", 1, "disk"), text("Driver", 1, DiskClass+`\0003`),
		text("DeviceDesc", 1, "@oem9.inf,%d%;Ket Disk"), text("HardwareID", 7, "SCSI\\Ket\x00GenDisk\x00"),
		text("UpperFilters", 7, "Filter\x00")})
	bare := m.key("0", "lf", []value{text("DeviceDesc", 1, "nobody drives it")})
	enum := m.key("Enum", "lh", nil, m.key("SCSI", "lf", nil, m.key("Disk&Ven_Ket", "lf", nil, device, bare)))
	set := m.key("ControlSet001", "lh", nil, control, enum, services)
	sel := m.key("Select", "lf", []value{dword("Current", 1), dword("Default", 1)})
	root := m.key("ROOT", "li", nil, set, sel)
	return m.file(root)
}

// Drivers is a DRIVERS hive with one driver package.
func Drivers() []byte {
	m := newHive()
	pack := m.key("ketdisk.inf_amd64_0123456789abcdef", "lf",
		[]value{text("", 1, "oem9.inf"), text("Provider", 1, "Ket Disks")})
	return m.file(m.key("ROOT", "lf", nil,
		m.key("DriverDatabase", "lf", nil, m.key("DriverPackages", "lf", nil, pack))))
}

// file closes the one bin with a free cell and puts the base block before it.
func (m *hiveMaker) file(root uint32) []byte {
	le := binary.LittleEndian
	free := (4096 - len(m.b)%4096) % 4096
	if free > 0 { // everything is in steps of 8
		m.b = append(m.b, make([]byte, free)...)
		le.PutUint32(m.b[len(m.b)-free:], uint32(free))
	}
	copy(m.b, "hbin")
	le.PutUint32(m.b[8:], uint32(len(m.b)))
	header := make([]byte, bins)
	copy(header, "regf")
	for at, v := range map[int]uint32{20: 1, 24: 5, 32: 1, 36: root, 40: uint32(len(m.b)), 44: 1} {
		le.PutUint32(header[at:], v) // version 1.5, format, root, length, cluster
	}
	return append(Seal(header, 7, 7), m.b...)
}
