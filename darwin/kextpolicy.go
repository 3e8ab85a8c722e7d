// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"io/fs"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
)

// kextPolicyFile is the database of approved kexts, since macOS 10.13. Only root may read it.
const kextPolicyFile = "private/var/db/SystemPolicyConfiguration/KextPolicy"

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
	// Managed says that a management server made the row.
	Managed bool `json:"managed,omitzero"`
	// Payload is the UUID of the management server's profile; empty for a user's row.
	Payload string `json:"payload,omitzero"`
}

// A loadRecord is a row of KextPolicy's load history.
type loadRecord struct {
	// Path, TeamID, BundleID and CDHash say what was loaded; databases of 10.13 have no CDHash.
	Path, TeamID, BundleID, CDHash string
	// BootUUID is the boot in which it was loaded last, Created and LastSeen the times, in the
	// database's form, "2006-01-02 15:04:05".
	BootUUID, Created, LastSeen string
	// Flags are not documented.
	Flags fact.Count
}

// A kextPolicy is what the database says.
type kextPolicy struct {
	// Approvals are the rows of the user's decisions, then those of a management server.
	Approvals []Approval
	// History are the loads of kexts that are not Apple's.
	History []loadRecord
}

// approved returns the row about a kext: a management server's first, which outdoes the user's.
func (p *kextPolicy) approved(teamID, bundleID string) (Approval, bool) {
	for _, managed := range []bool{true, false} {
		for _, a := range p.Approvals {
			team := managed && a.BundleID == "" && a.TeamID == teamID && teamID != ""
			if a.Managed == managed && (a.BundleID == bundleID || team) &&
				(teamID == "" || a.TeamID == teamID || a.TeamID == "") {
				return a, true
			}
		}
	}
	return Approval{}, false
}

// readKextPolicy reads the database below the root fsys.
func readKextPolicy(fsys fs.FS, report *fact.Report) (kextPolicy, error) {
	data, err := limit.ReadFile(fsys, kextPolicyFile, maxDatabase)
	if err != nil {
		return kextPolicy{}, err
	}
	return parseKextPolicy(data, report)
}

// parseKextPolicy decodes the database's file. A table that cannot be read is reported. What was written but is still
// in its log file (KextPolicy-wal) is not seen.
func parseKextPolicy(data []byte, report *fact.Report) (kextPolicy, error) {
	var p kextPolicy
	db, err := openDatabase(kextPolicyFile, data)
	if err != nil {
		return p, err
	}
	lose := func(table string, err error) { report.Problem(SourceKextPolicy, table, "", err) }
	err = db.rows("kext_policy", func(r row) {
		p.Approvals = append(p.Approvals, Approval{
			TeamID: r.text("team_id"), BundleID: r.text("bundle_id"), Allowed: r.tri("allowed"),
			Developer: r.text("developer_name"), Flags: r.count("flags")})
	})
	if err != nil {
		lose("kext_policy", err)
	}
	err = db.rows("kext_policy_mdm", func(r row) {
		p.Approvals = append(p.Approvals, Approval{
			TeamID: r.text("team_id"), BundleID: r.text("bundle_id"), Allowed: r.tri("allowed"),
			Managed: true, Payload: r.text("payload_uuid")})
	})
	if err != nil {
		lose("kext_policy_mdm", err)
	}
	err = db.rows("kext_load_history_v3", func(r row) {
		p.History = append(p.History, loadRecord{
			Path: r.text("path"), TeamID: r.text("team_id"), BundleID: r.text("bundle_id"), CDHash: r.text("cdhash"),
			BootUUID: r.text("boot_uuid"), Created: r.text("created_at"), LastSeen: r.text("last_seen"),
			Flags: r.count("flags")})
	})
	if err != nil {
		lose("kext_load_history_v3", err)
	}
	return p, nil
}
