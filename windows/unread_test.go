// SPDX-License-Identifier: Apache-2.0

package windows_test

import (
	"context"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/windows"
)

// A file that was not read is compared with no policy of the machine, and is not loadable for want of a rule.
func TestUnreadAgainstLists(t *testing.T) {
	const disk = "C:/Windows/System32/drivers/disk.sys"
	list := map[string]string{system32 + "codeintegrity/sipolicy.p7b": denying("ket.sys", 0)}
	for name, tt := range map[string]struct {
		files  map[string]string
		deny   string
		want   fact.VerdictOutcome
		reason string
	}{
		"no list":         {nil, disk, fact.VerdictLoadable, windows.ReasonRegistered},
		"a list":          {list, disk, fact.VerdictUnknown, windows.ReasonBlockList},
		"a file was read": {list, "", fact.VerdictBlocked, windows.ReasonBlockList},
	} {
		m := volume(tt.files)
		m.Deny[tt.deny] = true
		got, err := image(m).Check(context.Background(), "disk", new(fact.Report))
		if err != nil || len(got) != 1 || got[0].NextBoot.Outcome != tt.want ||
			got[0].Reasons[0].Code != tt.reason {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// A folder deeper than what is walked leaves the drivers' folders partly read: what is named in it is not absent.
func TestDeepFolders(t *testing.T) {
	m := volume(map[string]string{system32 + "drivers/" + strings.Repeat("d/", 12) + "deep.sys": "x"})
	v, err := image(m).Check(context.Background(), "deep.sys", new(fact.Report))
	if err != nil || len(v) != 1 || v[0].NextBoot.Outcome != fact.VerdictUnknown {
		t.Errorf("%+v, %v", v, err)
	}
}

// A volume without a SYSTEM hive lists its drivers, and nothing of it is absent or blocked: services are not known.
func TestNoSystemHive(t *testing.T) {
	m := volume(nil)
	delete(m.Files, system32+"config/system")
	for query, known := range map[string]bool{"disk.sys": true, "gone.sys": false, "disk": true} {
		v, err := image(m).Check(context.Background(), query, new(fact.Report))
		if err != nil || len(v) != 1 || v[0].NextBoot.Outcome != fact.VerdictUnknown ||
			v[0].NextBoot.Because.Text == "" || (v[0].Module != "") != known {
			t.Errorf("%s: %+v, %v", query, v, err)
		}
	}
	found := false
	for record, err := range image(m).Installed(context.Background(), new(fact.Report)) {
		found = found || err == nil && record.Name == "disk.sys"
	}
	if !found {
		t.Error("disk.sys is not listed")
	}
}
