// SPDX-License-Identifier: Apache-2.0

package lkm

// A Plan says of one source what would be read and what that needs.
type Plan struct {
	// Source is the source's name.
	Source string `json:"source"`
	// Reads are the paths and calls, with NAME for each module's name.
	Reads []string `json:"reads"`
	// Needs says which privilege it needs, for a person; empty for none.
	Needs string `json:"needs,omitzero"`
	// For says which facts it gives, for a person.
	For string `json:"for,omitzero"`
	// Asked is whether a Snapshot with the System's details reads it.
	Asked bool `json:"asked"`
}
