// SPDX-License-Identifier: Apache-2.0

// Package pe reads a Windows image file: a driver's headers, imports, version resource, debug record and digests.
//
// # What it answers
//
//   - What the file is for, when it was linked, and whether its checksum is right ([Parse], [File]).
//   - Which images and functions it imports, and their imphash ([File.Imports]).
//   - The vendor's words on it ([File.Version]).
//   - The build that its debug information belongs to ([PDB.ID]).
//   - Its digests: those of the file, and those that signatures and block lists use ([File.Hashes],
//     [File.Authentihash], [File.CheckPages]).
//   - Where the certificate table is ([File.CertificateTable]); package authenticode reads it.
//   - The processor and the version alone, at a fraction of the cost ([Glance]).
//
// # What it reads
//
// Bytes in memory: PE32 and PE32+ files of any processor. It has a reader of its own because debug/pe reads symbols,
// strings and relocations, whose sizes a hostile file chooses, and knows neither resources nor debug records nor the
// certificate table. It runs on every system. Files are not trusted: a hostile one costs bounded memory and never a
// panic.
//
// # Limits
//
// A file has at most 96 sections, 256 imported images and 16,384 imported functions. Delayed imports, exports and
// relocations are not read.
//
// # Errors
//
// An error of [Parse] says that the bytes are not an image file; it matches fact.ErrMalformed. A table that cannot be
// read is a problem in the caller's [fact.Report], under [SourceFile], and the rest of the file is known.
package pe
