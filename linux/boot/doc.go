// SPDX-License-Identifier: Apache-2.0

// Package boot reads what a Linux boot loader would start: its entries with their command lines, and the
// initial file systems that they name.
//
// # What it answers
//
//   - The entries of all boot loaders, each with its kernel release and its command line ([Read], [Setup.For]).
//   - The words of a command line, as the kernel divides it ([ParseCmdline]).
//   - The modules, the modprobe configuration and the lists of modules in an initial file system
//     ([ReadInitramfs]).
//   - The certificates that a kernel verifies modules with, and its build id ([ReadKernelImage], [KernelFiles]).
//
// # What it reads
//
// Files of an fs.FS that is rooted at the machine's root: Boot Loader Specification entries, grub.cfg and what
// it goes on with, grubenv, extlinux.conf, unified kernel images, cmdline.txt, /etc/kernel/cmdline; archives in
// cpio's newc form, plain or in gzip, xz, zstd, lz4 or bzip2; kernels as bzImage, EFI program, unified image, vmlinux
// or Image, plain or in those or lzma (not lzo), as a stream. Most are readable for root alone: some
// distributions hide grub.cfg, and most hide the initial file systems.
//
// # Limits
//
// A grub.cfg is a script, which is not run: a variable that gets its value only when the script runs is in
// [Entry.Unresolved] and may add any word. A file system image inside an initial file system is not read. A /boot that
// is not mounted is not looked for. A kernel whose list of certificates has no length after it, in the form of
// certs/system_certificates.S, shows none: that is not known to be none.
//
// # Errors
//
// Each call takes a *[fact.Report] and reports to it what it could not read or understand, under [SourceCmdline] or
// [SourceInitramfs]. An error says that there is no answer. A [Setup] without entries says that the next boot's command
// line is not known ([ErrNoEntry]), not that it is empty.
package boot
