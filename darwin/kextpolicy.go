// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/sqlite"
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

	// unread and managedUnread are why some of the user's decisions, and of a management server's, could not be read;
	// nil if there are no others.
	unread, managedUnread error
}

// approved returns the row about a kext: a management server's first, which outdoes the user's, and of those the one
// that names the kext before the one for all of its team.
func (p *kextPolicy) approved(teamID, bundleID string) (Approval, bool) {
	for _, want := range []struct {
		managed bool
		id      string
	}{{true, bundleID}, {true, ""}, {false, bundleID}} {
		for _, a := range p.Approvals {
			if a.Managed == want.managed && a.TeamID == teamID && a.BundleID == want.id &&
				(want.id != "" || teamID != "") {
				return a, true
			}
		}
	}
	return Approval{}, false
}

// join adds the decision about a kext. A row is of a team, so that it is a kext's only if the team is known.
func (p *kextPolicy) join(k *Kext) {
	team, known := k.CodeSignature.team()
	if p == nil || !known {
		return
	}
	if a, ok := p.approved(team, k.BundleID); ok {
		k.Approval = &a
	}
}

// team returns the team that a row about the code has: none for code without the signature of a developer. It is
// unknown for a signature that was not read, or that names none.
func (s *CodeSignature) team() (id string, known bool) {
	if s == nil {
		return "", false
	}
	return s.TeamID, s.TeamID != "" || s.Present == fact.No || s.AdHoc == fact.Yes
}

// approvals reads the decisions about kexts for a list that reads signatures; nil if they could not be read, which is
// reported. No decisions exist before macOS 10.13, and on a Mac where nobody was asked yet.
func (k *Kernel) approvals(r *fact.Report) *kextPolicy {
	if !k.options.Asks(fact.DetailSignatures) {
		return nil
	}
	from := len(r.Problems)
	p, err := readKextPolicy(k.machine, r)
	switch {
	case err == nil:
		r.Sources = append(r.Sources, sourceSince(r, from, SourceKextPolicy, len(p.Approvals)))
		return &p
	case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errors.ErrUnsupported):
		r.Problem(SourceKextPolicy, "", "approval", err)
	}
	r.Sources = append(r.Sources, unreadSource(SourceKextPolicy, err))
	return nil
}

// maxDatabase bounds the database and its log; real ones have some 100 KB.
const maxDatabase = 64 << 20

// rowMemory is what a row of the database takes beside its texts, in bytes.
const rowMemory = 256

// readKextPolicy reads the database below the root fsys, with its write-ahead log, which the running system's has.
func readKextPolicy(fsys fs.FS, report *fact.Report) (kextPolicy, error) {
	db, err := sqlite.Open(fsys, kextPolicyFile, maxDatabase, report.Budget)
	if err != nil {
		return kextPolicy{}, err
	}
	defer db.Close()
	return decodeKextPolicy(db, report), nil
}

// decodeKextPolicy decodes an open database. A table that cannot be read is reported.
func decodeKextPolicy(db *sqlite.DB, report *fact.Report) kextPolicy {
	var p kextPolicy
	scan := func(table string, columns []string, each func(row []sqlite.Value)) {
		var over error
		err := db.Scan(table, columns, func(row []sqlite.Value) bool {
			size := int64(rowMemory)
			for _, v := range row {
				size += int64(v.Size())
			}
			if over = db.Item().Keep(size); over == nil {
				each(row)
			}
			return over == nil
		})
		err = cmp.Or(err, over)
		if err == nil {
			return
		}
		report.Problem(SourceKextPolicy, table, "", err)
		switch err := fmt.Errorf("table %s: %w", table, err); table {
		case "kext_policy":
			p.unread = err
		case "kext_policy_mdm":
			p.managedUnread = err
		}
	}
	scan("kext_policy", []string{"team_id", "bundle_id", "allowed", "developer_name", "flags"},
		func(r []sqlite.Value) {
			p.Approvals = append(p.Approvals, Approval{TeamID: r[0].Text(), BundleID: r[1].Text(), Allowed: yesOf(r[2]),
				Developer: r[3].Text(), Flags: countOf(r[4])})
		})
	scan("kext_policy_mdm", []string{"team_id", "bundle_id", "allowed", "payload_uuid"}, func(r []sqlite.Value) {
		p.Approvals = append(p.Approvals, Approval{TeamID: r[0].Text(), BundleID: r[1].Text(), Allowed: yesOf(r[2]),
			Managed: true, Payload: r[3].Text()})
	})
	scan("kext_load_history_v3", []string{"path", "team_id", "bundle_id", "cdhash", "boot_uuid", "created_at",
		"last_seen", "flags"}, func(r []sqlite.Value) {
		p.History = append(p.History, loadRecord{Path: r[0].Text(), TeamID: r[1].Text(), BundleID: r[2].Text(),
			CDHash: r[3].Text(), BootUUID: r[4].Text(), Created: r[5].Text(), LastSeen: r[6].Text(),
			Flags: countOf(r[7])})
	})
	return p
}

// yesOf returns a column that says yes or no; nothing if it is neither.
func yesOf(v sqlite.Value) fact.Tri {
	if n, ok := v.Int(); ok {
		return fact.TriOf(n != 0)
	}
	if text := v.Text(); text != "" {
		return fact.TriOf(text == "1" || strings.EqualFold(text, "true"))
	}
	return ""
}

// countOf returns a column that is a number.
func countOf(v sqlite.Value) fact.Count {
	if n, ok := v.Int(); ok {
		return fact.CountOf(n)
	}
	return fact.Count{}
}

// names lists the approvals that the filter takes, "bundle id (team)"; a management server's row may be of a team.
func (p *kextPolicy) names(take func(Approval) bool) []string {
	var all []string
	for _, a := range p.Approvals {
		if !take(a) {
			continue
		}
		switch {
		case a.BundleID == "":
			all = append(all, "all of "+a.TeamID)
		case a.TeamID == "":
			all = append(all, a.BundleID)
		default:
			all = append(all, a.BundleID+" ("+a.TeamID+")")
		}
	}
	return all
}
