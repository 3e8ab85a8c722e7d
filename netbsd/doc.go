// SPDX-License-Identifier: Apache-2.0

// Package netbsd reads what a NetBSD kernel says of its modules, and judges whether a module can get into the kernel.
// All that it reads comes through a [fact.Machine], so it works the same on a running system and a tape.
//
// # Use
//
// Package lkm is the one interface to all kernels. By itself this package is used so:
//
//	k := netbsd.Open(m, fact.Options{OS: fact.NetBSD})
//	var h fact.Header
//	var r fact.Report
//	k.Header(ctx, &h, &r)
//	modules, err := k.Loaded(ctx, &h, &r)
//
// An error means that there is no list. What is less is in the report and in the Problems of each [Record].
// [ReadFile] reads a .kmod file on any system, [ReadModstat] the text that modstat(8) prints, of every generation.
//
// # What is read
//
//   - modctl(2) with MODCTL_STAT: every module in the kernel, the built-in ones included, with
//     class, source, size and what it requires; both forms of its answer
//   - the section link_set_modules of each .kmod file below kern.module.path
//   - kern.module.path, kern.module.autoload and kern.securelevel, by sysctl(3)
//
// # What needs privilege
//
// Nothing for the list. Addresses and sizes are 0 for a caller that may not see addresses; that is
// reported as hidden, never as a module of no size.
//
// # Limits
//
// A module's path, version and origin are not kept by the kernel. A process of 32 bits on a kernel
// of 64 is given wrong offsets of requirements by some releases; they are read in order instead.
package netbsd
