// SPDX-License-Identifier: Apache-2.0

// Package registry reads keys of the Windows registry from hive files and from the text of .reg files.
//
// # What it answers
//
//   - The keys of a hive file and their values ([OpenHive], [Hive.Key], [HiveKey.Each], [HiveKey.Read]), with the
//     changes that are still in its log files ([Replay]).
//   - The keys in the text of a .reg file ([ParseText]), and keys as such a text, which keeps every value unchanged
//     ([AppendText]).
//   - A value as text, number or list ([Key.Text], [Key.Dword], [Key.Multi]).
//
// It knows nothing of services, devices or control sets: package windows does.
//
// # What it reads
//
// Bytes in memory: a hive such as Windows\System32\config\SYSTEM, or text in UTF-8 or UTF-16. It runs on every system.
// Hives are not trusted: [Hive.Budgeted] bounds what one call may take from a hive whose keys lead to each other, and
// nothing is a panic.
//
// # Limits
//
// [OpenHive] does not see the changes that are still in a hive's log files ([Hive.Dirty]). Transactions, which Windows
// keeps in files of their own (.regtrans-ms), are not read, nor are security descriptors, class names and time stamps
// of keys. A value has at most [MaxValue] bytes and a text at most [MaxKeys] keys.
//
// # Errors
//
// A part of a hive that cannot be read is left out and makes the error of the call that needs it, which matches
// fact.ErrMalformed; fact.ErrTooLarge ends a walk. A key that does not exist is nil without an error. A key with a
// value that could not be read is [Key.Partial]. A line of a text that cannot be read is a problem in the caller's
// [fact.Report], under the source that the caller names.
package registry
