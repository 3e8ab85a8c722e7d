// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
)

// A device is what personalities are matched with: the properties of a device that a query names.
type device struct {
	// Provider is the class of its nub (IOProviderClass); empty for any.
	Provider string
	// Names are what IONameMatch and IOCompatibleMatch look at, such as "pci8086,1533" or "PNP0C0A".
	Names []string
	// Numbers are its numeric properties: idVendor, bInterfaceClass, and of a PCI device the four
	// below.
	Numbers map[string]uint64
}

// Numeric properties of a PCI device that no personality names itself.
const (
	pciPrimary   = "pci-primary"   // device << 16 | vendor
	pciSecondary = "pci-secondary" // the same of the subsystem
	pciClass     = "pci-class"     // class code << 8 | revision
)

// parseDevice reads a query for a device: the modalias of a PCI, USB or ACPI device as Linux writes
// it, or properties as personalities name them, "key=value,key=value". Of those, IOPCIMatch or
// IOPCIPrimaryMatch is the id 0xDDDDVVVV, IOPCISecondaryMatch the subsystem's, IOPCIClassMatch the
// class register, IONameMatch a name; other numbers are compared as they are. The error is a
// fact.ParseError; a text that is no query at all is fact.ErrMalformed with ok false in the sense
// that it has neither a colon nor an equals sign.
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
		d.Provider = "IOACPIPlatformDevice"
		d.Names = strings.FieldsFunc(rest, func(r rune) bool { return r == ':' })
	case strings.Contains(query, "="):
		err = d.properties(query)
	default:
		err = fmt.Errorf("neither a modalias nor key=value")
	}
	if err != nil {
		return device{}, &fact.ParseError{Source: "query", Field: "device",
			Reason: fmt.Sprintf("%q: %v", escape.Text(cutText(query, 80)), err)}
	}
	return d, nil
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
			return nil, fmt.Errorf("field %q is no number", f.key)
		}
		values[f.key], s = v, rest[f.digits:]
	}
	return values, nil
}

func (d *device) pciAlias(s string) error {
	f, err := aliasFields(s, []aliasField{{"v", 8}, {"d", 8}, {"sv", 8}, {"sd", 8}, {"bc", 2}, {"sc", 2}, {"i", 2}})
	if err != nil {
		return err
	}
	d.Provider = "IOPCIDevice"
	pair := func(name, device, vendor string) {
		v, okV := f[vendor]
		id, okD := f[device]
		if okV && okD {
			d.Numbers[name] = (id&0xffff)<<16 | v&0xffff
		}
	}
	pair(pciPrimary, "d", "v")
	pair(pciSecondary, "sd", "sv")
	if id, ok := d.Numbers[pciPrimary]; ok {
		d.Names = append(d.Names, fmt.Sprintf("pci%x,%x", id&0xffff, id>>16))
	}
	if class, ok := f["bc"]; ok {
		d.Numbers[pciClass] = class<<24 | f["sc"]<<16 | f["i"]<<8
	}
	return nil
}

func (d *device) usbAlias(s string) error {
	f, err := aliasFields(s, []aliasField{{"v", 4}, {"p", 4}, {"d", 4}, {"dc", 2}, {"dsc", 2}, {"dp", 2},
		{"ic", 2}, {"isc", 2}, {"ip", 2}, {"in", 2}})
	if err != nil {
		return err
	}
	for from, to := range map[string]string{
		"v": "idVendor", "p": "idProduct", "d": "bcdDevice", "dc": "bDeviceClass", "dsc": "bDeviceSubClass",
		"dp": "bDeviceProtocol",
		"ic": "bInterfaceClass", "isc": "bInterfaceSubClass", "ip": "bInterfaceProtocol", "in": "bInterfaceNumber",
	} {
		if v, ok := f[from]; ok {
			d.Numbers[to] = v
		}
	}
	d.Provider = "usb" // several classes: a device and its interfaces, old and new ones
	return nil
}

func (d *device) properties(query string) error {
	for part := range strings.SplitSeq(query, ",") {
		key, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		if !ok {
			// Names may hold a comma: pci8086,1533.
			if n := len(d.Names); n > 0 {
				d.Names[n-1] += "," + part
				continue
			}
			return fmt.Errorf("%q is no key=value", part)
		}
		switch key {
		case "IOProviderClass":
			d.Provider = value
			continue
		case "IONameMatch", "IOCompatibleMatch":
			d.Names = append(d.Names, value)
			continue
		}
		v, err := strconv.ParseUint(value, 0, 64)
		if err != nil {
			return fmt.Errorf("%s: %q is no number", key, value)
		}
		switch key {
		case "IOPCIMatch", "IOPCIPrimaryMatch":
			key = pciPrimary
		case "IOPCISecondaryMatch":
			key = pciSecondary
		case "IOPCIClassMatch":
			key = pciClass
		}
		d.Numbers[key] = v
	}
	return nil
}

// matches reports whether a personality is for the device: every matching property that it has
// must be one that the device has, with a value that fits. A personality without any, or with one
// that cannot be judged from a query (IOPropertyMatch and others), does not match.
func (d *device) matches(p *Personality) bool {
	if len(p.Match) == 0 || !d.fitsProvider(p.ProviderClass) {
		return false
	}
	for _, m := range p.Match {
		if !d.fits(m, p) {
			return false
		}
	}
	return true
}

func (d *device) fitsProvider(class string) bool {
	switch d.Provider {
	case "", class:
		return true
	case "usb":
		return strings.HasPrefix(class, "IOUSB") || strings.HasPrefix(class, "IOUserUSB") ||
			strings.HasPrefix(class, "AppleUSB")
	}
	return false
}

func (d *device) fits(m Match, p *Personality) bool {
	switch m.Key {
	case "IONameMatch", "IOCompatibleMatch":
		return slices.ContainsFunc(m.Values, func(v string) bool {
			return slices.ContainsFunc(d.Names, func(n string) bool { return strings.EqualFold(n, v) })
		})
	case "IOPCIMatch":
		return d.fitsMask(m.Values, pciPrimary) || d.fitsMask(m.Values, pciSecondary)
	case "IOPCIPrimaryMatch":
		return d.fitsMask(m.Values, pciPrimary)
	case "IOPCISecondaryMatch":
		return d.fitsMask(m.Values, pciSecondary)
	case "IOPCIClassMatch":
		return d.fitsMask(m.Values, pciClass)
	case "idProductMask":
		return true // judged with idProduct
	case "idProductArray":
		return d.fitsNumber("idProduct", m.Values, ^uint64(0))
	case "idProduct":
		return d.fitsNumber("idProduct", m.Values, p.productMask())
	}
	return d.fitsNumber(m.Key, m.Values, ^uint64(0))
}

// productMask is which bits of idProduct count.
func (p *Personality) productMask() uint64 {
	for _, m := range p.Match {
		if m.Key == "idProductMask" && len(m.Values) == 1 {
			if v, err := strconv.ParseUint(m.Values[0], 0, 64); err == nil {
				return v
			}
		}
	}
	return ^uint64(0)
}

// fitsNumber compares a property of the device with any of the values.
func (d *device) fitsNumber(key string, values []string, mask uint64) bool {
	got, ok := d.Numbers[key]
	return ok && slices.ContainsFunc(values, func(v string) bool {
		want, err := strconv.ParseUint(v, 0, 64)
		return err == nil && got&mask == want&mask
	})
}

// fitsMask compares a number with lists of "value[&mask]", divided by blanks.
func (d *device) fitsMask(values []string, key string) bool {
	got, ok := d.Numbers[key]
	if !ok {
		return false
	}
	for _, list := range values {
		for word := range strings.FieldsSeq(list) {
			value, mask, masked := strings.Cut(word, "&")
			want, err := strconv.ParseUint(value, 0, 64)
			bits := uint64(0xffffffff)
			if masked && err == nil {
				bits, err = strconv.ParseUint(mask, 0, 64)
			}
			if err == nil && got&bits == want&bits {
				return true
			}
		}
	}
	return false
}

// score is the best probe score of the personalities in info that match the device; ok is false
// when none does.
func (d *device) score(info *BundleInfo) (score int64, ok bool) {
	for i := range info.Personalities {
		p := &info.Personalities[i]
		if !d.matches(p) {
			continue
		}
		if v, _ := p.ProbeScore.Get(); !ok || v > score {
			score = v
		}
		ok = true
	}
	return score, ok
}
