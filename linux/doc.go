// SPDX-License-Identifier: Apache-2.0

// Package linux reads what a Linux kernel says of its loadable modules, in the kernel's own words.
// It takes an fs.FS rooted at the machine's root and a function for the few system calls; it never
// opens anything else, and works the same on a running system, a mounted root and a tape.
//
// Three rooms beside it work alone: linux/ko reads a module's file, linux/modprobe answers what modprobe would
// do, linux/boot reads what a boot loader would start.
//
// # What is read
//
//   - /proc/modules: every module in the kernel ([ModuleList])
//   - /sys/module/NAME/{coresize,initsize,initstate,taint,version,srcversion} and
//     notes/.note.gnu.build-id, by name ([SysReader.ReadModule]); parameters and sections only when asked
//   - /proc/sys/kernel/tainted ([ParseTaint]), /sys/kernel/uevent_seqnum
//   - what is enforced ([ReadPolicy]): settings below /proc/sys/kernel, /sys/kernel/security, the
//     firmware's variables, /proc/keys, the kernel's configuration and command line
//   - what may be loaded ([Checker]): modprobe's configuration, the indexes of a release, boot
//     loaders' entries ([github.com/kernelext/kernelext/linux/boot.Read]), lists of modules to load, and for a blocked module the initramfs
//   - what does not agree ([FindDiscrepancies]): also /proc/kallsyms, /proc/crypto, /sys/kernel/btf,
//     the drivers' links, and as root ftrace's and dynamic debug's lists
//
// # What needs privilege
//
// Nothing in the list itself. Load addresses need CAP_SYSLOG (the kernel prints zeros otherwise),
// section addresses and some parameters need root, as do the kernel's keyrings, the firmware's
// variables on some systems, most initramfs files, ftrace and dynamic debug. A service with ProcSubset=pid, or a container
// without /sys/module, sees less; that is reported, never taken for an empty list.
//
// # Limits
//
// The kernel's list is not read atomically: a module that comes or goes in between can be skipped
// or repeated, so [ListReader] reads again, at most three times, when the kernel's event counter
// moved. A rootkit can hide a module from every file here.
package linux
