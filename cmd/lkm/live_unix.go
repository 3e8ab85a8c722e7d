// SPDX-License-Identifier: Apache-2.0

//go:build unix

package main

import "golang.org/x/sys/unix"

// terminalWidth returns how many columns the terminal behind a file descriptor has, and whether it is a terminal
// (TIOCGWINSZ). A terminal that does not know its width has 0.
func terminalWidth(fd uintptr) (columns int, ok bool) {
	size, err := unix.IoctlGetWinsize(int(fd), unix.TIOCGWINSZ)
	if err != nil {
		return 0, false
	}
	return int(size.Col), true
}
