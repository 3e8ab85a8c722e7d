// SPDX-License-Identifier: Apache-2.0

// Package authenticode finds and judges the signatures of a Windows driver: those in its file, and those of catalogs
// that list it.
//
// # What it answers
//
//   - Every signature of a file, with its status, its chain, its timestamps and its page hashes ([Verifier.Verify]).
//   - Which one says most for the file ([Best]).
//   - The program of Microsoft's that a signature was made under ([Signature.Class]).
//   - Whether the catalogs were read whole, so that a file in none of them is known to be in none
//     ([Verifier.Complete]).
//
// # What it reads
//
// A [pe.File], and the *.cat files of a folder in an fs.FS ([NewCatalogs]). It runs on every system, starts no process
// and asks no network. Files and catalogs are not trusted: a hostile one costs bounded memory and never a panic.
//
// # Limits
//
// A signature is valid by the keys that a caller gives ([NewVerifier]), or by those of Microsoft's five kernel roots,
// which this package has (key set "microsoft"): for the purposes that the kernel accepts of them, at the time that a
// timestamp proves. A machine's own stores ([Stores]) make nothing valid, prove the time of a stamp, and make invalid
// what they do not allow. No verdict is that of the kernel, and no revocation is looked up. A file has at most 16
// signatures and an index at most 100,000 catalogs of 64 MB each.
//
// # Errors
//
// What cannot be checked makes a signature unchecked, never valid and never invalid, with the reason in the
// [Signature]. A key or a catalog that cannot be read is a problem in the caller's [fact.Report], under
// [pe.SourceFile] or [SourceCatalogs]. The error of [Catalogs.Load] matches fs.ErrNotExist: the folder does not exist.
package authenticode
