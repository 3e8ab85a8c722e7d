// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"strings"
	"testing"

	"github.com/kernelext/kernelext/lkm"
)

// TestSamples reads each sample by itself, and as its kind.
func TestSamples(t *testing.T) {
	for _, s := range samples {
		for _, as := range []Kind{"", s.kind} {
			got, err := Read(strings.NewReader(s.text), as)
			if err != nil {
				t.Errorf("%s as %q: %v", s.name, as, err)
				continue
			}
			if len(got.Modules) != s.rows || got.OS != s.kind.OS() || sourcesOK(got) != s.ok {
				t.Errorf("%s as %q: %s, %d modules, %+v, %v", s.name, as, got.OS, len(got.Modules), got.Sources,
					got.Problems)
			}
		}
	}
}

// TestOnlyKind recognizes every sample and every recording as its own kind and as no other, by its first 64 KiB.
func TestOnlyKind(t *testing.T) {
	check := func(name, text string, kind Kind) {
		if i := strings.LastIndexByte(text[:min(len(text), headSize)], '\n'); len(text) > headSize {
			text = text[:i+1]
		}
		for _, r := range readers() {
			if r.kind == kind || twins(r.kind, kind) {
				continue
			}
			if c := r.read(text, &r.form); c.fits() && c.rows > 0 {
				t.Errorf("%s is %s, and fits %s (%d rows, %d stray, sure %v)", name, kind, r.kind, c.rows, c.stray,
					c.sure)
			}
		}
	}
	for _, s := range samples {
		check(s.name, clean(t, s.text), s.kind)
	}
	for name, text := range recordings(t) {
		if kind := kindOf(t, text); kind != "" {
			check(name, clean(t, text), kind)
		}
	}
}

// TestEveryKindHasText: each kind has a recording or a sample.
func TestEveryKindHasText(t *testing.T) {
	proven := map[Kind]bool{ // their texts are in the tests of their kernels' packages
		WindowsDriver: true, Sigcheck: true, SystemProfiler: true, Modstat: true, ModuleShow: true, Modules: true,
		KldstatDragonFly: true, // the same columns as Kldstat
	}
	for _, s := range samples {
		proven[s.kind] = true
	}
	for _, text := range recordings(t) {
		proven[kindOf(t, text)] = true
	}
	for _, k := range Kinds() {
		if !proven[k] {
			t.Errorf("%s has no text: add one to samples", k)
		}
	}
}

// twins reports whether two kinds print the same columns.
func twins(a, b Kind) bool {
	return a == Kldstat && b == KldstatDragonFly || a == KldstatDragonFly && b == Kldstat
}

func sourcesOK(s *lkm.Snapshot) bool {
	for _, src := range s.Sources {
		if src.Outcome != lkm.OutcomeOK {
			return false
		}
	}
	return true
}
