// SPDX-License-Identifier: Apache-2.0

// Package sipolicy reads code integrity policies in the form that Windows loads: SiPolicy.p7b, driversipolicy.p7b and
// *.cip, bare or in a PKCS#7 signature.
//
// # What it answers
//
// [Parse] returns everything that the file says, in the file's own order: options, file rules, signers, and which of
// them each signing scenario refers to. It judges nothing: package windows compares a driver with the rules.
//
// # Limits
//
// Formats 1 to 8 are read whole. Of a newer one everything before its own blocks is read, which is all that a driver is
// judged by, and [Policy.Unread] says how many bytes follow. The compiler drops ids and names of rules. A file is not
// trusted: each count is bounded by the bytes that are left, each index is checked, and a file that is cut off anywhere
// returns an error. A signature around a policy is not checked.
package sipolicy
