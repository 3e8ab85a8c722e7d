// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/limit"
)

// KextPolicyFile is the database of approved kexts, since macOS 10.13. Only root may read it.
const KextPolicyFile = "private/var/db/SystemPolicyConfiguration/KextPolicy"

// An Approval is a row of KextPolicy: what the user, or a management server, decided about a kext.
type Approval struct {
	// TeamID is the developer team's; empty for unsigned kexts of old.
	TeamID string `json:"teamId,omitzero"`
	// BundleID is the kext's. Of a management server's row it may be empty: all of the team's.
	BundleID string `json:"bundleId,omitzero"`
	// Allowed says whether it may load.
	Allowed fact.Tri `json:"allowed,omitzero"`
	// Developer is the developer's name, in a user's row.
	Developer string `json:"developer,omitzero"`
	// Flags are not documented; 8 seems to mark legacy developers.
	Flags fact.Count `json:"flags,omitzero"`
	// Managed says that a management server made the row; Payload is its profile's UUID.
	Managed bool   `json:"managed,omitzero"`
	Payload string `json:"payload,omitzero"`
}

// A LoadRecord is a row of KextPolicy's load history.
type LoadRecord struct {
	// Path, TeamID, BundleID and CDHash say what was loaded; databases of 10.13 have no CDHash.
	Path, TeamID, BundleID, CDHash string
	// BootUUID is the boot in which it was loaded last, Created and LastSeen the times, in the
	// database's form, "2006-01-02 15:04:05".
	BootUUID, Created, LastSeen string
	// Flags are not documented.
	Flags fact.Count
}

// A KextPolicy is what the database says.
type KextPolicy struct {
	// Approvals are the rows of the user's decisions, then those of a management server.
	Approvals []Approval
	// History are the loads of kexts that are not Apple's.
	History []LoadRecord
	// Problems are rows that could not be read.
	Problems []fact.Problem
}

// Approved returns the row about a kext: a management server's first, which outdoes the user's.
func (p *KextPolicy) Approved(teamID, bundleID string) (Approval, bool) {
	for _, managed := range []bool{true, false} {
		for _, a := range p.Approvals {
			if a.Managed == managed && (a.BundleID == bundleID || managed && a.BundleID == "" && a.TeamID == teamID && teamID != "") &&
				(teamID == "" || a.TeamID == teamID || a.TeamID == "") {
				return a, true
			}
		}
	}
	return Approval{}, false
}

// ReadKextPolicy reads the database below the root fsys.
func ReadKextPolicy(fsys fs.FS) (KextPolicy, error) {
	data, err := limit.ReadFile(fsys, KextPolicyFile, maxDatabase)
	if err != nil {
		return KextPolicy{}, err
	}
	return ParseKextPolicy(data)
}

// ParseKextPolicy decodes the database's file. What was written but is still in its log file
// (KextPolicy-wal) is not seen.
func ParseKextPolicy(data []byte) (KextPolicy, error) {
	var p KextPolicy
	db, err := openDatabase(KextPolicyFile, data)
	if err != nil {
		return p, err
	}
	lose := func(table string, err error) {
		p.Problems = append(p.Problems, fact.ProblemOf(SourceKextPolicy, table, "", err))
	}
	err = db.rows("kext_policy", func(r row) {
		p.Approvals = append(p.Approvals, Approval{TeamID: r.text("team_id"), BundleID: r.text("bundle_id"), Allowed: r.tri("allowed"),
			Developer: r.text("developer_name"), Flags: r.count("flags")})
	})
	if err != nil {
		lose("kext_policy", err)
	}
	err = db.rows("kext_policy_mdm", func(r row) {
		p.Approvals = append(p.Approvals, Approval{TeamID: r.text("team_id"), BundleID: r.text("bundle_id"), Allowed: r.tri("allowed"),
			Managed: true, Payload: r.text("payload_uuid")})
	})
	if err != nil {
		lose("kext_policy_mdm", err)
	}
	err = db.rows("kext_load_history_v3", func(r row) {
		p.History = append(p.History, LoadRecord{Path: r.text("path"), TeamID: r.text("team_id"), BundleID: r.text("bundle_id"), CDHash: r.text("cdhash"),
			BootUUID: r.text("boot_uuid"), Created: r.text("created_at"), LastSeen: r.text("last_seen"), Flags: r.count("flags")})
	})
	if err != nil {
		lose("kext_load_history_v3", err)
	}
	return p, nil
}

// A KextPolicyCapture is text that the sqlite3 tool printed of the table kext_policy.
type KextPolicyCapture struct {
	Approvals []Approval
	Sure      bool
	Stray     int
	Bad       []*fact.ParseError
}

// ParseKextPolicyText reads rows "team|bundle id|allowed|developer|flags", with the tool's prompts
// and the schema around them.
func ParseKextPolicyText(text string) *KextPolicyCapture {
	c := &KextPolicyCapture{}
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		f := strings.Split(line, "|")
		switch {
		case line == "":
		case strings.HasPrefix(line, "CREATE TABLE"), strings.HasPrefix(line, "sqlite> "):
			c.Sure = c.Sure || strings.Contains(line, "kext_policy")
		case len(f) == 5 && (f[0] == "" || isTeamID(f[0])) && isBundleID(f[1]) && (f[2] == "0" || f[2] == "1") && len(c.Approvals) < maxKexts:
			a := Approval{TeamID: f[0], BundleID: f[1], Allowed: fact.TriOf(f[2] == "1"), Developer: escape.UTF8(f[3])}
			if flags, err := strconv.ParseInt(f[4], 10, 64); err == nil {
				a.Flags = fact.CountOf(flags)
			}
			c.Approvals = append(c.Approvals, a)
		default:
			c.Stray++
			if len(c.Bad) < limit.Problems {
				c.Bad = append(c.Bad, &fact.ParseError{Source: SourceKextPolicy, Line: n, Reason: fmt.Sprintf("%q is no row", cutText(line, 60))})
			}
		}
	}
	return c
}
