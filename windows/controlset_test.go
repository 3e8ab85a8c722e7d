// SPDX-License-Identifier: Apache-2.0

package windows_test

import (
	"context"
	"testing"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/hivetest"
	"github.com/kernelext/kernelext/windows"
)

// Of a control set that the hive does not have, or whose number is 0, nothing is known: no service is absent, no
// switch is at its default, no device is missing.
func TestControlSetThatIsMissing(t *testing.T) {
	const top = `HKEY_LOCAL_MACHINE\SYSTEM`
	number := func(name string, n byte) hivetest.Value {
		return hivetest.Value{Name: name, Type: 4, Data: []byte{n, 0, 0, 0}}
	}
	for name, tt := range map[string]struct {
		chosen []hivetest.Value
		known  bool
	}{
		"the default":            {[]hivetest.Value{number("Default", 1), number("Current", 3)}, true},
		"no default":             {[]hivetest.Value{number("Current", 1)}, true},
		"a default that is not":  {[]hivetest.Value{number("Default", 3), number("Current", 1)}, false},
		"a default of no number": {[]hivetest.Value{number("Default", 0), number("Current", 1)}, false},
		"nothing":                {nil, false},
	} {
		m := volume(nil)
		m.Files[system32+"config/system"].Data = hivetest.Of(top, []hivetest.Key{
			{Path: top + `\Select`, Values: tt.chosen}, {Path: top + `\ControlSet001\Enum`},
			{Path: top + `\ControlSet001\Services\svc`,
				Values: []hivetest.Value{number("Type", 1), number("Start", 3)}}})
		var r fact.Report
		p, err := image(m).Policy(context.Background(), &r)
		if err != nil {
			t.Fatal(name, err)
		}
		for _, f := range p.Facts {
			if f.Name == windows.PolicyBlockList && (f.Code == fact.CodeAbsent) != tt.known {
				t.Errorf("%s: %+v", name, f)
			}
		}
		for _, err := range image(m).Installed(context.Background(), &r) {
			if err != nil {
				t.Fatal(name, err)
			}
		}
		if r.Whole(windows.SourceRegistry) != tt.known {
			t.Errorf("%s: %+v", name, r.Sources)
		}
		if src, _ := r.Find(windows.SourceDevices); (src.Outcome == fact.OutcomeFailed) == tt.known {
			t.Errorf("%s: %+v", name, src)
		}
	}
}
