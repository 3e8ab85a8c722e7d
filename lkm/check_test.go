// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"io/fs"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kernelext/kernelext/fact"
)

// A verdict says what could not be read for it, once; what a machine does not have was not needed.
func TestAddProblems(t *testing.T) {
	own := fact.ProblemOf("a", "", "", fs.ErrPermission)
	late := fact.ProblemOf("b", "", "", fact.ErrUnrecorded)
	v := Verdict{Problems: []Problem{own}}
	addProblems(&v, []Problem{own, fact.ProblemOf("c", "", "", fs.ErrNotExist), late, late})
	if diff := cmp.Diff([]Problem{own, late}, v.Problems); diff != "" {
		t.Error(diff)
	}
}
