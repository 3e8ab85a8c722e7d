// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"context"
	"io/fs"
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
