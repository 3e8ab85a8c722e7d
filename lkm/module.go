// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"github.com/kernelext/kernelext/darwin"
	"github.com/kernelext/kernelext/freebsd"
	"github.com/kernelext/kernelext/linux"
	"github.com/kernelext/kernelext/netbsd"
	"github.com/kernelext/kernelext/solaris"
	"github.com/kernelext/kernelext/windows"
)

// A Module is one kernel extension: a Linux module, a FreeBSD kld file, a macOS kext, the image of
// a Windows kernel-mode driver. The fields here mean the same on every system; what only one
// kernel says is in the one pointer that is not nil, in that kernel's own words. An empty field is
// unknown unless its comment says otherwise; nothing is ever 0 or "" because it could not be read.
//
// Slices and pointers are shared with other results and must not be changed; see Clone.
type Module struct {
	// ID is Kind, a colon and the canonical name: "linux_module:nvme". It is unique in a Snapshot
	// and the same across boots and versions. A second file of the same name gets "#" and its Path, a second module
	// without a Path "#2".
	ID string `json:"id"`
	// Kind says what it is.
	Kind Kind `json:"kind"`
	// Name is the kernel's own name for it, with bytes that are not UTF-8 written \xNN. It may hold
	// control characters: escape it before showing it on a terminal.
	Name string `json:"name"`
	// State says where it is in its life.
	State State `json:"state,omitzero"`
	// Version is the extension's own version, as its maker wrote it; most Linux modules have none.
	Version string `json:"version,omitzero"`
	// Description is what its maker says it does; only with DetailFiles.
	Description string `json:"description,omitzero"`
	// License is the license that the extension's own file declares, in its words; several with ", " between them.
	// Linux modules have one (MODULE_LICENSE); only with DetailFiles. Empty is unknown, or none declared.
	License string `json:"license,omitzero"`
	// Path is the file it was, or would be, loaded from, as an absolute path on its machine. Linux
	// does not keep it: it is the file that would be loaded now, only with DetailFiles.
	Path string `json:"path,omitzero"`
	// Size is its memory in the kernel in bytes when it is loaded, else the file's size in bytes.
	Size Count `json:"size,omitzero"`
	// Address is where its code starts; only with DetailAddresses, and only when the kernel shows
	// it to the caller.
	Address Address `json:"address,omitzero"`
	// Refs is how many users the kernel counts; unknown where the kernel does not count. Linux
	// says -1 while a module is being unloaded.
	Refs Count `json:"refs,omitzero"`
	// Requires are the names of the modules that this one needs, sorted: of a loaded one, those
	// the running kernel knows of; of one on disk, those that the system's index or its file names.
	// Linux's index has also what those need in turn; linux.depends are the direct ones. Empty means
	// none.
	Requires []string `json:"requires,omitzero"`
	// UsedBy are the names of the modules that need this one, in the same sense, in the kernel's
	// order. Empty means none.
	UsedBy []string `json:"usedBy,omitzero"`
	// ContentID identifies the code: the build-id on Linux, in lower-case hexadecimal.
	ContentID string `json:"contentId,omitzero"`
	// Hashes are digests of the file at Path as it is stored; only with DetailHashes.
	Hashes Hashes `json:"hashes,omitzero"`
	// Package is the package that the file at Path belongs to; only with DetailFiles. nil is unknown, and one without a
	// name says that no package has the file.
	Package *Package `json:"package,omitzero"`
	// OnDisk says whether the loaded code is that of the file which would be loaded now.
	OnDisk OnDisk `json:"onDisk,omitzero"`
	// Signature is what is known of who signed it.
	Signature Signature `json:"signature,omitzero"`
	// Origin says whose code it is, with the evidence.
	Origin Origin `json:"origin,omitzero"`
	// Problems are about this module alone: facts that could not be read, and why.
	Problems []Problem `json:"problems,omitzero"`

	// Linux is what only Linux says.
	Linux *linux.Module `json:"linux,omitzero"`
	// Darwin is what only macOS says.
	Darwin *darwin.Kext `json:"darwin,omitzero"`
	// Windows is what only Windows says.
	Windows *windows.Driver `json:"windows,omitzero"`
	// FreeBSD is what only FreeBSD and DragonFly say.
	FreeBSD *freebsd.File `json:"freebsd,omitzero"`
	// NetBSD is what only NetBSD says.
	NetBSD *netbsd.Module `json:"netbsd,omitzero"`
	// Solaris is what only illumos and Solaris say.
	Solaris *solaris.Module `json:"solaris,omitzero"`
	// Other is for systems without an object of their own.
	Other *Other `json:"other,omitzero"`
}

// Clone returns a copy that shares nothing that this package's callers may edit: slices and the
// kernel's own object are new, the strings and their nested slices stay shared.
func (m *Module) Clone() Module {
	c := *m
	c.Requires = clone(m.Requires)
	c.UsedBy = clone(m.UsedBy)
	c.Problems = clone(m.Problems)
	c.Origin.Evidence = clone(m.Origin.Evidence)
	c.Package = clonePointer(m.Package)
	c.Linux = clonePointer(m.Linux)
	c.Darwin = clonePointer(m.Darwin)
	c.Windows = clonePointer(m.Windows)
	c.FreeBSD = clonePointer(m.FreeBSD)
	c.NetBSD = clonePointer(m.NetBSD)
	c.Solaris = clonePointer(m.Solaris)
	c.Other = clonePointer(m.Other)
	return c
}

// clone keeps nil apart from empty: nil is unknown.
func clone[T any](s []T) []T {
	if s == nil {
		return nil
	}
	return append(make([]T, 0, len(s)), s...)
}

func clonePointer[T any](p *T) *T {
	if p == nil {
		return nil
	}
	c := *p
	return &c
}
