// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"strings"

	"github.com/kernelext/kernelext/windows/authenticode"
	"github.com/kernelext/kernelext/windows/pe"
)

// Names of sources, as a Snapshot lists them and as Views name them.
const (
	SourceModules  = "system_modules"            // NtQuerySystemInformation, classes 77 and 11
	SourceServices = "service_manager"           // EnumServicesStatusEx
	SourceRegistry = "services_registry"         // HKLM\SYSTEM\CurrentControlSet\Services
	SourceDevices  = "setupapi"                  // devices with their drivers
	SourceStore    = "driver_store"              // HKLM\SYSTEM\DriverDatabase
	SourceFile     = pe.SourceFile               // the drivers' files
	SourceCatalogs = authenticode.SourceCatalogs // CatRoot, or the folder that the caller gave
	SourceWMI      = "wmi"                       // Win32_SystemDriver and Win32_PnPSignedDriver
	SourceFilters  = "filter_manager"            // fltlib
	SourcePolicy   = "code_integrity"            // NtQuerySystemInformation, class 103 and its like
	SourceMachine  = "machine"                   // release, identity, clock, paths
	SourceFolders  = "driver_folders"            // System32\drivers and the driver store
)

// Places in the registry and the file system.
const (
	// BootIDKey holds BootId, which the boot loader counts up at each boot.
	BootIDKey = `SYSTEM\CurrentControlSet\Control\Session Manager\Memory Management\PrefetchParameters`
	// systemHiveFile is the hive of HKEY_LOCAL_MACHINE\SYSTEM.
	systemHiveFile = "C:/Windows/System32/config/SYSTEM"
	// driversHiveFile is the hive of HKEY_LOCAL_MACHINE\DRIVERS, where newer systems keep the driver
	// store's database.
	driversHiveFile = "C:/Windows/System32/config/DRIVERS"
	// softwareHiveFile is the hive of HKEY_LOCAL_MACHINE\SOFTWARE.
	softwareHiveFile = "C:/Windows/System32/config/SOFTWARE"
	// kernelFile is the kernel.
	kernelFile = "C:/Windows/System32/ntoskrnl.exe"
	// catalogRoot is where Windows keeps the catalogs of its own files and of installed drivers,
	// below its own folder.
	catalogRoot = `System32\CatRoot\{F750E6C3-38EE-11D1-85E5-00C04FC295EE}`
)

// privilege returns the answer to OpIdentity as one line: "administrator", "administrator,
// debug", "user".
func privilege(identity []byte) string {
	keys := map[string]string{}
	for line := range strings.SplitSeq(string(identity), "\n") {
		if k, v, ok := strings.Cut(line, " "); ok {
			keys[k] = v
		}
	}
	p := "user"
	switch keys["elevated"] {
	case "yes":
		p = "administrator"
	case "":
		return ""
	}
	if keys["debug"] == "yes" {
		p += ", debug"
	}
	return p
}

// The calls that a Windows machine answers, beside its files. The error matches errors.ErrUnsupported for an op that a
// version of Windows lacks.
const (
	// OpUname is the version: text, one "key value" a line, with the keys release (10.0.26100),
	// version (10.0.26100.4652), machine (amd64, arm64, 386) and build (BuildLabEx). The host's
	// name is not among them.
	OpUname = "uname"
	// OpClock is the time: text, RFC 3339 in UTC.
	OpClock = "clock"
	// OpIdentity is who is asking: text, one "key value" a line: elevated yes|no, debug yes|no
	// (whether SeDebugPrivilege is enabled).
	OpIdentity = "identity"
	// OpPaths is what turns NT paths into DOS paths: text, "systemroot C:\Windows", then one
	// "device C: \Device\HarddiskVolume3" for each drive.
	OpPaths = "paths"
	// OpLongPath PATH is the long form of a DOS path with short names in it (C:\PROGRA~1\…): text.
	OpLongPath = "long_path"
	// OpModulesEx is NtQuerySystemInformation class 77: the bytes as returned.
	OpModulesEx = "modules_ex"
	// OpModules is class 11: the bytes as returned.
	OpModules = "modules"
	// OpServices is EnumServicesStatusEx of all kernel, file system and recognizer drivers: one
	// JSON object a line, a [ServiceStatus].
	OpServices = "services"
	// OpServiceKeys are the driver services of the registry: the text of a .reg file in UTF-8, one
	// key for each service whose Type has a driver's bit or is missing, with the values that say how it is loaded, and
	// its subkeys Instances, Parameters\Instances and theirs.
	OpServiceKeys = "service_keys"
	// OpRegistry KEY is one key of HKEY_LOCAL_MACHINE without its subkeys, as the text of a .reg
	// file in UTF-8. KEY is such as SYSTEM\CurrentControlSet\Control\CI.
	OpRegistry = "registry"
	// OpSubkeys KEY is the direct subkeys of one key of HKEY_LOCAL_MACHINE with their values, as the text of a .reg
	// file in UTF-8. KEY is such as SOFTWARE\Microsoft\SystemCertificates\ROOT\Certificates.
	OpSubkeys = "registry_subkeys"
	// OpDriverPackages is DriverDatabase\DriverPackages of the hives SYSTEM and DRIVERS with its direct
	// subkeys, as the text of a .reg file in UTF-8.
	OpDriverPackages = "driver_packages"
	// OpDevices are the present devices with a driver, by SetupAPI: one JSON object a line, a
	// [Device].
	OpDevices = "devices"
	// OpFilters is FilterFindFirst and FilterFindNext of FilterAggregateStandardInformation: the
	// structures one after another, NextEntryOffset made to lead from each to the next.
	OpFilters = "filters"
	// OpCodeIntegrity is class 103: the bytes as returned, as of the three that follow.
	OpCodeIntegrity    = "code_integrity"
	OpSecureBoot       = "secure_boot"        // class 145
	OpKernelDebugger   = "kernel_debugger"    // class 35
	OpIsolatedUserMode = "isolated_user_mode" // class 165
	// OpWMIDrivers is Win32_SystemDriver: one JSON object a line, a [WMIDriver]. Only package windows/wmi answers it.
	OpWMIDrivers = "wmi_drivers"
	// OpWMIPnP is Win32_PnPSignedDriver: one JSON object a line, a [WMISignedDriver]. Only package windows/wmi answers
	// it.
	OpWMIPnP = "wmi_pnp"
)
