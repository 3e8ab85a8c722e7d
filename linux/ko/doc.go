// SPDX-License-Identifier: Apache-2.0

// Package ko reads a Linux module's file: what modinfo(8) prints, and the signature that the kernel checks.
//
// # What it answers
//
//   - A module's name, its .modinfo entries and its build-id ([Reader.ReadFile], [ParseModinfo]).
//   - Its signature, and whether that leads to a key of the caller ([Options.Signature], [NewKeys], [Keys]).
//   - The symbols that it needs and offers ([Options.Symbols]), and the file's digest ([Options.Hash]).
//   - Whether a file can be a whole module, at a tenth of the cost ([Reader.Glance]).
//   - The module name that kmod derives from a file's name ([NameOfFile]).
//
// # What it reads
//
// A file of an fs.FS, or bytes in memory ([Reader.Decode]): ELF objects of either width and byte order, plain
// or in gzip, xz or zstd. It needs no privilege beyond reading the file, runs on every system and starts no
// process. Files are not trusted: a hostile one costs bounded memory and never a panic.
//
// # Limits
//
// A file has at most [Options.MaxFile] bytes, stored and decompressed. Metadata of a compressed file are taken
// from its beginning when they are found there beyond doubt; [Reader] says what a file made to deceive can do.
// A gzip file does not show that it was cut off.
//
// # Errors
//
// An error is about the file as a whole: fs.ErrNotExist and its like, fact.ErrMalformed for what is not a module,
// fact.ErrTooLarge. One field that cannot be read is a problem in the caller's *[fact.Report], under
// [SourceFile], and the rest of the file is known; [Keys.Report] reports which certificates cannot be used. A signature
// that cannot be verified is unchecked, never valid and never invalid; one that is revoked is invalid.
package ko
