// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"strings"

	"github.com/kernelext/kernelext/fact"
)

// pciRegister returns the register that a key of a PCI nub is compared with first; nil for any other key.
func (d *device) pciRegister(key string) *register {
	switch key {
	case "IOPCIMatch", "IOPCIPrimaryMatch":
		return &d.Primary
	case "IOPCISecondaryMatch":
		return &d.Secondary
	case "IOPCIClassMatch":
		return &d.Class
	}
	return nil
}

// fitsPCI compares a key with its registers (IOPCIFamily, IOPCIBridge::pciMatchNub): IOPCIMatch with the ids of the
// device and then of its subsystem. The mask of a class leaves out the revision if the personality has none.
func (d *device) fitsPCI(m Match) fact.Tri {
	mask := uint64(0xffffffff)
	if m.Key == "IOPCIClassMatch" {
		mask = 0xffffff00
	}
	registers := []register{*d.pciRegister(m.Key)}
	if m.Key == "IOPCIMatch" {
		registers = append(registers, d.Secondary)
	}
	answer := fact.No
	for _, list := range m.Values {
		for _, r := range registers {
			switch r.fits(list, mask) {
			case fact.Yes:
				return fact.Yes
			case "":
				answer = ""
			}
		}
	}
	return answer
}

// fits compares the register with a list of "value[&mask]" (IOPCIBridge::matchKeys): hexadecimal numbers, with or
// without 0x; the list ends at the first thing that is not a number.
func (r register) fits(list string, defaultMask uint64) fact.Tri {
	answer := fact.No
	for {
		value, rest, ok := strtoul16(list)
		if !ok {
			return answer
		}
		rest = strings.TrimLeft(rest, " ")
		mask := defaultMask
		if after, masked := strings.CutPrefix(rest, "&"); masked {
			rest = after
			if m, tail, ok := strtoul16(after); ok {
				mask, rest = m, tail
			} else {
				mask = 0 // what strtoul says of no number
			}
		}
		switch {
		case value&mask>>32 != 0, uint32(value&mask)&r.known != r.value&uint32(mask)&r.known:
		case uint32(mask)&^r.known != 0:
			answer = ""
		default:
			return fact.Yes
		}
		list = rest
	}
}

// strtoul16 is strtoul(3) in base 16: white space, a sign, 0x, digits. ok is false if there is no digit.
func strtoul16(s string) (value uint64, rest string, ok bool) {
	t := strings.TrimLeft(s, " \t\n\v\f\r")
	negative := strings.HasPrefix(t, "-")
	if negative || strings.HasPrefix(t, "+") {
		t = t[1:]
	}
	if len(t) > 2 && t[0] == '0' && t[1]|0x20 == 'x' && hexDigit(t[2]) >= 0 {
		t = t[2:]
	}
	n := 0
	for n < len(t) && hexDigit(t[n]) >= 0 {
		if value >= 1<<60 {
			value = 1<<64 - 1 // what strtoul says of a number that is too large
		} else {
			value = value<<4 | uint64(hexDigit(t[n]))
		}
		n++
	}
	if n == 0 {
		return 0, s, false
	}
	if negative {
		value = -value
	}
	return value, t[n:], true
}

// hexDigit returns the value of a hexadecimal digit, -1 for any other byte.
func hexDigit(c byte) int {
	switch {
	case isDigit(c):
		return int(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}
