// SPDX-License-Identifier: Apache-2.0

package wmi

import (
	sys "golang.org/x/sys/windows"

	"github.com/yusufpapurcu/wmi"

	"github.com/kernelext/kernelext/windows"
)

// live asks the running system.
type live struct{}

// begin initializes COM on the thread of the queries, for good: the library does so for each query and
// undoes it, which then only counts up and down. An error is the library's to find.
func (live) begin() { _ = sys.CoInitializeEx(0, sys.COINIT_MULTITHREADED) }

// client makes absent properties the zero value: many rows have some.
func newQuery() *wmi.Client {
	return &wmi.Client{NonePtrZero: true, AllowMissingFields: true}
}

type systemDriver struct {
	Name         string
	DisplayName  string
	PathName     string
	ServiceType  string
	StartMode    string
	State        string
	Status       string
	ErrorControl string
	Started      bool
	ExitCode     uint32
}

func (live) Drivers() ([]windows.WMIDriver, error) {
	var rows []systemDriver
	err := newQuery().Query("SELECT Name, DisplayName, PathName, ServiceType, StartMode, "+
		"State, Status, ErrorControl, Started, ExitCode FROM Win32_SystemDriver", &rows)
	if err != nil {
		return nil, err
	}
	list := make([]windows.WMIDriver, len(rows))
	for i, r := range rows {
		list[i] = windows.WMIDriver(r)
	}
	return list, nil
}

// signedDriver has dates as text: their form has asterisks that no time type takes.
type signedDriver struct {
	DeviceID           string
	DeviceName         string
	DeviceClass        string
	ClassGuid          string
	HardWareID         string
	InfName            string
	DriverVersion      string
	DriverDate         string
	DriverProviderName string
	Manufacturer       string
	Signer             string
	IsSigned           bool
}

func (live) SignedDrivers() ([]windows.WMISignedDriver, error) {
	var rows []signedDriver
	err := newQuery().Query("SELECT DeviceID, DeviceName, DeviceClass, ClassGuid, HardWareID, InfName, "+
		"DriverVersion, DriverDate, DriverProviderName, Manufacturer, Signer, IsSigned FROM Win32_PnPSignedDriver",
		&rows)
	if err != nil {
		return nil, err
	}
	list := make([]windows.WMISignedDriver, len(rows))
	for i, r := range rows {
		list[i] = windows.WMISignedDriver{
			DeviceID: r.DeviceID, DeviceName: r.DeviceName, DeviceClass: r.DeviceClass, ClassGUID: r.ClassGuid,
			HardwareID: r.HardWareID, InfName: r.InfName, DriverVersion: r.DriverVersion, DriverDate: r.DriverDate,
			DriverProviderName: r.DriverProviderName, Manufacturer: r.Manufacturer, Signer: r.Signer,
			IsSigned: r.IsSigned,
		}
	}
	return list, nil
}
