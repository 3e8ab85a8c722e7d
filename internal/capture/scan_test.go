// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/fact"
)

// TestScan reads rows of a name and "1"; what a row's name looks like does not cost the row.
func TestScan(t *testing.T) {
	var r fact.Report
	var names []string
	text := "$ tool -v\nTOOL\n\n a 1\ntool 1\nx# 1\ntool\nroot@h:~# \nstray\nmore\n"
	stray := Scan(text, Form{Tool: "tool", Source: "s"}, &r, func(line string) error {
		if line == "TOOL" {
			return nil
		}
		name, ok := strings.CutSuffix(line, " 1")
		if !ok {
			return errors.New("no row")
		}
		names = append(names, name)
		return nil
	})
	if stray != 2 || !slices.Equal(names, []string{" a", "tool", "x#"}) || len(r.Problems) != 1 {
		t.Fatalf("%d stray, %q, %v", stray, names, r.Problems)
	}
	if p := r.Problems[0]; p.Source != "s" || p.Line != 9 || p.Count != 2 || p.Code != fact.CodeMalformed {
		t.Errorf("%+v", p)
	}
}
