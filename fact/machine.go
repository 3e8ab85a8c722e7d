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
// this package where they apply: the error for an answer that was not recorded matches ErrUnrecorded and must never
// look like a file that does not exist.
//
// A Machine may have more abilities. Each is an interface that the library asks for, and none is needed:
//
//   - [Accelerated]: files are read in fewer steps; without it, by Open, Read and Close
//   - fs.StatFS: what is at the end of a link; without it, by Open and Stat
//   - [Redactor]: something was taken out of answers; without it, nothing was
//   - [Listener]: the kernel's events; without it, a Watch looks at intervals
//   - io.Closer: System.Close closes the Machine
//
// A type that embeds a Machine and overrides some of its methods has the abilities of the embedded one, too. None of
// them gives the content of a file that the overriding Open refuses. One that refuses a path altogether overrides Open,
// ReadDir, Stat, Lstat and ReadLink; lkmtest.Faults is such a Machine.
type Machine interface {
	fs.ReadLinkFS
	fs.ReadDirFS

	// Call answers what is not a file: a system call's bytes, in the form that the constant for op
	// in the kernel's package documents (linux.OpUname, …). The error matches errors.ErrUnsupported if the machine does
	// not know op.
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

// A FileReader reads files whole in fewer steps than Open, Read and Close, and without waiting for a file that is not
// ready.
type FileReader interface {
	// AppendFile appends the file's content to dst, reading until a read returns nothing. For a file of more than max
	// bytes, it appends the first max bytes and returns an error that matches ErrTooLarge. An error of opening the file
	// is that of Open; of a later error the fs.PathError's Op is "read".
	AppendFile(dst []byte, name string, max int64) ([]byte, error)
	// AppendAttr is AppendFile with a single read, which is how a sysfs attribute must be read: a second read may run
	// its driver's code again.
	AppendAttr(dst []byte, name string, max int64) ([]byte, error)
}

// An Accelerated file system, or Machine, has a FileReader. A host over ssh, for one, answers a whole file in one round
// trip.
type Accelerated interface {
	fs.FS

	// FileReader returns what reads the files of self, or nil if self is not this very file system: a type that embeds
	// this one and overrides Open is read through its Open.
	//
	//	func (m *Machine) FileReader(self fs.FS) fact.FileReader {
	//		if self != fs.FS(m) {
	//			return nil
	//		}
	//		return reader{m}
	//	}
	FileReader(self fs.FS) FileReader
}

// An EventSource gives the messages of a running kernel as they come.
type EventSource interface {
	// Receive waits for the next message and returns its bytes, valid until the next call. It returns
	// os.ErrDeadlineExceeded if no message came by the deadline or Wake was called, ErrHintsLost if the kernel dropped
	// some, and any other error if there will be no more.
	Receive(deadline time.Time) ([]byte, error)
	// Wake makes a Receive that waits, and every later one, return at once.
	Wake()
	// Close releases the source.
	Close() error
}

// A Listener is a Machine that gives its kernel's events. It is the one exception to the rule that all comes through
// the methods of Machine. An event only says where to look: what is said of a module comes from those methods.
type Listener interface {
	Machine

	// Events opens the kernel's stream of events. buffer is how many bytes of them the kernel keeps; 0 means a
	// MiB.
	Events(buffer int) (EventSource, error)
}
