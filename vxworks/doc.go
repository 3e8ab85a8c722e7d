// SPDX-License-Identifier: Apache-2.0

// Package vxworks reads what the shell of VxWorks says of downloadable kernel modules: the text of moduleShow, of the
// target's shell and of the host's ([ReadModuleShow]). There is no live look: the kernel has no user processes on most
// systems, and no Go program runs there.
//
// # Limits
//
// Everything here is experimental: it follows documentation, and no recording of a real session was at hand. Columns
// are found by the words of the header, so that other releases' orders do no harm.
package vxworks
