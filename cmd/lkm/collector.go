// SPDX-License-Identifier: Apache-2.0

package main

import "runtime/debug"

// Of the collector: a process on a host that has other work must be small.
const (
	gcPercent   = 70 // how much the heap grows between two collections, in percent
	longPercent = 45 // of a long list, with a floor of
	longFloor   = 14 << 20
)

// heapFloor is memory that is never touched, and so never taken. With it, a heap of a few megabytes is collected a third
// as often, and a large one still grows by less than half.
var heapFloor []byte

// collectSeldom is for a long list of small items.
func collectSeldom() {
	debug.SetGCPercent(longPercent)
	heapFloor = make([]byte, longFloor)
}
