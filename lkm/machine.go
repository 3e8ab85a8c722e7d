// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"io/fs"
)

// A Machine answers with what an operating system said. All that this library knows comes through
// it, so a live system, a mounted image, a recorded tape and a remote host are the same thing.
// Implementations must be safe for concurrent use.
//
// The file system is rooted at the machine's root and takes slash paths as package fs has them:
// "proc/modules", not "/proc/modules". On Windows it is rooted at the drives: "C:/Windows/…".
// Absolute symbolic links lead to the machine's own root, never out of it.
//
// Errors must satisfy errors.Is with fs.ErrNotExist, fs.ErrPermission, and the other sentinels of
// this package where they apply: an answer that was not recorded is ErrUnrecorded and must never
// look like a file that does not exist.
type Machine interface {
	fs.ReadLinkFS
	fs.ReadDirFS

	// Call answers what is no file: a system call's bytes, in the form that the constant for op
	// in the kernel's package documents (linux.OpUname, …). An op that the machine does not know
	// is errors.ErrUnsupported.
	Call(ctx context.Context, op string, args ...string) ([]byte, error)
}

// A Redactor is a Machine whose answers may have been altered before they were recorded, to take
// out what is private. Tapes are; a live machine is not. A reader that finds a hidden value, such
// as an address of zeros, asks it whether to blame the kernel (ErrRestricted) or the recorder
// (ErrRedacted).
type Redactor interface {
	Machine

	// Redacted reports whether something was taken out of the answer for key: a file's slash path,
	// or a call's op and arguments with spaces between them. A whole answer that was taken out is
	// the error ErrRedacted as well.
	Redacted(key string) bool
}
