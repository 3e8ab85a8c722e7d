// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/fakedarwin"
)

// TestApprovalUnknown asks for approvals where what could say otherwise was not read.
func TestApprovalUnknown(t *testing.T) {
	database := fakedarwin.KextPolicy([]any{"TEAM123456", "com.example.a", 1, "Example", 1},
		[]any{"", "com.example.old", 1, "", 8})
	team := &CodeSignature{Present: fact.Yes, TeamID: "TEAM123456"}
	none := &CodeSignature{Present: fact.No}
	unread := &fstest.MapFile{Mode: fs.ModeDir}
	broken := &fstest.MapFile{Data: []byte(
		`<plist><dict><key>AllowedTeamIdentifiers</key><integer>1</integer></dict></plist>`)}
	for _, tt := range []struct {
		name    string
		profile *fstest.MapFile
		sig     *CodeSignature
		id      string
		want    fact.Tri // Blocked
	}{
		{"approved", nil, team, "com.example.a", fact.No},
		{"not approved", nil, team, "com.example.b", fact.Yes},
		{"no signature, the row is a team's", nil, none, "com.example.a", fact.Yes},
		{"no signature, no team's row", nil, none, "com.example.old", fact.No},
		{"a team, no team's row", nil, team, "com.example.old", fact.Yes},
		{"signature not read", nil, nil, "com.example.a", ""},
		{"signature without a team", nil, &CodeSignature{Present: fact.Yes}, "com.example.a", ""},
		{"profile not read", unread, team, "com.example.b", ""},
		{"profile not read, but approved", unread, team, "com.example.a", fact.No},
		{"profile read in part", broken, team, "com.example.b", ""},
	} {
		files := fstest.MapFS{kextPolicyFile: {Data: database}}
		if tt.profile != nil {
			files[profileFile] = tt.profile
		}
		r := readRules(context.Background(), files, "20.4.0", nil, nil)
		if got := r.approvedFor(tt.sig, tt.id); got.Blocked() != tt.want {
			t.Errorf("%s: %q, want %q; %+v", tt.name, got.Blocked(), tt.want, got.Because())
		}
	}
}

// TestUserOverrides reads what a profile says of users: without a word of it, they may approve nothing.
func TestUserOverrides(t *testing.T) {
	for text, want := range map[string]fact.Tri{
		"": fact.No, "<key>AllowUserOverrides</key><true/>": fact.Yes,
		"<key>AllowUserOverrides</key><false/>": fact.No, "<key>AllowUserOverrides</key><array/>": "",
	} {
		var r fact.Report
		p, err := parseManagedPolicy("x", []byte("<plist><dict>"+text+"</dict></plist>"), &r)
		if err != nil || p.UserOverrides != want {
			t.Errorf("%q: %q, want %q; %v", text, p.UserOverrides, want, err)
		}
	}
}

// TestPlistValues decodes small property lists of very many values until the call's budget ends it.
func TestPlistValues(t *testing.T) {
	report := fact.Report{Budget: fact.NewBudget(0)}
	decoded := 0
	for i := range 64 {
		_, err := decodeCounted("x", manyValues(byte(i)), report.Budget)
		if err == nil {
			decoded++
		}
	}
	if decoded == 0 || decoded > 16 || report.Budget.Err() == nil {
		t.Errorf("%d of 64 were decoded: %v", decoded, report.Budget.Err())
	}
	if _, err := decodePlist("x", manyValues(0)); err != nil {
		t.Error(err)
	}
}

// manyValues returns a binary property list of some 60,000 values in 1 KB: an array of arrays that are one.
func manyValues(value byte) []byte {
	const n = 245
	data := []byte("bplist00")
	var offsets []byte
	for _, child := range []byte{1, 2} {
		offsets = append(offsets, byte(len(data)>>8), byte(len(data)))
		data = append(data, 0xaf, 0x10, n)
		for range n {
			data = append(data, child)
		}
	}
	offsets = append(offsets, byte(len(data)>>8), byte(len(data)))
	data = append(data, 0x10, value)
	end := len(data)
	data = append(data, offsets...)
	return append(data, 0, 0, 0, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0,
		0, 0, 0, 0, 0, 0, byte(end>>8), byte(end))
}

// TestManagedRowsUnread asks for what a user decided where a management server's rows, which outdo it, were not read.
func TestManagedRowsUnread(t *testing.T) {
	user := []Approval{{TeamID: "T", BundleID: "yes", Allowed: fact.Yes},
		{TeamID: "T", BundleID: "no", Allowed: fact.No}}
	managed := []Approval{{TeamID: "M", Allowed: fact.Yes, Managed: true},
		{TeamID: "M", BundleID: "no", Allowed: fact.No, Managed: true}}
	lost := errors.New("table: a page is invalid")
	for _, tt := range []struct {
		name         string
		unread, rows error
		team, id     string
		want         fact.Tri
	}{
		{"all read, yes", nil, nil, "T", "yes", fact.No},
		{"all read, no", nil, nil, "T", "no", fact.Yes},
		{"a server's row may deny it", nil, lost, "T", "yes", ""},
		{"a server's row may allow it", nil, lost, "T", "no", ""},
		{"a user's row that is lost is another's", lost, nil, "T", "yes", fact.No},
		{"no row, and some are lost", lost, nil, "T", "other", ""},
		{"no row, and a server's are lost", nil, lost, "T", "other", ""},
		{"the server's own row of the kext", lost, lost, "M", "no", fact.Yes},
		{"the server's row of the team, and one of the kext may be lost", nil, lost, "M", "yes", ""},
		{"the server's row of the team", lost, nil, "M", "yes", fact.No},
	} {
		r := &rules{approvals: &kextPolicy{Approvals: slices.Concat(user, managed), unread: tt.unread,
			managedUnread: tt.rows}}
		got := r.approved(tt.team, tt.id)
		if got.Blocked() != tt.want || tt.want == "" && !strings.Contains(got.Because().Text, lost.Error()) {
			t.Errorf("%s: %q, want %q; %+v", tt.name, got.Blocked(), tt.want, got.Because())
		}
	}
}

// TestApprovalOfList joins lists of a machine with the decisions about kexts, or says that they were not read.
func TestApprovalOfList(t *testing.T) {
	host := fakedarwin.Intel()
	for _, input := range []string{"", kextPolicyFile} {
		k := Open(refusing{host.Machine(), input}, fact.Options{Detail: fact.DetailSignatures})
		var r fact.Report
		loaded, err := k.Loaded(context.Background(), new(fact.Header), &r)
		if err != nil {
			t.Fatal(err)
		}
		installed := r.Part()
		for m, err := range k.Installed(context.Background(), installed) {
			if err == nil {
				loaded = append(loaded, m)
			}
		}
		found := 0
		for _, m := range loaded {
			if a := m.Own.Approval; a != nil {
				found++
				if m.Name != "com.vendor.driver" || a.TeamID != m.Own.CodeSignature.TeamID {
					t.Errorf("%s: %+v", m.Name, a)
				}
			}
		}
		for _, report := range []*fact.Report{&r, installed} {
			source, _ := report.Find(SourceKextPolicy)
			want := fact.Source{Name: SourceKextPolicy, Outcome: fact.OutcomeOK, Count: fact.CountOf(2)}
			if input != "" {
				want = unreadSource(SourceKextPolicy, fs.ErrPermission)
			}
			if _, problem := report.First(SourceKextPolicy); source != want || problem != (input != "") {
				t.Errorf("without %q: %+v, %v", input, source, report.Problems)
			}
		}
		if (found > 0) != (input == "") {
			t.Errorf("without %q: %d approvals", input, found)
		}
	}
	// A list that reads no signatures knows no team.
	var r fact.Report
	_, err := Open(host.Machine(), fact.Options{Detail: fact.DetailFiles}).Loaded(context.Background(), nil, &r)
	if _, read := r.Find(SourceKextPolicy); err != nil || read {
		t.Error(r.Sources, err)
	}
}

// TestBootPolicy reads what the report of a Mac says of kexts that are not Apple's.
func TestBootPolicy(t *testing.T) {
	const item = `<plist><array><dict><key>_items</key><array><dict>%s</dict></array></dict></array></plist>`
	for text, want := range map[string]fact.Tri{
		"": "",
		"<key>ibridge_secure_boot</key><string>Full Security</string>":                                      fact.No,
		"<key>ibridge_secure_boot</key><string>Reduced Security</string>":                                   "",
		"<key>ibridge_sb_other_kext</key><string>Yes</string>":                                              fact.Yes,
		"<key>ibridge_sb_other_kext</key><string>No</string>":                                               fact.No,
		"<key>ibridge_sb_other_kext</key><string>perhaps</string>":                                          "",
		"<key>ibridge_secure_boot</key><string>Permissive Security</string><key>x</key><string>No</string>": "",
	} {
		p, err := parseBootPolicy(fmt.Appendf(nil, item, text), new(fact.Report))
		if err != nil || p.allowsOthers() != want {
			t.Errorf("%s: %q, want %q; %v", text, p.allowsOthers(), want, err)
		}
	}
	if (*bootPolicy)(nil).allowsOthers() != "" {
		t.Error("what was not read says something")
	}
}
