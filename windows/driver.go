// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/windows/authenticode"
	"github.com/kernelext/kernelext/windows/pe"
)

// A Driver is what Windows says of one driver image, in its own words, beside what every kernel
// says. It is the object under "windows" in JSON. Absent fields are unknown, or were not asked
// for.
type Driver struct {
	// Image is the image in memory; nil when it is not there.
	Image *LoadedImage `json:"image,omitzero"`
	// Services are the registrations that name this image; several may (tcpip and tcpip6). An image
	// that is loaded without any (the kernel, its libraries, boot drivers) has the empty list; nil
	// means that the registry, which alone has the paths, could not be read. A service whose path is
	// not known may name the image all the same.
	Services []Service `json:"services,omitzero"`
	// Devices are the devices that the services drive.
	Devices []Device `json:"devices,omitzero"`
	// Packages are the driver packages that it came from.
	Packages []Package `json:"packages,omitzero"`
	// ClassFilters are the device setup classes that it filters every device of.
	ClassFilters []ClassFilter `json:"classFilters,omitzero"`
	// Match is why a hardware id stands for it; only in the answer to Resolve.
	Match *DeviceMatch `json:"match,omitzero"`
	// Filter is what the filter manager says of it; only for a file system filter.
	Filter *Filter `json:"filter,omitzero"`
	// Blocked are the rules of a given block list that hit it, loaded or only present.
	Blocked []BlockMatch `json:"blocked,omitzero"`
	// WMI is what Win32_SystemDriver says of its services, only when a caller injected it.
	WMI []WMIDriver `json:"wmi,omitzero"`
	// PE is what the file's headers and tables say, only with Detail Files.
	PE *pe.File `json:"pe,omitzero"`
	// Version is the file's version resource, only with Detail Files; nil when it has none.
	Version *pe.Version `json:"version,omitzero"`
	// Hashes are of the file, only with Detail Hashes.
	Hashes *pe.Hashes `json:"hashes,omitzero"`
	// Signatures are all of the file's, only with Detail Signatures; the best is the module's.
	Signatures []authenticode.Signature `json:"signatures,omitzero"`
	// Columns are what a text capture says beside the fields above, in its order.
	Columns []Column `json:"columns,omitzero"`
	// Views say which of the sources show it.
	Views map[string]fact.View `json:"views,omitzero"`
}

// A ClassFilter is a device setup class whose devices all get a filter driver.
type ClassFilter struct {
	Class string `json:"class,omitzero"` // the class's name
	GUID  string `json:"guid"`           // in lower case without braces
	Upper bool   `json:"upper,omitzero"` // above the function driver; else below it
}

// A Column is one named value of a text capture, unchanged.
type Column struct {
	Name  string `json:"name"`           // the column's or label's
	Value string `json:"value,omitzero"` // without surrounding blanks
}

// infs are the INF files that installed the driver, by its devices, then by its services.
func (d *Driver) infs() []fact.Evidence {
	var list []fact.Evidence
	seen := map[string]bool{"": true}
	add := func(inf, source string) {
		inf = baseName(inf)
		if !seen[fold(inf)] {
			seen[fold(inf)] = true
			list = append(list, fact.Evidence{Fact: FactINF, Value: inf, Source: source})
		}
	}
	services := map[string]bool{}
	for _, s := range d.Services {
		services[fold(s.Name)] = true
	}
	for _, dev := range d.Devices {
		if services[fold(dev.Service)] {
			add(dev.INF, SourceDevices)
		}
	}
	for _, s := range d.Services {
		for _, o := range s.Owners {
			add(o, SourceRegistry)
		}
	}
	return list
}

// SignersKnown reports whether it is known who signed the driver: its signatures were read, and all certificates that
// lead from them.
func (d *Driver) SignersKnown() bool {
	return d.Signatures != nil && authenticode.SignersKnown(d.Signatures)
}
