// SPDX-License-Identifier: Apache-2.0

package fact

// An OriginClass says whose code it is. Empty means unknown.
type OriginClass string

// The two origins.
const (
	OriginOS         OriginClass = "os"          // part of the operating system or its kernel package
	OriginThirdParty OriginClass = "third_party" // from anybody else
)

// An Origin says whose code an extension is, and from which facts that follows.
type Origin struct {
	// Class is the conclusion; empty when the evidence does not decide.
	Class OriginClass `json:"class,omitzero"`
	// Evidence are the facts, those that decided first.
	Evidence []Evidence `json:"evidence,omitzero"`
}

// IsZero reports whether nothing is known.
func (o *Origin) IsZero() bool { return o.Class == "" && o.Evidence == nil }

// Evidence is one fact that a conclusion rests on.
type Evidence struct {
	// Fact is what was looked at, in the system's own term, such as "taint" or "package".
	Fact string `json:"fact"`
	// Value is what it said.
	Value string `json:"value,omitzero"`
	// Source is the name of the Source, or the file, that said it.
	Source string `json:"source,omitzero"`
}
