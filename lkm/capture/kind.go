// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"github.com/kernelext/kernelext/aix"
	"github.com/kernelext/kernelext/darwin"
	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/freebsd"
	"github.com/kernelext/kernelext/linux"
	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/netbsd"
	"github.com/kernelext/kernelext/netware"
	"github.com/kernelext/kernelext/solaris"
	"github.com/kernelext/kernelext/vxworks"
	"github.com/kernelext/kernelext/windows"
)

// taintOf reads a copy of /proc/sys/kernel/tainted.
func taintOf(text string) (fact.Kernel, error) { return linux.ReadTainted([]byte(text)) }

// readers returns the readers in the order in which they are asked.
func readers() []reader {
	list := linuxReaders()
	list = append(list, windowsReaders()...)
	list = append(list, darwinReaders()...)
	return append(list, unixReaders()...)
}

// Words that several forms share.
const (
	cutEnd   = "a cut end"
	noHeader = "a missing header, " + cutEnd
)

func linuxReaders() []reader {
	return []reader{
		{ProcModules, lkm.Linux, by(lkm.Linux, linux.ReadModulesText), form{
			tools: []string{"/proc/modules", "modules", "cat"},
			shown: "rows of six columns with a state and an address",
			fills: "size, references, users, state, address, taint letters", lacks: "version, file, signature",
			notices: "a missing row that another row names as its user, " + cutEnd}},
		{Lsmod, lkm.Linux, by(lkm.Linux, linux.ReadLsmod), form{
			tools: []string{"lsmod", "libkmod"}, shown: "the header, or rows of name, size, references and users",
			fills:   "size, references, users; the kernel's taint in the header of old systems",
			lacks:   "taint, address, file",
			notices: noHeader + ", a missing row that another row names as its user"}},
		{LinuxModinfo, lkm.Linux, by(lkm.Linux, linux.ReadModinfo), form{
			tools: []string{"modinfo"}, shown: "the key filename, values in column 16",
			fills: "every field of the file", lacks: "whether it is loaded", notices: cutEnd}},
		{KernelLog, lkm.Linux, by(lkm.Linux, linux.ReadOops), form{ends: true,
			shown: `the words "Modules linked in:"`, fills: "name, taint letters, state at the time of the oops",
			lacks: "size, references, users, file", notices: "a cut end, names that a line's end may have broken"}},
		{LspciK, lkm.Linux, by(lkm.Linux, linux.ReadLspci), form{tools: []string{"lspci"}, selects: []string{"-s",
			"-d"},
			shown: `lines "Kernel modules:" below devices`, fills: "name",
			lacks: "whether it is loaded, which module has the driver in use, everything else", notices: cutEnd}},
		{DKMSStatus, lkm.Linux, by(lkm.Linux, linux.ReadDKMS), form{tools: []string{"dkms"},
			selects: []string{"-m", "-v", "-k"}, shown: "rows of package, version, kernel, architecture and state",
			fills: "package, version, kernel release, state", lacks: "which modules a package builds",
			notices: "never taken for a whole list"}},
		{JC, lkm.Linux, by(lkm.Linux, linux.ReadJC), form{tools: []string{"jc", "lsmod"},
			shown: "JSON with module, size and used",
			fills: "size, references, users; of proc-modules state and address", lacks: "taint, file",
			notices: "a cut end, a missing row that another row names as its user"}},
		{LinuxOsquery, lkm.Linux, by(lkm.Linux, linux.ReadOsquery), form{tools: osqueryTools, selects: sqlSelects,
			shown: "columns name, size, used_by and status; as lines, JSON, CSV or a box",
			fills: "size, users, state, address", lacks: "references, taint, file",
			notices: "a cut end, a missing row that another row names as its user"}},
		{LinuxVelociraptor, lkm.Linux, by(lkm.Linux, linux.ReadVelociraptor), form{experimental: true,
			shown: "columns Name, Size and UseCount", fills: "size, references, users, state, address",
			lacks: "taint, file", notices: "a cut end, a missing row that another row names as its user"}},
		{MQL, lkm.Linux, by(lkm.Linux, linux.ReadMQL), form{tools: []string{"cnquery", "cnspec", "mql"},
			experimental: true,
			shown:        "JSON with name, size and loaded", fills: "size, whether it is loaded",
			lacks:   "users, taint, file",
			notices: cutEnd}},
	}
}

// osqueryTools are osquery's shells, sqlSelects the words of SQL that leave rows out.
var (
	osqueryTools = []string{"osqueryi", "osqueryi64"}
	sqlSelects   = []string{"where", "WHERE", "limit", "LIMIT"}
)

func windowsReaders() []reader {
	return []reader{
		{SC, lkm.Windows, by(lkm.Windows, windows.ReadSC), form{
			tools: []string{"sc"}, shown: "a name at the margin, then numbered values, in any language",
			fills:   "service, display name, type, state; of sc qc the start, path, group, dependencies",
			lacks:   "file, version",
			notices: "a cut block"}},
		{DriverQuery, lkm.Windows, by(lkm.Windows, windows.ReadDriverQuery), form{
			tools: []string{"driverquery"}, selects: []string{}, neverEmpty: true,
			shown: "4 or 15 columns whose values have the shapes of theirs, in any language",
			fills: "service, display name, type, link date; with /v start, state, path, sizes; with /si devices",
			lacks: "version, signature of the file; without /v the state and the path", notices: noHeader}},
		{Fltmc, lkm.Windows, by(lkm.Windows, windows.ReadFltmc), form{
			tools: []string{"fltmc"}, shown: "columns with an altitude, below a ruler",
			fills: "filter, altitude, instances, frame, volume", lacks: "file, version", notices: noHeader}},
		{PnPUtil, lkm.Windows, by(lkm.Windows, windows.ReadPnPUtil), form{
			tools: []string{"pnputil"}, selects: []string{"/class"},
			shown: "the XML element PnpUtil, or a block of values that begins with oemN.inf",
			fills: "driver packages: INF, original name, provider, class, date, version, signer",
			lacks: "the driver's file, whether it is loaded", notices: cutEnd}},
		{WindowsDriver, lkm.Windows, by(lkm.Windows, windows.ReadWindowsDriver), form{
			tools: []string{"get-windowsdriver", "dism"}, selects: []string{"-Driver"},
			shown: "properties Driver and OriginalFileName, or blocks of 7 values with an INF, a date and a version",
			fills: "driver packages: INF, original name, class, provider, version; a date that has one reading",
			lacks: "the driver's file, whether it is loaded", notices: cutEnd + ", values that PowerShell cut"}},
		{MSInfo, lkm.Windows, by(lkm.Windows, windows.ReadMSInfo), form{
			tools: []string{"msinfo32"}, ends: true,
			shown: "sections, one with rows of 11 columns of which one is a path",
			fills: "service, description, path, type, start, state", lacks: "version, signature",
			notices: "a line that is not a row"}},
		{WMI, lkm.Windows, by(lkm.Windows, windows.ReadWMIText), form{
			tools:   []string{"get-ciminstance", "get-wmiobject", "gcim", "gwmi", "wmic"},
			selects: []string{"-Filter", "-Query", "where"},
			shown: "properties of Win32_SystemDriver or Win32_PnPSignedDriver, as list, table, CSV, JSON or JSON " +
				"lines",
			fills: "service, display name, path, state, start, type; devices with INF, version, date, signer",
			lacks: "version of the file, signature of the file", notices: cutEnd + ", values that PowerShell cut"}},
		{Autoruns, lkm.Windows, by(lkm.Windows, windows.ReadAutoruns), form{
			tools: []string{"autorunsc", "autorunsc64", "get-psautorun"}, selects: []string{"-m", "-u"},
			shown: "a CSV header with Entry Location and Category, or records of Get-PSAutorun",
			fills: "service, path, image path, hashes, import hash, company, signer, version, time", lacks: "state",
			notices: noHeader}},
		{Sigcheck, lkm.Windows, by(lkm.Windows, windows.ReadSigcheck), form{
			tools: []string{"sigcheck", "sigcheck64"}, selects: []string{"-u"}, experimental: true,
			shown: "a CSV header with Path, Verified and Publisher",
			fills: "path, hashes, import hash, publisher, company, versions", lacks: "service, state",
			notices: noHeader}},
		{DriverList, lkm.Windows, by(lkm.Windows, windows.ReadDriverList), form{
			shown: "rows of name, display name, the word Driver, state, start",
			fills: "service, display name, state, start",
			lacks: "path, version", notices: cutEnd}},
		{Osquery, lkm.Windows, by(lkm.Windows, windows.ReadOsquery), form{
			tools: osqueryTools, selects: sqlSelects,
			shown: "columns of the table drivers: service, service_key, device_id; as lines, JSON, CSV or a box",
			fills: "devices with service, image, INF, version, date, provider, signed", lacks: "whether it is loaded",
			notices: cutEnd}},
		{Sysmon, lkm.Windows, by(lkm.Windows, windows.ReadSysmon), form{
			shown: "event 6 in XML, or a message with ImageLoaded and Hashes and without a process",
			fills: "path, hashes, import hash, time, signed, signature", lacks: "whether it is loaded now, service",
			notices: "never taken for a whole list"}},
		{WinDbg, lkm.Windows, by(lkm.Windows, windows.ReadWinDbg), form{
			shown: "the header start end module name, and rows in kernel memory",
			fills: "the debugger's name, address, size; a path where the command shows it", lacks: "service, version",
			notices: "a missing header, a missing row of nt, a cut end"}},
		{Verifier, lkm.Windows, by(lkm.Windows, windows.ReadVerifier), form{ends: true,
			shown: "rows of name, loads and unloads", fills: "file name, whether it is loaded",
			lacks:   "path, version",
			notices: "never taken for a whole list"}},
		{RegText, lkm.Windows, by(lkm.Windows, windows.ReadRegText), form{
			tools: []string{"reg", "regedit"},
			shown: "the header of a .reg file, and keys below Services whose Type is a driver's",
			fills: "service, display name, path, type, start, error control, group, dependencies, filter instances",
			lacks: "whether it runs, version", notices: "a cut end, an export of one service"}},
	}
}

func darwinReaders() []reader {
	return []reader{
		{Kextstat, lkm.Darwin, by(lkm.Darwin, darwin.ReadKextstat), form{
			tools:      []string{"kextstat", "kmutil"},
			neverEmpty: true,
			shown:      "the header, or rows that end in a version and tags",
			fills:      "tag, references, address, size, version, UUID, links",
			lacks:      "path, signature", notices: noHeader + ", a missing row that another is linked against"}},
		{MacOSPanic, lkm.Darwin, by(lkm.Darwin, darwin.ReadPanic), form{
			shown: `the line "loaded kexts:", also in the JSON of a .ips or .panic file`,
			fills: "bundle id, version; address and size of the kext that was started last", lacks: "path, UUID",
			notices: cutEnd}},
		{SystemProfiler, lkm.Darwin, by(lkm.Darwin, darwin.ReadProfiler), form{
			tools: []string{"system_profiler"}, neverEmpty: true,
			shown: "SPExtensionsDataType, or the heading Extensions:",
			fills: "bundle id, versions, path, loaded, signers with the team, notarization, dependencies",
			lacks: "references, links", notices: "a cut JSON or XML"}},
		{SystemExtensionsCtl, lkm.Darwin, by(lkm.Darwin, darwin.ReadSystemExtensionsCtl), form{
			tools: []string{"systemextensionsctl"}, shown: "its count, headings, or rows that end in [state]",
			fills: "team, bundle id, versions, name, state", lacks: "path, signature",
			notices: "fewer rows than its count"}},
		{Kextutil, lkm.Darwin, by(lkm.Darwin, darwin.ReadKextutil), form{
			tools: []string{"kextutil", "kextload"}, neverEmpty: true, shown: "the heading Loaded kext info:",
			fills: "what the kernel says of each kext", lacks: "path of some",
			notices: "a brace that is not closed"}},
		{KextPolicy, lkm.Darwin, by(lkm.Darwin, darwin.ReadKextPolicyText), form{
			tools: []string{"sqlite3"}, selects: sqlSelects,
			shown: "rows of team, bundle id, allowed, name, flags", fills: "which kexts were allowed, and by whom",
			lacks: "whether they are loaded", notices: cutEnd}},
		{BundleIDs, lkm.Darwin, by(lkm.Darwin, darwin.ReadIDList), form{
			shown: "bundle ids, one a line, one of them Apple's", fills: "bundle id", lacks: "everything else",
			notices: "never taken for a whole list"}},
		{Kextfind, lkm.Darwin, by(lkm.Darwin, darwin.ReadKextfind), form{tools: []string{"kextfind"},
			experimental: true,
			shown:        "absolute paths that end in .kext, one a line", fills: "path",
			lacks: "bundle id, version, whether it is loaded", notices: "never taken for a whole list"}},
		{CSRUtil, lkm.Darwin, by(lkm.Darwin, darwin.ReadCSRUtil), form{tools: []string{"csrutil"}, ends: true,
			shown: `the line "System Integrity Protection status:"`,
			fills: "the policy: each setting, whether kexts must be signed", lacks: "kexts",
			notices: "a custom configuration without its parts"}},
		{DarwinOsquery, lkm.Darwin, by(lkm.Darwin, darwin.ReadOsquery), form{tools: osqueryTools, selects: sqlSelects,
			shown: "columns idx, refs, name and linked_against; as lines, JSON, CSV or a box",
			fills: "tag, references, size, version, path, links", lacks: "address, UUID, signature",
			notices: "a cut end, a missing row that another is linked against"}},
	}
}

func unixReaders() []reader {
	kldstat := form{
		tools: []string{"kldstat"}, selects: []string{"-i", "-n", "-m"}, neverEmpty: true,
		shown: "the header, or rows of id, references, address, size and name",
		fills: "id, references, address, size, path, modules of a file (-v)", lacks: "version, dependencies",
		notices: noHeader + ", a missing row of the kernel"}
	return []reader{
		{Kldstat, lkm.FreeBSD, by(lkm.FreeBSD, freebsd.ReadKldstat), kldstat},
		{KldstatDragonFly, lkm.DragonFly, by(lkm.DragonFly, freebsd.ReadKldstatDragonFly), kldstat},
		{Kldxref, lkm.FreeBSD, by(lkm.FreeBSD, freebsd.ReadKldxref), form{tools: []string{"kldxref"},
			shown:   "paths of files with lines module, interface, depends on and pnp info below them",
			fills:   "path, modules, interfaces, dependencies, device tables without rows",
			lacks:   "whether it is loaded, size",
			notices: cutEnd}},
		{Devmatch, lkm.FreeBSD, by(lkm.FreeBSD, freebsd.ReadDevmatch), form{tools: []string{"devmatch"},
			shown: "lines Module, Version and PNP info", fills: "modules, interfaces, device tables without rows",
			lacks: "dependencies, path, whether it is loaded", notices: cutEnd}},
		{Modstat, lkm.NetBSD, by(lkm.NetBSD, netbsd.ReadModstat), form{
			tools: []string{"modstat"}, selects: []string{"-n"}, experimental: true,
			shown: "the header, or rows with a class and a source",
			fills: "class, source, references, size, address, requirements", lacks: "version, file",
			notices: "a missing header"}},
		{Modinfo, lkm.Solaris, by(lkm.Solaris, solaris.ReadModinfo), form{
			tools: []string{"modinfo"}, selects: []string{"-i"}, neverEmpty: true,
			shown: "the header, or rows of id, address, size, info, revision and name",
			fills: "id, address, size, description; with -c whether it is in memory", lacks: "dependencies, file",
			notices: "a missing header, a cut description"}},
		{Genkex, lkm.AIX, by(lkm.AIX, aix.ReadGenkex), form{
			tools: []string{"genkex", "genkld"}, neverEmpty: true, shown: "its header", fills: "address, size, path",
			lacks: "references, version", notices: "a missing header"}},
		{ModuleShow, lkm.VxWorks, by(lkm.VxWorks, vxworks.ReadModuleShow), form{
			tools: []string{"moduleshow"}, experimental: true, shown: "its header and ruler",
			fills: "module id, group, segments", lacks: "version, file", notices: "a missing header"}},
		{Modules, lkm.NetWare, by(lkm.NetWare, netware.ReadModules), form{
			tools: []string{"modules"}, neverEmpty: true, experimental: true,
			shown: "a file name at the margin, then its texts",
			fills: "version, date, description", lacks: "address, dependencies",
			notices: "a line that is not a row"}},
		{Moddebug, lkm.Illumos, by(lkm.Illumos, solaris.ReadModdebug), form{
			shown: "messages that a module was loaded", fills: "id, size, address", lacks: "what was unloaded later",
			notices: "nothing: messages are not a list"}},
		{AbendLog, lkm.NetWare, by(lkm.NetWare, netware.ReadAbendLog), form{
			shown: "lines of an abend with the modules on the stack", fills: "name, version, date",
			lacks:   "other modules",
			notices: "nothing: the stack is not a list"}},
	}
}
