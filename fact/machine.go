// SPDX-License-Identifier: Apache-2.0

package fact

import (
	"context"
	"io/fs"
	"time"
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

// An EventSource gives the messages of a running kernel as they come.
type EventSource interface {
	// Receive waits for the next message and returns its bytes, valid until the next call. It returns
	// os.ErrDeadlineExceeded if there was none by the deadline or Wake was called, ErrHintsLost if the
	// kernel dropped some, and any other error if there will be no more.
	Receive(deadline time.Time) ([]byte, error)
	// Wake makes a Receive that waits, and every later one, return at once.
	Wake()
	// Close releases the source.
	Close() error
}

// A Listener is a Machine that gives its kernel's events. It is the one exception to the rule that all comes through
// the methods of Machine.
type Listener interface {
	Machine

	// Events opens the kernel's stream of events. buffer is how many bytes of them the kernel keeps; 0 means a
	// MiB.
	Events(buffer int) (EventSource, error)
}
