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
//   - kernel collections, kernelcaches and prelinked kernels: which kexts are linked into them
//   - System Integrity Protection, the KextPolicy database, system extensions' db.plist
//
// # What needs privilege
//
// The list needs none, but a sandbox or a management policy may refuse it; the refusal is an error,
// never an empty list. KextPolicy needs root. Some vendors' bundles are readable by root only.
//
// # Limits
//
// With fact.DetailSignatures the code, Info.plist and the sealed files are compared with the hashes that were signed,
// and the signer's chain is built to the keys in Options.Keys; without keys a signature is at best unchecked. Apple's
// roots are not built in, and neither revocation nor the notarization ticket is validated. The
// kernel hides the load addresses of auxiliary kexts on Apple silicon. Encrypted kernelcaches
// (LZFSE, LZVN, LZSS) are named and not read. A kext that hides itself from the kernel's own list
// is not found.
package darwin
