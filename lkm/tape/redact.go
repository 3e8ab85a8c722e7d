// SPDX-License-Identifier: Apache-2.0

package tape

import (
	"slices"

	"github.com/kernelext/kernelext/aix"
	"github.com/kernelext/kernelext/darwin"
	"github.com/kernelext/kernelext/freebsd"
	"github.com/kernelext/kernelext/linux"
	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/netbsd"
	"github.com/kernelext/kernelext/solaris"
	"github.com/kernelext/kernelext/windows"
)

// A redaction is what the kernel package of one operating system takes out of recordings.
type redaction struct {
	// os are the systems whose recordings it is for.
	os []lkm.OS
	// kinds names what is taken out, for the header.
	kinds func() []string
	// redact returns what may be kept of an answer: the same bytes when nothing has to go, nil
	// when nothing may stay. key is a file's slash path, or a call's op and arguments with spaces
	// between them; data is a whole answer or, of a long file, some whole lines of it.
	redact func(key string, data []byte) []byte
	// redacts reports whether redact can alter answers for key.
	redacts func(key string) bool
}

// redactions returns one row for each kernel's package. A system without a row has nothing to take out, and its tapes
// say so by naming no redactions.
func redactions() []redaction {
	return []redaction{
		{[]lkm.OS{lkm.Linux}, linux.Redactions, linux.Redact, linux.Redacts},
		{[]lkm.OS{lkm.Darwin}, darwin.Redactions, darwin.Redact, darwin.Redacts},
		{[]lkm.OS{lkm.Windows}, windows.Redactions, windows.Redact, windows.Redacts},
		{[]lkm.OS{lkm.FreeBSD}, freebsd.Redactions, freebsd.Redact, freebsd.Redacts},
		{[]lkm.OS{lkm.DragonFly}, freebsd.Redactions, freebsd.RedactDragonFly, freebsd.Redacts},
		{[]lkm.OS{lkm.NetBSD}, netbsd.Redactions, netbsd.Redact, netbsd.Redacts},
		{[]lkm.OS{lkm.Illumos, lkm.Solaris}, solaris.Redactions, solaris.Redact, solaris.Redacts},
		{[]lkm.OS{lkm.AIX}, aix.Redactions, aix.Redact, aix.Redacts},
	}
}

// redactionOf returns what is taken out of the system's recordings.
func redactionOf(os lkm.OS) redaction {
	for _, r := range redactions() {
		if slices.Contains(r.os, os) {
			return r
		}
	}
	return noRedaction
}

var noRedaction = redaction{
	kinds:   func() []string { return nil },
	redact:  func(_ string, data []byte) []byte { return data },
	redacts: func(string) bool { return false },
}
