// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"io/fs"
	"log/slog"
	"strings"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/hostfs"
)

// Options say how much to read of a machine, and how. The zero value reads the kernel's own list.
type Options struct {
	// OS is the operating system of an image; if it is empty, several marks decide it. Open refuses another than the
	// running one.
	OS OS
	// HostRoot is the directory where the running machine's root is mounted, such as "/host" in a container; empty
	// is "/". An image has none: see OpenImage.
	HostRoot string
	// Kernel is the kernel release whose files to look at; empty is the running one, or the only
	// one on an image.
	Kernel string
	// Detail is what to read beyond the kernel's own list.
	Detail Detail
	// Only chooses the modules whose files Detail reads; nil is all of them. It is asked with ID, Kind,
	// Name and State known, by several goroutines. Linux asks it, where all may be thousands; other
	// systems read all.
	Only func(*Module) bool
	// Keys are the certificates that signatures are verified against, beside those of Trust. See [ReadKeys].
	Keys []KeySet
	// Trust is where the certificates beside Keys may come from; 0 is everywhere: the kernel's image, the firmware's
	// and shim's variables for modules of Linux, Microsoft's roots and the machine's own stores for drivers of Windows,
	// Apple's roots for kexts.
	Trust Trust
	// Host is the machine's name for the caller: it becomes "host" in snapshots and events. This library never reads
	// it from the machine, nor from a tape: give it the Host of the tape's header.
	Host string
	// Catalogs are Windows catalog files to look up hashes in, beside those of the machine.
	Catalogs fs.FS
	// Call is asked for the operations that the live machine does not answer itself, such as
	// WMI's of package windows/wmi. May be nil.
	Call func(ctx context.Context, op string, args ...string) ([]byte, error)
	// Exec allows the few programs that some systems need (never on Linux or Windows).
	Exec bool
	// Workers is how many files are read at once. 0 means 1 for what is loaded in the running kernel, and else
	// GOMAXPROCS, at most 8.
	Workers int
	// Once is set for a System that is asked once: it does not keep what module files said for the next call, which
	// takes memory on Linux. The answers are the same.
	Once bool
	// Deadline bounds one call that reads many files; if something is not read by then, its source is partial with code
	// budget, and Installed yields an error that matches ErrBudget. With 0 only the context bounds the call.
	Deadline time.Duration
	// MaxFile is the largest file, decompressed, that is read, in bytes; 0 means 512 MiB.
	MaxFile int64
	// Logger receives, at debug level, what is read, and what could not be read if a result has no place for it; nil is
	// silent.
	Logger *slog.Logger
}

// facts returns the options for the package of the machine's kernel.
func (o *Options) facts(os OS, of machineOf) fact.Options {
	f := fact.Options{
		OS: os, Image: of.image, Root: of.root, Kernel: o.Kernel, Detail: o.Detail, Keys: o.Keys, Trust: o.Trust,
		Catalogs:   hostfs.Regular(o.Catalogs),
		CrossCheck: o.Call != nil, Exec: o.Exec, Workers: o.Workers, MaxFile: o.MaxFile, Once: o.Once,
	}
	if o.Only != nil {
		f.Only = func(id, name string, state State) bool {
			kind, _, _ := strings.Cut(id, ":")
			return o.Only(&Module{ID: id, Kind: Kind(kind), Name: name, State: state})
		}
	}
	return f
}
