// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"slices"
	"testing"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/windows/authenticode"
	"github.com/kernelext/kernelext/windows/pe"
)

func testInventory() *inventory {
	service := func(name, path string) registeredService {
		ip, err := testPaths.resolveImagePath(name, path)
		s := registeredService{Service: Service{Name: name, Type: "kernel_driver", Start: "demand",
			ErrorControl: "normal", ImagePath: path, ImagePathRule: ip.Rule, ImageFile: ip.Path}}
		if err != nil {
			s.problem("path", err)
		}
		return s
	}
	vendor := service("Vendor", `\??\C:\Program Files\V\vendor.sys`)
	vendor.Owners = []string{"oem7.inf"}
	return &inventory{
		Paths: testPaths,
		Images: []LoadedImage{
			{NTPath: `\SystemRoot\system32\ntoskrnl.exe`}, {NTPath: `\SystemRoot\System32\drivers\tcpip.sys`},
			{NTPath: `\SystemRoot\System32\Drivers\dump_stornvme.sys`, AliasOf: "stornvme.sys"},
			{NTPath: `\??\C:\Program Files\V\vendor.sys`}, {NTPath: `\Device\HarddiskVolume9\x.sys`},
		},
		Statuses: []ServiceStatus{{Name: "Tcpip", Type: 1, State: 4}, {Name: "tcpip6", Type: 1, State: 1},
			{Name: "VENDOR", Type: 1, State: 4}, {Name: "gone", Type: 1, State: 3}, {Name: "lost", Type: 1, State: 1}},
		Registered: []registeredService{service("Tcpip", `System32\drivers\tcpip.sys`),
			service("tcpip6", `System32\drivers\tcpip.sys`), vendor, service("hidden", ""),
			service("lost", `\Device\HarddiskVolume9\y.sys`)},
		Devices: []Device{{Instance: `ROOT\V\0000`, Service: "vendor", INF: "oem7.inf",
			UpperFilters: []string{"hidden"}}},
		Packages: []Package{{Name: "vendor.inf_amd64_1", INF: "oem7.inf", Provider: "V"},
			{Name: "other.inf_amd64_2", INF: "oem8.inf", Services: []string{"hidden"}}},
		Filters: []Filter{{Name: "Vendor", Altitude: "1.5"}},
	}
}

func TestJoin(t *testing.T) {
	byKey := map[string]entry{}
	for _, e := range testInventory().join() {
		if _, twice := byKey[e.Key]; twice {
			t.Errorf("%s twice", e.Key)
		}
		byKey[e.Key] = e
	}
	for key, c := range map[string]struct {
		name     string
		loaded   bool
		services []string
		views    [3]fact.View // modules, services, registry
	}{
		`c:\windows\system32\ntoskrnl.exe`: {"ntoskrnl.exe", true, nil,
			[3]fact.View{fact.ViewSeen, fact.ViewMissing, fact.ViewMissing}},
		"tcpip.sys": {"tcpip.sys", true, []string{"Tcpip", "tcpip6"},
			[3]fact.View{fact.ViewSeen, fact.ViewSeen, fact.ViewSeen}},
		"dump_stornvme.sys": {"dump_stornvme.sys", true, nil,
			[3]fact.View{fact.ViewSeen, fact.ViewMissing, fact.ViewMissing}},
		`c:\program files\v\vendor.sys`: {"vendor.sys", true, []string{"Vendor"},
			[3]fact.View{fact.ViewSeen, fact.ViewSeen, fact.ViewSeen}},
		`\device\harddiskvolume9\x.sys`: {"x.sys", true, nil,
			[3]fact.View{fact.ViewSeen, fact.ViewMissing, fact.ViewMissing}},
		"hidden.sys": {"hidden.sys", false, []string{"hidden"},
			[3]fact.View{fact.ViewMissing, fact.ViewMissing, fact.ViewSeen}},
		"service lost": {"lost", false, []string{"lost"},
			[3]fact.View{fact.ViewUnchecked, fact.ViewSeen, fact.ViewSeen}},
		"service gone": {"gone", true, []string{"gone"},
			[3]fact.View{fact.ViewUnchecked, fact.ViewSeen, fact.ViewMissing}},
	} {
		e, ok := byKey[key]
		if !ok {
			t.Errorf("no %s", key)
			continue
		}
		delete(byKey, key)
		var names []string
		for _, s := range e.Driver.Services {
			names = append(names, s.Name)
		}
		v := e.Driver.Views
		if e.Name != c.name || e.Loaded != c.loaded || !slices.Equal(names, c.services) ||
			[3]fact.View{v[SourceModules], v[SourceServices], v[SourceRegistry]} != c.views {
			t.Errorf("%s: name %s loaded %v services %v views %v", key, e.Name, e.Loaded, names, v)
		}
		if e.Driver.Services == nil {
			t.Errorf("%s: no services known, although they were read", key)
		}
		switch key {
		case "dump_stornvme.sys":
			if e.Path != `C:\Windows\System32\Drivers\stornvme.sys` {
				t.Errorf("the dump driver's file is %s", e.Path)
			}
		case `c:\program files\v\vendor.sys`:
			if len(e.Driver.Devices) != 1 || len(e.Driver.Packages) != 1 || e.Driver.Filter == nil ||
				e.Driver.origin(false).Class != fact.OriginThirdParty {
				t.Errorf("vendor: %+v", e.Driver)
			}
		case "hidden.sys":
			if len(e.Driver.Devices) != 1 || len(e.Driver.Packages) != 1 || e.Driver.Packages[0].INF != "oem8.inf" {
				t.Errorf("hidden: %+v", e.Driver)
			}
		case "service gone":
			if e.Pending != "stop_pending" {
				t.Errorf("gone: pending %q", e.Pending)
			}
		case `\device\harddiskvolume9\x.sys`:
			if e.Path != "" || len(e.Problems) != 1 {
				t.Errorf("x.sys: %+v", e)
			}
		}
	}
	for key := range byKey {
		t.Errorf("also %s", key)
	}
}

// A source that was not read makes views unchecked, never missing.
func TestJoinUnread(t *testing.T) {
	inv := testInventory()
	inv.Statuses, inv.Registered, inv.Devices = nil, nil, nil
	for _, e := range inv.join() {
		v := e.Driver.Views
		if v[SourceServices] != fact.ViewUnchecked || v[SourceRegistry] != fact.ViewUnchecked ||
			v[SourceDevices] != fact.ViewUnchecked || e.Driver.Services != nil {
			t.Errorf("%s: %v, services %v", e.Key, v, e.Driver.Services)
		}
	}
}

func TestOrigin(t *testing.T) {
	company := &pe.Version{
		Languages: []pe.VersionLanguage{
			{Strings: []pe.VersionString{{Name: "CompanyName", Value: "Microsoft Corporation"}}}}}
	for name, c := range map[string]struct {
		d    Driver
		want fact.OriginClass
	}{
		"inbox that is invalid": {Driver{Signatures: []authenticode.Signature{
			{Status: fact.SignatureInvalid, Fits: fact.Yes, Class: fact.ClassInbox}}}, ""},
		"INF and an invalid signature of Microsoft's": {
			Driver{Signatures: []authenticode.Signature{{Status: fact.SignatureInvalid, Fits: fact.Yes,
				Class: fact.ClassInbox}}, Services: []Service{{Name: "a", Owners: []string{"acpi.inf"}}}}, ""},
		"company name alone": {Driver{Version: company}, ""},
		"inbox signature": {Driver{Signatures: []authenticode.Signature{{Fits: fact.Yes, Class: fact.ClassInbox}}},
			fact.OriginOS},
		"inbox that does not fit": {
			Driver{Signatures: []authenticode.Signature{{Fits: fact.No, Class: fact.ClassInbox}}}, ""},
		"hardware program": {
			Driver{Version: company, Signatures: []authenticode.Signature{{Fits: fact.Yes, Class: fact.ClassWHCP}}},
			fact.OriginThirdParty},
		"early launch": {Driver{Signatures: []authenticode.Signature{{Fits: fact.Yes, Class: fact.ClassELAM}}}, ""},
		"published INF": {Driver{Services: []Service{{Name: "a", Owners: []string{"oem3.inf"}}}},
			fact.OriginThirdParty},
		"INF of Windows": {Driver{Services: []Service{{Name: "a", Owners: []string{"acpi.inf"}}}},
			fact.OriginOS},
		"INF and no signature": {
			Driver{Signatures: []authenticode.Signature{},
				Services: []Service{{Name: "a", Owners: []string{"acpi.inf"}}}}, ""},
		"INF and any signature": {
			Driver{Signatures: []authenticode.Signature{{Fits: fact.Yes}},
				Services: []Service{{Name: "a", Owners: []string{"acpi.inf"}}}}, ""},
		"INF and early launch": {Driver{Signatures: []authenticode.Signature{{Fits: fact.Yes, Class: fact.ClassELAM}},
			Services: []Service{{Name: "a", Owners: []string{"acpi.inf"}}}}, fact.OriginOS},
		"signature before INF": {Driver{Signatures: []authenticode.Signature{{Fits: fact.Yes, Class: fact.ClassInbox}},
			Services: []Service{{Name: "a", Owners: []string{"oem3.inf"}}}}, fact.OriginOS},
		"another driver's device": {
			Driver{Services: []Service{{Name: "a"}}, Devices: []Device{{Service: "b", INF: "oem3.inf"}}}, ""},
	} {
		if got := c.d.origin(false); got.Class != c.want {
			t.Errorf("%s: %+v", name, got)
		}
	}
	inf := Driver{Services: []Service{{Name: "a", Owners: []string{"acpi.inf"}}}}
	if got := inf.origin(true); got.Class != "" { // a signature that was looked for and not found out about
		t.Errorf("an INF of Windows, its signature not read: %+v", got)
	}
}

// What one registry may link with each driver is bounded, and the omitted ones are reported.
func TestJoinBounds(t *testing.T) {
	inv := &inventory{Paths: testPaths,
		Registered: []registeredService{
			{Service: Service{Name: "a", ImageFile: `C:\a.sys`, Owners: []string{"oem1.inf"}}}}}
	for range maxDevices + 5 {
		inv.Devices = append(inv.Devices, Device{Service: "a", HardwareIDs: make([]string, 100)})
	}
	for range maxPackages + 5 {
		inv.Packages = append(inv.Packages, Package{INF: "oem1.inf"})
	}
	e := inv.join()[0]
	d := e.Driver
	if len(d.Devices) != maxDevices || len(d.Packages) != maxPackages ||
		len(d.Devices[0].HardwareIDs) != maxDeviceNames || len(e.Problems) != 2 {
		t.Errorf("%d devices with %d ids, %d packages, problems %v", len(d.Devices), len(d.Devices[0].HardwareIDs),
			len(d.Packages), e.Problems)
	}
}

// TestMayName asks which services without a known image may name a file all the same.
func TestMayName(t *testing.T) {
	paths := ntPaths{Long: map[string]string{`c:\progra~1\known.sys`: `C:\Program Files\known.sys`}}
	for _, tt := range []struct {
		service registeredService
		want    bool
	}{
		{registeredService{Refused: true}, true},
		{registeredService{}, true},
		{registeredService{Service: Service{ImagePath: `\??\Volume{1}\x\leftover.sys`}}, true},
		{registeredService{Service: Service{ImagePath: `\??\Volume{1}\x\other.sys`}}, false},
		{registeredService{Service: Service{ImagePath: `\??\Volume{1}\x\LEFTOV~1.SYS`}}, true},
		// then it is a service of the file, and counted
		{registeredService{Service: Service{ImageFile: `C:\Windows\leftover.sys`}}, false},
		{registeredService{Service: Service{ImageFile: `C:\PROGRA~1\leftover.sys`}}, true},
		{registeredService{Service: Service{ImageFile: `C:\PROGRA~1\other.sys`}}, false},
		{registeredService{Service: Service{ImageFile: `C:\x\LEFTOV~1.SYS`}}, true},
		{registeredService{Service: Service{ImageFile: `C:\x\OTHERD~1.SYS`}}, false},
		{registeredService{Service: Service{ImageFile: `C:\PROGRA~1\known.sys`}}, false},
	} {
		if got := tt.service.mayName(paths, "leftover.sys"); got != tt.want {
			t.Errorf("%+v: %v", tt.service, got)
		}
	}
	if s := (registeredService{Service: Service{ImageFile: `C:\x\A~1.SYS`}}); !s.mayName(paths, "+leftover.sys") {
		t.Error("a short name may begin with any letter for a long one that begins with none")
	}
}
