// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"io/fs"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/windows"
)

// The kinds of Windows captures.
const (
	CaptureDriverQuery CaptureKind = "driverquery" // driverquery with and without /v, /si, table or CSV, any language
	CaptureSC          CaptureKind = "sc"          // sc query, queryex and qc
	CaptureFltmc       CaptureKind = "fltmc"       // fltmc filters and instances
	CapturePnPUtil     CaptureKind = "pnputil"     // pnputil /enum-drivers and -e, any language
	CaptureWMI         CaptureKind = "wmi"         // Win32_SystemDriver and Win32_PnPSignedDriver as list, CSV or JSON
	CaptureMSInfo      CaptureKind = "msinfo32"    // msinfo32 /report
	CaptureAutoruns    CaptureKind = "autoruns"    // autorunsc -c and Get-PSAutorun
	CaptureDriverList  CaptureKind = "driver_list" // rows of "name, display name, Driver, state, start,"
	CaptureOsquery     CaptureKind = "osquery"     // osquery's table of drivers, line form
)

var windowsRow = row{
	os:   Windows,
	open: func(m Machine, o fact.Options) backend { return adapt(windows.Open(m, o), o.OS) },
	call: func(bool) fact.Call { return windows.Call },
	root: windows.Volume,
	readFile: func(ctx context.Context, fsys fs.FS, name string, head []byte, o fact.Options) ([]Module, bool, error) {
		return asModules(windows.ReadFile(ctx, fsys, name, head, o))
	},
	loaded:    []string{windows.SourceModules, windows.SourceServices},
	builtin:   []string{windows.SourceModules, windows.SourceServices},
	installed: []string{windows.SourceRegistry, windows.SourceFolders, windows.SourceStore},
}
