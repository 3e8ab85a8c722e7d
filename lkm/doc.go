// SPDX-License-Identifier: Apache-2.0

// Package lkm reports what code has been put into a running kernel: Linux modules, FreeBSD klds, macOS kernel
// extensions, Windows kernel-mode drivers and their like, in one record for all of them. It only reads.
//
//	snap, err := lkm.Take(ctx)
//	if err != nil {
//		return err // there is no list: not supported here, or not allowed
//	}
//	for _, m := range snap.Modules {
//		fmt.Println(m.Name, m.State, m.Size)
//	}
//
// # Unknown is an answer
//
// A list is empty only when the kernel said that it is. A value that could not be read is unknown ([Count], [Tri], a
// nil slice), never zero, and a [Problem] says why; the Sources of a [Snapshot] say what was looked at. [Snapshot.Err]
// is for callers who want all or nothing.
//
// # What is read
//
// The kernel's own list; what a [Detail] asks for beyond it; what the calls of a [System] say. All
// of it comes through a [Machine]: [Open] looks at the running one, [OpenImage] at the files of one
// that does not run, [OpenMachine] at a recording (package tape) or a host far away. [System.Sources]
// lists the sources before they are read.
//
// # Which call
//
// An agent calls [System.Watch]: it goes on through refusals, says that it lives, and costs one small read a second; on
// the far side a [Mirror] adds the events up. Use [System.Changed] and [System.Poll] for the bare list at a pace of
// your own, and [System.Snapshot] for a single query; [Diff] compares two. [System.Check] answers whether code can get
// into the kernel, for a gate. [System.Installed] is what is on disk, [ReadFile] one file by itself. [ReadKeys] reads
// certificates that signatures are verified against. If a call cannot do something on a system, its error matches
// errors.ErrUnsupported; notes on each are at [System].
//
// # What needs privilege
//
// Lists are open to every user on most systems; addresses and some values are not. What was refused
// is a Problem with its remedy, remembered, and tried again with back-off.
//
// # Limits
//
// Names and texts in results were chosen by others: escape them before printing. A kernel that was
// taken over can hide anything from every reader that runs on it.
package lkm
