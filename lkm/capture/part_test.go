// SPDX-License-Identifier: Apache-2.0

package capture_test

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/lkm/capture"
)

// TestNoList refuses texts that say that nothing was listed: a refusal is not a list, and neither is an empty container
// of a tool that always lists something.
func TestNoList(t *testing.T) {
	const refused = "(kernel) Failed to query kext info (MAC policy error 0x1).\n" +
		"Failed to read loaded kext info from kernel - (libkern/kext) internal error.\n"
	for _, c := range []struct {
		text    string
		as      capture.Kind
		refusal bool
	}{
		{"Executing: /usr/bin/kmutil showloaded\n" + refused, "", true},
		{refused, capture.Kextstat, true},
		{"sudo: a password is required\n", "", true},
		{"Index Refs Address            Size       Wired      Name (Version) UUID <Linked Against>\n", "", false},
		{"Loaded kext info:\n{\n}\n", "", false},
	} {
		_, err := capture.Read(strings.NewReader(c.text), c.as)
		if !errors.Is(err, lkm.ErrMalformed) || errors.Is(err, fs.ErrPermission) != c.refusal {
			t.Errorf("%q: %v", c.text, err)
		}
	}
}

// TestUnloadedRows gives each row of Solaris' modinfo -c the state that it says.
func TestUnloadedRows(t *testing.T) {
	s, err := capture.Read(strings.NewReader(" Id    Loadcnt Module Name                            State\n"+
		"  1          1 unix                             LOADED/INSTALLED\n"+
		" 70          0 pcfs                             UNLOADED/UNINSTALLED\n"), "")
	if err != nil || len(s.Modules) != 2 {
		t.Fatal(err, s)
	}
	for id, want := range map[string]lkm.State{"solaris_module:unix": lkm.StateLoaded,
		"solaris_module:pcfs": lkm.StateInstalled} {
		if m := s.Module(id); m == nil || m.State != want {
			t.Errorf("%s: %+v", id, m)
		}
	}
}
