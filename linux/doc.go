// SPDX-License-Identifier: Apache-2.0

// Package linux reads what a Linux kernel says of its loadable modules, in the kernel's own words, and
// answers what could be loaded into it. It reads a [fact.Machine] alone, and works the same on a running
// system, a mounted root and a tape.
//
// [Open] returns the [Kernel] of a machine. Its methods are those of every kernel's package: Loaded,
// Builtin, Installed, File, Resolve, Plan, Policy, Check, Discrepancies and others. Each takes a
// [fact.Report], which says afterwards which sources were read and what could not be read. An error means
// that there is no result. Package lkm is the same for all systems.
//
// Three packages beside it work alone: linux/ko reads a module's file, linux/modprobe answers what modprobe would
// do, linux/boot reads what a boot loader would start.
//
// # What is read
//
//   - /proc/modules: every module in the kernel ([Kernel.Loaded], [Kernel.Poll])
//   - /sys/module/NAME/{coresize,initsize,initstate,taint,version,srcversion} and
//     notes/.note.gnu.build-id, by name; parameters and sections only if asked for
//   - /proc/sys/kernel/tainted, /sys/kernel/uevent_seqnum
//   - what is enforced ([Kernel.Policy]): settings below /proc/sys/kernel, /sys/kernel/security, the
//     firmware's variables, /proc/keys, the kernel's configuration and command line
//   - what may be loaded ([Kernel.Check]): modprobe's configuration, the indexes of a release, boot
//     loaders' entries, lists of modules to load, and for a blocked module the initramfs
//   - who signed a file (Detail Signatures, and [Kernel.Check]): the kernel's image in /boot or beside its modules, the
//     variables db, dbx, MokListRT and MokListXRT, /sys/kernel/notes and /proc/keys
//   - what does not agree ([Kernel.Discrepancies]): also /proc/kallsyms, /proc/crypto, /sys/kernel/btf,
//     the drivers' links, and as root ftrace's and dynamic debug's lists
//   - the text that lsmod and modinfo print ([ReadLsmod], [ReadModulesText], [ReadModinfo])
//
// # Who signed a module
//
// A kernel verifies modules with the certificates that were compiled into it. They are found in its image without
// symbols (bzImage, the EFI form of arm64, unified images, vmlinux; packed with gzip, xz, zstd, bzip2, lz4 or lzma): a
// list counts only if the word after it holds its length, and the list of revoked keys is distinguished from it. A
// verdict that rests on one names the image, and is about the kernel that runs only if the image has the build id that
// /sys/kernel/notes shows; else it is about that image's next boot. The keys of the machine's owner (MOK) count where
// the kernel was built to take them and shim lets it. A key of the firmware (db) alone makes nothing valid and nothing
// refused: kernels ask it for modules only with a patch of some distributions, which no option shows. Nor does a
// certificate in a file, such as DKMS's mok.pub: it names who signed. What is revoked (dbx, MokListXRT, .blacklist, the
// image's own list) is invalid. Keys that root adds to the secondary keyring while the kernel runs are in no file: that
// there are some shows in /proc/keys, and then a signature by none of the known keys is unknown, not refused.
//
// In a check, a signature that a key of the kernel does not fit stops the file even where signatures are not enforced
// (EKEYREJECTED); one by a key that the kernel does not have counts as none (ENOKEY). Where not all keys of the kernel
// are known, such as on a mounted disk without the firmware's variables, the latter is unknown.
//
// # What needs privilege
//
// Nothing in the list itself. Load addresses need CAP_SYSLOG (the kernel prints zeros otherwise),
// section addresses and some parameters need root, as do the kernel's keyrings, the firmware's
// variables on some systems, most initramfs files, the kernel's image on some, ftrace and dynamic debug. A service with
// ProcSubset=pid, or a container without /sys/module, sees less; that is reported, never taken for an empty list.
//
// # Limits
//
// The kernel's list is not read atomically: a module that comes or goes in between can be skipped
// or repeated, so the list is read again, at most three times, if the kernel's event counter moved.
// A rootkit can hide a module from every file here.
package linux
