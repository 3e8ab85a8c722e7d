// SPDX-License-Identifier: Apache-2.0

package fact

// An Outcome says how reading a Source went.
type Outcome string

// The outcomes.
const (
	OutcomeOK          Outcome = "ok"          // read whole
	OutcomeDenied      Outcome = "denied"      // the caller may not read it
	OutcomeAbsent      Outcome = "absent"      // it does not exist here, though it could
	OutcomeUnsupported Outcome = "unsupported" // this system, or this library, has no such source
	OutcomePartial     Outcome = "partial"     // some of it was read
	OutcomeFailed      Outcome = "failed"      // none of it was read, for another reason
	OutcomeSkipped     Outcome = "skipped"     // it was not asked for
)

// A Source is one place that facts come from, and how reading it went.
type Source struct {
	// Name is a constant of the kernel's package, such as linux.SourceModules.
	Name string `json:"name"`
	// Outcome is how it went.
	Outcome Outcome `json:"outcome"`
	// Count is how many things it named, where it names things.
	Count Count `json:"count,omitzero"`
	// Code is why the outcome is not ok or skipped, as one word.
	Code Code `json:"code,omitzero"`
	// Encoding is what a text capture was decoded from: utf-16le, utf-16be, or a code page that its letters show, such
	// as cp866. Empty is UTF-8, an unknown code page (a Problem says so), or no text.
	Encoding string `json:"encoding,omitzero"`
}

// Incomplete reports whether facts are missing because of how reading the source went.
func (s Source) Incomplete() bool {
	return s.Outcome == OutcomeDenied || s.Outcome == OutcomePartial || s.Outcome == OutcomeFailed
}

// FindSource returns the first source of that name, and whether there is one.
func FindSource(sources []Source, name string) (Source, bool) {
	for _, src := range sources {
		if src.Name == name {
			return src, true
		}
	}
	return Source{}, false
}

// A SourcePlan says of one source what would be read and what that needs.
type SourcePlan struct {
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

// A Scope says which modules a list holds.
type Scope string

// The scopes.
const (
	ScopeLoaded  Scope = "loaded"  // loaded, loading and unloading
	ScopeBuiltin Scope = "builtin" // compiled in
	// ScopeInstalled is what is on disk.
	ScopeInstalled Scope = "installed"
	// ScopeAll is the union of the others by id; what is said of a loaded module wins.
	ScopeAll Scope = "all"
)
