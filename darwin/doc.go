// SPDX-License-Identifier: Apache-2.0

// Package darwin reads what macOS says of its kernel extensions, in its own words: kexts in the
// kernel, bundles on disk, members of kernel collections, and the policy that governs them. It
// takes a fact.Machine, so it works the same on a running Mac, a mounted volume and a tape, on any
// operating system.
//
// # Use
//
// [Open] returns the [Kernel] of a machine. Its methods return records and report to a fact.Report which sources they
// read and what they could not read:
//
//	k := darwin.Open(machine, fact.Options{Detail: fact.DetailFiles})
//	var r fact.Report
//	kexts, err := k.Loaded(ctx, new(fact.Header), &r) // an error means that there is no list
//	for _, p := range r.Problems { … }
//
// Package lkm does the same for every system, with one type of module. [ReadFile] reads a bundle, a kernel collection
// or the code of a kext by itself, and [ReadKextstat] and its siblings read the text that a tool printed.
//
// # What is read
//
//   - the kernel's list, by KextManagerCopyLoadedKextInfo ([OpLoadedKextInfo]), or by the text of
//     kmutil or kextstat where that call is refused and starting programs is allowed
//   - bundles in the system's extension folders: Info.plist, Mach-O headers, code signatures
//   - kernel collections, kernelcaches and prelinked kernels, compressed or not: which kexts are linked into them
//   - System Integrity Protection, the KextPolicy database with its log, system extensions' db.plist, the profiles of
//     a management server
//
// # What needs privilege
//
// The list needs no privilege, but a sandbox or a management policy may refuse it; the refusal is an error, never an
// empty list. KextPolicy needs root. Some vendors' bundles are readable by root only.
//
// # Signatures
//
// With fact.DetailSignatures the code, Info.plist and the sealed files are compared with the hashes that were signed,
// and the signer's chain is built to Apple's roots, which this package brings as the key set "apple"
// (fact.Options.Trust leaves them out), and to the keys in Options.Keys. Time is judged as macOS judges it: by a
// timestamp, and not at all without one. A key set whose Origin is fact.TrustApple takes the place of Apple's roots.
// A kext is Apple's (fact.OriginOS) only by such a proof, or by the word of the running kernel.
//
// # Devices
//
// [Kernel.Resolve] matches as IOKit, IOPCIFamily and IOUSBHostFamily do. A query that lacks what a personality asks
// for, as a modalias lacks bConfigurationValue, gets the kext with a [DeviceMatch] that is not sure.
//
// # Limits
//
// Neither revocation nor the notarization ticket is validated. The kernel hides the load addresses of auxiliary kexts
// on Apple silicon. Encrypted kernelcaches are named and not read. A kext that hides itself from the kernel's own list
// is not found.
package darwin
