// SPDX-License-Identifier: Apache-2.0

package audit_test

import (
	"strings"
	"testing"

	"github.com/kernelext/kernelext/fleet/audit"
	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/windows"
	"github.com/kernelext/kernelext/windows/authenticode"
	"github.com/kernelext/kernelext/windows/pe"
)

// drivers is a made-up snapshot of a Windows machine whose lists were read whole.
func drivers(list ...windows.Driver) *lkm.Snapshot {
	snap := &lkm.Snapshot{OS: lkm.Windows, Sources: []lkm.Source{
		{Name: windows.SourceModules, Outcome: lkm.OutcomeOK}, {Name: windows.SourceCIFiles, Outcome: lkm.OutcomeOK}}}
	for i := range list {
		name := string(rune('a'+i)) + ".sys"
		snap.Modules = append(snap.Modules, lkm.Module{ID: "windows_driver:" + name, Name: name, State: lkm.StateLoaded,
			Windows: &list[i]})
	}
	return snap
}

// known is a driver of which everything is known that a rule may name.
func known() windows.Driver {
	return windows.Driver{PE: &pe.File{}, Hashes: &pe.Hashes{SHA256: "1", SHA1: "2", MD5: "3"},
		Signatures: []authenticode.Signature{}}
}

// The machine's own block lists count only if they were read whole.
func TestBlockList(t *testing.T) {
	snap := drivers(known())
	rules := &audit.Rules{Rules: []audit.Rule{{ID: "r", Kind: audit.BlockListed}}}
	targets := []audit.Target{{Snapshot: snap}}
	if r := run(t, audit.Options{}, targets, rules); statuses(r) != "r pass" {
		t.Errorf("%s", statuses(r))
	}
	snap.Sources[1].Outcome = lkm.OutcomePartial
	if r := run(t, audit.Options{}, targets, rules); statuses(r) != "r unknown" {
		t.Errorf("partial: %s", statuses(r))
	}
	targets[0].Mark = func(s *lkm.Snapshot) error {
		s.Modules[0].Windows.Blocked = []windows.BlockMatch{{Strength: windows.StrengthStrong}}
		return nil
	}
	if r := run(t, audit.Options{}, targets, rules); statuses(r) != "r a.sys fail" {
		t.Errorf("named: %s", statuses(r))
	}
}

// A driver whose file, or whose version, is not whole does not pass, whatever the list asks for; what else could not be
// read of it is no matter of the list.
func TestBlockListOfCutFile(t *testing.T) {
	rules := &audit.Rules{Rules: []audit.Rule{{ID: "r", Kind: audit.BlockListed}}}
	for field, want := range map[string]string{"file": "r unknown", "version": "r unknown",
		"checksum": "r pass"} {
		for _, mark := range []func(*lkm.Snapshot) error{nil, func(*lkm.Snapshot) error { return nil }} {
			target := audit.Target{Snapshot: drivers(known()), Mark: mark}
			if mark != nil {
				target.Undecided = func(*lkm.Module) bool { return false }
			}
			target.Snapshot.Modules[0].Problems = []lkm.Problem{{Source: windows.SourceFile, Field: field,
				Text: "it ends before what its headers name"}}
			if r := run(t, audit.Options{}, []audit.Target{target}, rules); statuses(r) != want {
				t.Errorf("%s, a list of the caller's %v: %s", field, mark != nil, statuses(r))
			}
		}
	}
}

// A driver of which something is not known that a rule may name does not pass; what names it counts in any case.
func TestBlockListOfWhatIsNotKnown(t *testing.T) {
	without := func(change func(*windows.Driver)) windows.Driver {
		d := known()
		change(&d)
		return d
	}
	noMark := func(*lkm.Snapshot) error { return nil }
	asks := func(what bool) func(*lkm.Module) bool { return func(*lkm.Module) bool { return what } }
	for _, c := range []struct {
		what   string
		driver windows.Driver
		target audit.Target
		want   string
	}{
		{"all", known(), audit.Target{}, "r pass"},
		{"no file", without(func(d *windows.Driver) { d.PE = nil }), audit.Target{}, "r unknown"},
		{"no digest", without(func(d *windows.Driver) { d.Hashes = nil }), audit.Target{}, "r unknown"},
		{"one digest", without(func(d *windows.Driver) { d.Hashes.MD5 = "" }), audit.Target{}, "r unknown"},
		{"no signer", without(func(d *windows.Driver) { d.Signatures = nil }), audit.Target{}, "r unknown"},
		{"no signer, a list of names", without(func(d *windows.Driver) { d.Signatures = nil }),
			audit.Target{Mark: noMark, Undecided: asks(false)}, "r pass"},
		{"a signer in doubt", known(), audit.Target{Mark: noMark, Undecided: asks(true)}, "r unknown"},
		{"no digest, a list of the caller's", without(func(d *windows.Driver) { d.Hashes = nil }),
			audit.Target{Mark: noMark, Undecided: asks(true)}, "r unknown"},
		{"no file, a list of the caller's", without(func(d *windows.Driver) { d.PE = nil }),
			audit.Target{Mark: noMark, Undecided: asks(false)}, "r unknown"},
		{"a hint, no digest", without(func(d *windows.Driver) {
			d.Hashes, d.Blocked = nil, []windows.BlockMatch{{Strength: windows.StrengthHint}}
		}), audit.Target{}, "r unknown"},
		{"named, no digest", without(func(d *windows.Driver) {
			d.Hashes, d.Blocked = nil, []windows.BlockMatch{{Strength: windows.StrengthWeak}}
		}), audit.Target{}, "r a.sys fail"},
	} {
		c.target.Snapshot = drivers(c.driver)
		r := run(t, audit.Options{}, []audit.Target{c.target},
			&audit.Rules{Rules: []audit.Rule{{ID: "r", Kind: audit.BlockListed}}})
		if got := statuses(r); got != c.want {
			t.Errorf("%s: %s, want %s", c.what, got, c.want)
		}
		if row := r.Rows[0]; row.Status == audit.Unknown && !strings.Contains(row.Because, "not ") {
			t.Errorf("%s: no reason: %+v", c.what, row)
		}
	}
}
