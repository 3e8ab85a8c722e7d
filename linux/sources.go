// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/linux/boot"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// The files read for the loaded list, as paths below the machine's root.
const (
	ModulesFile      = "proc/modules"
	taintedFile      = "proc/sys/kernel/tainted"
	disabledFile     = "proc/sys/kernel/modules_disabled"
	kernelDir        = "proc/sys/kernel"
	bootIDFile       = "proc/sys/kernel/random/boot_id"
	uptimeFile       = "proc/uptime"
	kptrFile         = "proc/sys/kernel/kptr_restrict"
	perfParanoidFile = "proc/sys/kernel/perf_event_paranoid"
	SysModuleDir     = "sys/module"
	ueventSeqFile    = "sys/kernel/uevent_seqnum"
	buildIDNote      = "notes/.note.gnu.build-id"
	parametersDir    = "parameters"
	sectionsDir      = "sections"
	maxSysfsValues   = 4096 // parameters or sections of one module that are read
)

// The calls that a Linux machine answers, beside its files.
const (
	// OpUname is uname(2): text, one "key value" a line, with the keys release, version and
	// machine. The host's name is not among them.
	OpUname = "uname"
	// OpClock is the time: text, RFC 3339 in UTC.
	OpClock = "clock"
	// OpIdentity is who is asking: text, "euid N" and "capeff HEX" (the effective capabilities of
	// the calling thread), one a line.
	OpIdentity = "identity"
)

// Names of the sources of Linux facts.
const (
	SourceModules   = "proc_modules"         // the kernel's list, /proc/modules
	SourceSysModule = "sys_module"           // per-module files, /sys/module
	SourceBuiltin   = modprobe.SourceBuiltin // what is compiled in
	SourceTree      = modprobe.SourceTree    // module files and indexes on disk
	SourceConfig    = modprobe.SourceConfig  // modprobe's configuration
	SourceTainted   = "tainted"              // /proc/sys/kernel/tainted
	SourceMachine   = "machine"              // release, identity, clock and boot id
	SourceSysctl    = "sysctl"               // settings below /proc/sys
	SourceSecurity  = "securityfs"           // /sys/kernel/security
	SourceEFI       = "efivars"              // the firmware's variables
	SourceCmdline   = boot.SourceCmdline     // the kernel's command line
	SourceKeys      = "proc_keys"            // the kernel's keyrings, /proc/keys
	SourceBPF       = "bpf"                  // BPF programs: not looked at
	SourceLivepatch = "livepatch"            // /sys/kernel/livepatch
	SourceKexec     = "kexec"                // other kernels that are loaded, /sys/kernel/kexec_loaded

	SourceKernelConfig = "kernel_config" // what the kernel was built with
)

// policySources are the sources of readPolicy that a look at the loaded modules does not read.
var policySources = []string{SourceKernelConfig, SourceSysctl, SourceSecurity, SourceEFI, SourceCmdline, SourceKeys,
	SourceKexec}

// Sources returns what a list with the given details reads.
func (k *Kernel) Sources(d fact.Detail) []fact.SourcePlan {
	sys := "/" + SysModuleDir + "/NAME/"
	return append([]fact.SourcePlan{
		{Source: SourceMachine, Reads: []string{OpUname + "()", OpClock + "()", OpIdentity + "()", "/" + bootIDFile},
			For: "release, architecture, time, privilege, boot id", Asked: true},
		{Source: SourceTainted, Reads: []string{"/" + taintedFile}, For: "the kernel's taint mask", Asked: true},
		{Source: SourceModules, Reads: []string{"/" + ModulesFile, "/" + ueventSeqFile},
			For: "the list: name, size, references, users, state, taint", Asked: true},
		{Source: SourceSysModule, Reads: []string{sys + "{coresize,initsize,initstate,taint,version,srcversion}",
			sys + "notes/.note.gnu.build-id"},
			For: "version, srcversion, build-id, sizes", Asked: true},
		{Source: SourceSysModule, Reads: []string{sys + "parameters/*"}, Needs: "root for some; files that are not " +
			"world-readable are left alone",
			For: "parameter values", Asked: d&fact.DetailParameters != 0},
		{Source: SourceSysModule, Reads: []string{sys + "sections/*"},
			Needs: "root, and CAP_SYSLOG for addresses in /proc/modules",
			For:   "load and section addresses", Asked: d&fact.DetailAddresses != 0},
		{Source: SourceBuiltin,
			Reads: []string{"/" + SysModuleDir, "/lib/modules/RELEASE/{modules.builtin,modules.builtin.modinfo}"},
			For:   "what is compiled in", Asked: true},
		{Source: SourceTree,
			Reads: []string{"/lib/modules/RELEASE/modules.dep{,.bin}", "/lib/modules/RELEASE/**/*.ko{,.gz,.xz,.zst}",
				"/" + firmwarePathFile, "/lib/firmware"},
			For:   "the loaded modules' files: metadata, whether they hold the same code, signatures",
			Asked: d&fileDetail != 0},
		{Source: SourceLivepatch, Reads: []string{"/" + livepatchDir + "/NAME/{enabled,transition,replace,stack_order}",
			"/" + livepatchDir + "/NAME/*/patched"},
			For: "live patches: whether they are enabled, what they replace", Asked: true},
		{Source: SourcePackages, Reads: []string{"/var/lib/dpkg/{status,diversions,info/*.list}",
			"/usr/lib/opkg/info/*.{list,control}", "/usr/lib/sysimage/rpm/{rpmdb.sqlite,Packages.db,Packages}",
			"/lib/apk/db/installed", "/var/lib/pacman/local/*/{files,desc}", "/var/lib/dkms", "/usr/src/*/dkms.conf"},
			For: "whose code they are", Asked: d&fileDetail != 0},
		{Source: SourcePackages, Reads: []string{"/var/lib/dpkg/info/*.md5sums", "/var/lib/pacman/local/*/mtree"},
			For: "what their packages brought, for discrepancies", Asked: d&fact.DetailHashes != 0},
		{Source: SourceBPF, Reads: []string{}, Needs: "root, and a library that asks for them: this one does not",
			For: "programs that run in the kernel without being modules"},
		{Source: SourceKernelImage, Reads: []string{"/boot/vmlinuz-RELEASE", "/usr/lib/modules/RELEASE/vmlinuz",
			"/" + kernelNotesFile}, Needs: "root where only root may read /boot",
			For: "the certificates that the kernel verifies modules with", Asked: d&fact.DetailSignatures != 0},
		{Source: SourceEFI, Reads: []string{"/" + efiVarsDir + "/{db,dbx,MokListRT,MokListXRT}-*",
			"/" + mokVarsDir + "/*"},
			For:   "the owner's and the firmware's certificates, and what is revoked",
			Asked: d&fact.DetailSignatures != 0},
	}, policyPlan(d&fact.DetailPolicy != 0)...)
}

// policyPlan says what Detail Policy reads.
func policyPlan(asked bool) []fact.SourcePlan {
	return []fact.SourcePlan{
		{Source: SourceKernelConfig, Reads: []string{"/" + kernelConfigFile, "/boot/config-RELEASE",
			"/lib/modules/RELEASE/{config,build/.config}"},
			For: "what the kernel was built with", Asked: asked},
		{Source: SourceSysctl, Reads: []string{"/" + disabledFile, "/" + modprobeFile, "/" + loadPinFile},
			For: "whether loading is switched off, the kernel's helper", Asked: asked},
		{Source: SourceSysModule, Reads: []string{"/" + sigEnforceFile}, For: "whether signatures are enforced",
			Asked: asked},
		{Source: SourceSecurity, Reads: []string{"/" + lockdownFile, "/" + lsmFile, "/" + imaPolicyFile},
			Needs: "root for the IMA policy, and a kernel that shows it", For: "lockdown, security modules, appraisal",
			Asked: asked},
		{Source: SourceEFI, Reads: []string{"/" + secureBootVar, "/" + setupModeVar, "/" + mokSBStateVar,
			"/" + mokListTrustedVar},
			For: "Secure Boot and the owner's keys", Asked: asked},
		{Source: SourceCmdline, Reads: []string{"/" + modprobe.CmdlineFile}, For: "module_blacklist and its like",
			Asked: asked},
		{Source: SourceKeys, Reads: []string{"/" + keysFile}, Needs: "root for the kernel's own keyrings",
			For: "keys that modules are verified with", Asked: asked},
		{Source: SourceKexec, Reads: []string{"/" + kexecFile, "/" + kexecCrashFile, "/" + kexecOffFile},
			For: "other kernels that this one may start", Asked: asked},
	}
}
