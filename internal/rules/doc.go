// SPDX-License-Identifier: Apache-2.0

// Package rules has no code. Its tests hold the source tree to the rules that keep it portable,
// quiet and easy to read: which files may be built for one system alone, which package may import
// which, what nothing here may do, and what a program that is built from it contains.
package rules
