// SPDX-License-Identifier: Apache-2.0

// Package capture reads the text that other tools printed of kernel extensions: lsmod, kldstat, kextstat, driverquery
// and their like, of any system on any system.
//
//	snap, err := capture.Read(file, "") // "" detects the kind
//
// [Read] returns a Snapshot like that of a live machine, with what the text says and Problems for what it leaves out.
// It reads the text and nothing else, needs no privilege, and takes at most 8 MiB. The error matches lkm.ErrMalformed
// for a text that is not a list of a known tool, and for an empty text: neither is an empty list.
package capture
