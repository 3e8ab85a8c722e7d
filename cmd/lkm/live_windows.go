// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/windows"
)

// terminalWidth returns how many columns the console behind a handle has, and whether it is one that understands the
// sequences that color text: GetConsoleScreenBufferInfo, and ENABLE_VIRTUAL_TERMINAL_PROCESSING, which is switched on.
func terminalWidth(fd uintptr) (columns int, ok bool) {
	handle := windows.Handle(fd)
	var info windows.ConsoleScreenBufferInfo
	var mode uint32
	if windows.GetConsoleScreenBufferInfo(handle, &info) != nil || windows.GetConsoleMode(handle, &mode) != nil {
		return 0, false
	}
	if windows.SetConsoleMode(handle, mode|windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING) != nil {
		return 0, false
	}
	return int(info.Window.Right - info.Window.Left + 1), true
}

// keepOwner reports that a new file keeps its permissions: they name no group, and it has the access rules of its
// folder.
func keepOwner(*os.File, fs.FileInfo) bool { return true }

// noRoom reports whether a disk is full.
func noRoom(err error) bool { return errors.Is(err, windows.ERROR_DISK_FULL) }

// readerLeft reports that it is not seen whether somebody reads a pipe: only writing to it shows that.
func readerLeft(*os.File) bool { return false }
