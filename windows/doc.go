// SPDX-License-Identifier: Apache-2.0

// Package windows reads what Windows says of kernel-mode drivers: which images are in memory,
// which services are registered, which devices and packages use them, what their files say and
// who signed them, and what code integrity enforces.
//
// # Use
//
// [Open] returns a [Kernel] for a machine; its methods answer in [Record], and report to a [fact.Report] which sources
// they read and what they could not read:
//
//	k := windows.Open(machine, fact.Options{Detail: fact.DetailFiles})
//	var h fact.Header
//	var r fact.Report
//	k.Header(ctx, &h, &r)
//	drivers, err := k.Loaded(ctx, &h, &r) // an error means that there is no list
//	verdicts, err := k.Check(ctx, "tcpip", &r)
//
// [ReadFile] reads one driver's file, the readers such as [ReadSC] read what other tools printed, and [Volume] shows a
// mounted volume as its own machine shows it.
//
// # What is read
//
// Everything comes through a [fact.Machine]: files, rooted at the drives (C:/Windows/…), and calls, which
// are the Op constants of this package. Decoders take bytes and run on every operating system; only
// live_windows.go makes system calls.
//
// The package has four rooms, which can be used alone: pe reads an image file, authenticode judges its signatures,
// registry reads hives and .reg files, sipolicy reads compiled policies of code integrity. This package knows what
// services, devices, packages and policies are.
//
// # What needs privilege
//
// Nothing needs an administrator except the images' addresses (SeDebugPrivilege, from Windows 11
// 24H2), services whose security descriptor hides them, the filter manager's live list, and files
// in folders that their vendor closed. What is missing becomes a Problem, never an empty answer.
//
// # Limits
//
// No revocation is looked up, nothing goes to the network, and no verdict is that of the kernel:
// [authenticode.Verifier] judges signatures against Microsoft's roots and the certificates that a caller gives. Rules
// of policies that allow are not judged, only those that deny. Umdf drivers, which run in user mode, are not listed.
package windows
