// SPDX-License-Identifier: Apache-2.0

package windows

// Names of sources, as a Snapshot lists them.
const (
	SourceModules  = "system_modules"    // NtQuerySystemInformation, classes 77 and 11
	SourceServices = "service_manager"   // EnumServicesStatusEx
	SourceRegistry = "services_registry" // HKLM\SYSTEM\CurrentControlSet\Services
	SourceDevices  = "setupapi"          // devices with their drivers
	SourceStore    = "driver_store"      // HKLM\SYSTEM\DriverDatabase
	SourceFile     = "driver_files"      // the drivers' files
	SourceCatalogs = "catalogs"          // CatRoot, or the folder that the caller gave
	SourceWMI      = "wmi"               // Win32_SystemDriver and Win32_PnPSignedDriver
	SourceFilters  = "filter_manager"    // fltlib
	SourcePolicy   = "code_integrity"    // NtQuerySystemInformation, class 103 and its like
)
