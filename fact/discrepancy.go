// SPDX-License-Identifier: Apache-2.0

package fact

// A Grade says how much a discrepancy weighs. None of them is proof of anything.
type Grade string

// The grades.
const (
	GradeTransient Grade = "transient" // explained by a load or unload at that moment
	GradeWeak      Grade = "weak"      // has harmless explanations
	GradeStrong    Grade = "strong"    // repeated, under an unchanged counter, in views that should agree
)

// A View says what one source showed of a module.
type View string

// The views.
const (
	ViewSeen      View = "seen"      // the source shows it
	ViewMissing   View = "missing"   // the source was read whole and does not show it
	ViewUnchecked View = "unchecked" // the source was not, or could not be, read
)

// A Discrepancy is a disagreement between sources about one module, or between the kernel's word
// and what its sources explain. It is evidence, not a verdict.
type Discrepancy struct {
	// ID is the id of the module it is about; empty when it is about the kernel as a whole.
	ID string `json:"id,omitzero"`
	// Name is the module's name, or the subject's.
	Name string `json:"name"`
	// Kind is one word for the kind of disagreement; each kernel package lists its own.
	Kind string `json:"kind"`
	// Grade is how much it weighs.
	Grade Grade `json:"grade"`
	// Views says for each source, by its name, what it showed.
	Views map[string]View `json:"views,omitzero"`
	// Evidence are the facts in detail.
	Evidence []Evidence `json:"evidence,omitzero"`
	// Samples is how many looks agreed on it.
	Samples int `json:"samples,omitzero"`
}
