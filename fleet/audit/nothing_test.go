// SPDX-License-Identifier: Apache-2.0

package audit_test

import (
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fleet/audit"
	"github.com/kernelext/kernelext/lkm"
)

// TestNothingRead: no rule about the policy or the modules of an empty root is passed, whatever it wants.
func TestNothingRead(t *testing.T) {
	for _, os := range []lkm.OS{lkm.Linux, lkm.FreeBSD, lkm.DragonFly, lkm.NetBSD, lkm.Illumos, lkm.Solaris, lkm.Darwin,
		lkm.Windows} {
		sys, err := lkm.OpenImage(fstest.MapFS{}, lkm.Options{OS: os})
		if err != nil {
			t.Fatal(err)
		}
		p, err := sys.Policy(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		set := &audit.Rules{Name: "nothing", Rules: []audit.Rule{
			{ID: "loading", Kind: audit.PolicyFact, Fact: "loading", Values: []string{"any", "signed", "none"}},
			{ID: "deny", Kind: audit.Deny, Modules: []string{"udf"}}, {ID: "unsigned", Kind: audit.Unsigned},
			{ID: "load", Kind: audit.MustNotLoad, Modules: []string{"udf"}}}}
		for _, f := range p.Facts {
			set.Rules = append(set.Rules, audit.Rule{ID: f.Name, Kind: audit.PolicyFact, Fact: f.Name,
				Values: []string{"", "0", "1", "yes", "no"}})
		}
		r, err := audit.Run(t.Context(), []audit.Target{{Name: "t", System: sys, Image: true}}, []*audit.Rules{set},
			audit.Options{})
		if err != nil || len(r.Rows) < len(set.Rules) {
			t.Fatalf("%s: %d rows, %v", os, len(r.Rows), err)
		}
		for _, row := range r.Rows {
			if row.Status != audit.Unknown {
				t.Errorf("%s: %+v", os, row)
			}
		}
	}
}
