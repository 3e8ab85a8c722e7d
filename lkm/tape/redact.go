// SPDX-License-Identifier: Apache-2.0

package tape

import (
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
	// kinds names what is taken out, for the header.
	kinds []string
	// redact returns what may be kept of an answer: the same bytes when nothing has to go, nil
	// when nothing may stay. key is a file's slash path, or a call's op and arguments with spaces
	// between them; data is a whole answer or, of a long file, some whole lines of it.
	redact func(key string, data []byte) []byte
	// redacts reports whether redact can alter answers for key.
	redacts func(key string) bool
}

// redactionOf returns what is taken out of the system's recordings. An operating system that is
// not listed has nothing to take out, and its tapes say so by having no redactions.
func redactionOf(os lkm.OS) redaction {
	switch os {
	case lkm.Darwin:
		return redaction{darwin.Redactions(), darwin.Redact, darwin.Redacts}
	case lkm.Linux:
		return redaction{linux.Redactions(), linux.Redact, linux.Redacts}
	case lkm.Windows:
		return redaction{windows.Redactions(), windows.Redact, windows.Redacts}
	case lkm.FreeBSD:
		return redaction{freebsd.Redactions(), freebsd.Redact, freebsd.Redacts}
	case lkm.DragonFly:
		return redaction{freebsd.Redactions(), freebsd.RedactDragonFly, freebsd.Redacts}
	case lkm.NetBSD:
		return redaction{addresses, netbsd.Redact, netbsd.Redacts}
	case lkm.Illumos, lkm.Solaris:
		return redaction{addresses, solaris.Redact, solaris.Redacts}
	case lkm.AIX:
		return redaction{addresses, aix.Redact, aix.Redacts}
	}
	return noRedaction
}

// addresses is what goes where nothing but load addresses does.
var addresses = []string{"addresses"}

var noRedaction = redaction{
	redact:  func(_ string, data []byte) []byte { return data },
	redacts: func(string) bool { return false },
}
