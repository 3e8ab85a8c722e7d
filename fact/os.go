// SPDX-License-Identifier: Apache-2.0

package fact

// An OS is an operating system whose kernel extensions this library knows, or knows that it does
// not know. The words are those of GOOS where Go has one.
type OS string

// The operating systems.
const (
	Linux     OS = "linux"
	FreeBSD   OS = "freebsd"
	DragonFly OS = "dragonfly"
	NetBSD    OS = "netbsd"
	OpenBSD   OS = "openbsd"
	Illumos   OS = "illumos"
	Solaris   OS = "solaris"
	AIX       OS = "aix"
	Darwin    OS = "darwin"
	Windows   OS = "windows"
	VxWorks   OS = "vxworks"
	NetWare   OS = "netware"
)
