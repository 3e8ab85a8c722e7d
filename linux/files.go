// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"github.com/kernelext/kernelext/linux/boot"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// The files read for the loaded list, as paths below the machine's root.
const (
	ModulesFile      = "proc/modules"
	TaintedFile      = "proc/sys/kernel/tainted"
	DisabledFile     = "proc/sys/kernel/modules_disabled"
	KernelDir        = "proc/sys/kernel"
	BootIDFile       = "proc/sys/kernel/random/boot_id"
	UptimeFile       = "proc/uptime"
	KptrFile         = "proc/sys/kernel/kptr_restrict"
	PerfParanoidFile = "proc/sys/kernel/perf_event_paranoid"
	SysModuleDir     = "sys/module"
	UeventSeqFile    = "sys/kernel/uevent_seqnum"
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
	SourceLivepatch = "livepatch"            // /sys/kernel/livepatch: not looked at
	SourceKexec     = "kexec"                // kexec images: not looked at

	SourceKernelConfig = "kernel_config" // what the kernel was built with
)

// PolicySources are the sources of ReadPolicy that a look at the loaded modules does not read.
var PolicySources = []string{SourceKernelConfig, SourceSysctl, SourceSecurity, SourceEFI, SourceCmdline, SourceKeys}
