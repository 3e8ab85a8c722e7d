// SPDX-License-Identifier: Apache-2.0

// Package audit compares machines with rules: which kernel extensions may, must and must not be there, and what the
// system has to enforce. A program reads rules ([Read]) or takes a benchmark's ([Set]), gives them machines, and gets
// a [Report] of rows:
//
//	rules, err := audit.Set("cis-debian-12")
//	targets := []audit.Target{{Name: "web1", System: sys, Files: root}}
//	report, err := audit.Run(ctx, targets, []*audit.Rules{rules}, audit.Options{})
//	if report.Worst() != audit.Pass { … }
//
// # Two answers
//
// A rule of a benchmark gets two answers. Row.Text is what the benchmark's own check says: it looks for install and
// blacklist lines. Row.Status follows from what can really load, the answer of lkm.System.Check. They differ: code may
// be built in, be absent, be in an initramfs, or be stopped by a line that the check does not know.
//
// # Unknown
//
// The audit fails closed. A row whose answer needs something that was not read is [Unknown] with the reason, and is
// never a pass. An exception that has expired excuses nothing.
package audit
