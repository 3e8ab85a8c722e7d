// SPDX-License-Identifier: Apache-2.0

package windows

// A WMIDriver is one row of Win32_SystemDriver. WMI takes every property from the service manager
// and the registry, so it is a cross-check, never a source of the list.
type WMIDriver struct {
	Name         string `json:"name"`
	DisplayName  string `json:"displayName,omitzero"`
	PathName     string `json:"pathName,omitzero"`
	ServiceType  string `json:"serviceType,omitzero"`
	StartMode    string `json:"startMode,omitzero"`
	State        string `json:"state,omitzero"`
	Status       string `json:"status,omitzero"`
	ErrorControl string `json:"errorControl,omitzero"`
	Started      bool   `json:"started,omitzero"`
	ExitCode     uint32 `json:"exitCode,omitzero"`
}

// A WMISignedDriver is one row of Win32_PnPSignedDriver: one device. Dates are WMI's text.
type WMISignedDriver struct {
	DeviceID           string `json:"deviceId"`
	DeviceName         string `json:"deviceName,omitzero"`
	DeviceClass        string `json:"deviceClass,omitzero"`
	ClassGUID          string `json:"classGuid,omitzero"`
	HardwareID         string `json:"hardwareId,omitzero"`
	InfName            string `json:"infName,omitzero"`
	DriverVersion      string `json:"driverVersion,omitzero"`
	DriverDate         string `json:"driverDate,omitzero"`
	DriverProviderName string `json:"driverProviderName,omitzero"`
	Manufacturer       string `json:"manufacturer,omitzero"`
	Signer             string `json:"signer,omitzero"`
	IsSigned           bool   `json:"isSigned,omitzero"`
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
