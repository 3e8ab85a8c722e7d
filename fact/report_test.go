// SPDX-License-Identifier: Apache-2.0

package fact

import (
	"errors"
	"testing"
)

// TestAppend adds reports that have more problems of one source than are kept: none of them is lost from the counts.
func TestAppend(t *testing.T) {
	var a, b Report
	for range MaxProblems + 5 {
		a.Problem("x", "", "", errors.New("bad"))
		b.Problem("x", "", "", errors.New("bad"))
	}
	a.Done("x", Count{})
	b.Problem("y", "", "", errors.New("bad"))
	b.Done("y", Count{})
	a.Append(&b)
	last := a.Problems[MaxProblems]
	if a.Count("x") != 2*(MaxProblems+5) || last.Count != MaxProblems+10 || a.Count("y") != 1 || len(a.Sources) != 2 {
		t.Errorf("%d and %d problems, the last %+v, sources %v", a.Count("x"), a.Count("y"), last, a.Sources)
	}
}
