// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"slices"
	"strconv"

	"github.com/kernelext/kernelext/fact"
)

// A usbRow is one of the combinations of keys by which a personality matches a USB device or interface. Whatever has
// none of them never matches.
type usbRow struct {
	needed  []string // must be there and fit
	fitting []string // must fit if there
	absent  []string // must not be there
	vendor  fact.Tri // the nub's class must, or must not, be 0xff, the vendors' own
	score   int64
}

// The rows for devices and for interfaces, the first that fits (IOUSBFamily, IOUSBDevice::matchPropertyTable and
// IOUSBInterface::matchPropertyTable, after the USB Common Class Specification; IOUSBHostFamily keeps them).
var (
	usbDeviceRows = []usbRow{
		{[]string{"idVendor", "idProduct", "bcdDevice"},
			[]string{"bDeviceClass", "bDeviceSubClass", "bDeviceProtocol"}, nil, "", 100000},
		{[]string{"idVendor", "idProduct"},
			[]string{"bcdDevice", "bDeviceClass", "bDeviceSubClass", "bDeviceProtocol"}, nil, "", 90000},
		{[]string{"idVendor", "bDeviceSubClass", "bDeviceProtocol"}, []string{"bDeviceClass"},
			[]string{"bcdDevice", "idProduct"}, fact.Yes, 80000},
		{[]string{"idVendor", "bDeviceSubClass"}, []string{"bDeviceClass"},
			[]string{"bDeviceProtocol", "bcdDevice", "idProduct"}, fact.Yes, 70000},
		{[]string{"bDeviceClass", "bDeviceSubClass", "bDeviceProtocol"}, nil,
			[]string{"bcdDevice", "idVendor", "idProduct"}, fact.No, 60000},
		{[]string{"bDeviceClass", "bDeviceSubClass"}, nil,
			[]string{"bDeviceProtocol", "bcdDevice", "idVendor", "idProduct"}, fact.No, 50000},
	}
	usbInterfaceRows = []usbRow{
		{[]string{"idVendor", "idProduct", "bcdDevice", "bConfigurationValue", "bInterfaceNumber"},
			[]string{"bInterfaceClass", "bInterfaceSubClass", "bInterfaceProtocol"}, nil, "", 100000},
		{[]string{"idVendor", "idProduct", "bConfigurationValue", "bInterfaceNumber"},
			[]string{"bcdDevice", "bInterfaceClass", "bInterfaceSubClass", "bInterfaceProtocol"}, nil, "", 90000},
		{[]string{"idVendor", "bInterfaceSubClass", "bInterfaceProtocol"}, []string{"bInterfaceClass"},
			[]string{"bcdDevice", "idProduct", "bInterfaceNumber", "bConfigurationValue"}, fact.Yes, 80000},
		{[]string{"idVendor", "bInterfaceSubClass"}, []string{"bInterfaceClass"}, []string{"bInterfaceProtocol",
			"bcdDevice", "idProduct", "bInterfaceNumber", "bConfigurationValue"}, fact.Yes, 70000},
		{[]string{"bInterfaceClass", "bInterfaceSubClass", "bInterfaceProtocol"}, nil, []string{"bcdDevice", "idVendor",
			"idProduct", "bInterfaceNumber", "bConfigurationValue"}, fact.No, 60000},
		{[]string{"bInterfaceClass", "bInterfaceSubClass"}, nil, []string{"bInterfaceProtocol", "bcdDevice", "idVendor",
			"idProduct", "bInterfaceNumber", "bConfigurationValue"}, fact.No, 50000},
	}
)

// usbWildcard is what a wildcard takes off the score, usbMasked what a mask does.
const (
	usbWildcard = 1000
	usbMasked   = 500
)

// isUSBKey reports whether a key is a USB nub's.
func isUSBKey(key string) bool {
	return slices.Contains(usbProperties, key) || key == "bConfigurationValue" || key == "idProductArray" ||
		key == "USBSpeed" || key == "USBPortType"
}

// A usbKey is one key of a personality beside a device's property.
type usbKey struct {
	there, wild, masked bool
	fits                fact.Tri
}

// matchUSB judges a personality by the rows of the family.
func (d *device) matchUSB(p *Personality, j *judgment) {
	rows, class := usbDeviceRows, "bDeviceClass"
	if isInterface(p.ProviderClass) {
		rows, class = usbInterfaceRows, "bInterfaceClass"
	}
	keys := map[string]usbKey{}
	for i := range p.Match {
		if m := &p.Match[i]; isUSBKey(m.Key) || m.Key == "idProductMask" {
			keys[m.Key] = d.usbKeyOf(m)
		}
	}
	keys["idProduct"] = d.usbProduct(p, keys["idProduct"])
	var vendor fact.Tri // whether the nub's class is the vendors' own
	if v, ok := d.Numbers[class]; ok {
		vendor = fact.TriOf(v == 0xff)
	}
	best := judgment{no: true}
	for _, row := range rows {
		r := row.judge(keys, vendor, class)
		if !r.no && (best.no || len(best.unjudged) > 0 && len(r.unjudged) == 0) {
			best = r
		}
	}
	for _, key := range []string{"USBSpeed", "USBPortType"} {
		if k := keys[key]; k.there && !best.no {
			best.add(key, k.fits)
		}
	}
	j.no = j.no || best.no
	j.fits += best.fits
	j.score = best.score
	for _, key := range best.unjudged {
		j.add(key, "")
	}
}

// judge says whether the keys are those of the row.
func (row *usbRow) judge(keys map[string]usbKey, vendor fact.Tri, class string) judgment {
	j := judgment{score: row.score}
	for _, key := range row.absent {
		j.no = j.no || keys[key].there
	}
	for _, key := range row.needed {
		k := keys[key]
		if !k.there {
			j.no = true
			continue
		}
		j.add(key, k.fits)
		if k.wild {
			j.score -= usbWildcard
		}
		if k.masked {
			j.score -= usbMasked
		}
	}
	for _, key := range row.fitting {
		if k := keys[key]; k.there {
			j.add(key, k.fits)
		}
	}
	if row.vendor != "" && vendor != row.vendor {
		j.add(class, cmpUnknown(vendor))
	}
	return j
}

// cmpUnknown is no for a class that is known to be another, and unknown for one that is not known.
func cmpUnknown(known fact.Tri) fact.Tri {
	if known == "" {
		return ""
	}
	return fact.No
}

// usbKeyOf compares one key with the device's property of the same name.
func (d *device) usbKeyOf(m *Match) usbKey {
	k := usbKey{there: true}
	if len(m.Values) == 1 && m.Values[0] == "*" {
		k.wild, k.fits = true, fact.Yes
		return k
	}
	if got, ok := d.Numbers[m.Key]; ok {
		k.fits = fact.TriOf(slices.Contains(m.numbers(), got))
	}
	return k
}

// usbProduct compares idProduct, or any of idProductArray in its stead. A mask is tried if that does not fit.
func (d *device) usbProduct(p *Personality, k usbKey) usbKey {
	product, array, mask := p.match("idProduct"), p.match("idProductArray"), p.match("idProductMask")
	if array != nil {
		k.there, k.wild = true, false
		product = array
	}
	got, known := d.Numbers["idProduct"]
	if product == nil || k.wild && array == nil || !known {
		if array != nil {
			k.fits = ""
		}
		return k
	}
	values := product.numbers()
	k.fits = fact.TriOf(slices.Contains(values, got))
	if mask == nil || k.fits == fact.Yes {
		return k
	}
	for _, bits := range mask.numbers() {
		if slices.ContainsFunc(values, func(v uint64) bool { return got&bits == v&bits }) {
			k.fits, k.masked = fact.Yes, true
		}
	}
	return k
}

// match returns a key of the personality; nil if it has none.
func (p *Personality) match(key string) *Match {
	for i := range p.Match {
		if p.Match[i].Key == key {
			return &p.Match[i]
		}
	}
	return nil
}

// numbers are the values that are numbers. The kernel compares objects: the text "5" is not the number 5 (XNU,
// OSNumber::isEqualTo; IOUSBNub::USBCompareProperty).
func (m *Match) numbers() []uint64 {
	var all []uint64
	for i, v := range m.Values {
		if n, err := strconv.ParseUint(v, 0, 64); err == nil && !slices.Contains(m.texts, i) {
			all = append(all, n)
		}
	}
	return all
}

// usbScore adds a personality's own score to that of its row, of which it may make up no more than the step to the
// next. Of other families, the own score is all.
func usbScore(row, probe int64) int64 {
	if row != 0 && probe >= 10000 {
		probe = 9000
	}
	return row + probe
}
