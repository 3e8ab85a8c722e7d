// SPDX-License-Identifier: Apache-2.0

package fakewindows

import (
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/policytest"
	"github.com/kernelext/kernelext/windows"
	"github.com/kernelext/kernelext/windows/registry"
	"github.com/kernelext/kernelext/windows/sipolicy"
)

// Windows11 is a desktop with Windows 11 24H2: its bases are hidden from a user. One service is
// hidden from the service manager, one image was replaced on disk, one runs from a vendor's folder.
func Windows11(user bool) *Machine {
	m := &Machine{Files: noFiles(), Calls: map[string]string{}, Deny: map[string]bool{}}
	base := uint64(0xfffff80312000000)
	if user {
		base = 0
		m.Deny[windows.OpFilters] = true
	}
	m.Calls[windows.OpUname] = "release 10.0.26100\nversion 10.0.26100.4652\nbuild 26100.1.amd64fre.ge_release\n" +
		"machine amd64\n"
	m.Calls[windows.OpClock] = "2026-11-22T10:00:00Z"
	m.Calls[windows.OpIdentity] = "elevated " + string(fact.TriOf(!user)) + "\ndebug " +
		string(fact.TriOf(!user)) + "\n"
	m.Calls[windows.OpPaths] = "systemroot C:\\Windows\ndevice C: \\Device\\HarddiskVolume3\n"
	m.disk(base)
	m.services()
	m.devices()
	m.policy()
	return m
}

const drivers = "C:/Windows/System32/drivers/"

func (m *Machine) disk(base uint64) {
	var images []image
	load := func(nt, file string, d driver) {
		im := image{path: nt, size: 0x10000}
		if file != "" {
			b := d.build()
			m.add(file, b)
			im.checksum, im.stamp = header(b)
		}
		if base != 0 {
			im.base = base + uint64(len(images))<<20
		}
		images = append(images, im)
	}
	ms := func(name string, imports ...string) driver {
		return driver{name, "Microsoft Corporation", "10.0.26100.4652", imports}
	}
	load(`\SystemRoot\system32\ntoskrnl.exe`, "C:/Windows/System32/ntoskrnl.exe", ms("ntoskrnl.exe"))
	load(`\SystemRoot\System32\Drivers\ACPI.sys`, drivers+"acpi.sys", ms("ACPI.sys", "ntoskrnl.exe"))
	load(`\SystemRoot\System32\drivers\FLTMGR.SYS`, drivers+"fltMgr.sys", ms("FLTMGR.SYS", "ntoskrnl.exe"))
	load(`\SystemRoot\System32\drivers\tcpip.sys`, drivers+"tcpip.sys", ms("tcpip.sys", "ntoskrnl.exe"))
	load(`\SystemRoot\System32\drivers\stornvme.sys`, drivers+"stornvme.sys", ms("stornvme.sys", "ntoskrnl.exe"))
	// made of that file
	load(`\SystemRoot\System32\Drivers\dump_stornvme.sys`, drivers+"stornvme.sys", ms("stornvme.sys", "ntoskrnl.exe"))
	load(`\SystemRoot\System32\DriverStore\FileRepository\ketnet.inf_amd64_0123456789abcdef\ketnet.sys`,
		"C:/Windows/System32/DriverStore/FileRepository/ketnet.inf_amd64_0123456789abcdef/ketnet.sys",
		driver{"ketnet.sys", "Ket Networks, Inc.", "4.410.137.0", []string{"ntoskrnl.exe", "NDIS.SYS"}})
	load(`\??\C:\Program Files\Ket Watch\ketwatch.sys`, "C:/Program Files/Ket Watch/ketwatch.sys",
		driver{"ketwatch.sys", "Microsoft Corporation", "1.2.0.0", []string{"ntoskrnl.exe", "FLTMGR.SYS"}})
	load(`\SystemRoot\System32\drivers\replaced.sys`, drivers+"replaced.sys", ms("replaced.sys", "ntoskrnl.exe"))
	m.add(drivers+"replaced.sys", driver{"replaced.sys", "Microsoft Corporation", "10.0.26100.5000",
		[]string{"ntoskrnl.exe", "HAL.dll"}}.build())
	load(`\SystemRoot\System32\drivers\gone.sys`, "", driver{})
	m.add(drivers+"leftover.sys", driver{"leftover.sys", "Old Vendor", "0.9.0.0", nil}.build())
	m.add(drivers+"disabled.sys", ms("disabled.sys").build())
	m.add(drivers+"broken.sys", []byte("MZ and nothing else"))
	m.add("C:/Windows/INF/oem7.inf", []byte("[Version]\nClass=Net\nProvider=\"Ket Networks, Inc.\"\n"+
		"DriverVer=09/19/2022,4.410.137.0\n[Ket.Services]\nAddService=ketnet,2,S\n[S]\n"+
		"ServiceBinary=%13%\\ketnet.sys\n"))
	m.Calls[windows.OpModulesEx] = modulesEx(images)
}

const servicesRoot = `HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services\`

func (m *Machine) services() {
	var keys []registry.Key
	var list []windows.ServiceStatus
	add := func(name string, typ, start, state uint32, path string, more ...registry.Value) {
		k := registry.Key{Path: servicesRoot + name,
			Values: []registry.Value{registry.DwordValue("Type", typ), registry.DwordValue("Start", start),
				registry.DwordValue("ErrorControl", 1)}}
		if path != "" {
			k.Values = append(k.Values, registry.StringValue("ImagePath", registry.TypeExpand, path))
		}
		keys = append(keys, registry.Key{Path: k.Path, Values: append(k.Values, more...)})
		if state != 0 {
			list = append(list, windows.ServiceStatus{Name: name, DisplayName: "Service " + name,
				Type: typ, State: state})
		}
	}
	add("ACPI", 1, 0, 4, `System32\drivers\ACPI.sys`)
	add("FltMgr", 2, 0, 4, `system32\drivers\fltmgr.sys`)
	add("Tcpip", 1, 0, 4, `System32\drivers\tcpip.sys`)
	add("tcpip6", 1, 3, 1, `System32\drivers\tcpip.sys`)
	add("stornvme", 1, 0, 4, "")
	add("ketnet", 1, 3, 4,
		`\SystemRoot\System32\DriverStore\FileRepository\ketnet.inf_amd64_0123456789abcdef\ketnet.sys`,
		registry.StringValue("Owners", registry.TypeMulti, "oem7.inf\x00"))
	add("KetWatch", 2, 3, 4, `\??\C:\Program Files\Ket Watch\ketwatch.sys`,
		registry.StringValue("DependOnService", registry.TypeMulti, "FltMgr\x00"))
	keys = append(keys,
		registry.Key{Path: servicesRoot + `KetWatch\Instances`,
			Values: []registry.Value{
				registry.StringValue("DefaultInstance", registry.TypeString, "KetWatch Instance")}},
		registry.Key{Path: servicesRoot + `KetWatch\Instances\KetWatch Instance`,
			Values: []registry.Value{registry.StringValue("Altitude", registry.TypeString, "385250.5"),
				registry.DwordValue("Flags", 0)}})
	add("replaced", 1, 1, 4, `System32\drivers\replaced.sys`)
	add("MpKsl1a2b3c4d", 1, 3, 1, `\??\C:\ProgramData\Definition Updates\MpKslDrv.sys`)
	add("disabled", 1, 4, 1, `System32\drivers\disabled.sys`)
	add("hidden", 1, 3, 0, `System32\drivers\hidden.sys`)
	add("odd", 1, 3, 1, `\Device\HarddiskVolume9\odd.sys`)
	m.Calls[windows.OpServiceKeys] = string(registry.AppendText(nil, keys))
	m.Calls[windows.OpServices] = string(windows.AppendServices(nil, list))
}

func (m *Machine) devices() {
	m.Calls[windows.OpDevices] = string(windows.AppendDevices(nil, []windows.Device{
		{Instance: `ACPI_HAL\PNP0C08\0`, Service: "ACPI", Class: "System", INF: "acpi.inf", Provider: "Microsoft",
			DriverVersion: "10.0.26100.1", DriverDate: "2006-06-21", ProblemCode: fact.CountOf(0)},
		{Instance: `PCI\VEN_1234&DEV_5678&SUBSYS_00000000&REV_01\4&2F1B3D5&0&00E0`, Service: "ketnet",
			FriendlyName: "Ket Gigabit of Ann", Class: "Net", HardwareIDs: []string{`PCI\VEN_1234&DEV_5678`},
			INF: "oem7.inf", Provider: "Ket Networks, Inc.", DriverVersion: "4.410.137.0", DriverDate: "2022-09-19",
			ProblemCode: fact.CountOf(0)},
	}))
	m.Calls[windows.OpDriverPackages] = string(registry.AppendText(nil, []registry.Key{{
		Path: `HKEY_LOCAL_MACHINE\SYSTEM\DriverDatabase\DriverPackages\ketnet.inf_amd64_0123456789abcdef`,
		Values: []registry.Value{registry.StringValue("", registry.TypeString, "oem7.inf"),
			registry.StringValue("Provider", registry.TypeString, "Ket Networks, Inc."),
			registry.StringValue("SignerName", registry.TypeString,
				"Microsoft Windows Hardware Compatibility Publisher"),
			registry.DwordValue("SignerScore", 0x0d000004)},
	}}))
	m.Calls[windows.OpFilters] = filterInformation("KetWatch", "385250.5")
}

// filterInformation is one minifilter as the filter manager gives it.
func filterInformation(name, altitude string) string {
	e := make([]byte, 28)
	e[4], e[16] = 1, 2
	text := func(at int, s string) {
		e[at], e[at+2] = byte(2*len(s)), byte(len(e))
		for _, c := range []byte(s) {
			e = append(e, c, 0)
		}
	}
	text(20, name)
	text(24, altitude)
	return string(e)
}

func (m *Machine) policy() {
	m.Calls[windows.OpCodeIntegrity] = "\x08\x00\x00\x00\x01\xa4\x00\x00" // enabled, hvci, ium, whql_audit
	m.Calls[windows.OpSecureBoot] = "\x01\x01"
	m.Calls[windows.OpKernelDebugger] = "\x00\x01"
	// the secure kernel runs and enforces code integrity
	m.Calls[windows.OpIsolatedUserMode] = "\x03" + strings.Repeat("\x00", 15)
	key := func(path, value string, n uint32) {
		m.Calls[windows.OpRegistry+" "+path] = string(registry.AppendText(nil,
			[]registry.Key{
				{Path: `HKEY_LOCAL_MACHINE\` + path, Values: []registry.Value{registry.DwordValue(value, n)}}}))
	}
	key(windows.CIConfigKey, "VulnerableDriverBlocklistEnable", 1)
	key(windows.HVCIKey, "Enabled", 1)
	key(windows.SecureBootKey, "UEFISecureBootEnabled", 1)
	key(windows.BootIDKey, "BootId", 42)
	m.add("C:/Windows/"+strings.ReplaceAll(windows.PolicyFolder, `\`, "/")+"/driversipolicy.p7b",
		policytest.Compile(&sipolicy.Policy{
			Format: 7, TypeID: "d2bda982-ccf6-4344-ac5b-0b44427b6816", Version: 10<<48 | 26100<<16,
			Rules:     []sipolicy.FileRule{{Kind: sipolicy.Deny, FileName: "vulnerable.sys", Minimum: 1 << 48}},
			Scenarios: []sipolicy.Scenario{{Value: sipolicy.ScenarioDrivers, Product: sipolicy.Group{Rules: []int{0}}}},
			Settings: []sipolicy.Setting{{Provider: "PolicyInfo", Key: "Information", Name: "Name",
				Type: sipolicy.SettingText, Text: "Made-up list"}},
		}))
}
