// SPDX-License-Identifier: Apache-2.0

package aix

// The calls that an AIX machine answers.
const (
	// OpGenkex is the output of "/usr/bin/genkex -d". It runs that program, and is unsupported unless the caller
	// allows that.
	OpGenkex = "genkex"
	// OpUname is uname(2): text, one "key value" a line.
	OpUname = "uname"
	// OpClock is the time: text, RFC 3339 in UTC.
	OpClock = "clock"
	// OpIdentity is who is asking: text, "euid N".
	OpIdentity = "identity"
)

// program is what OpGenkex runs.
const program = "/usr/bin/genkex"

// Names of the sources of AIX facts.
const (
	SourceGenkex  = "genkex"  // the list of kernel extensions, genkex -d
	SourceMachine = "machine" // release, identity and clock
)
