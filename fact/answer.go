// SPDX-License-Identifier: Apache-2.0

package fact

// An Answer is what one step of a judgment found about one way into a kernel: whether the step stops it, and why.
// Only [Stops], [Passes], [Unsure] and [UnsureOf] make one, so that no unknown answer lacks its reason. The zero value
// means that the step does not apply, and decides nothing.
type Answer struct {
	applies bool
	blocked Tri
	because Reason
}

// Stops returns the answer of a step that stops the way.
func Stops(because Reason) Answer { return Answer{true, Yes, because} }

// Passes returns the answer of a step that lets the module pass.
func Passes(because Reason) Answer { return Answer{true, No, because} }

// Unsure returns the answer unknown. code is the reason's code, text names what was not read.
func Unsure(code, text string) Answer { return UnsureOf(Reason{Code: code, Text: text}) }

// UnsureOf returns the answer unknown, with a reason that names its place.
func UnsureOf(because Reason) Answer { return Answer{true, "", because} }

// Applies reports whether the step found anything.
func (a Answer) Applies() bool { return a.applies }

// Blocked returns whether the step stops the way; empty if that is unknown, and for the zero value.
func (a Answer) Blocked() Tri { return a.blocked }

// Because returns the fact that decided.
func (a Answer) Because() Reason { return a.because }

// Way returns the way of that name as the answer judges it.
func (a Answer) Way(name string) Way {
	w := Way{Way: name, Blocked: a.blocked}
	if a.blocked == "" {
		w.Because = a.because
	}
	return w
}
