// SPDX-License-Identifier: Apache-2.0

package main

import (
	"runtime"
	"runtime/debug"
)

// Of the collector: a process on a host that has other work must be small.
const (
	gcPercent   = 70 // how much the heap grows between two collections, in percent
	longPercent = 45 // the same during a long list, with a floor
	longFloor   = 14 << 20
)

// collectSeldom is for a long list of small items, until end is called. The floor is memory that is never touched, and
// so never taken. With it, a heap of a few megabytes is collected a quarter as often, and a large one still grows by
// less than half.
func collectSeldom() (end func()) {
	debug.SetGCPercent(longPercent)
	floor := make([]byte, longFloor)
	return func() {
		runtime.KeepAlive(floor)
		debug.SetGCPercent(gcPercent)
	}
}
