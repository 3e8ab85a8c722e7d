// SPDX-License-Identifier: Apache-2.0

package solaris

import "github.com/kernelext/kernelext/fact"

// A Module is what illumos or Solaris says of one module in its own words, beside what every kernel
// says. It is the object under "solaris" in JSON. Absent fields are unknown.
type Module struct {
	// ID is the module's id in the running kernel.
	ID fact.Count `json:"id,omitzero"`
	// State are the words of its state: loaded, installed. Empty is neither.
	State []string `json:"state,omitzero"`
	// Rev is the version of the module interface that it was built for.
	Rev fact.Count `json:"rev,omitzero"`
	// LoadCount is how often it was loaded.
	LoadCount fact.Count `json:"loadCount,omitzero"`
	// Linkages are the things that it adds to the kernel, at most ten.
	Linkages []Linkage `json:"linkages,omitzero"`
}

// A Linkage is one thing that a module adds: a driver, a system call, a file system.
type Linkage struct {
	// Description is the module's text, cut at 31 bytes by the kernel.
	Description string `json:"description"`
	// Info is the number that goes with its kind: a driver's major number, a system call's number,
	// a file system's index; absent when it has none.
	Info fact.Count `json:"info,omitzero"`
	// Cut is set when the end of the description is missing.
	Cut bool `json:"cut,omitzero"`
}
