// SPDX-License-Identifier: Apache-2.0

package linux

import "github.com/kernelext/kernelext/fact"

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
	// Parameters are the parameters that the running kernel shows (/sys/module/NAME/parameters),
	// only with Detail Parameters.
	Parameters []Parameter `json:"parameters,omitzero"`
	// Sections are the memory sections (/sys/module/NAME/sections), only with Detail Addresses.
	Sections []Section `json:"sections,omitzero"`
}

// A Parameter is one parameter of a module.
type Parameter struct {
	// Name is the parameter's name.
	Name string `json:"name"`
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

// SplitTaints returns each letter of a taint string such as "OE"; never nil.
func SplitTaints(letters string) []string {
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
