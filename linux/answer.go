// SPDX-License-Identifier: Apache-2.0

package linux

import "github.com/kernelext/kernelext/fact"

// passes is the answer of a step that stops nothing, without a fact to show for it.
func passes() fact.Answer { return fact.Passes(fact.Reason{}) }

// inTurn returns the answer of a way whose steps are taken in turn, all of which must pass: that of the first that
// stops, else of the first that is unsure, else of the last that applies.
func inTurn(steps ...fact.Answer) fact.Answer {
	var unsure, last fact.Answer
	for _, step := range steps {
		switch {
		case !step.Applies():
			continue
		case step.Blocked() == fact.Yes:
			return step
		case step.Blocked() == "" && !unsure.Applies():
			unsure = step
		}
		last = step
	}
	if unsure.Applies() {
		return unsure
	}
	return last
}
