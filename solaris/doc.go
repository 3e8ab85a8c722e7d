// SPDX-License-Identifier: Apache-2.0

// Package solaris reads what an illumos or Solaris kernel says of its modules, in the kernel's own words. [Open] makes
// the [Kernel] of a machine, [Kernel.Loaded] returns its modules, and the report that every method takes says what
// could not be read. All comes through the machine: a running system and a tape work the same.
//
// # What is read
//
//   - modctl(2) with MODINFO: the modules in the kernel, one call each ([Kernel.Loaded])
//   - the text of modinfo(8): illumos' and older Solaris' fixed columns, and the columns of Solaris
//     11.4 with -p ([ReadModinfo])
//   - the console messages of a kernel that was booted with moddebug ([ReadModdebug])
//   - /etc/system: the modules that are excluded or forced to load ([Kernel.Policy], [Kernel.Check])
//
// # What needs privilege
//
// Nothing for the list. Solaris 11.4 hides addresses from a caller without privilege.
//
// # Limits
//
// The kernel holds no lock over the walk, so the list is walked twice and compared. Names have at most 31 bytes and
// descriptions at most 31: the kernel cuts longer ones. The kernel does not say what requires what, nor the file and
// the version of a module. The files of modules are listed from an image alone ([Kernel.Installed]): whether
// a running system could load a module that is not in its kernel is unknown.
package solaris
