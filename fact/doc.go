// SPDX-License-Identifier: Apache-2.0

// Package fact holds what every part of kernelext shares:
//
//   - values that may be unknown ([Count], [Tri], [Address]), and why one is ([Code], [Problem], [ParseError] and the
//     sentinel errors)
//   - what every kernel's package takes: a [Machine] that answers for an operating system, [Options], and a [Report],
//     which carries what a call could not do
//   - what it returns: a [Record] for each extension, a [Header], and the findings that mean the same on every kernel
//     ([Signature], [Origin], [Policy], [Verdict], [Discrepancy])
//   - an [Answer], which is what each step of a judgment returns
//
// It reads nothing and needs no privilege. Users import package lkm, which has an alias for each type that its results
// and its parameters are made of; the kernel packages (linux, freebsd, …) import fact and never lkm.
//
// # JSON
//
// Every type of a result has a fixed JSON form: camelCase keys, snake_case words from closed tables, and
// an absent key where a value is unknown. A word that this version does not know survives a
// round trip; a field that it does not know is dropped.
package fact
