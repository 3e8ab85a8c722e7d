// SPDX-License-Identifier: Apache-2.0

// Package netbsd reads what a NetBSD kernel says of its modules, in the kernel's own words. It
// takes an fs.FS rooted at the machine's root and a function for system calls; it opens nothing
// else, and works the same on a running system, a mounted root and a tape.
//
// # What is read
//
//   - modctl(2) with MODCTL_STAT: every module in the kernel, the built-in ones included, with
//     class, source, size and what it requires ([ReadModules]); both forms of its answer
//   - the text of modstat(8), of every generation ([ReadModstat])
//   - the section link_set_modules of a .kmod file ([ReadMetadata])
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
