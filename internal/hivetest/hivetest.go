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
)

// LongName is the display name of the driver Filter: a value of several parts.
var LongName = strings.Repeat("long ", 4000) + "name"

type value struct {
	name string
	typ  uint32
	data []byte
}

func text(name string, typ uint32, s string) value {
	var b []byte
	for _, u := range utf16.Encode([]rune(s + "\x00")) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return value{name, typ, b}
}

func dword(name string, n uint32) value {
	return value{name, 4, binary.LittleEndian.AppendUint32(nil, n)}
}

// A hiveMaker writes a registry hive as Windows lays it out.
type hiveMaker struct{ b []byte }

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
	binary.LittleEndian.PutUint16(c[2:], 0x20)
	put := func(at int, v uint32) { binary.LittleEndian.PutUint32(c[at:], v) }
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
	binary.LittleEndian.PutUint16(c[72:], uint16(len(name)))
	return m.cell(append(c, name...))
}

// System is a SYSTEM hive with two drivers, a service that is none, and settings.
func System() []byte {
	m := &hiveMaker{b: make([]byte, 32)} // the first bin's header
	instance := m.key("Filter Instance", "lf", []value{text("Altitude", 1, "385250.5"), dword("Flags", 0)})
	instances := m.key("Instances", "li", []value{text("DefaultInstance", 1, "Filter Instance")}, instance)
	filter := m.key("Filter", "lf", []value{dword("Type", 2), dword("Start", 0),
		text("DisplayName", 1, LongName)}, instances)
	disk := m.key("Disk", "lf", []value{dword("Type", 1), dword("Start", 3), text("ImagePath", 2, `System32\drivers\disk.sys`)})
	dhcp := m.key("Dhcp", "lf", []value{dword("Type", 0x20)})
	services := m.key("Services", "lh", nil, filter, disk, dhcp)
	config := m.key("Config", "lf", []value{dword("VulnerableDriverBlocklistEnable", 1)})
	control := m.key("Control", "lf", nil, m.key("CI", "lf", nil, config))
	set := m.key("ControlSet001", "lh", nil, control, services)
	sel := m.key("Select", "lf", []value{dword("Current", 1), dword("Default", 1)})
	root := m.key("ROOT", "li", nil, set, sel)
	header := make([]byte, bins)
	copy(header, "regf")
	binary.LittleEndian.PutUint32(header[4:], 7)
	binary.LittleEndian.PutUint32(header[8:], 7)
	binary.LittleEndian.PutUint32(header[36:], root)
	copy(m.b, "hbin")
	return append(header, m.b...)
}
