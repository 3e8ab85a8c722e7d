// SPDX-License-Identifier: Apache-2.0

package lkmtest_test

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"testing"

	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/lkm/lkmtest"
)

// Missing is not empty: an empty list is returned only for a kernel without modules; every other situation without
// visible modules gives an error that says why.
func TestSituations(t *testing.T) {
	for name, want := range map[string]struct {
		modules int
		err     error
		source  string
		outcome lkm.Outcome
	}{
		"synthetic-debian-root":    {35, nil, "proc_modules", lkm.OutcomeOK},
		"synthetic-debian-user":    {35, nil, "proc_modules", lkm.OutcomeOK},
		"synthetic-protectmodules": {35, nil, "proc_modules", lkm.OutcomeOK},
		"synthetic-container":      {35, nil, "sys_module", lkm.OutcomeAbsent},
		"synthetic-nomodules":      {0, nil, "proc_modules", lkm.OutcomeUnsupported},
		"synthetic-procsubset":     {0, fs.ErrNotExist, "", ""},
	} {
		tp, err := lkmtest.Open(name)
		if err != nil {
			t.Error(err)
			continue
		}
		sys, err := lkm.OpenMachine(tp.Header().OS, tp, lkm.Options{})
		if err != nil {
			t.Error(err)
			continue
		}
		defer sys.Close()
		snap, err := sys.Snapshot(context.Background())
		if want.err != nil {
			if snap != nil || !errors.Is(err, want.err) {
				t.Errorf("%s: %v, %v; want an error that is %v", name, snap, err, want.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if snap.Modules == nil || len(snap.Modules) != want.modules {
			t.Errorf("%s: %d modules, want %d", name, len(snap.Modules), want.modules)
		}
		i := slices.IndexFunc(snap.Sources, func(s lkm.Source) bool { return s.Name == want.source })
		if i < 0 || snap.Sources[i].Outcome != want.outcome {
			t.Errorf("%s: sources %+v; want %s to be %s", name, snap.Sources, want.source, want.outcome)
		}
	}
}
