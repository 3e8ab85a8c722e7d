// SPDX-License-Identifier: Apache-2.0

package hivetest

import (
	"encoding/binary"
	"slices"
)

// Repeats returns a hive whose Enum, Services and Class name one key n times on each level: by one list each, or by n
// lists if record is "ri".
func Repeats(n int, record string) []byte {
	le := binary.LittleEndian
	b := make([]byte, 32)
	cell := func(data []byte) uint32 {
		off := uint32(len(b))
		c := make([]byte, (4+len(data)+7)&^7)
		le.PutUint32(c, uint32(-int32(len(c))))
		copy(c[4:], data)
		b = append(b, c...)
		return off
	}
	list := func(record string, of []uint32) uint32 {
		l := le.AppendUint16([]byte(record), uint16(len(of)))
		for _, at := range of {
			l = le.AppendUint32(l, at)
		}
		return cell(l)
	}
	key := func(name string, subs ...uint32) uint32 {
		c := make([]byte, 76)
		copy(c, "nk")
		c[2] = 0x20
		le.PutUint32(c[20:], uint32(len(subs)))
		if len(subs) > 0 && record == "ri" && subs[0] == subs[len(subs)-1] {
			le.PutUint32(c[28:], list("ri", slices.Repeat([]uint32{list("li", subs[:1])}, len(subs))))
		} else {
			le.PutUint32(c[28:], list("li", subs))
		}
		le.PutUint16(c[72:], uint16(len(name)))
		return cell(append(c, name...))
	}
	times := func(k uint32) []uint32 { return slices.Repeat([]uint32{k}, n) }
	enum := key("Enum", times(key("bus", times(key("kind", times(key("instance"))...))...))...)
	set := key("ControlSet001", enum, key("Services", times(key("service"))...),
		key("Control", key("Class", times(key("class"))...)))
	head := make([]byte, bins)
	copy(head, "regf")
	le.PutUint32(head[36:], key("ROOT", set))
	return append(Seal(head, 1, 1), append(b, make([]byte, 64)...)...)
}
