// SPDX-License-Identifier: Apache-2.0

package fact

import (
	"context"
	"io/fs"
	"runtime"
	"strings"
	"time"
)

// A Header is what a machine says of itself as a whole. An empty field is unknown.
type Header struct {
	// Release is the kernel release as the kernel spells it.
	Release string
	// Arch is the machine's architecture as the kernel spells it.
	Arch string
	// BootID identifies the boot, where the kernel has such an id.
	BootID string
	// TakenAt is the machine's time, UTC; zero if it is not known.
	TakenAt time.Time
	// Privilege is who looked, in the words of the kernel's package.
	Privilege string
	// Kernel is what the kernel says of itself.
	Kernel Kernel
}

// A Kernel is what a kernel says of itself that bears on its modules.
type Kernel struct {
	// Taint is Linux's taint mask (/proc/sys/kernel/tainted).
	Taint Count `json:"taint,omitzero"`
	// TaintFlags are its bits, lowest first; empty for an untainted kernel.
	TaintFlags []TaintFlag `json:"taintFlags,omitzero"`
}

// IsZero reports whether nothing is known.
func (k Kernel) IsZero() bool { return k.Taint.IsZero() && k.TaintFlags == nil }

// A TaintFlag is one bit of Linux's taint mask.
type TaintFlag struct {
	// Letter is the kernel's letter for the bit; empty for a bit that this version does not know.
	Letter string `json:"letter,omitzero"`
	// Bit is its number, from 0.
	Bit int `json:"bit"`
	// Meaning says what set it; empty for an unknown bit.
	Meaning string `json:"meaning,omitzero"`
}

// Options say how a kernel's package reads one machine. The zero value reads the kernel's own list of a running
// machine.
type Options struct {
	// OS is the operating system, where a package serves two (freebsd: DragonFly, solaris: illumos).
	OS OS
	// Image is set for a machine that runs no kernel: a mounted disk.
	Image bool
	// Root is where the machine's root is mounted; error texts put it before paths. Empty is "/".
	Root string
	// Kernel is the kernel release whose files are read; empty is the running one, or the only one of an image.
	Kernel string
	// Detail is what is read beyond the kernel's own list.
	Detail Detail
	// Only chooses the modules whose files are read; nil means all. Several goroutines call it.
	Only func(id, name string, state State) bool
	// Keys are the certificates that signatures are verified against.
	Keys []KeySet
	// Trust is where the certificates beside Keys may come from; 0 is everywhere.
	Trust Trust
	// Catalogs are Windows catalog files to look hashes up in, beside those of the machine.
	Catalogs fs.FS
	// CrossCheck is set if the caller answers calls that the system itself does not, such as WMI's.
	CrossCheck bool
	// Exec is set if the machine may start the few programs that some systems need.
	Exec bool
	// Workers is how many files are read at once; 0 means as [Options.WorkersFor] says.
	Workers int
	// MaxFile is the largest file, decompressed, that is read, in bytes; 0 means 512 MiB.
	MaxFile int64
	// Once is set if no later call will ask for the same files: what they say is not kept.
	Once bool
}

// KernelAll is the Options.Kernel that makes a check answer for every kernel release on disk.
const KernelAll = "all"

// defaultMaxFile is the largest file, decompressed, that is read if the caller does not say, in bytes.
const defaultMaxFile = 512 << 20

// Asks reports whether one of the details was asked for.
func (o *Options) Asks(d Detail) bool { return o.Detail&d != 0 }

// FileCap returns the largest file that is read, in bytes.
func (o *Options) FileCap() int64 {
	if o.MaxFile > 0 {
		return o.MaxFile
	}
	return defaultMaxFile
}

// WorkersFor returns how many files of a list of scope are read at once: 1 for what is loaded in the running kernel if
// the caller does not say, and else GOMAXPROCS, at most 8.
func (o *Options) WorkersFor(scope Scope) int {
	switch {
	case o.Workers > 0:
		return o.Workers
	case scope == ScopeLoaded && !o.Image:
		return 1
	}
	return min(runtime.GOMAXPROCS(0), 8)
}

// Reads reports whether the module's file is to be read, where files are.
func (o *Options) Reads(id, name string, state State) bool {
	return o.Only == nil || o.Only(id, name, state)
}

// PathAt returns the machine's path name as a user of the machine would write it, with the machine's root before it.
func PathAt(root, name string) string {
	root = strings.TrimSuffix(root, "/")
	switch {
	case strings.Contains(name, ":"): // C:/Windows, or a call
		return name
	case name == ".":
		return root + "/"
	}
	return root + "/" + name
}

// ErrorAt returns err, an error about the machine's path name, with the path as PathAt writes it.
func ErrorAt(root, name string, err error) error {
	switch e := err.(type) {
	case *fs.PathError:
		if e.Path == name {
			return &fs.PathError{Op: e.Op, Path: PathAt(root, name), Err: e.Err}
		}
	case *ParseError:
		if e.Source == name {
			c := *e
			c.Source = PathAt(root, name)
			return &c
		}
	}
	return err
}

// A Call answers Machine.Call.
type Call func(ctx context.Context, op string, args ...string) ([]byte, error)

// IsRedacted reports whether something was taken out of the machine's answer for key; see Redactor.
func IsRedacted(m Machine, key string) bool {
	r, ok := m.(Redactor)
	return ok && r.Redacted(key)
}

// A Capture is what the text that a tool printed says of modules, in records of the kernel's package.
type Capture[Own any] struct {
	// Records are the modules, in the text's order.
	Records []Record[Own]
	// Header is what the text says of the machine.
	Header Header
	// Policy is what the text says that the machine enforces; nil for a text of modules.
	Policy *Policy
	// Rows is how many rows of the tool's form the text has.
	Rows int
	// Stray is how many lines are not of that form.
	Stray int
	// Sure is set if something beside the rows says that the text is of that form, such as a header.
	Sure bool
}

// A Hint is one event of a kernel about its modules.
type Hint struct {
	// ID is that of a module that came or went; empty for an event about anything else.
	ID string
	// Name is the module's name; empty for an event about anything else.
	Name string
	// Came is set for a module that came.
	Came bool
	// Seq is the kernel's counter with this event; 0 if it has none.
	Seq uint64
}

// Hints are a kernel's events about its modules, as they come.
type Hints interface {
	// Next waits for an event until the deadline, and then returns os.ErrDeadlineExceeded. It returns
	// ErrHintsLost if the kernel dropped events.
	Next(deadline time.Time) (Hint, error)
	// Wake ends a Next that waits.
	Wake()
	// Close ends the hints.
	Close() error
}
