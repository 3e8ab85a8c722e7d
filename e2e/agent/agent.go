// SPDX-License-Identifier: Apache-2.0

// Package agent holds the words that a test on the host and our program in a guest exchange.
//
// The guest serves net/rpc over a serial line. Every message is plain data, so both ends need
// nothing but the standard library, and calls may overlap: a test can let one command run and load
// modules meanwhile.
package agent

import (
	"io/fs"
	"syscall"
	"time"
)

// Service is the name the guest's methods are registered under.
const Service = "Guest"

// Hello is what the guest writes once its line is ready; the host ignores everything before it.
const Hello = "\x00kernelext guest ready\n"

// MaxChunk is the most bytes one message carries: less than what the kernel keeps for a slow reader of a terminal.
const MaxChunk = 24 << 10

// Capabilities that tests name, by their numbers in linux/capability.h.
const (
	CapDACReadSearch = 2
	CapSysModule     = 16
	CapSysAdmin      = 21
	CapSyslog        = 34
)

// A Command is one program to run in the guest.
type Command struct {
	Argv  []string
	Env   []string // nil: PATH, HOME and LANG=C only
	Dir   string   // "": /
	Stdin []byte

	// UID and GID are the user to become. A UID other than 0 loses every capability but those of Ambient.
	UID, GID uint32
	// Ambient lists capabilities that the command keeps although it is not root.
	Ambient []uintptr
	// Drop lists capabilities that even root does not get.
	Drop []uintptr
	// Mounts are made, in order, in a mount namespace that only this command sees.
	Mounts []Mount
	// Chroot is the command's root directory, "" for the guest's own.
	Chroot string

	// Timeout ends the command and all it started. 0: one minute.
	Timeout time.Duration
}

// A Mount is one call of mount(2). The target is made if it does not exist.
type Mount struct {
	Source, Target, Type, Data string
	Flags                      uintptr
}

// A Result is how a command ended.
type Result struct {
	Stdout, Stderr []byte
	Code           int  // the exit code, or 128 plus the signal that ended it
	TimedOut       bool // Timeout ended it
	Elapsed        time.Duration
}

// An Outcome is how an operation on a path ended.
type Outcome struct {
	Errno syscall.Errno // the kernel's error number, 0 for none
}

// A Directory is what a directory holds.
type Directory struct {
	Outcome
	Entries []Entry
}

// An Entry is one name in a directory.
type Entry struct {
	Name string
	Mode fs.FileMode
}

// ReadArgs asks for the bytes of a file that stays open between the parts of one reading.
type ReadArgs struct {
	Path   string
	Handle int // 0 opens Path; an answer with More is continued with the handle it gave
}

// ReadReply is one part of a file.
type ReadReply struct {
	Outcome
	Data   []byte
	More   bool // the file goes on after MaxChunk bytes: ask again with Handle
	Handle int
}

// WriteArgs writes Data to Path with a single write(2), as sysctls need it.
type WriteArgs struct {
	Path   string
	Data   []byte
	Create bool // make the file, or empty it
	Append bool
	Perm   uint32
}

// OutputArgs asks for what a started command wrote since an offset, waiting up to Wait for something new.
type OutputArgs struct {
	ID             int
	Stdout, Stderr int // offsets
	Wait           time.Duration
}

// OutputReply is the next part of a started command's output. Done is set once it ended and everything was handed out.
type OutputReply struct {
	Stdout, Stderr []byte
	Done           bool
	Result         Result // valid when Done, without its output
}

// SignalArgs sends a signal to a started command and to all it started.
type SignalArgs struct {
	ID     int
	Signal syscall.Signal
}
