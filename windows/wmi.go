// SPDX-License-Identifier: Apache-2.0

package windows

// A WMIDriver is one row of Win32_SystemDriver. WMI takes every property from the service manager
// and the registry, so it is a cross-check, never a source of the list.
type WMIDriver struct {
	Name         string `json:"name"`                  // the service
	DisplayName  string `json:"displayName,omitzero"`  // the name for people
	PathName     string `json:"pathName,omitzero"`     // the image path, as WMI shows it
	ServiceType  string `json:"serviceType,omitzero"`  // such as "Kernel Driver"
	StartMode    string `json:"startMode,omitzero"`    // such as "Boot" or "Manual"
	State        string `json:"state,omitzero"`        // such as "Running"
	Status       string `json:"status,omitzero"`       // such as "OK"
	ErrorControl string `json:"errorControl,omitzero"` // such as "Normal"
	Started      bool   `json:"started,omitzero"`      // whether WMI calls it started
	ExitCode     uint32 `json:"exitCode,omitzero"`     // the Windows error of the last stop
}

// A WMISignedDriver is one row of Win32_PnPSignedDriver: one device. Dates are WMI's text.
type WMISignedDriver struct {
	DeviceID           string `json:"deviceId"`                    // the device's instance id
	DeviceName         string `json:"deviceName,omitzero"`         // the name for people
	DeviceClass        string `json:"deviceClass,omitzero"`        // the setup class
	ClassGUID          string `json:"classGuid,omitzero"`          // the setup class's GUID, in braces
	HardwareID         string `json:"hardwareId,omitzero"`         // the best hardware id
	InfName            string `json:"infName,omitzero"`            // the published INF
	DriverVersion      string `json:"driverVersion,omitzero"`      // the INF's version
	DriverDate         string `json:"driverDate,omitzero"`         // a CIM date
	DriverProviderName string `json:"driverProviderName,omitzero"` // the INF's provider
	Manufacturer       string `json:"manufacturer,omitzero"`       // the INF's manufacturer
	Signer             string `json:"signer,omitzero"`             // who signed the package
	IsSigned           bool   `json:"isSigned,omitzero"`           // whether WMI calls it signed
}

// AppendWMIDrivers writes rows in the form of OpWMIDrivers.
func AppendWMIDrivers(dst []byte, list []WMIDriver) []byte {
	for _, d := range list {
		dst = appendJSONLine(dst, d)
	}
	return dst
}

// AppendWMISigned writes rows in the form of OpWMIPnP.
func AppendWMISigned(dst []byte, list []WMISignedDriver) []byte {
	for _, d := range list {
		dst = appendJSONLine(dst, d)
	}
	return dst
}

// ParseWMIDrivers reads the answer to OpWMIDrivers.
func ParseWMIDrivers(b []byte) ([]WMIDriver, error) {
	return jsonLines(SourceWMI, b, maxServices, func(d *WMIDriver) bool { return d.Name != "" })
}

// ParseWMISigned reads the answer to OpWMIPnP.
func ParseWMISigned(b []byte) ([]WMISignedDriver, error) {
	return jsonLines(SourceWMI, b, maxServices, func(d *WMISignedDriver) bool { return d.DeviceID != "" })
}
