// SPDX-License-Identifier: Apache-2.0

//go:build unix

package main

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// terminalWidth returns how many columns the terminal behind a file descriptor has, and whether it is a terminal
// (TIOCGWINSZ). A terminal that does not know its width has 0.
func terminalWidth(fd uintptr) (columns int, ok bool) {
	size, err := unix.IoctlGetWinsize(int(fd), unix.TIOCGWINSZ)
	if err != nil {
		return 0, false
	}
	return int(size.Col), true
}

// keepOwner gives a new file the owner and the group of the one that it replaces, and reports whether it has the group.
// Only root may give any owner.
func keepOwner(f *os.File, old fs.FileInfo) bool {
	stat, ok := old.Sys().(*syscall.Stat_t)
	return ok && (f.Chown(int(stat.Uid), int(stat.Gid)) == nil || f.Chown(-1, int(stat.Gid)) == nil)
}

// noRoom reports whether a disk is full, or all that a user may have of it is used.
func noRoom(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }
