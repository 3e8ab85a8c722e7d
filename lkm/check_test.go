// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"bytes"
	"io/fs"
	"log/slog"
	"strings"
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

// A fact that a result has no place for goes to the caller's logger.
func TestTold(t *testing.T) {
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s := &System{options: Options{Logger: logger}}
	list, err := asked(s, "read x", func(r *fact.Report) ([]int, error) {
		r.Problem("a", "b", "", fs.ErrPermission)
		return []int{1}, nil
	})
	if err != nil || len(list) != 1 || !strings.Contains(log.String(), "a: b: permission denied") {
		t.Errorf("%v %v %q", list, err, log.String())
	}
}
