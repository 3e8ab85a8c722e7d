// SPDX-License-Identifier: Apache-2.0

//go:build !unix && !windows

package main

import (
	"io/fs"
	"os"
)

// terminalWidth reports that there is no terminal: this system is not known.
func terminalWidth(uintptr) (columns int, ok bool) { return 0, false }

// keepOwner reports that a new file may be of another group: who owns a file is not known here.
func keepOwner(*os.File, fs.FileInfo) bool { return false }

// noRoom reports that a disk is not full: how an error says so is not known here.
func noRoom(error) bool { return false }

// readerLeft reports that it is not seen whether somebody reads a pipe: this system is not known.
func readerLeft(*os.File) bool { return false }
