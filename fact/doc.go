// SPDX-License-Identifier: Apache-2.0

// Package fact holds the small words that every part of kernelext shares: values that may be
// unknown ([Count], [Tri], [Address]), the closed table of reasons why something is unknown
// ([Code], [Problem], [ParseError] and the sentinel errors), and the findings that mean the same
// on every kernel ([Signature], [Origin], [Policy], [Verdict], [Discrepancy]).
//
// It reads nothing and needs no privilege. Users import package lkm, which has an alias for every
// exported name here; the kernel packages (linux, freebsd, …) import fact and never lkm.
//
// # JSON
//
// Every type here has a fixed JSON form: camelCase keys, snake_case words from closed tables, and
// an absent key where a value is unknown. A word that this version does not know survives a
// round trip; a field that it does not know is dropped.
package fact
