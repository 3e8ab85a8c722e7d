// SPDX-License-Identifier: Apache-2.0

//go:build !linux && !darwin && !windows && !freebsd && !dragonfly && !netbsd && !openbsd && !solaris && !aix

package lkm

import "runtime"

// running returns the row of the system that this program runs on, of which this library knows nothing.
func running() *row {
	return &row{os: OS(runtime.GOOS), reason: "no backend for this operating system"}
}
