// SPDX-License-Identifier: Apache-2.0

package freebsd

import "github.com/kernelext/kernelext/fact"

// A File is what FreeBSD or DragonFly says of one linker file in its own words, beside what every
// kernel says. It is the object under "freebsd" in JSON. Absent fields are unknown.
type File struct {
	// ID is the file's id in the running kernel; the kernel itself is 1 (kldnext).
	ID fact.Count `json:"id,omitzero"`
	// Pathname is where it was loaded from, as the kernel says (kldstat), or where it lies on disk.
	Pathname string `json:"pathname,omitzero"`
	// SizeText is a size that a capture gives only rounded, such as "735K" (kldstat -h).
	SizeText string `json:"sizeText,omitzero"`
	// Modules are the modules inside: those that the kernel shows of a loaded file (modstat), or
	// those that the file declares.
	Modules []Module `json:"modules,omitzero"`
	// Preloaded says whether the boot loader loaded it (debug.dump_modinfo).
	Preloaded fact.Tri `json:"preloaded,omitzero"`
	// Versions are the interfaces that the file provides, each with its version (its metadata).
	Versions []Version `json:"versions,omitzero"`
	// Depends are the interfaces that it needs (its metadata), those in itself included.
	Depends []Depend `json:"depends,omitzero"`
	// PNP are the tables of devices that it drives (its metadata).
	PNP []PNPTable `json:"pnp,omitzero"`
	// BuiltFor is the __FreeBSD_version that it was built for, from its dependency on "kernel".
	BuiltFor fact.Count `json:"builtFor,omitzero"`
	// Machine is the processor it is for, as FreeBSD's machine_arch names it (the file's header).
	Machine string `json:"machine,omitzero"`
}

// A Module is one module inside a linker file.
type Module struct {
	// ID is the module's id in the running kernel.
	ID fact.Count `json:"id,omitzero"`
	// Name is the module's name, such as "nexus/aesni": what kldstat -v and kldload -m know it by.
	Name string `json:"name"`
	// Record is the name of its record in the file's metadata, such as "aesni_nexus", which
	// linker.hints lists; empty for a module that only the kernel showed.
	Record string `json:"record,omitzero"`
	// Refs is the module's reference count in the running kernel.
	Refs fact.Count `json:"refs,omitzero"`
	// Data is the module's own value (kldstat -d); nil when it was not asked for.
	Data *ModuleData `json:"data,omitzero"`
}

// A Version is one interface that a file provides.
type Version struct {
	Name    string `json:"name"`
	Version int32  `json:"version"`
}

// A Depend is one interface that a file needs, with the versions that it accepts.
type Depend struct {
	Name      string `json:"name"`
	Min       int32  `json:"min"`
	Preferred int32  `json:"preferred"`
	Max       int32  `json:"max"`
}
