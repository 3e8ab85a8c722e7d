// SPDX-License-Identifier: Apache-2.0

// Package darwin reads what macOS says of its kernel extensions, in its own words: kexts in the
// kernel, bundles on disk, members of kernel collections, and the policy that governs them. It
// takes an fs.FS rooted at the machine's root and a function for the few calls that are no files;
// it works the same on a running Mac, a mounted volume and a tape, on any operating system.
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
// Signatures are reported as facts, not validated: no chain is checked against Apple's roots. The
// kernel hides the load addresses of auxiliary kexts on Apple silicon. Compressed kernelcaches
// (LZFSE, LZVN, LZSS) are named and not read. A kext that hides itself from the kernel's own list
// is not found.
package darwin
