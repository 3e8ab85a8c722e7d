// SPDX-License-Identifier: Apache-2.0

package lkm

// A List is the kernel's own list and nothing else, for callers who look often. Poll fills it and
// uses its memory again: what was read from it before is valid only until the next Poll.
type List struct {
	// Modules are sorted by ID.
	Modules []Module
	// Sources are those that Poll reads.
	Sources []Source
	// Problems are about the list as a whole.
	Problems []Problem

	scratch any // what the backend keeps from one Poll to the next
}

// A Token remembers what Changed saw last. Its zero value has seen nothing.
type Token struct {
	value uint64
	seen  bool
}
