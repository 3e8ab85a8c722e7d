// SPDX-License-Identifier: Apache-2.0

// Package solaris reads what an illumos or Solaris kernel says of its modules, in the kernel's own
// words. It takes a function for system calls; it opens nothing else, and works the same on a
// running system and on a tape.
//
// # What is read
//
//   - modctl(2) with MODINFO: the modules in the kernel, one call each ([ReadModules])
//   - the text of modinfo(8): illumos' and older Solaris' fixed columns, and the columns of Solaris
//     11.4 with -p ([ParseCapture])
//   - /etc/system: the modules that are excluded or forced to load ([ParseSystem])
//
// # What needs privilege
//
// Nothing for the list. Solaris 11.4 hides addresses from a caller without privilege.
//
// # Limits
//
// There is no lock over the walk, so the list is walked twice and compared. Names have at most 31
// bytes and descriptions at most 31: longer ones are cut by the kernel. What requires what, the
// file and the version of a module are not told.
package solaris
