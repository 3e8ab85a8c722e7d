// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
)

// A family is a kind of nub, whose own rules decide which keys of a personality count.
type family int

// The families.
const (
	familyUnknown family = iota // the query does not say
	familyPCI
	familyUSB
	familyACPI
	familyOther // a nub of another kind, whose class the query names
)

// A register is a number of which not every bit is known.
type register struct{ value, known uint32 }

// A device is what personalities are matched with: the properties of a device that a query names.
type device struct {
	// Family is the kind of its nub, Provider its class; empty for any of the family's.
	Family   family
	Provider string
	// Names are what IONameMatch and IOCompatibleMatch look at, such as "pci8086,1533" or "PNP0C0A".
	Names []string
	// Numbers are its numeric properties: idVendor, bInterfaceClass.
	Numbers map[string]uint64
	// Primary, Secondary and Class are registers of a PCI device: its ids and its subsystem's, device << 16 | vendor,
	// and class code << 8 | revision.
	Primary, Secondary, Class register
}

// parseDevice reads a query for a device: the modalias of a PCI, USB or ACPI device as Linux writes
// it; "pci:VVVV:DDDD" or "usb:VVVV:PPPP"; the name of a PCI nub, "pciVVVV,DDDD"; or properties as personalities name
// them, "key=value,key=value". Of those, IOPCIMatch or IOPCIPrimaryMatch is the id 0xDDDDVVVV, IOPCISecondaryMatch the
// subsystem's, IOPCIClassMatch the class register, hexadecimal all three, and with "&mask" known in part; IONameMatch
// is a name; other numbers are compared as they are. The error is a fact.ParseError.
func parseDevice(query string) (device, error) {
	d := device{Numbers: map[string]uint64{}}
	bus, rest, _ := strings.Cut(query, ":")
	var err error
	switch {
	case bus == "pci":
		err = d.pciAlias(rest)
	case bus == "usb":
		err = d.usbAlias(rest)
	case bus == "acpi":
		d.Family = familyACPI
		d.Names = strings.FieldsFunc(rest, func(r rune) bool { return r == ':' })
	case strings.Contains(query, "="):
		err = d.properties(query)
	case d.pciName(query):
		d.Family = familyPCI
	default:
		err = fmt.Errorf("neither a modalias nor key=value")
	}
	if err != nil {
		return device{}, &fact.ParseError{Source: "query", Field: "device",
			Reason: fmt.Sprintf("%q: %v", escape.Text(cutText(query, 80)), err)}
	}
	d.addPCINames()
	return d, nil
}

// isDevice reports whether a query has the form of one for a device.
func isDevice(query string) bool {
	return strings.ContainsAny(query, ":=") || new(device).pciName(query)
}

// aliasField is one field of a modalias: its key and how many digits it has.
type aliasField struct {
	key    string
	digits int
}

// aliasFields reads the fields of a modalias in their order. A "*" in place of a number is not
// there.
func aliasFields(s string, fields []aliasField) (map[string]uint64, error) {
	values := make(map[string]uint64)
	for _, f := range fields {
		rest, ok := strings.CutPrefix(s, f.key)
		if !ok {
			return nil, fmt.Errorf("expected field %q", f.key)
		}
		if after, ok := strings.CutPrefix(rest, "*"); ok {
			s = after
			continue
		}
		if len(rest) < f.digits {
			return nil, fmt.Errorf("field %q is cut", f.key)
		}
		v, err := strconv.ParseUint(rest[:f.digits], 16, 64)
		if err != nil {
			return nil, fmt.Errorf("field %q is not a number", f.key)
		}
		values[f.key], s = v, rest[f.digits:]
	}
	return values, nil
}

// twoIDs reads "VVVV:DDDD".
func twoIDs(s string) (vendor, device uint64, ok bool) {
	first, second, ok := strings.Cut(s, ":")
	if !ok || len(first) > 4 || len(second) > 4 {
		return 0, 0, false
	}
	vendor, err := strconv.ParseUint(first, 16, 16)
	if err != nil {
		return 0, 0, false
	}
	device, err = strconv.ParseUint(second, 16, 16)
	return vendor, device, err == nil
}

func (d *device) pciAlias(s string) error {
	d.Family = familyPCI
	if vendor, device, ok := twoIDs(s); ok {
		d.Primary = register{uint32(device<<16 | vendor), 0xffffffff}
		return nil
	}
	f, err := aliasFields(s, []aliasField{{"v", 8}, {"d", 8}, {"sv", 8}, {"sd", 8}, {"bc", 2}, {"sc", 2}, {"i", 2}})
	if err != nil {
		return err
	}
	part := func(r *register, key string, shift, mask uint32) {
		if v, ok := f[key]; ok {
			r.value |= uint32(v) & mask << shift
			r.known |= mask << shift
		}
	}
	part(&d.Primary, "v", 0, 0xffff)
	part(&d.Primary, "d", 16, 0xffff)
	part(&d.Secondary, "sv", 0, 0xffff)
	part(&d.Secondary, "sd", 16, 0xffff)
	part(&d.Class, "bc", 24, 0xff)
	part(&d.Class, "sc", 16, 0xff)
	part(&d.Class, "i", 8, 0xff)
	return nil
}

// pciName reads the name of a PCI nub: "pciVVVV,DDDD" or "pciclass,CCCCCC".
func (d *device) pciName(s string) bool {
	if digits, ok := strings.CutPrefix(s, "pciclass,"); ok {
		class, err := strconv.ParseUint(digits, 16, 24)
		d.Class = register{uint32(class << 8), 0xffffff00}
		return err == nil
	}
	ids, ok := strings.CutPrefix(s, "pci")
	first, second, comma := strings.Cut(ids, ",")
	vendor, device, hex := twoIDs(first + ":" + second)
	if !ok || !comma || !hex {
		return false
	}
	d.Primary = register{uint32(device<<16 | vendor), 0xffffffff}
	return true
}

// addPCINames adds the names that a PCI nub has by its ids (IOPCIBridge::nubName and its compatible names).
func (d *device) addPCINames() {
	for _, r := range []register{d.Primary, d.Secondary} {
		if r.known == 0xffffffff {
			d.Names = append(d.Names, fmt.Sprintf("pci%x,%x", r.value&0xffff, r.value>>16))
		}
	}
	if d.Class.known&0xffffff00 == 0xffffff00 {
		d.Names = append(d.Names, fmt.Sprintf("pciclass,%06x", d.Class.value>>8))
	}
}

// usbFields are the fields of a USB modalias, and usbProperties the properties that they are.
var (
	usbFields = []aliasField{{"v", 4}, {"p", 4}, {"d", 4}, {"dc", 2}, {"dsc", 2}, {"dp", 2},
		{"ic", 2}, {"isc", 2}, {"ip", 2}, {"in", 2}}
	usbProperties = []string{"idVendor", "idProduct", "bcdDevice", "bDeviceClass", "bDeviceSubClass", "bDeviceProtocol",
		"bInterfaceClass", "bInterfaceSubClass", "bInterfaceProtocol", "bInterfaceNumber"}
)

func (d *device) usbAlias(s string) error {
	d.Family = familyUSB // a device and its interfaces, of old and new classes
	if vendor, product, ok := twoIDs(s); ok {
		d.Numbers["idVendor"], d.Numbers["idProduct"] = vendor, product
		return nil
	}
	f, err := aliasFields(s, usbFields)
	if err != nil {
		return err
	}
	for i, field := range usbFields {
		if v, ok := f[field.key]; ok {
			d.Numbers[usbProperties[i]] = v
		}
	}
	return nil
}

// splitProperties splits "key=value,key=value". A name may hold a comma itself: pci8086,1533.
func splitProperties(query string) ([][2]string, error) {
	var all [][2]string
	for part := range strings.SplitSeq(query, ",") {
		key, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		switch last := len(all) - 1; {
		case ok:
			all = append(all, [2]string{key, value})
		case last >= 0 && strings.HasSuffix(all[last][0], "Match"):
			all[last][1] += "," + part
		default:
			return nil, fmt.Errorf("%q is not key=value", part)
		}
	}
	return all, nil
}

func (d *device) properties(query string) error {
	all, err := splitProperties(query)
	if err != nil {
		return err
	}
	for _, property := range all {
		if err := d.property(property[0], property[1]); err != nil {
			return err
		}
	}
	if d.Family == familyUnknown && d.Provider != "" {
		d.Family = familyOther
	}
	return nil
}

func (d *device) property(key, value string) error {
	switch key {
	case "IOProviderClass":
		d.Provider = value
		if f := nubFamily(value); f != familyUnknown {
			d.Family = f
		}
		return nil
	case "IONameMatch", "IOCompatibleMatch":
		d.Names = append(d.Names, value)
		if d.pciName(value) {
			d.Family = familyPCI
		}
		return nil
	}
	registers := map[string]*register{"IOPCIMatch": &d.Primary, "IOPCIPrimaryMatch": &d.Primary,
		"IOPCISecondaryMatch": &d.Secondary, "IOPCIClassMatch": &d.Class}
	if r := registers[key]; r != nil {
		d.Family = familyPCI
		return r.parse(key, value)
	}
	v, err := strconv.ParseUint(value, 0, 64)
	if err != nil {
		return fmt.Errorf("%s: %q is not a number", key, value)
	}
	if isUSBKey(key) {
		d.Family = familyUSB
	}
	d.Numbers[key] = v
	return nil
}

// parse reads "value" or "value&mask", hexadecimal. The revision in a class register is known only if it is not 0.
func (r *register) parse(key, value string) error {
	number, mask, masked := strings.Cut(value, "&")
	v, err := strconv.ParseUint(strings.TrimPrefix(strings.TrimSpace(number), "0x"), 16, 32)
	if err != nil {
		return fmt.Errorf("%s: %q is not a hexadecimal number", key, value)
	}
	r.value, r.known = uint32(v), 0xffffffff
	if key == "IOPCIClassMatch" && v&0xff == 0 {
		r.known = 0xffffff00
	}
	if !masked {
		return nil
	}
	m, err := strconv.ParseUint(strings.TrimPrefix(strings.TrimSpace(mask), "0x"), 16, 32)
	if err != nil {
		return fmt.Errorf("%s: %q is not a hexadecimal number", key, value)
	}
	r.known = uint32(m)
	return nil
}
