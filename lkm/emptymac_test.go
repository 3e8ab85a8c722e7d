// SPDX-License-Identifier: Apache-2.0

package lkm_test

import (
	"io/fs"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/lkm"
)

// A root of macOS without any bundle does not boot: its list is not whole, and no name is absent from it.
func TestEmptyMac(t *testing.T) {
	root := fstest.MapFS{"System/Library/Extensions": &fstest.MapFile{Mode: fs.ModeDir | 0o755}}
	sys, err := lkm.OpenImage(root, lkm.Options{OS: lkm.Darwin})
	if err != nil {
		t.Fatal(err)
	}
	defer sys.Close()
	snap, err := sys.SnapshotOf(t.Context(), lkm.ScopeInstalled)
	if err != nil || snap.ListErr(lkm.StateInstalled) == nil || len(snap.Problems) != 1 {
		t.Errorf("%+v, %v", snap, err)
	}
	verdicts, err := sys.Check(t.Context(), "com.vendor.driver")
	if err != nil || len(verdicts) != 1 || verdicts[0].Worst() != lkm.VerdictUnknown {
		t.Errorf("%+v, %v", verdicts, err)
	}
}
