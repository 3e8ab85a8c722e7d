// SPDX-License-Identifier: Apache-2.0

//go:build unix

package main

import (
	"errors"
	"io/fs"
	"os"
	"runtime"
	"syscall"
	"time"

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

// readerLeft waits until nobody reads a pipe any more. It returns false at once for anything else, and for a pipe that
// has a name, by which another reader may open it.
func readerLeft(f *os.File) bool {
	if !nameless(f) {
		return false
	}
	end := []unix.PollFd{{Fd: int32(f.Fd())}}
	for {
		var err error
		if runtime.GOOS == "linux" {
			_, err = unix.Poll(end, -1) // the end of a pipe wakes who waits for nothing else
		} else {
			time.Sleep(time.Second)
			end[0].Events = unix.POLLOUT
			_, err = unix.Poll(end, 0)
		}
		switch {
		case end[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0:
			return true
		case err != nil && !errors.Is(err, unix.EINTR), end[0].Revents&unix.POLLNVAL != 0:
			return false
		}
	}
}

// nameless reports whether a file is a pipe without a name: it is on the same device as a new one.
func nameless(f *os.File) bool {
	r, w, err := os.Pipe()
	if err != nil {
		return false
	}
	defer r.Close()
	defer w.Close()
	var pipe, file unix.Stat_t
	return unix.Fstat(int(w.Fd()), &pipe) == nil && unix.Fstat(int(f.Fd()), &file) == nil &&
		file.Mode&unix.S_IFMT == unix.S_IFIFO && file.Dev == pipe.Dev
}
