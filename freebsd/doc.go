// SPDX-License-Identifier: Apache-2.0

// Package freebsd reads what a FreeBSD or DragonFly kernel says of its kernel linker files (klds) and of the modules
// inside them, and judges whether a kld can get into the kernel. All that it reads comes through a [fact.Machine], so
// it works the same on a running system, a mounted root and a tape.
//
// # Use
//
// Package lkm is the one interface to all kernels. By itself this package is used so:
//
//	k := freebsd.Open(m, fact.Options{OS: fact.FreeBSD}) // or fact.DragonFly
//	var h fact.Header
//	var r fact.Report
//	k.Header(ctx, &h, &r)
//	files, err := k.Loaded(ctx, &h, &r)
//
// An error means that there is no list. What is less, such as a path that the kernel hides, is in the report and in the
// Problems of each [Record]. [ReadFile] reads a .ko file on any system, [ReadKldstat] the text that kldstat(8) prints.
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
// sysctl(3) gives facts about the list that the calls do not return:
//
//   - kern.module_path: where kldload(2) looks for files, separated by ";"
//   - kern.bootfile: the kernel file that was booted; kern.build_id: its build-id
//   - kern.osreldate: the release number that a kld's "kernel" dependency is compared with
//   - kern.securelevel, security.mac.veriexec.state: whether klds may be loaded at all
//   - debug.dump_modinfo: what the boot loader loaded before the kernel ran
//
// Neither says which file needs which: that follows from the metadata inside the files on disk
// ([File]) and the kernel's rule for versions ([Depend]).
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
// breaks the chain. [Kernel.Loaded] then begins again, a bounded number of times, and
// reports a list that is still not whole. Ids are used again after an unload. A process of 32 bits on a kernel of
// 64 sees only the low half of each address. The kernel gives no content id for a loaded file.
// Files compressed for the boot loader (.ko.gz) are not read.
package freebsd
