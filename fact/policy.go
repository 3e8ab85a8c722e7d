// SPDX-License-Identifier: Apache-2.0

package fact

// Loading says in one word whether new code can enter the kernel. Empty means unknown.
type Loading string

// The answers.
const (
	LoadingAny    Loading = "any"    // a privileged user may load unsigned code
	LoadingSigned Loading = "signed" // only code signed by a key the kernel trusts
	LoadingNone   Loading = "none"   // no code until the next boot
)

// A Policy is what a system enforces on the loading of kernel code.
type Policy struct {
	// Loading is the conclusion; empty when a fact that it needs is unknown.
	Loading Loading `json:"loading,omitzero"`
	// Facts are the settings, in a fixed order for each system.
	Facts []PolicyFact `json:"facts"`
}

// A PolicyFact is one setting with where it was read, or why it is unknown.
type PolicyFact struct {
	// Name is the setting in the system's own term, such as "modules_disabled" or "lockdown".
	Name string `json:"name"`
	// Value is the setting as the system writes it; empty when unknown.
	Value string `json:"value,omitzero"`
	// Effect says what follows from the value, for a person; empty when nothing does.
	Effect string `json:"effect,omitzero"`
	// Source is the name of the Source that it was, or would have been, read from.
	Source string `json:"source,omitzero"`
	// File and Line are where it stands; Line counts from 1 and is 0 for a file of one value.
	File string `json:"file,omitzero"`
	Line int    `json:"line,omitzero"`
	// Code is why the value is unknown; empty when it is known.
	Code Code `json:"code,omitzero"`
}
