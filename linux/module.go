// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"slices"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/linux/ko"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// A Module is what Linux says of one module in its own words, beside what every kernel says. It is
// the object under "linux" in JSON. Absent fields are unknown unless they say otherwise.
type Module struct {
	// State is the kernel's word for a loaded module: Live, Loading or Unloading (/proc/modules).
	State string `json:"state,omitzero"`
	// Refcnt is the kernel's reference count (/proc/modules); -1 while it is being unloaded.
	Refcnt fact.Count `json:"refcnt,omitzero"`
	// Permanent is set for a loaded module that has no exit function (/proc/modules).
	Permanent bool `json:"permanent,omitzero"`
	// Taints are the module's taint letters, one each, in the kernel's order (/proc/modules, else
	// /sys/module/NAME/taint); [TaintMeaning] explains them. None is the empty list.
	Taints []string `json:"taints,omitzero"`
	// Version is the module's own version (/sys/module/NAME/version); most modules have none.
	Version string `json:"version,omitzero"`
	// Srcversion is a checksum of the module's sources (/sys/module/NAME/srcversion); few have it.
	Srcversion string `json:"srcversion,omitzero"`
	// InitSize is the memory held for initialisation, in bytes (/sys/module/NAME/initsize).
	InitSize fact.Count `json:"initSize,omitzero"`
	// CoreSize is the memory held for good, in bytes (/sys/module/NAME/coresize).
	CoreSize fact.Count `json:"coreSize,omitzero"`
	// Parameters are the parameters that the file declares (Detail Files), and those that the
	// running kernel shows with their values (/sys/module/NAME/parameters, Detail Parameters), by
	// name.
	Parameters []Parameter `json:"parameters,omitzero"`
	// Sections are the memory sections (/sys/module/NAME/sections), only with Detail Addresses.
	Sections []Section `json:"sections,omitzero"`

	// The rest is from disk.

	// Release is the kernel release whose directory the file is in.
	Release string `json:"release,omitzero"`
	// File is the file's path relative to the release directory, as the indexes name it; of a
	// builtin the path that it would have as a module.
	File string `json:"file,omitzero"`
	// Candidates are the files that bear this module's name when there are several, the one that
	// depmod chooses first.
	Candidates []modprobe.Candidate `json:"candidates,omitzero"`
	// Order is the module's place in modules.order, from 0: the order in which the kernel's build linked
	// it, which decides between the modules that an alias fits. Of one on disk only; absent for one that
	// was not built with this kernel.
	Order fact.Count `json:"order,omitzero"`
	// FileSize is the file's length in bytes, as stored.
	FileSize fact.Count `json:"fileSize,omitzero"`
	// Compression is the file's container: none, gzip, xz or zstd.
	Compression string `json:"compression,omitzero"`
	// SHA256 is the digest of the file as stored, in hexadecimal; only with Detail Hashes.
	SHA256 string `json:"sha256,omitzero"`
	// Modinfo are all entries of the file's .modinfo section in its order; of a builtin those of
	// modules.builtin.modinfo.
	Modinfo ko.Modinfo `json:"modinfo,omitzero"`
	// Depends are the modules that the file says it needs directly ("depends").
	Depends []string `json:"depends,omitzero"`
	// Softdeps and Weakdeps are its soft and weak dependencies as it declares them, such as
	// "pre: crc32c".
	Softdeps []string `json:"softdeps,omitzero"`
	Weakdeps []string `json:"weakdeps,omitzero"`
	// ImportNamespaces are the symbol namespaces that it uses.
	ImportNamespaces []string `json:"importNamespaces,omitzero"`
	// Firmware are the firmware files that it may ask for.
	Firmware []Firmware `json:"firmware,omitzero"`
	// Vermagic is the kernel version that it was built for, with the words that must fit too.
	Vermagic string `json:"vermagic,omitzero"`
	// FitsRelease says whether vermagic names the release of the directory. A module of another
	// release may load all the same where the distribution keeps the kernel's interface stable.
	FitsRelease fact.Tri `json:"fitsRelease,omitzero"`
	// Intree, Retpoline, Livepatch and Staging say whether the file declares the like-named flag:
	// built with the kernel's own sources, with retpolines, to patch the running kernel, from the
	// staging tree. It is the file's word.
	Intree    fact.Tri `json:"intree,omitzero"`
	Retpoline fact.Tri `json:"retpoline,omitzero"`
	Livepatch fact.Tri `json:"livepatch,omitzero"`
	Staging   fact.Tri `json:"staging,omitzero"`
	// Signature is the file's signature decoded; only with Detail Signatures.
	Signature *ko.Signature `json:"signature,omitzero"`
	// Imports and Exports are the symbols that it needs and offers; only with Detail Symbols.
	Imports []ko.Symbol `json:"imports,omitzero"`
	Exports []ko.Symbol `json:"exports,omitzero"`
}

// Stable returns a copy without what changes all the time: reference count, parameter values and section addresses.
func (m *Module) Stable() Module {
	s := *m
	s.Refcnt = fact.Count{}
	s.Parameters = slices.Clone(m.Parameters)
	for i := range s.Parameters {
		s.Parameters[i].Value = ""
	}
	s.Sections = slices.Clone(m.Sections)
	for i := range s.Sections {
		s.Sections[i].Address = 0
	}
	return s
}

// A Firmware is one firmware file that a module may ask for.
type Firmware struct {
	// Name is the file's name below the firmware directories.
	Name string `json:"name"`
	// Present says whether the machine has it, also compressed; absent when that was not looked up.
	Present fact.Tri `json:"present,omitzero"`
}

// A Parameter is one parameter of a module.
type Parameter struct {
	// Name is the parameter's name.
	Name string `json:"name"`
	// Type is the declared type, such as "int" or "array of uint"; empty when not declared.
	Type string `json:"type,omitzero"`
	// Description is what the file says of it.
	Description string `json:"description,omitzero"`
	// Value is the current value as the kernel prints it, without the final newline; empty when
	// Readable is not yes.
	Value string `json:"value,omitzero"`
	// Readable is yes when Value was read, also when it is empty; no when the file is not
	// world-readable and was left alone; absent when nobody looked, or the read failed.
	Readable fact.Tri `json:"readable,omitzero"`
}

// A Section is one section of a loaded module.
type Section struct {
	// Name is the section's name, such as ".text".
	Name string `json:"name"`
	// Address is where it lies; absent when the kernel hides it.
	Address fact.Address `json:"address,omitzero"`
}

// splitTaints returns each letter of a taint string such as "OE"; never nil.
func splitTaints(letters string) []string {
	if letters == "" {
		return noTaints
	}
	t := make([]string, len(letters))
	for i := range len(letters) {
		t[i] = letters[i : i+1]
	}
	return t
}

var noTaints = []string{}
