// SPDX-License-Identifier: Apache-2.0

// Package windows reads what Windows says of kernel-mode drivers: which images are in memory,
// which services are registered, which devices and packages use them, what their files say and
// who signed them, and what code integrity enforces.
//
// # What is read
//
// Everything comes through an [io/fs.FS] rooted at the drives (C:/Windows/…) and a Call function
// that answers the Op constants of this package with recorded bytes. Decoders take bytes and run
// on every operating system; only live_windows.go makes system calls.
//
// Image files are decoded by a reader of this package: debug/pe reads symbols, strings and
// relocations, whose sizes a hostile file chooses, and knows neither resources nor debug records nor
// the certificate table.
//
// # Privilege
//
// Nothing needs an administrator except the images' addresses (SeDebugPrivilege, from Windows 11
// 24H2), services whose security descriptor hides them, the filter manager's live list, and files
// in folders that their vendor closed. What is missing becomes a Problem, never an empty answer.
//
// # Limits
//
// No revocation is looked up, nothing goes to the network, and no verdict is that of the kernel:
// [Verifier] judges signatures against the certificates that a caller gives. Umdf drivers, which
// run in user mode, are not listed.
package windows
