// SPDX-License-Identifier: Apache-2.0

package audit_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/fleet/audit"
	"github.com/kernelext/kernelext/lkm"
)

// TestFirstSaysWhatItLeavesOut: more names or findings than a rule file holds, and what is not known.
func TestFirstSaysWhatItLeavesOut(t *testing.T) {
	modules := make([]lkm.Module, 5001)
	for i := range modules {
		modules[i] = module(fmt.Sprintf("m%d", i))
		modules[i].Origin.Class = lkm.OriginThirdParty
	}
	all := audit.Target{Name: "h", Snapshot: snapshot(modules...)}
	rules, left, err := audit.First(context.Background(), all, today)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(left, "\n")
	for _, want := range []string{"5001 names, more than 5000", "exceptions for 1 more", "unsigned is unknown: ",
		"discrepancy is unknown: "} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if len(rules.Rules) != 3 || len(rules.Exceptions) != 5000 || len(left) != 4 {
		t.Errorf("%d rules, %d exceptions: %s", len(rules.Rules), len(rules.Exceptions), text)
	}
	few, left, err := audit.First(context.Background(), audit.Target{Snapshot: snapshot(modules[0])}, today)
	if err != nil || len(few.Rules) != 4 || len(left) != 2 {
		t.Errorf("%v, %+v, %q", err, few, left)
	}
}
