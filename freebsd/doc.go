// SPDX-License-Identifier: Apache-2.0

// Package freebsd reads what a FreeBSD or DragonFly kernel says of its kernel linker files (klds)
// and of the modules inside them, in the kernel's own words. It takes an fs.FS rooted at the
// machine's root and a function for system calls; it opens nothing else, and works the same on a
// running system, a mounted root and a tape.
//
// # What is read, and from which call
//
// A linker file (aesni.ko, or the kernel itself) and a module inside it (nexus/aesni) are two
// things. No sysctl lists either, so the list comes from system calls:
//
//   - which files are loaded: kldnext(2), from id 0 on, in load order
//   - a file's name, path, reference count, address and size: kldstat(2)
//   - the modules inside a file: kldfirstmod(2), then modfnext(2)
//   - a module's name, reference count and data: modstat(2)
//
// sysctl(3) gives what surrounds the list and the calls do not tell:
//
//   - kern.module_path: where kldload(2) looks for files, separated by ";"
//   - kern.bootfile: the kernel file that was booted; kern.build_id: its build-id
//   - kern.osreldate: the release number that a kld's "kernel" dependency is compared with
//   - kern.securelevel, security.mac.veriexec.state: whether klds may be loaded at all
//   - debug.dump_modinfo: what the boot loader had loaded before the kernel ran
//
// Which file needs which is told by neither: it follows from the metadata inside the files on disk
// ([metadata]) and the kernel's rule for versions ([Depend.Accepts]).
//
// # What needs privilege
//
// Nothing: on FreeBSD and DragonFly any process, also in a jail, sees every file with its real
// address. HardenedBSD refuses all of it to anybody but root, and with HARDEN_KLD gives address
// and size as 0 even to root; a MAC policy may refuse too.
//
// # Limits
//
// The list is walked by ids, without a lock over the walk: a file that is unloaded in between
// breaks the chain. [readFiles] then begins again, a bounded number of times, and says so when the
// list is still not whole. Ids are used again after an unload. A process of 32 bits on a kernel of
// 64 sees only the low half of each address. The kernel gives no content id for a loaded file.
// Files compressed for the boot loader (.ko.gz) are not read.
package freebsd
