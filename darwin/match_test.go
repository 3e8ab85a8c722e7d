// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/fact"
)

// personality reads "PROVIDER KEY=VALUE|VALUE KEY=VALUE"; "_" in a value is a blank.
func personality(text string) Personality {
	words := strings.Fields(text)
	p := Personality{Name: "P", ProviderClass: words[0]}
	for _, word := range words[1:] {
		key, values, _ := strings.Cut(word, "=")
		p.Match = append(p.Match, Match{Key: key,
			Values: strings.Split(strings.ReplaceAll(values, "_", " "), "|")})
	}
	return p
}

// Devices of the table.
const (
	nic    = "pci:v00008086d00001533sv00008086sd00000001bc02sc00i00"
	nicOf  = "pci:v00008086d00001533sv*sd*bc02sc00i00"
	xhci   = "pci:v00001B21d00001242sv00001B21sd00000000bc0Csc03i30"
	pad    = "usb:v05ACp0223d0100dc00dsc00dp00ic03isc01ip02in01"
	vendor = "usb:v0403p6001d0600dcFFdsc01dp02icFFisc05ip06in00"
)

// TestMatching judges personalities as IOKit, IOPCIFamily and IOUSBFamily do. The answer is yes, no, or what the query
// does not say of what the personality asks for.
func TestMatching(t *testing.T) {
	for _, tt := range []struct{ personality, device, want string }{
		// Numbers of IOPCIFamily (IOPCIBridge::matchKeys): base 16, with or without 0x.
		{"IOPCIDevice IOPCIMatch=0x15338086", nic, "yes"},
		{"IOPCIDevice IOPCIMatch=15338086", nic, "yes"},
		{"IOPCIDevice IOPCIMatch=0X15338086", nic, "yes"},
		{"IOPCIDevice IOPCIMatch=+15338086", nic, "yes"},
		{"IOPCIDevice IOPCIMatch=0x15338087", nic, "no"},
		{"IOPCIDevice IOPCIMatch=0x80861533", nic, "no"},
		{"IOPCIDevice IOPCIMatch=0x15348086_0x15338086", nic, "yes"},
		{"IOPCIDevice IOPCIMatch=0x15348086,0x15338086", nic, "no"}, // a comma ends the list
		{"IOPCIDevice IOPCIMatch=x_0x15338086", nic, "no"},
		{"IOPCIDevice IOPCIMatch=", nic, "no"},
		{"IOPCIDevice IOPCIMatch=0x00008086&0x0000ffff", nic, "yes"},
		{"IOPCIDevice IOPCIMatch=00008086&0000ffff", nic, "yes"},
		{"IOPCIDevice IOPCIMatch=0x00008086_&_0x0000ffff", nic, "yes"},
		{"IOPCIDevice IOPCIMatch=0x00001022&0x0000ffff", nic, "no"},
		{"IOPCIDevice IOPCIMatch=0x12345678&", nic, "yes"}, // no number is a mask of 0
		{"IOPCIDevice IOPCIMatch=0x115338086", nic, "yes"}, // the mask is of 32 bits
		{"IOPCIDevice IOPCIMatch=0x115338086&0x1ffffffff", nic, "no"},
		{"IOPCIDevice IOPCIMatch=0x15348086_0x15338086&0xfff0ffff", nic, "yes"},
		// Which register: the device's ids, then for IOPCIMatch alone those of its subsystem.
		{"IOPCIDevice IOPCIMatch=0x00018086", nic, "yes"},
		{"IOPCIDevice IOPCIPrimaryMatch=0x00018086", nic, "no"},
		{"IOPCIDevice IOPCIPrimaryMatch=0x15338086", nic, "yes"},
		{"IOPCIDevice IOPCISecondaryMatch=0x00018086", nic, "yes"},
		{"IOPCIDevice IOPCISecondaryMatch=0x15338086", nic, "no"},
		{"IOPCIDevice IOPCISecondaryMatch=0x00018086", nicOf, "IOPCISecondaryMatch"},
		{"IOPCIDevice IOPCIMatch=0x00018086", nicOf, "IOPCIMatch"},
		{"IOPCIDevice IOPCIMatch=0x15338086", nicOf, "yes"},
		{"IOPCIDevice IOPCIPrimaryMatch=0x00018086", nicOf, "no"},
		// The class: its default mask leaves the revision out, which a modalias does not say.
		{"IOPCIDevice IOPCIClassMatch=0x02000000", nic, "yes"},
		{"IOPCIDevice IOPCIClassMatch=0x02000005", nic, "yes"},
		{"IOPCIDevice IOPCIClassMatch=0x02000000&0xffff0000", nic, "yes"},
		{"IOPCIDevice IOPCIClassMatch=0x02000005&0xffffffff", nic, "IOPCIClassMatch"},
		{"IOPCIDevice IOPCIClassMatch=0x03000005&0xffffffff", nic, "no"},
		{"IOPCIDevice IOPCIClassMatch=0x0c033000", xhci, "yes"},
		{"IOPCIDevice IOPCIClassMatch=0c033001", xhci, "yes"},
		{"IOPCIDevice IOPCIClassMatch=0x0c032000", xhci, "no"},
		{"IOPCIDevice IOPCIClassMatch=0x0c030000&0xffff0000", xhci, "yes"},
		{"IOPCIDevice IOPCIClassMatch=0x0c033000 IOPCIMatch=0x12421b21", xhci, "yes"},
		{"IOPCIDevice IOPCIClassMatch=0x0c033000 IOPCIMatch=0x12431b21", xhci, "no"},
		{"IOPCIDevice IOPCIClassMatch=0x02000000", "pci:v*d*sv*sd*bc*sc*i*", "IOPCIClassMatch"},
		// Keys of other nubs count for nothing on a PCI nub; neither do unknown ones.
		{"IOPCIDevice IOPCIMatch=0x15338086 IOResourceMatch=IOKit", nic, "yes"},
		{"IOPCIDevice IOPCIMatch=0x15338086 idVendor=1", nic, "yes"},
		{"IOPCIDevice IOPCIMatch=0x15338086 IOVirtIOPrimaryMatch=1", nic, "yes"},
		{"IOPCIDevice", nic, "yes"},
		{"IOService", nic, "no"}, // it is for everything, and so says nothing of the device
		{"IOService IOPCIMatch=0x15338086", nic, "yes"},
		{"IOResources IOPCIMatch=0x15338086", nic, "no"},
		{"IOUSBHostDevice IOPCIMatch=0x15338086", nic, "no"},
		// Generic keys that no query says.
		{"IOPCIDevice IOPCIMatch=0x15338086 IOPropertyMatch=x=1", nic, "IOPropertyMatch"},
		{"IOPCIDevice IOPCIMatch=0x15338086 IOParentMatch=x=1", nic, "IOParentMatch"},
		{"IOPCIDevice IOPCIMatch=0x15338087 IOPropertyMatch=x=1", nic, "no"},
		{"IOPCIDevice IOPCIMatch=0x15338086 IOLocationMatch=2 IOBSDName=en0", nic, "IOBSDName IOLocationMatch"},
		// Names (IODTCompareNubName): case counts, a star at the end is any end.
		{"IOPCIDevice IONameMatch=pci8086,1533", nic, "yes"},
		{"IOPCIDevice IONameMatch=pci8086,1|pci8086,1534", nic, "yes"}, // the subsystem's
		{"IOPCIDevice IONameMatch=PCI8086,1533", nic, "IONameMatch"},
		{"IOPCIDevice IONameMatch=pci8086,1534", nic, "no"},
		{"IOPCIDevice IONameMatch=pci8086,15*", nic, "yes"},
		{"IOPCIDevice IONameMatch=pci8086,16*", nic, "no"},
		{"IOPCIDevice IONameMatch=pci1b21,1242", xhci, "yes"},
		{"IOPCIDevice IONameMatch=pci1B21,1242", xhci, "no"},
		{"IOPCIDevice IONameMatch=pciclass,020000", nic, "yes"},
		{"IOPCIDevice IONameMatch=pciclass,030000", nic, "no"},
		{"IOPCIDevice IONameMatch=ethernet", nic, "IONameMatch"}, // firmware names nubs
		{"IOPCIDevice IONameMatch=pci8086,1|ethernet", nicOf, "IONameMatch"},
		{"IOACPIPlatformDevice IONameMatch=PNP0C0A|ACPI0003", "acpi:PNP0C0A:", "yes"},
		{"IOACPIPlatformDevice IONameMatch=pnp0c0a", "acpi:PNP0C0A:", "IONameMatch"},
		{"IOACPIPlatformDevice IONameMatch=PNP0C0B", "acpi:PNP0C0A:", "no"},
		{"IOACPIPlatformDevice IONameMatch=BAT0", "acpi:PNP0C0A:", "IONameMatch"},
		{"IOACPIPlatformDevice IONameMatch=PNP*", "acpi:PNP0C0A:APP0002:", "yes"},
		{"IOPCIDevice IONameMatch=PNP0C0A", "acpi:PNP0C0A:", "no"},
		// USB devices (IOUSBDevice::matchPropertyTable).
		{"IOUSBDevice idVendor=1027 idProduct=24577", vendor, "yes 90000"},
		{"IOUSBHostDevice idVendor=1027 idProduct=24577", vendor, "yes 90000"},
		{"IOUSBDevice idVendor=1027 idProduct=24577 bcdDevice=1536", vendor, "yes 100000"},
		{"IOUSBDevice idVendor=1027 idProduct=24577 bcdDevice=1537", vendor, "no"},
		{"IOUSBDevice idVendor=1027 idProduct=24577 bDeviceClass=255", vendor, "yes 90000"},
		{"IOUSBDevice idVendor=1027 idProduct=24577 bDeviceClass=0", vendor, "no"},
		{"IOUSBDevice idVendor=1027", vendor, "no"}, // no combination
		{"IOUSBDevice idProduct=24577", vendor, "no"},
		{"IOUSBDevice bcdDevice=1536 idVendor=1027", vendor, "no"},
		{"IOUSBDevice", vendor, "no"},
		{"IOUSBDevice idVendor=1027 bDeviceSubClass=1 bDeviceProtocol=2", vendor, "yes 80000"},
		{"IOUSBDevice idVendor=1027 bDeviceSubClass=1", vendor, "yes 70000"},
		{"IOUSBDevice idVendor=1027 bDeviceSubClass=1 bDeviceProtocol=3", vendor, "no"},
		{"IOUSBDevice bDeviceClass=255 bDeviceSubClass=1 bDeviceProtocol=2", vendor, "no"}, // a vendor's class needs it
		{"IOUSBDevice bDeviceClass=0 bDeviceSubClass=0 bDeviceProtocol=0", pad, "yes 60000"},
		{"IOUSBDevice bDeviceClass=0 bDeviceSubClass=0", pad, "yes 50000"},
		{"IOUSBDevice bDeviceClass=0 bDeviceSubClass=0 idVendor=1452", pad, "no"},
		{"IOUSBDevice idVendor=1452 bDeviceSubClass=0", pad, "no"},
		{"IOUSBDevice idVendor=* idProduct=*", pad, "yes 88000"},
		{"IOUSBDevice idVendor=1452 idProduct=*", pad, "yes 89000"},
		{"IOUSBDevice idVendor=1452 idProductArray=1|547|3", pad, "yes 90000"},
		{"IOUSBDevice idVendor=1452 idProduct=547 idProductArray=1|3", pad, "no"}, // the list counts
		{"IOUSBDevice idVendor=1452 idProduct=512 idProductMask=65280", pad, "yes 89500"},
		{"IOUSBDevice idVendor=1452 idProduct=547 idProductMask=65280", pad, "yes 90000"},
		{"IOUSBDevice idVendor=1452 idProduct=768 idProductMask=65280", pad, "no"},
		{"IOUSBDevice idVendor=1452 idProductArray=768|512 idProductMask=65280", pad, "yes 89500"},
		{"IOUSBDevice idVendor=1452 idProduct=547 IOPCIMatch=0x1", pad, "yes 90000"},
		{"IOUSBDevice idVendor=1452 idProduct=547 USBSpeed=3", pad, "USBSpeed"},
		{"IOUSBHIDDevice idVendor=1452 idProduct=547", pad, "no"}, // no nub
		// USB interfaces (IOUSBInterface::matchPropertyTable). A modalias says no configuration.
		{"IOUSBInterface idVendor=1452 idProduct=547 bConfigurationValue=1 bInterfaceNumber=1", pad,
			"bConfigurationValue"},
		{"IOUSBHostInterface idVendor=1452 idProduct=547 bConfigurationValue=1 bInterfaceNumber=0", pad, "no"},
		{"IOUSBInterface idVendor=1453 idProduct=547 bConfigurationValue=1 bInterfaceNumber=1", pad, "no"},
		{"IOUSBInterface idVendor=1452 idProduct=547 bConfigurationValue=* bInterfaceNumber=1", pad, "yes 89000"},
		{"IOUSBInterface idVendor=1452 idProduct=547 bcdDevice=256 bConfigurationValue=* bInterfaceNumber=1", pad,
			"yes 99000"},
		{"IOUSBInterface idVendor=1452 idProduct=547", pad, "no"}, // no combination
		{"IOUSBInterface idVendor=1452 idProduct=547 bInterfaceNumber=1", pad, "no"},
		{"IOUSBInterface bInterfaceClass=3 bInterfaceSubClass=1 bInterfaceProtocol=2", pad, "yes 60000"},
		{"IOUSBInterface bInterfaceClass=3 bInterfaceSubClass=1", pad, "yes 50000"},
		{"IOUSBInterface bInterfaceClass=3", pad, "no"},
		{"IOUSBInterface bInterfaceClass=3 bInterfaceSubClass=1 bInterfaceProtocol=1", pad, "no"},
		{"IOUSBInterface idVendor=1452 bInterfaceSubClass=1", pad, "no"}, // not a vendor's class
		{"IOUSBInterface idVendor=1027 bInterfaceSubClass=5 bInterfaceProtocol=6", vendor, "yes 80000"},
		{"IOUSBInterface idVendor=1027 bInterfaceSubClass=5", vendor, "yes 70000"},
		{"IOUSBInterface bInterfaceClass=255 bInterfaceSubClass=5", vendor, "no"},
		// Queries by properties: what they do not say is not judged.
		{"IOUSBDevice idVendor=1452 idProduct=547 bcdDevice=1", "idVendor=1452,idProduct=547", "bcdDevice"},
		{"IOUSBInterface idVendor=1452 idProduct=547 bConfigurationValue=1 bInterfaceNumber=1", "usb:05ac:0223",
			"bConfigurationValue bInterfaceNumber"},
		{"IOUSBInterface idVendor=1452 idProduct=547 bConfigurationValue=1 bInterfaceNumber=1",
			"idVendor=0x05ac,idProduct=0x223,bConfigurationValue=1,bInterfaceNumber=1", "yes 90000"},
		{"IOUSBDevice idVendor=1452 idProduct=547", "IOProviderClass=IOUSBHostDevice,idVendor=1452,idProduct=547",
			"yes 90000"},
		{"IOUSBInterface idVendor=1452 idProduct=547 bConfigurationValue=* bInterfaceNumber=*",
			"IOProviderClass=IOUSBHostDevice,idVendor=1452,idProduct=547", "no"},
		{"IOPCIDevice IOPCIMatch=0x15b78086", "pci8086,15b7", "yes"},
		{"IOPCIDevice IOPCIMatch=0x15b78086", "pci:8086:15b7", "yes"},
		{"IOPCIDevice IOPCIMatch=0x15b78086", "IOPCIMatch=15b78086", "yes"},
		{"IOPCIDevice IOPCIMatch=0x15b78086", "IOPCIMatch=0x00008086&0x0000ffff", "IOPCIMatch"},
		{"IOPCIDevice IOPCIClassMatch=0x0c033000", "pciclass,0c0330", "yes"},
		{"IOPCIDevice IOPCIMatch=0x15b78086", "IONameMatch=pci8086,15b7,IOProviderClass=IOPCIDevice", "yes"},
		{"IOHIDDevice VendorID=1452 ProductID=1", "VendorID=1452,ProductID=1", "yes"},
		{"IOHIDDevice VendorID=1452 ProductID=1 PrimaryUsage=2", "VendorID=1452", "PrimaryUsage ProductID"},
		{"IOHIDDevice VendorID=1452", "VendorID=1453", "no"},
		{"IOResources IOResourceMatch=IOBSD", "VendorID=1453", "no"},
	} {
		d, err := parseDevice(tt.device)
		if err != nil {
			t.Errorf("%s: %v", tt.device, err)
			continue
		}
		got := "no"
		info := BundleInfo{Personalities: []Personality{personality(tt.personality)}}
		if m := d.best(&info); m != nil {
			got = strings.Join(m.Unjudged, " ")
			if m.Sure == fact.Yes {
				got = "yes"
				if score, _ := m.Score.Get(); score != 0 {
					got += fmt.Sprint(" ", score)
				}
			}
			if (m.problem() == nil) != (m.Sure == fact.Yes) {
				t.Errorf("%s: problem %v", tt.personality, m.problem())
			}
		}
		if got != tt.want {
			t.Errorf("%s for %s: %q, want %q", tt.personality, tt.device, got, tt.want)
		}
	}
}

func TestParseDevice(t *testing.T) {
	for _, query := range []string{"", "hello", "pci:v1", "usb:x", "pci:v0000808Gd00001533sv*sd*bc02sc00i00",
		"idVendor=x", "a,b=1", "pci8086", "pci8086,15b78", "pciclass,x", "usb:12345:1", "IOPCIMatch=x",
		"IOPCIMatch=1&x", "IOPCIMatch=0x123456789"} {
		if d, err := parseDevice(query); !errors.Is(err, fact.ErrMalformed) {
			t.Errorf("%q: %+v, %v", query, d, err)
		}
	}
	for query, want := range map[string]bool{"com.vendor.driver": false, "pci8086,15b7": true, "pciclass,0c0330": true,
		"usb:05ac:0223": true, "a=b": true, "pci.driver": false} {
		if isDevice(query) != want {
			t.Errorf("%q is a device: %v", query, !want)
		}
	}
}

// TestBest takes the best of several personalities, and orders sure matches before the others.
func TestBest(t *testing.T) {
	d, err := parseDevice(pad)
	if err != nil {
		t.Fatal(err)
	}
	scored := func(text string, probe int64) Personality {
		p := personality(text)
		p.Name, p.ProbeScore = fmt.Sprint(probe), fact.CountOf(probe)
		return p
	}
	product := "IOUSBDevice idVendor=1452 idProduct=547"
	m := d.best(&BundleInfo{Personalities: []Personality{scored(product, -9), scored(product, -5),
		scored(product, 20000), scored(product+" USBSpeed=1", 30000), scored("IOUSBDevice idVendor=1", 99)}})
	if score, _ := m.Score.Get(); m.Personality != "20000" || score != 99000 || m.Sure != fact.Yes {
		t.Errorf("%+v", m)
	}
	kext := func(id, text string, probe int64) Record {
		return Record{ID: id, Own: &Kext{BundleID: id, Bundle: &Bundle{BundleInfo: BundleInfo{
			Personalities: []Personality{scored(text, probe)}}}}}
	}
	list := []Record{kext("may", product+" USBSpeed=1", 9000), kext("low", product, -1), kext("high", product, 1),
		kext("none", "IOUSBDevice", 1), {ID: "bare", Own: &Kext{}}}
	var ids []string
	for _, m := range d.drivers(list) {
		ids = append(ids, m.ID)
		if (len(m.Problems) == 1) != (m.ID == "may") {
			t.Errorf("%s: %v", m.ID, m.Problems)
		}
	}
	if !slices.Equal(ids, []string{"high", "low", "may"}) || list[0].Own.Match != nil || list[0].Problems != nil {
		t.Errorf("%q, %+v", ids, list[0])
	}
}

// TestMatchTypes matches property lists: a text is never equal to a number, only "*" stands for any.
func TestMatchTypes(t *testing.T) {
	const key = "<key>%s</key>"
	number := func(name string, v int) string { return fmt.Sprintf(key+"<integer>%d</integer>", name, v) }
	text := func(name, v string) string { return fmt.Sprintf(key+"<string>%s</string>", name, v) }
	for match, want := range map[string]fact.Tri{
		number("idVendor", 1452) + number("idProduct", 547):  fact.Yes,
		text("idVendor", "1452") + number("idProduct", 547):  fact.No,
		text("idVendor", "0x5ac") + number("idProduct", 547): fact.No,
		text("idVendor", "*") + number("idProduct", 547):     fact.Yes,
		number("idVendor", 1452) + fmt.Sprintf(key, "idProductArray") +
			"<array><string>547</string><integer>1</integer></array>": fact.No,
		number("idVendor", 1452) + fmt.Sprintf(key, "idProductArray") +
			"<array><string>1</string><integer>547</integer></array>": fact.Yes,
	} {
		info, err := parseInfo("x", fmt.Appendf(nil, "<plist><dict><key>IOKitPersonalities</key><dict><key>P</key>"+
			"<dict>"+
			"<key>IOProviderClass</key><string>IOUSBHostDevice</string>%s</dict></dict></dict></plist>", match), "",
			new(fact.Report))
		if err != nil {
			t.Fatal(err)
		}
		d, err := parseDevice(pad)
		if err != nil {
			t.Fatal(err)
		}
		if got := d.best(&info); fact.TriOf(got != nil && got.Sure == fact.Yes) != want {
			t.Errorf("%s: %+v, want %q", match, got, want)
		}
	}
}
