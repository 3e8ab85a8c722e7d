// SPDX-License-Identifier: Apache-2.0

package capture

import "github.com/kernelext/kernelext/lkm"

// A Kind names the tool or file whose text a capture holds.
type Kind string

// The kinds of Linux captures.
const (
	Lsmod        Kind = "lsmod"         // lsmod of kmod, BusyBox or Linux 2.4
	ProcModules  Kind = "proc_modules"  // /proc/modules
	LinuxModinfo Kind = "linux_modinfo" // Linux's modinfo, of one module or many, also with -0
	KernelLog    Kind = "kernel_log"    // the modules that an oops, a warning or a panic lists
	LspciK       Kind = "lspci"         // lspci -k
	DKMSStatus   Kind = "dkms_status"   // dkms status
	JC           Kind = "jc"            // jc's JSON of lsmod and of /proc/modules
	// LinuxOsquery is osquery's table kernel_modules, any form.
	LinuxOsquery Kind = "kernel_modules"
	MQL          Kind = "mql" // the JSON of cnquery's kernel.modules
	// LinuxVelociraptor is Velociraptor's artifact Linux.Proc.Modules.
	LinuxVelociraptor Kind = "velociraptor_modules"
)

// The kinds of macOS captures.
const (
	Kextstat            Kind = "kextstat"            // kextstat, or kmutil showloaded
	MacOSPanic          Kind = "macos_panic"         // the loaded kexts of a panic report
	SystemProfiler      Kind = "system_profiler"     // system_profiler SPExtensionsDataType, in any form
	SystemExtensionsCtl Kind = "systemextensionsctl" // systemextensionsctl list
	Kextutil            Kind = "kextutil"            // "Loaded kext info" of kextutil -v 6
	KextPolicy          Kind = "kextpolicy"          // what sqlite3 printed of KextPolicy's kext_policy
	BundleIDs           Kind = "bundle_ids"          // bundle ids, one a line
	Kextfind            Kind = "kextfind"            // kextfind
	CSRUtil             Kind = "csrutil"             // csrutil status: what is enforced, no kexts
	// DarwinOsquery is osquery's table kernel_extensions, any form.
	DarwinOsquery Kind = "kernel_extensions"
)

// The kinds of captures of the other Unix systems, VxWorks and NetWare. Those of plain genkex,
// VxWorks and NetWare are experimental: no recording of a real one was at hand.
const (
	Modstat    Kind = "modstat"    // modstat of NetBSD
	Modinfo    Kind = "modinfo"    // modinfo of illumos or Solaris
	Genkex     Kind = "genkex"     // genkex, genkex -d or genkld of AIX
	ModuleShow Kind = "moduleshow" // moduleShow of VxWorks
	Modules    Kind = "modules"    // MODULES of NetWare
	Moddebug   Kind = "moddebug"   // console messages of an illumos kernel booted with moddebug
	AbendLog   Kind = "abend_log"  // ABEND.LOG of NetWare: the modules on the stack
)

// The kinds of Windows captures.
const (
	DriverQuery Kind = "driverquery" // driverquery with and without /v, /si, table or CSV, any language
	SC          Kind = "sc"          // sc query, queryex and qc
	Fltmc       Kind = "fltmc"       // fltmc filters and instances
	PnPUtil     Kind = "pnputil"     // pnputil /enum-drivers and -e, any language
	// WindowsDriver is Get-WindowsDriver or DISM /Get-Drivers, any language.
	WindowsDriver Kind = "windows_driver"
	WMI           Kind = "wmi"         // Win32_SystemDriver and Win32_PnPSignedDriver as list, table, CSV or JSON
	MSInfo        Kind = "msinfo32"    // msinfo32 /report
	Autoruns      Kind = "autoruns"    // autorunsc -c and Get-PSAutorun
	Sigcheck      Kind = "sigcheck"    // sigcheck -c and -ct, of .sys files
	DriverList    Kind = "driver_list" // rows of "name, display name, Driver, state, start,"
	Osquery       Kind = "osquery"     // osquery's table of drivers, any form
	Sysmon        Kind = "sysmon"      // Sysmon's events 6, as messages, XML or JSON
	WinDbg        Kind = "windbg"      // lm of WinDbg or kd, of a kernel
	Verifier      Kind = "verifier"    // verifier /query
	RegText       Kind = "reg_text"    // a .reg export of the registry's key Services
)

// The kinds of captures of FreeBSD and DragonFly. The two systems print the same columns: a text
// whose kind is found out is taken to be FreeBSD's.
const (
	Kldstat          Kind = "kldstat"           // kldstat of FreeBSD, with -v, -h, -d, -i, -n or -m
	KldstatDragonFly Kind = "kldstat_dragonfly" // kldstat of DragonFly
	Kldxref          Kind = "kldxref"           // kldxref -d of FreeBSD
	Devmatch         Kind = "devmatch"          // devmatch --dump of FreeBSD
)

// A reader reads the captures of one kind.
type reader struct {
	kind Kind
	os   lkm.OS
	read func(clean string, f *form) captured
	form
}

// A form is what is known of the text that a tool prints, beside its rows.
type form struct {
	// tools are the commands that print it, in lower case.
	tools []string
	// selects are options that leave rows out.
	selects []string
	// neverEmpty is set if every machine has something to list.
	neverEmpty bool
	// ends is set if the rows end before the text does.
	ends bool
	// experimental is set if no recording of a real system was at hand to prove the reader.
	experimental bool
	// shown is what the form is recognized by, fills what a record of it says, lacks what it cannot say, and notices
	// the edits that are noticed: for people.
	shown, fills, lacks, notices string
}

// Kinds returns the kinds that Read knows.
func Kinds() []Kind {
	var kinds []Kind
	for _, r := range readers() {
		kinds = append(kinds, r.kind)
	}
	return kinds
}

// reader returns the reader of the kind, and whether there is one.
func (k Kind) reader() (reader, bool) {
	for _, r := range readers() {
		if r.kind == k {
			return r, true
		}
	}
	return reader{}, false
}

// OS returns the operating system that captures of this kind come from; empty for an unknown kind.
func (k Kind) OS() lkm.OS {
	r, _ := k.reader()
	return r.os
}

// Experimental reports whether no recording of a real system was at hand to prove the reader of this kind.
func (k Kind) Experimental() bool {
	r, _ := k.reader()
	return r.experimental
}
