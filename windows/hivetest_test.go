// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"encoding/binary"
	"strings"
	"testing"
)

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

func (m *hiveMaker) value(v RegValue) uint32 {
	c := make([]byte, 20)
	copy(c, "vk")
	binary.LittleEndian.PutUint16(c[2:], uint16(len(v.Name)))
	binary.LittleEndian.PutUint32(c[12:], v.Type)
	binary.LittleEndian.PutUint16(c[16:], 1)
	size, at := uint32(len(v.Data)), uint32(0)
	switch {
	case len(v.Data) <= 4:
		copy(c[8:12], v.Data)
		size |= 1 << 31
	case len(v.Data) > segmentSize:
		var parts []uint32
		for b := v.Data; len(b) > 0; {
			n := min(len(b), segmentSize)
			parts = append(parts, m.cell(b[:n]))
			b = b[n:]
		}
		at = m.words("db", len(parts), m.words("", 0, parts...))
		binary.LittleEndian.PutUint32(c[8:], at)
	default:
		binary.LittleEndian.PutUint32(c[8:], m.cell(v.Data))
	}
	binary.LittleEndian.PutUint32(c[4:], size)
	return m.cell(append(c, v.Name...))
}

func (m *hiveMaker) key(name, list string, values []RegValue, subs ...uint32) uint32 {
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

// testHive is a SYSTEM hive with two drivers, a service that is none, and settings.
func testHive(t testing.TB) []byte {
	t.Helper()
	m := &hiveMaker{b: make([]byte, 32)} // the first bin's header
	instance := m.key("Filter Instance", "lf", []RegValue{StringValue("Altitude", RegString, "385250.5"), DwordValue("Flags", 0)})
	instances := m.key("Instances", "li", []RegValue{StringValue("DefaultInstance", RegString, "Filter Instance")}, instance)
	filter := m.key("Filter", "lf", []RegValue{DwordValue("Type", 2), DwordValue("Start", 0),
		StringValue("DisplayName", RegString, strings.Repeat("long ", 4000)+"name")}, instances)
	disk := m.key("Disk", "lf", []RegValue{DwordValue("Type", 1), DwordValue("Start", 3), StringValue("ImagePath", RegExpand, `System32\drivers\disk.sys`)})
	dhcp := m.key("Dhcp", "lf", []RegValue{DwordValue("Type", 0x20)})
	services := m.key("Services", "lh", nil, filter, disk, dhcp)
	config := m.key("Config", "lf", []RegValue{DwordValue("VulnerableDriverBlocklistEnable", 1)})
	control := m.key("Control", "lf", nil, m.key("CI", "lf", nil, config))
	set := m.key("ControlSet001", "lh", nil, control, services)
	sel := m.key("Select", "lf", []RegValue{DwordValue("Current", 1), DwordValue("Default", 1)})
	root := m.key("ROOT", "li", nil, set, sel)
	header := make([]byte, hiveBins)
	copy(header, "regf")
	binary.LittleEndian.PutUint32(header[4:], 7)
	binary.LittleEndian.PutUint32(header[8:], 7)
	binary.LittleEndian.PutUint32(header[36:], root)
	copy(m.b, "hbin")
	return append(header, m.b...)
}
